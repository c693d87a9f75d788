"""The threads of NumPy's BLAS: one in a pass of the NumPy backend.

A product of a pass is over in some hundred microseconds, and OpenBLAS waits for each of its threads
in a loop. Where another process has the core of one of them, it waits until the system gives that
core back, at every product: beside two busy processes a pass took twelve times as long as alone
(``bench/neighbours.py``). With one thread nobody is waited for.

OpenBLAS can give the calling thread a number of its own only where it is built on OpenMP. NumPy's
wheels have one that is built on threads of its own, where ``openblas_set_num_threads_local`` sets
every thread's. So the number is that of the process: it is one while any pass runs, and what it was
when the last one ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

VARIABLE = "OPENBLAS_NUM_THREADS"


class _OpenBlas(NamedTuple):
    """The functions of the library that NumPy has loaded."""

    threads: Callable[[], int]
    set_threads: Callable[[int], object]


def can_be_set() -> bool:
    """Whether NumPy's BLAS is one whose threads can be set here: an OpenBLAS that is found."""
    return _find() is not None


def is_limited() -> bool:
    """Whether a model that is made now is to have one thread of the BLAS in its passes.

    Whoever sets ``OPENBLAS_NUM_THREADS`` has decided otherwise.
    """
    return can_be_set() and not os.environ.get(VARIABLE)


def policy() -> str:
    """What is done about the threads of the BLAS, in a few words."""
    if os.environ.get(VARIABLE):
        return f"as many threads as {VARIABLE} says"
    if not can_be_set():
        return "its threads cannot be set here"
    return "one thread in passes of the numpy backend"


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One thread of the BLAS, in the whole process, until the last of those that ask is through.

    Several threads may ask at once, and signal handlers too. A number that somebody else sets
    meanwhile stays. Nothing happens where the BLAS cannot be set.
    """
    library = _find()
    if library is None:
        yield
        return
    _state.enter(library)
    try:
        yield
    finally:
        _state.leave(library)


class _State:
    """How many have asked for one thread, and how many threads there were before."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a signal handler may come in between, on the same thread
        self._inside = 0
        self._found = 1

    def enter(self, library: _OpenBlas) -> None:
        with self.lock:
            self._inside += 1  # first: who comes in between then changes nothing
            try:
                if self._inside == 1:
                    self._found = library.threads()
                    library.set_threads(1)
            except BaseException:  # Ctrl-C: nobody is going to leave
                self.leave(library)
                raise

    def leave(self, library: _OpenBlas) -> None:
        with self.lock:
            if self._inside == 1:
                self._restore(library)
            self._inside = max(self._inside - 1, 0)  # 0 in a child that was forked meanwhile

    def after_fork(self) -> None:
        """In the child, which has none of the threads that have asked."""
        self.lock = threading.RLock()
        library = _find()
        if self._inside and library is not None:
            self._restore(library)
        self._inside = 0

    def _restore(self, library: _OpenBlas) -> None:
        if library.threads() == 1:  # else somebody has set another number
            library.set_threads(self._found)


_state = _State()


@functools.cache
def _find() -> _OpenBlas | None:
    """By the names that its builds give it: plain, for 64-bit sizes, and SciPy's for the wheels."""
    for path in _libraries():
        try:
            library = ctypes.PyDLL(str(path))
        except OSError:
            continue
        for prefix in ("scipy_", ""):
            for suffix in ("64_", ""):
                names = (f"{prefix}openblas_{verb}_num_threads{suffix}" for verb in ("get", "set"))
                with contextlib.suppress(AttributeError):
                    threads, set_threads = (getattr(library, name) for name in names)
                    set_threads.argtypes, set_threads.restype = (ctypes.c_int,), None
                    return _OpenBlas(threads, set_threads)
    return None


def _libraries() -> list[Path]:
    """Where its functions are looked up.

    A library's symbols are looked up in those that it needs, too, so that NumPy's own extension
    leads to the BLAS that it calls. Windows does not look there: the BLAS of NumPy's wheels lies in
    a folder beside the package.
    """
    try:
        module = importlib.import_module("numpy._core._multiarray_umath")
    except ImportError:  # NumPy 1
        module = importlib.import_module("numpy.core._multiarray_umath")
    extension = Path(str(module.__file__))
    if sys.platform != "win32":
        return [extension]
    return sorted(extension.parents[2].glob("numpy.libs/*openblas*.dll"))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_state.after_fork)
