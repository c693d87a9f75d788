"""Types of the compiled kernels; meanings stand in vimnp.ops.kernels."""

import numpy as np

from vimnp.models.vim.config import VimConfig
from vimnp.models.vim.parameters import Parameters
from vimnp.ops.kernels import Filter, ScanInputs

version: str
OPENMP: bool
POOL: bool
MAX_D_STATE: int
MAX_D_CONV: int
STEP_NAMES: tuple[str, ...]

def instruction_sets() -> dict[str, bool]: ...
def threads_that_come(num_threads: int, seconds: float) -> int: ...

class Kernels:
    name: str
    def __init__(self, name: str | None = None) -> None: ...
    @property
    def width(self) -> int: ...
    @property
    def panel(self) -> int: ...
    def network(self, config: VimConfig, parameters: Parameters) -> Network: ...
    def apply(self, name: str, x: np.ndarray, out: np.ndarray) -> None: ...
    def causal_conv1d(
        self,
        x: np.ndarray,
        filters: tuple[Filter, ...],
        outs: tuple[np.ndarray, ...],
        *,
        silu: bool,
        num_threads: int,
    ) -> None: ...
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
    ) -> None: ...
    def selective_scan(
        self,
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
    def product(
        self,
        x: np.ndarray,
        panels: np.ndarray,
        addend: np.ndarray | None,
        out: np.ndarray,
        *,
        rows: tuple[int, int],
        columns: tuple[int, int],
    ) -> None: ...
    def multiply_adds(self, rounds: int) -> int: ...

class Network:
    def __init__(self, kernels: Kernels, config: VimConfig, parameters: Parameters) -> None: ...
    @property
    def images_at_once(self) -> int: ...
    def workspace_size(self, num_threads: int) -> int: ...
    def forward(
        self,
        images: list[np.ndarray],
        out: np.ndarray,
        memory: np.ndarray,
        *,
        output: str,
        num_threads: int,
        spans: np.ndarray | None,
    ) -> None: ...
