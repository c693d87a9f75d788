"""How many threads the compiled kernels use, and how those threads wait."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

from vimnp.errors import ConfigError

VARIABLE = "VIMNP_NUM_THREADS"
MOST = 1024
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of this process, as it stands inside a container

_forked = False


def resolve_num_threads(num_threads: int | None = None) -> int:
    """The number of threads to use: as asked, else ``VIMNP_NUM_THREADS``, else the usable CPUs.

    Parameters
    ----------
    num_threads : int, optional
        From 1 to 1024. None stands for the environment's value, or without one for the number of
        CPUs that this process may run on (its affinity, and its container's share of time).

    Returns
    -------
    int

    Raises
    ------
    ConfigError
        If the argument or the variable is not a whole number in this range.
    """
    if num_threads is not None:
        if (
            isinstance(num_threads, bool)
            or not isinstance(num_threads, int)
            or not 1 <= num_threads <= MOST
        ):
            raise ConfigError(
                f"num_threads is {num_threads!r}; expected a whole number from 1 to {MOST}"
            )
        return num_threads
    text = os.environ.get(VARIABLE)
    if text is None:
        return _usable_cpus()
    if re.fullmatch(r"\s*[0-9]{1,4}\s*", text) is None or not 1 <= int(text) <= MOST:
        raise ConfigError(f"{VARIABLE} is {text!r}; expected a whole number from 1 to {MOST}")
    return int(text)


def in_this_process(num_threads: int) -> int:
    """`num_threads`, or 1 in a process that was forked.

    The OpenMP run-time's threads do not survive a fork, and using them in the child hangs. The
    kernels give the same bits with any number of threads.
    """
    return 1 if _forked else num_threads


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
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)
