"""What a forward pass runs on here, and what slows it down."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vimnp.engine.settings import resolve_backend
from vimnp.measure.timing import time_in_turn
from vimnp.runtime import blas as numpys_blas
from vimnp.runtime import extension
from vimnp.runtime.threads import resolve_num_threads

if TYPE_CHECKING:
    from vimnp._scan import Kernels

_ROUNDS = 500_000  # of multiply-adds: a millisecond or two, which others often leave alone


class Machine(NamedTuple):
    """A machine and the settings of this process, each as a short text or number.

    Parameters
    ----------
    cpu : str
    backend : str
        Of a network, if not asked for otherwise.
    instruction_set : str
        Of the kernels in use; "none" in plain NumPy.
    openmp : bool
        Whether the kernels were built with OpenMP.
    threads : str
        Whose the kernels' threads are.
    num_threads : int
        Threads of the kernels, if not asked for otherwise.
    blas : str
        NumPy's BLAS, its core and its threads, as far as they can be told, and how many of these
        a pass of the NumPy backend uses.
    python, numpy : str
        Versions.
    slowdowns : tuple of str
        A sentence for everything that makes this slower than it could be.
    """

    cpu: str
    backend: str
    instruction_set: str
    openmp: bool
    threads: str
    num_threads: int
    blas: str
    python: str
    numpy: str
    slowdowns: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """CPU, kernels and BLAS, a line each; and what slows them down."""
        return [
            f"machine: {self.cpu}, {os.cpu_count()} CPUs",
            f"kernels: {self.instruction_set}, {self.num_threads} threads, "
            f"{self.backend} backend if not set otherwise",
            f"BLAS: {self.blas}; numpy {self.numpy}, python {self.python}",
            *(f"slow: {sentence}" for sentence in self.slowdowns),
        ]


def describe_machine() -> Machine:
    """Look at the CPU, the extension, NumPy and the environment.

    Raises
    ------
    ConfigError
        If an environment variable of ours has a value that means nothing.
    """
    compiled = extension.loaded()
    return Machine(
        cpu=_cpu_name(),
        backend=resolve_backend(),
        instruction_set=extension.instruction_set() or "none",
        openmp=compiled is not None and compiled.OPENMP,
        threads=_whose_threads(),
        num_threads=resolve_num_threads(),
        blas=f"{_describe_blas()}; {numpys_blas.policy()}",
        python=platform.python_version(),
        numpy=np.__version__,
        slowdowns=tuple(_slowdowns()),
    )


class Rates(NamedTuple):
    """What this machine does in a second, at best.

    Parameters
    ----------
    flops : float
        Floating-point operations in float32, a multiply-add counted as two.
    bytes : float
        Read and written in copying an array that no cache holds.
    arithmetic : str
        What the first are those of.
    """

    flops: float
    bytes: float
    arithmetic: str


def measure_rates(kernels: Kernels | None = None, num_threads: int = 1) -> Rates:
    """Time arithmetic and a copy of 64 MB: the best of several, since others only ever slow it.

    Parameters
    ----------
    kernels : Kernels, optional
        Their multiply-adds are the arithmetic, timed on one thread. Without, it is a product of
        512x512 on NumPy's present threads.
    num_threads : int
        Of the kernels: so many times what one does.
    """
    square = np.ones((512, 512), np.float32)
    source = np.ones(1 << 24, np.float32)
    product, copied = np.empty_like(square), np.empty_like(source)
    if kernels is None:
        number, label = 512**3, "a large matrix product"
        arithmetic: Callable[[], object] = partial(np.matmul, square, square, out=product)
    else:
        number = num_threads * _ROUNDS * kernels.multiply_adds(1)
        label = f"the kernels' multiply-adds, {num_threads} thread{'s' * (num_threads > 1)}"
        arithmetic = partial(kernels.multiply_adds, _ROUNDS)
    found = time_in_turn(
        {"arithmetic": arithmetic, "copy": partial(np.copyto, copied, source)},
        rounds=10,
        burst=5,
        warm_up=1,
    )
    seconds = {name: float(values.min()) for name, values in found.items()}
    return Rates(2 * number / seconds["arithmetic"], 2 * source.nbytes / seconds["copy"], label)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    names = {key.strip(): value.strip() for key, value in facts.items()}
    # A Raspberry Pi's kernel names the board and not the core.
    name = names.get("model name") or names.get("Model") or platform.processor()
    return name or platform.machine()


def _whose_threads() -> str:
    if extension.has_pool():
        return "the kernels' own"
    compiled = extension.loaded()
    return "OpenMP's" if compiled is not None and compiled.OPENMP else "none but the caller"


def _describe_blas() -> str:
    try:
        import threadpoolctl
    except ImportError:
        build: Any = np.show_config(mode="dicts")
        blas = build["Build Dependencies"]["blas"]
        return (
            f"{blas['name']} {blas['version']} "
            "(core and threads: pip install threadpoolctl, and ask again)"
        )
    for pool in threadpoolctl.threadpool_info():
        if pool["user_api"] == "blas":
            core = pool.get("architecture", "unknown")
            return (
                f"{pool['internal_api']} {pool['version']}, core {core}, "
                f"{pool['num_threads']} threads"
            )
    return "unknown to threadpoolctl"


def _slowdowns() -> list[str]:
    compiled = extension.loaded()
    if compiled is None:
        return ["The compiled kernels are missing: everything runs in plain NumPy."]
    found = [
        f"{variable}=TRUE runs {operation} in plain NumPy."
        for operation, variable in extension.FORCE_FALLBACK.items()
        if extension.is_forced(variable)
    ]
    fastest = extension.usable_instruction_sets()[0]
    if extension.instruction_set() != fastest:
        found.append(f"VIMNP_ISA keeps the kernels from {fastest}, which this machine has.")
    if compiled.IMITATED:
        found.append("The kernels imitate AVX-512 with AVX2: this build is for tests.")
    if not compiled.OPENMP and not compiled.POOL:
        found.append("The kernels were built for one thread.")
    if "OPENBLAS_CORETYPE" in os.environ:
        found.append(
            f"OPENBLAS_CORETYPE={os.environ['OPENBLAS_CORETYPE']} fixes the kernels of NumPy's "
            "matrix products; unset, OpenBLAS takes the fastest for this machine."
        )
    if os.environ.get("OMP_WAIT_POLICY", "").lower() == "active":
        found.append(
            "OMP_WAIT_POLICY=active keeps our threads spinning while NumPy's need the cores."
        )
    return found
