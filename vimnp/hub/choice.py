"""Which files of a repository make up a network's checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from vimnp.convert.formats.locate import IN_FOLDER, INDEX
from vimnp.convert.mamba.beside import BESIDE
from vimnp.errors import HubError, excerpt
from vimnp.hub.source import RemoteFile
from vimnp.storage.json_text import parse_json

_CHECKPOINTS = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")
_MOST_NAMED = 8  # files in a message


def choose(repository: str, files: Mapping[str, RemoteFile], asked: str | None) -> RemoteFile:
    """The checkpoint, its index or the weights file of a repository.

    Parameters
    ----------
    repository : str
    files : mapping of str to RemoteFile
    asked : str, optional
        The file's name; without it a weights file of vimnp's, what transformers would take, or
        the only checkpoint there is.

    Raises
    ------
    HubError
        If there is no such file, or nobody could say which one is meant.
    """
    if asked is not None:
        if asked not in files:
            raise HubError(
                f"{repository}: has no file {excerpt(asked)}; expected one of {_named(files)}"
            )
        return files[asked]
    ready = [name for name in files if name.endswith(".npz")]
    usual = [name for name in IN_FOLDER if name in files]
    others = [name for name in files if PurePosixPath(name).suffix in _CHECKPOINTS]
    for found in (ready, usual[:1], others):
        if len(found) == 1:
            return files[found[0]]
        if found:
            raise HubError(
                f"{repository}: has several files of weights; expected one of them to be named: "
                f"{_named(found)}"
            )
    raise HubError(f"{repository}: has no weights that vimnp reads; it has {_named(files)}")


def beside(main: RemoteFile, files: Mapping[str, RemoteFile]) -> list[RemoteFile]:
    """What is read beside a checkpoint, of what is there."""
    if main.name.endswith(".npz"):
        return []
    folder = PurePosixPath(main.name).parent
    names = (str(folder / name) for name in BESIDE)
    return [files[name] for name in names if name in files]


def is_index(main: RemoteFile) -> bool:
    """Whether this is no checkpoint, but names the files of one."""
    return main.name.endswith(INDEX)


def shards(main: RemoteFile, content: bytes, files: Mapping[str, RemoteFile]) -> list[RemoteFile]:
    """The files that an index names.

    Raises
    ------
    HubError
        If it is none, or one of them is not there.
    """
    folder = PurePosixPath(main.name).parent
    try:
        names = sorted({str(folder / name) for name in parse_json(content)["weight_map"].values()})
    except (ValueError, TypeError, KeyError, AttributeError):
        raise HubError(
            f"{main.repository}/{main.name}: no index of weights; expected its weight_map"
        ) from None
    missing = [name for name in names if name not in files]
    if missing:
        raise HubError(
            f"{main.repository}/{main.name}: names {_named(missing)}, which the repository does "
            "not have"
        )
    return [files[name] for name in names]


def _named(names: Mapping[str, object] | list[str]) -> str:
    shown = [excerpt(name) for name in names][:_MOST_NAMED]
    rest = len(names) - len(shown)
    return (", ".join(shown) or "no files") + (f" and {rest} more" if rest else "")
