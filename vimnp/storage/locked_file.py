"""A file with one writer: others are refused as long as it is open."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import warnings
import weakref
from collections.abc import Iterator
from pathlib import Path

from vimnp.errors import ConfigError
from vimnp.storage.files import naming, noticing_folders

# Windows lets nobody read the bytes that are locked: so one that no file has.
_BEYOND = 0x7FFF_FFFE
_HELD = (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)  # by another one


class LockedFile:
    """A file that is open for adding to, and that nobody else adds to in this way.

    The lock ends with the process at the latest, however that ends.

    Parameters
    ----------
    path : Path
        It is made if it is missing.

    Raises
    ------
    ConfigError
        If another process, or another object of this one, has it.
    OSError
        If it cannot be opened for writing. This and every later one names the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        for name in ("O_BINARY", "O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY"):
            flags |= getattr(os, name, 0)
        with noticing_folders(path):
            self._descriptor = os.open(path, flags, 0o666)
        self.close = weakref.finalize(self, os.close, self._descriptor)
        try:
            _lock(self._descriptor)
        except OSError as error:
            if error.errno in _HELD:
                self.close()
                raise ConfigError(
                    f"{path}: another process is writing to it; expected one at a time: wait until "
                    "that one ends, or take another file"
                ) from None
            warnings.warn(
                f"{path}: cannot be locked ({error.strerror}): no other process may write to it",
                stacklevel=2,
            )

    @contextlib.contextmanager
    def reading(self) -> Iterator[io.BufferedReader]:
        """What reads the file from its beginning on."""
        with naming(self._path), open(self._descriptor, "rb", closefd=False) as file:
            file.seek(0)
            yield file

    def truncate(self, size: int) -> None:
        """Drop what comes after so many bytes."""
        with naming(self._path):
            os.ftruncate(self._descriptor, size)

    def write(self, data: bytes) -> int:
        """Add bytes at the end; how many."""
        rest = memoryview(data)
        with naming(self._path):
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        return len(data)


def _lock(descriptor: int) -> None:
    """Lock a file, or raise an OSError at once."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, _BEYOND, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
