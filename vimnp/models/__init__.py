"""The networks: a folder for each family, and what all of them offer."""

from __future__ import annotations

import importlib
import os
from typing import Any

from vimnp.engine.settings import Backend, Scan
from vimnp.errors import ConfigError
from vimnp.models.precision import Precision
from vimnp.models.vim import tensors as vim_tensors
from vimnp.models.vim.config import VimConfig
from vimnp.models.vim.model import VisionMamba
from vimnp.weights.by_name import find_weights, is_address
from vimnp.weights.family import DTYPES_OF_PICTURES, Family, register, register_module
from vimnp.weights.file import BUNDLED_DIGITS, BUNDLED_PYDOC, WeightsFile

BUNDLED = {"digits": BUNDLED_DIGITS, "pydoc": BUNDLED_PYDOC}

NETWORKS = {"vim": VisionMamba}
"""The network of each family that looks at pictures, by the family's name in weights files."""

LATE_NETWORKS = {
    "vmamba": ("vimnp.models.vmamba.model", "VMamba"),
    "vmunet": ("vimnp.models.vmunet.model", "VMUNet"),
    "medmamba": ("vimnp.models.medmamba.model", "MedMamba"),
}
"""The same of families that load when they are needed, by module and name."""

LANGUAGE_MODELS = {"mamba": ("vimnp.models.mamba.model", "MambaLM")}
"""The same of families that take text."""

register(Family("vim", VimConfig, vim_tensors.tensors, DTYPES_OF_PICTURES))
# No Vision Mamba has to wait for these.
register_module("vmamba", "vimnp.models.vmamba")
register_module("vmunet", "vimnp.models.vmunet")
register_module("medmamba", "vimnp.models.medmamba")
register_module("mamba", "vimnp.models.mamba")


def load(
    path: str | os.PathLike[str],
    *,
    img_size: int | tuple[int, int] | None = None,
    scan: Scan = "fused",
    num_threads: int | None = None,
    backend: Backend | None = None,
    precision: Precision | None = None,
    dtype: str | None = None,
) -> VisionMamba:
    """Load a network: from a weights file that ``vimnp convert`` wrote, or a bundled one.

    The file says which family the network is of. Of a language model it gives a
    :class:`vimnp.MambaLM`; who checks types calls :meth:`vimnp.MambaLM.from_npz`, which says so.

    Parameters
    ----------
    path : path-like
        The weights file. "digits" is the bundled network that reads handwritten digits, 0 to 9;
        "pydoc" the bundled language model, which writes as Python's documentation does. A file of
        such a name is ``"./digits"``. "hf://owner/repository@revision/file" is one on the Hugging
        Face Hub, which is fetched and converted the first time (:func:`vimnp.hub.find_weights`).
    img_size : int or (height, width), optional
        Take pictures of this size in pixels, and not of the size that the network was trained for.
        A language model takes none.
    scan : {"fused", "sequential", "fixlen", "fused_fixlen"}
        How a Vision Mamba scans; see :class:`vimnp.VisionMamba`. Other families have "fused" alone.
    num_threads : int, optional
        Threads of the compiled kernels; see :func:`vimnp.threads.resolve_num_threads`.
    backend : {"auto", "numpy", "native"}, optional
        Whether NumPy runs the network, or one compiled parallel region, which is faster. "auto" is
        "native" where that can run it. None stands for ``VIMNP_BACKEND``, or without it for "auto".
    precision : {"float32", "int8"}, optional
        What a network of pictures multiplies its large matrices in; by default as the file has
        them. See :class:`vimnp.VisionMamba`.
    dtype : {"float32", "bfloat16", "int8", "int4"}, optional
        How a language model stores its matrices; by default as the file does. See
        :class:`vimnp.MambaLM`.

    Returns
    -------
    VisionMamba, VMamba, MedMamba, VMUNet or MambaLM
        The network with its weights in memory, ready to be called.

    Raises
    ------
    WeightsError
        If the file is missing, damaged, or not a vimnp weights file.
    ConfigError
        If a setting means nothing, or the network has no such setting; if the backend lacks the
        scan mode or its kernels; or if the network cannot take pictures of this size.
    HubError
        If a file on the Hub cannot be fetched.
    OSError
        If the cache of what was fetched cannot be written.

    Examples
    --------
    >>> model = vimnp.load("digits", num_threads=1)
    >>> model.config.img_size, model.labels[:3]
    ((32, 32), ('0', '1', '2'))
    >>> [found.label for found in model.predict("tests/data/digit_7_81.png", top_k=1)]
    ['7']
    >>> vimnp.load("pydoc").generate("Return a", max_new_tokens=8).text
    ' list of'
    """
    if is_address(path):
        path = find_weights(str(path), dtype=dtype or precision)
    bundled = BUNDLED.get(path) if isinstance(path, str) else None
    with WeightsFile(bundled or path) as file:
        family = file.metadata.config.family.name
        if family in LANGUAGE_MODELS:
            if img_size is not None or scan != "fused":
                raise ConfigError(
                    f"{file.path} is a language model; expected neither img_size nor scan"
                )
            if precision is not None:
                raise ConfigError(f"{file.path} is a language model; expected dtype, no precision")
            model = language_model(family)
            found: Any = model.from_weights(
                file, dtype=dtype, num_threads=num_threads, backend=backend
            )
            return found
        if dtype is not None:
            raise ConfigError(f"{file.path} is no language model; expected no dtype, but precision")
        return network_of_pictures(family).from_weights(
            file,
            img_size=img_size,
            scan=scan,
            num_threads=num_threads,
            backend=backend,
            precision=precision,
        )


def network_of_pictures(family: str) -> Any:
    """The class of a family that looks at pictures."""
    return NETWORKS.get(family) or _late(*LATE_NETWORKS[family])


def language_model(family: str) -> Any:
    """The class of a family that takes text."""
    return _late(*LANGUAGE_MODELS[family])


def _late(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)
