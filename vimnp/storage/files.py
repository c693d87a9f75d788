"""Files that are written whole or not at all, and files that are read only if they are regular."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_TEMPORARY = ".vimnp-"  # what names of temporary folders begin with

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: str | os.PathLike[str]) -> int:
    """Open a regular file for reading; returns its descriptor, which the caller closes.

    A device may have no end, and a pipe may never begin; neither can be read twice.

    Parameters
    ----------
    path : path-like
        Links are followed.

    Raises
    ------
    OSError
        If the file cannot be opened, or is no regular file.
    ValueError
        If there is a zero byte in the path.
    """
    # Without O_NONBLOCK, opening a pipe would wait for its writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        with noticing_folders(path):
            descriptor = os.open(path, flags | getattr(os, "O_CLOEXEC", 0))
    except IsADirectoryError:
        raise _no_regular_file(path, stat.S_IFDIR) from None
    try:
        kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
        if kind != stat.S_IFREG:
            raise _no_regular_file(path, kind)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def noticing_folders(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise IsADirectoryError where Windows denies the permission to open a folder as a file."""
    try:
        yield
    except PermissionError:
        if not os.path.isdir(path):
            raise
        words = os.strerror(errno.EISDIR)
        raise IsADirectoryError(errno.EISDIR, words, os.fspath(path)) from None


def _no_regular_file(path: str | os.PathLike[str], kind: int) -> OSError:
    what = _KINDS.get(kind, "no regular file")
    return OSError(errno.EINVAL, f"{what}; expected a regular file", os.fspath(path))


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file to write to, which takes its place once it is complete.

    Parameters
    ----------
    path : path-like
        An existing file is replaced, and keeps its permissions; it stays as it is if the writing
        fails. Of a link the target is replaced. A device, a pipe, or the file that the standard
        output goes to stays what it is: it gets the bytes one after another, once all are there.

    Raises
    ------
    OSError
        If the file cannot be written. It names the file, whatever failed.
    ValueError
        If there is a zero byte in the path.
    """
    path = Path(path)
    try:
        status = path.stat()
    except FileNotFoundError:
        status = None
    with naming(path):
        stream = _standard_stream(status) if status else None
        if status and (stream is not None or not stat.S_ISREG(status.st_mode)):
            writer = _copied_into(path, status, stream)
        else:
            writer = _put_in_place(Path(os.path.realpath(path)), status)
        with writer as file:
            yield file


@contextlib.contextmanager
def _put_in_place(path: Path, replaced: os.stat_result | None) -> Iterator[IO[bytes]]:
    """A file beside another one, in a folder of its own until it is complete.

    The folder's name is nobody else's, and the file in it gets the permissions of any new file,
    which `tempfile` would not give.
    """
    import tempfile  # only here: reading need not load it, and the random numbers for its names

    with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=path.parent) as folder:
        temporary = Path(folder, path.name)
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if replaced is not None:
            permissions = replaced.st_mode & 0o777
            if temporary.stat().st_mode & 0o777 != permissions:
                temporary.chmod(permissions)
        os.replace(temporary, path)


@contextlib.contextmanager
def _copied_into(path: Path, status: os.stat_result, stream: int | None) -> Iterator[IO[bytes]]:
    """A temporary file, in which a writer may seek, for what takes bytes only one after another."""
    import tempfile

    if stat.S_ISDIR(status.st_mode):
        words = "Is a directory; expected the name of a file"
        raise IsADirectoryError(errno.EISDIR, words, str(path))
    if stat.S_ISBLK(status.st_mode):  # a disk, with all that is on it
        raise OSError(errno.EINVAL, "a block device; expected the name of a file", str(path))
    if stream is None:
        descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NOCTTY", 0))
    else:
        descriptor = os.dup(stream)
    with open(descriptor, "wb") as target, tempfile.TemporaryFile() as file:
        yield file
        file.seek(0)
        for printed in (sys.stdout, sys.stderr):  # what was printed before comes before
            if printed is not None:
                printed.flush()
        shutil.copyfileobj(file, target)


def _standard_stream(status: os.stat_result) -> int | None:
    """The standard output's or error's descriptor if it goes to this file.

    The shell has opened such a file, and others go on writing to it: a new one in its place would
    not have what they write, and would have lost what was printed before.
    """
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):  # it is closed
            if os.path.samestat(os.fstat(descriptor), status):
                return descriptor
    return None


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have errors name this file in place of none, as those of a full disk do, or a temporary."""
    try:
        yield
    except OSError as error:
        names_another = error.filename is not None and _TEMPORARY not in str(error.filename)
        if names_another or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None
