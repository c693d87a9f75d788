"""Weights that the cache lacks: fetched, checked, and converted into it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from vimnp.convert import convert_checkpoint
from vimnp.convert.network import published_names
from vimnp.errors import HubError, VimnpError
from vimnp.hub import cache, choice, client, release
from vimnp.hub.address import Address
from vimnp.hub.cache import Kept
from vimnp.hub.source import RemoteFile, sha256_of

Notice = Callable[[str], object]


def fetch(address: Address, dtype: str, refresh: bool, notice: Notice) -> Path:
    """Fetch and convert what a name stands for, unless another process does it meanwhile.

    Parameters
    ----------
    address : Address
    dtype : str
        What the weights are stored as.
    refresh : bool
        Whether to ask for a newer version than the cache's.
    notice : callable

    Raises
    ------
    HubError, OSError
        As for :func:`vimnp.hub.find_weights`.
    """
    with cache.locked(address.repository, notice):
        found = None if refresh else cache.find(address, dtype)
        if found is not None:
            return found
        kept = None if refresh else cache.recall(address)
        if address.release:
            return _from_release(address, kept, dtype, notice)
        return _from_hub(address, kept, dtype, notice)


def _from_hub(address: Address, kept: Kept | None, dtype: str, notice: Notice) -> Path:
    files: dict[str, RemoteFile] = {}
    licence = address.origin.licence if address.origin else None
    if kept is None:
        listing = client.look(address.repository, address.revision)
        files = listing.files
        licence = licence or listing.licence
        kept = _chosen(address, files)
    _expect_known(address, kept.main)
    path = cache.place(kept.main, dtype)
    if not path.is_file():
        if files:
            _announce(address, kept, licence, notice)
        path.parent.mkdir(parents=True, exist_ok=True)
        main = client.download(kept.main)
        if files and choice.is_index(kept.main):
            parts = choice.shards(kept.main, main.read_bytes(), files)
            kept = kept._replace(files=(*kept.files, *parts))
        for each in kept.files[1:]:
            client.download(each)
        tokenizers = [client.download(each) for each in kept.tokenizer]
        _make(main, path, dtype, address, tokenizers[:1], notice)
    cache.remember(address, kept)
    return path


def _chosen(address: Address, files: dict[str, RemoteFile]) -> Kept:
    main = choice.choose(address.repository, files, address.file)
    there = choice.beside(main, files)
    elsewhere = address.origin.tokenizer if address.origin else None
    if elsewhere is None:
        return Kept((main, *there))
    names = ("tokenizer.json", "tokenizer_config.json")
    others = client.look(elsewhere, "main").files
    first = choice.choose(elsewhere, others, names[0])
    return Kept((main, *there), (first, *(others[name] for name in names[1:] if name in others)))


def _expect_known(address: Address, main: RemoteFile) -> None:
    expected = address.origin.sha256 if address.origin else None
    if expected not in (None, main.sha256):
        raise HubError(
            f"{address.name}: {main.repository}/{main.name} has the SHA-256 {main.sha256}, but "
            f"the published one is known as {expected}: it was replaced; to take it all the same, "
            f"ask for hf://{main.repository}@{main.version}/{main.name}"
        )


def _from_release(address: Address, kept: Kept | None, dtype: str, notice: Notice) -> Path:
    origin = address.origin
    assert origin is not None
    assert origin.release is not None
    assert origin.file is not None
    if kept is None or not _checkpoint(kept.main).is_file():
        if client.is_offline():
            raise HubError(f"{address.name}: is not in the cache, and HF_HUB_OFFLINE is set")
        kept = Kept((_fetch_release(address, origin.release, origin.file, notice),))
    path = cache.place(kept.main, dtype)
    if not path.is_file():
        _make(_checkpoint(kept.main), path, dtype, address, [], notice)
    cache.remember(address, kept)
    return path


def _fetch_release(address: Address, folder: str, file: str, notice: Notice) -> RemoteFile:
    url = release.address(folder, file)
    asked = RemoteFile(address.repository, "", file, release.size_of(url))
    _announce(address, Kept((asked,)), address.origin and address.origin.licence, notice)
    arriving = cache.version_folder(address.repository, "arriving") / file
    arriving.parent.mkdir(parents=True, exist_ok=True)
    release.download(url, arriving)
    found = RemoteFile(
        address.repository, sha256_of(arriving), file, asked.size, sha256_of(arriving)
    )
    try:
        _expect_known(address, found)
    except HubError:
        arriving.unlink()
        raise
    place = _checkpoint(found)
    place.parent.mkdir(parents=True, exist_ok=True)
    os.replace(arriving, place)
    arriving.parent.rmdir()
    return found


def _checkpoint(main: RemoteFile) -> Path:
    """Where the cache keeps a release's own file."""
    return cache.version_folder(main.repository, main.version) / main.name


def _announce(address: Address, kept: Kept, licence: str | None, notice: Notice) -> None:
    sizes = [file.size for file in (*kept.files, *kept.tokenizer)]
    known = sum(size for size in sizes if size is not None)
    size = (
        f", {known / 1e6:,.1f} MB" if None not in sizes and not choice.is_index(kept.main) else ""
    )
    notice(
        f"fetching {kept.main.repository}/{kept.main.name}{size}; its licence: "
        f"{licence or 'its page states none'}"
    )


def _make(
    source: Path,
    path: Path,
    dtype: str,
    address: Address,
    tokenizers: list[Path],
    notice: Notice,
) -> None:
    """Write the weights file of a checkpoint, or take it over if it is one already."""
    if source.suffix == ".npz":
        release.copy(source, path)
        return
    origin = address.origin
    network = origin.network if origin and origin.network in published_names() else None
    try:
        conversion = convert_checkpoint(
            source,
            path,
            dtype=dtype,
            model=network,
            tokenizer=next(iter(tokenizers), None),
        )
    except VimnpError as error:
        raise HubError(f"{address.name}: {error}") from None
    for assumption in conversion.assumptions:
        notice(f"assumed {assumption}")
