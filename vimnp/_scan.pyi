"""Types of the compiled kernels; meanings stand in vimnp.ops.kernels and vimnp.engine.program."""

from typing import Any

import numpy as np

version: str
OPENMP: bool
POOL: bool
IMITATED: bool
MAX_D_STATE: int
MAX_D_CONV: int
PROGRAM_LIMITS: dict[str, int]

def instruction_sets() -> dict[str, bool]: ...
def threads_that_come(num_threads: int, seconds: float) -> int: ...

class Kernels:
    name: str
    def __init__(self, name: str | None = None) -> None: ...
    @property
    def width(self) -> int: ...
    @property
    def panel(self) -> int: ...
    @property
    def inputs_at_once(self) -> int: ...
    def program(self, described: object) -> Program: ...
    def apply(self, name: str, x: np.ndarray, out: np.ndarray) -> None: ...
    def causal_conv1d(
        self,
        x: np.ndarray,
        filters: tuple[tuple[np.ndarray, np.ndarray | None], ...],
        outs: tuple[np.ndarray, ...],
        *,
        silu: bool,
        num_threads: int,
        state: np.ndarray | None = None,
        coarse: bool = False,
    ) -> None: ...
    def conv2d(
        self,
        x: np.ndarray,
        weight: np.ndarray,
        bias: np.ndarray | None,
        out: np.ndarray,
        *,
        grid: tuple[int, int],
        silu: bool,
        num_threads: int,
        coarse: bool = False,
    ) -> None: ...
    def gelu(self, x: np.ndarray, out: np.ndarray, *, num_threads: int) -> None: ...
    def fused_add_norm(
        self,
        residual: np.ndarray,
        hidden: np.ndarray | None,
        weight: np.ndarray,
        bias: np.ndarray | None,
        out: np.ndarray,
        *,
        epsilon: float,
        num_threads: int,
        gate: np.ndarray | None = None,
    ) -> None: ...
    def selective_scan(
        self,
        directions: tuple[tuple[Any, ...], ...],
        z: np.ndarray | None,
        out: np.ndarray,
        *,
        delta_softplus: bool,
        fixlen: bool,
        fused: bool,
        scale: float,
        last_states: tuple[np.ndarray, ...] | None,
        num_threads: int,
        initial_states: tuple[np.ndarray, ...] | None = None,
        walks: tuple[tuple[int, int, int, int, int], ...] | None = None,
        coarse: bool = False,
    ) -> None: ...
    def product(
        self,
        x: np.ndarray,
        panels: object,
        addend: np.ndarray | None,
        out: np.ndarray,
        *,
        rows: tuple[int, int],
        columns: tuple[int, int],
    ) -> None: ...
    def multiply_adds(self, rounds: int) -> int: ...

class Program:
    def __init__(self, kernels: Kernels, described: object) -> None: ...
    def workspace_size(self, num_threads: int) -> int: ...
    def forward(
        self,
        inputs: list[np.ndarray],
        out: np.ndarray,
        memory: np.ndarray,
        *,
        state: np.ndarray | None = None,
        num_threads: int,
        spans: np.ndarray | None,
    ) -> None: ...
