"""Programs for tests: run on the instruction set in use, on tokens that a test makes."""

from __future__ import annotations

import numpy as np

from vimnp.engine.builder import Builder
from vimnp.engine.packing import PackedMatrix, Packing
from vimnp.engine.program import Array, Program
from vimnp.runtime import extension


def packed(weights: np.ndarray) -> PackedMatrix:
    """Of a matrix (inputs, outputs)."""
    kernels = extension.kernels()
    assert kernels is not None
    return Packing(kernels.width, kernels.panel).pack(weights.T)


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


def reading_tokens(
    rows: int, channels: int, out: tuple[int, int], *, coarse: bool = False
) -> tuple[Builder, Array]:
    """A builder whose input is tokens (1, rows, channels), and the array that has them then.

    They come as a picture of one column of patches, multiplied with the unit matrix.
    """
    b = Builder((1, rows, channels), out, coarse=coarse)
    tokens = b.array(rows, channels)
    with b.rows(rows):
        b.embed(
            tokens,
            packed(np.eye(channels, dtype=np.float32)),
            np.zeros(channels, np.float32),
            np.arange(rows, dtype=np.intc),
            patch=(1, channels),
            stride=1,
        )
    return b, tokens
