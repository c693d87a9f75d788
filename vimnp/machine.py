"""What a forward pass runs on here, and what slows it down."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vimnp import blas as numpys_blas
from vimnp import extension
from vimnp.backends import resolve_backend
from vimnp.threads import resolve_num_threads
from vimnp.timing import time_in_turn


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
        Whether the kernels can use more than one thread.
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
        num_threads=resolve_num_threads(),
        blas=f"{_describe_blas()}; {numpys_blas.policy()}",
        python=platform.python_version(),
        numpy=np.__version__,
        slowdowns=tuple(_slowdowns()),
    )


class Rates(NamedTuple):
    """What this machine does in a second.

    Parameters
    ----------
    flops : float
        Floating-point operations of a large float32 matrix product, a multiply-add counted as two.
    bytes : float
        Read and written in copying an array that no cache holds.
    """

    flops: float
    bytes: float


def measure_rates() -> Rates:
    """Time a product of 512x512 and a copy of 64 MB, on NumPy's present threads."""
    square = np.ones((512, 512), np.float32)
    source = np.ones(1 << 24, np.float32)
    product, copied = np.empty_like(square), np.empty_like(source)
    found = time_in_turn(
        {
            "product": lambda: np.matmul(square, square, out=product),
            "copy": lambda: np.copyto(copied, source),
        },
        rounds=5,
        warm_up=1,
    )
    seconds = {name: float(np.median(values)) for name, values in found.items()}
    return Rates(2 * 512**3 / seconds["product"], 2 * source.nbytes / seconds["copy"])


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
    if not compiled.OPENMP:
        found.append("The kernels were built without OpenMP and use one thread.")
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
