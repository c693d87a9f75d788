"""Files that a command writes once it has measured for minutes: what is wrong is said before."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator

from vimnp.errors import VimnpError

_ROOM = 1 << 20  # bytes; such a file takes some hundred thousand


def check_destination(path: str) -> None:
    """Try to write what a file may take, beside the place where it is to stand, and leave nothing.

    Raises
    ------
    VimnpError
        If there is a folder of that name, or its own folder is missing, closed to us or full.
    """
    with naming(path):
        kind = _kind(path)
        if stat.S_ISDIR(kind):
            raise VimnpError(f"{path}: is a folder; expected the name of a file to write")
        if kind and not stat.S_ISREG(kind):
            return  # a pipe or a device: nothing is written that nobody asked for
        folder = os.path.dirname(os.path.realpath(path))
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            left = memoryview(bytes(_ROOM))
            while left:
                left = left[file.write(left) :]


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Errors in writing a file name it: the system's own do not, or name a temporary one."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise VimnpError(f"{path}: cannot be written: {error.strerror or error}") from None


def _kind(path: str) -> int:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return 0
