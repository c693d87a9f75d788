"""What the kernels' products with int8_per_channel are to compute, in NumPy: the same integers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vimnp.weights.encodings import Encoded, whole_numbers

_LEAST = np.float32(2.0**-100)  # below it, 127 over the largest number of a row may overflow


class QuantisedRows(NamedTuple):
    """Rows of whole numbers.

    Parameters
    ----------
    whole : ndarray of int64, shape (rows, inputs)
        From -127 to 127.
    scales : ndarray of float32, shape (rows,)
        NaN where something was not finite.
    """

    whole: np.ndarray
    scales: np.ndarray


def quantise_rows(x: np.ndarray, smooth: np.ndarray | None = None) -> QuantisedRows:
    """Rows as whole numbers: x / smooth / scale, ties to even, scale the largest over 127.

    Parameters
    ----------
    x : ndarray of float32, shape (rows, inputs)
    smooth : ndarray of float32, shape (inputs,), optional
    """
    with np.errstate(over="ignore", invalid="ignore"):
        x = x if smooth is None else x * (np.float32(1) / smooth)
        largest = np.abs(x).max(axis=1)
        finite = np.isfinite(largest)
        some = finite & (largest >= _LEAST)
        inverse = np.divide(np.float32(127), largest, out=np.zeros_like(largest), where=some)
        whole = np.rint(np.where(finite[:, None], x, 0) * inverse[:, None]).astype(np.int64)
    scales = np.where(some, largest / np.float32(127), np.float32(0))
    return QuantisedRows(whole, np.where(finite, scales, np.float32(np.nan)))


def weights_of(matrix: Encoded) -> tuple[np.ndarray, np.ndarray]:
    """A matrix's whole numbers, int64 (outputs, inputs), and its scales, float32 (outputs,)."""
    assert matrix.scales is not None
    whole = whole_numbers(matrix.dtype, matrix.codes)
    rows = whole.reshape(16 * len(whole), -1)[: matrix.outputs, : matrix.inputs]
    return rows.astype(np.int64), matrix.scales.reshape(-1)[: matrix.outputs]


def sums_of(x: np.ndarray, matrix: Encoded) -> np.ndarray:
    """The exact sums of whole numbers, int64 (rows, outputs)."""
    return quantise_rows(x, matrix.smooth).whole @ weights_of(matrix)[0].T


def product(x: np.ndarray, matrix: Encoded) -> np.ndarray:
    """``x @ matrix.T`` in float32, every step rounded once: the kernels' own bits."""
    of_outputs = sums_of(x, matrix).astype(np.float32) * weights_of(matrix)[1]
    with np.errstate(over="ignore"):  # of the largest numbers
        return of_outputs * quantise_rows(x, matrix.smooth).scales[:, None]
