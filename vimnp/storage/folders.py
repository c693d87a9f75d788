"""The files in a folder and in the folders below it: every walk of the package goes this way."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

Walked = dict[tuple[int, int], str]
"""The name of each folder that was walked through, by its device and its number there."""


def walk(
    root: str | os.PathLike[str],
    top: str = "",
    *,
    walked: Walked | None = None,
    on_again: Callable[[str, str], object] = lambda name, first: None,
) -> Iterator[str]:
    """The files below a folder, in the order of their names: a folder's own ones come first.

    Hidden files and folders are left out, and what is no regular file, as a pipe or a device. Links
    are followed; one that leads nowhere counts as a file that is missed. Links may lead to a folder
    in many ways, and through twenty of those in a million: each is walked through once.

    Parameters
    ----------
    root : path-like
        Where names begin.
    top : str
        The folder below it whose files are meant; without it, the root itself.
    walked : dict, optional
        Folders that were walked through before; those of this walk are added.
    on_again : callable
        Is told of each folder that is met again its name, and the one by which it was walked
        through.

    Yields
    ------
    str
        Names from the root on, with slashes.

    Raises
    ------
    OSError
        If a folder cannot be read.
    """
    root, walked = os.fspath(root), {} if walked is None else walked
    pending = [top]
    while pending:
        name = pending.pop()
        here = os.path.join(root, name) if name else root
        status = os.stat(here)
        first = walked.setdefault((status.st_dev, status.st_ino), name)
        if first != name:
            on_again(name, first)
            continue
        with os.scandir(here) as entries:
            visible = sorted(
                (entry for entry in entries if not entry.name.startswith(".")),
                key=lambda entry: entry.name,
            )
        before = f"{name}/" if name else ""
        folders: list[str] = []
        for entry in visible:
            if _is_folder(entry):
                folders.append(f"{before}{entry.name}")
            elif _counts_as_file(entry):
                yield f"{before}{entry.name}"
        pending += reversed(folders)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _counts_as_file(entry: os.DirEntry[str]) -> bool:
    """A link that leads nowhere is a file that is missed; one to a device or a pipe is none."""
    try:
        if entry.is_file():
            return True
    except OSError:
        return True
    return entry.is_symlink() and not os.path.exists(entry.path)
