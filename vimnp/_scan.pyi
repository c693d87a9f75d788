"""Types of the compiled kernels; meanings stand in vimnp.kernels."""

import numpy as np

from vimnp.kernels import Filter, ScanInputs

version: str
OPENMP: bool
MAX_D_STATE: int
MAX_D_CONV: int

def instruction_sets() -> dict[str, bool]: ...
def use_instruction_set(name: str) -> None: ...
def apply(name: str, x: np.ndarray, out: np.ndarray) -> None: ...
def causal_conv1d(
    x: np.ndarray,
    filters: tuple[Filter, ...],
    outs: tuple[np.ndarray, ...],
    *,
    silu: bool,
    num_threads: int,
) -> None: ...
def fused_add_norm(
    residual: np.ndarray,
    hidden: np.ndarray | None,
    weight: np.ndarray,
    bias: np.ndarray | None,
    out: np.ndarray,
    *,
    epsilon: float,
    num_threads: int,
) -> None: ...
def selective_scan(
    directions: tuple[ScanInputs, ...],
    z: np.ndarray | None,
    out: np.ndarray,
    *,
    delta_softplus: bool,
    fixlen: bool,
    fused: bool,
    scale: float,
    last_states: tuple[np.ndarray, ...] | None,
    num_threads: int,
) -> None: ...
