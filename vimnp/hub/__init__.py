"""Weights by name: fetched from where they were published, and converted once into a cache.

The names are in :mod:`vimnp.hub.names`. What is fetched, and from whom, is decided by the user's
words alone; what lies in the cache is used without a connection, and stays what it was until
somebody asks for a newer one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from vimnp.errors import HubError
from vimnp.weights.family import Configuration


def tell(message: str) -> None:
    """Say a line on stderr, where there is one."""
    if sys.stderr is not None:
        print(f"vimnp: {message}", file=sys.stderr)


def find_weights(
    name: str,
    *,
    dtype: str | None = None,
    revision: str | None = None,
    file: str | None = None,
    refresh: bool = False,
    check: Callable[[Configuration], object] | None = None,
    notice: Callable[[str], object] = tell,
) -> Path:
    """Find the weights file that a name stands for.

    Where the cache has it, nobody is asked. Otherwise the checkpoint is fetched, held against its
    digest, and converted into the cache. The checkpoint itself stays where ``huggingface_hub``
    keeps what it fetches.

    Parameters
    ----------
    name : str
        A published network's, as "vim-tiny" (``vimnp fetch`` lists them); "owner/repository" on
        the Hugging Face Hub; or "hf://owner/repository@revision/file", whose revision may be
        missing.
    dtype : {"float32", "float16", "bfloat16", "int8", "int4"}, optional
        What the weights are stored as; as for :func:`vimnp.convert.convert_checkpoint`. By default
        float32, or what the published numbers are. A repository's own ``.npz`` stays as it is.
    revision : str, optional
        A branch, a tag or a commit; by default "main".
    file : str, optional
        Which of several checkpoints in the repository.
    refresh : bool
        Ask whether there is a newer one, though the cache has one.
    check : callable, optional
        Is given the sizes of a network that the table knows, before anything is fetched; what it
        raises ends that.
    notice : callable
        Is told what is fetched, under which licence, and what the conversion assumed; by default
        that goes to stderr.

    Returns
    -------
    pathlib.Path
        The ``.npz`` file in the cache, which :func:`vimnp.load` reads.

    Raises
    ------
    HubError
        If the name means nothing, or the weights cannot be fetched, or are not what they were
        said to be, or no network that vimnp runs.
    OSError
        If the cache cannot be written.
    """
    from vimnp.hub import cache, client  # what finds the converter alone needs none of it
    from vimnp.hub.address import parse_address
    from vimnp.hub.converter import MISSING, find_converter

    address = parse_address(name, revision, file)
    stored = dtype or (address.origin.dtype if address.origin else "float32")
    found = None if refresh else cache.find(address, stored)
    if found is not None:
        return found
    config = address.origin.config if address.origin else None
    if check is not None and config is not None:
        check(config)
    if refresh and client.is_offline():
        raise HubError(f"{name}: cannot be looked for anew while HF_HUB_OFFLINE is set; unset it")
    if not find_converter():
        raise HubError(MISSING)
    from vimnp.hub import fetching

    return fetching.fetch(address, stored, refresh, notice)
