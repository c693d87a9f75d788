"""What the kernels' products with int8 and int4 are to compute, in NumPy: the same integers.

An input is made whole numbers, too, in blocks of 32 with a scale each. The sum of a block is at
most 32 * 127 * 127, which float32 holds exactly in whatever order BLAS adds it up; what the blocks
come to is added in their order. So the bits of a row do not depend on the other rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vimnp.weights.encodings import BLOCK, PANEL, Encoded, whole_numbers, widen

_LEAST = np.float32(2.0**-100)  # below it, 127 over the largest number of a block may overflow


class Quantised(NamedTuple):
    """Rows of whole numbers.

    Parameters
    ----------
    whole : ndarray of float32, shape (rows, blocks, 32)
        From -127 to 127.
    scales : ndarray of float32, shape (rows, blocks)
        NaN where something was not finite.
    """

    whole: np.ndarray
    scales: np.ndarray


class BlockMatrix(NamedTuple):
    """A matrix (inputs, outputs) of whole numbers, with scales.

    Parameters
    ----------
    whole : ndarray of float32, shape (blocks, 32, outputs)
        Beyond the last input there are zeros.
    scales : ndarray of float32, shape (blocks, outputs)
    """

    whole: np.ndarray
    scales: np.ndarray

    def multiply(self, x: np.ndarray, out: np.ndarray) -> None:
        """``out = x @ matrix``.

        Parameters
        ----------
        x : ndarray of float32, shape (rows, inputs)
        out : ndarray of float32, shape (rows, outputs)
        """
        quantised = quantise(x)
        out[:] = 0
        for block, (whole, scales) in enumerate(zip(self.whole, self.scales, strict=True)):
            sums = quantised.whole[:, block] @ whole
            sums *= quantised.scales[:, block, None] * scales
            out += sums


def quantise(x: np.ndarray) -> Quantised:
    """Rows as whole numbers of 8 bits: x / scale, ties to even, scale the largest of 32 over 127.

    Parameters
    ----------
    x : ndarray of float32, shape (rows, inputs)
    """
    rows, inputs = x.shape
    blocks = np.zeros((rows, -(-inputs // BLOCK) * BLOCK), np.float32)
    blocks[:, :inputs] = x
    blocks = blocks.reshape(rows, -1, BLOCK)
    largest = np.abs(blocks).max(axis=-1)
    finite = np.isfinite(largest)
    some = finite & (largest >= _LEAST)
    inverse = np.divide(np.float32(127), largest, out=np.zeros_like(largest), where=some)
    np.copyto(blocks, 0, where=~finite[..., None])
    scales = np.where(some, largest / np.float32(127), np.float32(0))
    np.copyto(scales, np.nan, where=~finite)
    return Quantised(np.rint(blocks * inverse[..., None]), scales)


def block_matrix(encoded: Encoded) -> BlockMatrix:
    """The numbers of int8 or int4."""
    assert encoded.scales is not None
    panels, blocks = encoded.scales.shape[:2]
    whole = np.empty((blocks, BLOCK, panels, PANEL), np.float32)
    for panel in range(panels):
        of_panel = whole_numbers(encoded.dtype, encoded.codes[panel : panel + 1])[0]
        whole[:, :, panel] = of_panel.transpose(1, 2, 0)
    scales = widen(encoded.scales).transpose(1, 0, 2).reshape(blocks, -1)
    outputs = encoded.outputs
    columns = whole.reshape(blocks, BLOCK, -1)[..., :outputs]
    return BlockMatrix(np.ascontiguousarray(columns), np.ascontiguousarray(scales[:, :outputs]))
