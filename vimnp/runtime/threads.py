"""How many threads the compiled kernels use, and how those threads wait."""

from __future__ import annotations

import contextlib
import math
import os
import re
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import SupportsIndex

from vimnp.counts import checked_count
from vimnp.errors import ConfigError

VARIABLE = "VIMNP_NUM_THREADS"
MOST = 1024
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of this process, as it stands inside a container

_process = os.getpid()  # where OpenMP's threads are; 0 after a fork


class _Tried(threading.local):
    """What has been seen of the calling thread: OpenMP gives each a team of its own."""

    works = 1  # so many threads could be started
    fails = MOST + 1  # so many could not


_of_thread = _Tried()
_warned = False


def resolve_num_threads(num_threads: SupportsIndex | None = None) -> int:
    """Choose the number of threads: as asked, else ``VIMNP_NUM_THREADS``, else the usable CPUs.

    Parameters
    ----------
    num_threads : int, optional
        From 1 to 1024, one of NumPy's whole numbers too. None stands for the environment's value,
        or where that is unset or empty for the number of CPUs that this process may run on (its
        affinity, and its container's share of time).

    Returns
    -------
    int
        From 1 to 1024.

    Raises
    ------
    ConfigError
        If the argument or the variable is not a whole number in this range.
    """
    if num_threads is not None:
        return checked_count("num_threads", num_threads, MOST)
    text = os.environ.get(VARIABLE, "")
    if not text:
        return _usable_cpus()
    if re.fullmatch(r"\s*[0-9]{1,4}\s*", text) is None or not 1 <= int(text) <= MOST:
        raise ConfigError(f"{VARIABLE} is {text!r}; expected a whole number from 1 to {MOST}")
    return int(text)


def in_this_process(num_threads: int, *, start_anew: bool = False) -> int:
    """`num_threads`, or 1 where they could not be used. The kernels' bits are the same.

    The OpenMP run-time's threads do not survive a fork, and using them in the child hangs. And the
    run-time ends the process if it cannot start a thread (there may be a limit to processes, or to
    memory), so that we try before it does.

    Parameters
    ----------
    num_threads : int
    start_anew : bool
        Whether the threads are not OpenMP's but those of our own pool, which starts others in a
        forked child. Where one cannot be started, it computes on fewer: we try, so as to say so.
    """
    if num_threads == 1:
        return 1
    if not start_anew and os.getpid() != _process:  # the number shows a fork by C code, too
        return 1
    if _of_thread.works < num_threads < _of_thread.fails:
        if _can_start(num_threads - 1):
            _of_thread.works = num_threads
        else:
            _of_thread.fails = num_threads
            _warn_of_one_thread(num_threads)
    return num_threads if num_threads <= _of_thread.works else 1


@contextlib.contextmanager
def sleeping_openmp() -> Iterator[None]:
    """While our extension loads: ask the OpenMP run-time that loads with it to wait asleep.

    A forward pass alternates between NumPy's threads and OpenMP's, and both spin while they wait,
    so each pool takes the cores from the other. The run-time reads the policy once, when it loads;
    the variable is set only for that moment, and only where the user has not chosen. Nothing
    changes where another package has loaded the same run-time already.
    """
    if any(name in os.environ for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")):
        yield
        return
    os.environ["OMP_WAIT_POLICY"] = "passive"
    try:
        yield
    finally:
        del os.environ["OMP_WAIT_POLICY"]


def _can_start(number: int) -> bool:
    """Whether so many threads can be there at once beside the calling one: they are started."""
    end = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(number):
            thread = threading.Thread(target=end.wait, daemon=True)
            thread.start()
            started.append(thread)
    except (RuntimeError, MemoryError):
        return False
    finally:
        end.set()
        for thread in started:
            thread.join()
    return True


def _warn_of_one_thread(num_threads: int) -> None:
    global _warned
    if _warned:
        return
    _warned = True
    warnings.warn(
        f"vimnp computes with one thread, because the system could not start {num_threads} "
        "threads: raise the limit of processes (ulimit -u) or of memory, or ask for fewer threads "
        f"with num_threads or {VARIABLE}.",
        RuntimeWarning,
        stacklevel=2,
    )


def _usable_cpus() -> int:
    if not hasattr(os, "sched_getaffinity"):  # not Linux
        return os.cpu_count() or 1
    return min(len(os.sched_getaffinity(0)), _cpus_of_cgroup())


def _cpus_of_cgroup() -> int:
    """CPUs' worth of time that a container may use (control groups, version 2), rounded up."""
    try:
        quota, period = CPU_QUOTA.read_text().split()
        return max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max": no limit
        return MOST


def _note_fork() -> None:
    global _process
    _process = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)
