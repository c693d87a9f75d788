"""Programs of the engine: run on one input, and what they multiply with."""

from __future__ import annotations

import numpy as np

from vimnp.engine.packing import PackedMatrix, Packing
from vimnp.engine.program import Program
from vimnp.runtime import extension


def run(
    program: Program, pixels: np.ndarray, num_threads: int, state: np.ndarray | None = None
) -> np.ndarray:
    kernels = extension.kernels()
    assert kernels is not None
    compiled = kernels.program(program)
    out = np.full((1, program.out[0] * program.out[1]), np.nan, np.float32)
    memory = np.full(compiled.workspace_size(num_threads), np.nan, np.float32)
    compiled.forward([pixels], out, memory, state=state, num_threads=num_threads, spans=None)
    return out.reshape(program.out)


def packed(weights: np.ndarray) -> PackedMatrix:
    """Of a matrix (inputs, outputs)."""
    kernels = extension.kernels()
    assert kernels is not None
    return Packing(kernels.width, kernels.panel).pack(weights.T)
