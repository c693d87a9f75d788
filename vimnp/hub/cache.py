"""The weights that were fetched by name, as they were converted: where they lie, and what is there.

A file lies under the repository, the commit (of a release the file's SHA-256), the checkpoint's
name, what it is stored as, and the version of that format::

    weights/hustvl--Vim-tiny-midclstok/<commit>/vim_t_midclstok_76p1acc.pth.float32.v3.npz

Beside the commits, a small file for each name says which commit it stands for: so what was fetched
once is found again without asking anybody, and stays what it was.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from vimnp.errors import ConfigError
from vimnp.hub.address import Address
from vimnp.hub.source import RemoteFile
from vimnp.storage.files import whole_file
from vimnp.storage.json_text import parse_json
from vimnp.storage.locked_file import LockedFile
from vimnp.weights.metadata import FORMAT_VERSION

VARIABLE = "VIMNP_CACHE"
"""Names the cache's folder."""

_NAMES = "names"
_LOCKS = "locks"
_PAUSE = 0.1  # seconds between looks at a lock that another process holds
_AS_IT_IS = "npz"  # in the place of the dtype, of weights files that were published as such


def folder() -> Path:
    """The cache's folder: ``VIMNP_CACHE``, or ``vimnp`` where the system keeps such things."""
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given)
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        home = Path(local) if local else Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        home = Path.home() / "Library" / "Caches"
    else:
        known = os.environ.get("XDG_CACHE_HOME", "")
        home = Path(known) if os.path.isabs(known) else Path.home() / ".cache"
    return home / "vimnp"


class Kept(NamedTuple):
    """What a name stands for: the files of one version of a repository.

    Parameters
    ----------
    files : tuple of RemoteFile
        The first is the checkpoint, a weights file, or an index.
    tokenizer : tuple of RemoteFile
        Of another repository, where that has it.
    """

    files: tuple[RemoteFile, ...]
    tokenizer: tuple[RemoteFile, ...] = ()

    @property
    def main(self) -> RemoteFile:
        return self.files[0]


class Entry(NamedTuple):
    """A file of the cache.

    Parameters
    ----------
    path : Path
    repository, version : str
    file : str
        The checkpoint's name, and for weights files what it is stored as.
    size : int
        In bytes.
    """

    path: Path
    repository: str
    version: str
    file: str
    size: int


def find(address: Address, dtype: str) -> Path | None:
    """The weights file that a name stands for; None if it has to be fetched."""
    kept = recall(address)
    expected = address.origin.sha256 if address.origin else None
    if kept is None or expected not in (None, kept.main.sha256):  # the table may have changed
        return None
    path = place(kept.main, dtype)
    return path if path.is_file() else None


def recall(address: Address) -> Kept | None:
    """What a name stood for when it was fetched; None if it was not, or that is damaged."""
    try:
        values = parse_json(_name_file(address).read_bytes())
        files = tuple(map(RemoteFile.from_dict, values["files"]))
        tokenizer = tuple(map(RemoteFile.from_dict, values["tokenizer"]))
    except (OSError, ValueError, TypeError, KeyError):  # it is fetched again
        return None
    return Kept(files, tokenizer) if files else None


def remember(address: Address, kept: Kept) -> None:
    """Note what a name stands for."""
    values = {key: [file.to_dict() for file in files] for key, files in kept._asdict().items()}
    path = _name_file(address)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(json.dumps(values, indent=1).encode())


def place(main: RemoteFile, dtype: str) -> Path:
    """Where the weights file lies that is made of a checkpoint, or is to lie."""
    kind = _AS_IT_IS if main.name.endswith(".npz") else dtype
    name = f"{_quoted(main.name)}.{kind}.v{FORMAT_VERSION}.npz"
    return version_folder(main.repository, main.version) / name


def version_folder(repository: str, version: str) -> Path:
    """Where the files of a version lie."""
    return _folder_of(repository) / _quoted(version)


@contextlib.contextmanager
def locked(repository: str, notice: Callable[[str], object]) -> Iterator[None]:
    """While this lasts, no other process fetches or clears of a repository.

    Parameters
    ----------
    repository : str
    notice : callable
        Is told when another one has to be waited for.
    """
    locks = folder() / _LOCKS
    locks.mkdir(parents=True, exist_ok=True)
    path = locks / _joined(repository)
    lock = _try_lock(path)
    if lock is None:
        notice(f"waiting for another process that fetches {repository}")
    while lock is None:
        time.sleep(_PAUSE)
        lock = _try_lock(path)
    try:
        yield
    finally:
        lock.close()


def _try_lock(path: Path) -> LockedFile | None:
    try:
        return LockedFile(path)
    except ConfigError:  # it is held
        return None


def entries(repository: str | None = None) -> list[Entry]:
    """What is in the cache, or of a repository in it."""
    found = []
    for path in sorted(_weights().glob("*/*/*")):
        source, version = path.parts[-3:-1]
        name = urllib.parse.unquote(source.replace("--", "/", 1))
        if version == _NAMES or not path.is_file() or repository not in (None, name):
            continue
        size = path.stat().st_size
        found.append(Entry(path, name, version, urllib.parse.unquote(path.name), size))
    return found


def clear(repository: str | None, notice: Callable[[str], object]) -> list[Entry]:
    """Remove what is in the cache, or of a repository in it; what was removed.

    What :mod:`huggingface_hub` keeps is not touched.
    """
    removed = entries(repository)
    names = {entry.repository for entry in removed}
    for name in sorted(names) if repository is None else [repository]:
        with locked(name, notice), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(_folder_of(name))
    return removed


def _weights() -> Path:
    return folder() / "weights"


def _folder_of(repository: str) -> Path:
    return _weights() / _joined(repository)


def _joined(repository: str) -> str:
    owner, _, name = repository.partition("/")
    return f"{_quoted(owner)}--{_quoted(name)}"


def _name_file(address: Address) -> Path:
    """Beside the commits, a file for each revision and file that are asked for by that name."""
    name = _quoted(address.revision)
    if address.file is not None:
        name += f"+{_quoted(address.file)}"
    return _folder_of(address.repository) / _NAMES / f"{name}.json"


def _quoted(part: str) -> str:
    """A part of a path from any name."""
    return urllib.parse.quote(part, safe="")
