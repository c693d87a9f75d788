"""Products of whole numbers in NumPy: what the kernels compute, to be read and held against.

Activations become whole numbers of 8 bits, a token at a time: weights have a scale for each output
(:mod:`vimnp.weights.encodings`), tokens one for each. So a sum over all inputs is one of whole
numbers, and exact. BLAS adds such sums up in float32, which is exact in any order as long as no
sum exceeds 2^24: 1,040 products of 127 by 127.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vimnp.weights.encodings import whole_numbers

if TYPE_CHECKING:
    from vimnp.weights.encodings import Encoded

EXACT_INPUTS = (1 << 24) // (127 * 127)
"""Inputs whose products' sum float32 holds exactly."""

_LEAST = np.float32(2.0**-100)  # below it, 127 over the largest number of a row might overflow
_INFINITY = 0x7F800000  # the bits of float32's, which those of NaN exceed
_SIZE = 0x7FFFFFFF  # all bits of a float32 but its sign


class Int8Matrix:
    """A matrix (inputs, outputs) of whole numbers, as NumPy multiplies with it.

    Parameters
    ----------
    encoded : Encoded
        Stored as int8_per_channel.

    Attributes
    ----------
    encoded : Encoded
    dtype : str
        That of `encoded`.
    whole : ndarray of float32, shape (inputs, outputs)
        From -127 to 127.
    scales : ndarray of float32, shape (outputs,)
    inverse_smooth : ndarray of float32, shape (inputs,), or None
        What activations are multiplied by first.
    """

    def __init__(self, encoded: Encoded) -> None:
        assert encoded.scales is not None
        self.encoded = encoded
        self.dtype, self.inputs, self.outputs = encoded.dtype, encoded.inputs, encoded.outputs
        whole = whole_numbers(encoded.dtype, encoded.codes)
        rows = whole.reshape(len(whole) * whole.shape[1], -1)[: self.outputs, : self.inputs]
        self.whole = np.ascontiguousarray(rows.T, np.float32)
        self.scales = encoded.scales.reshape(-1)[: self.outputs]
        smooth = encoded.smooth
        self.inverse_smooth = None if smooth is None else np.float32(1) / smooth

    def multiply(self, x: np.ndarray, out: np.ndarray) -> None:
        """``out = x @ matrix``, about.

        Parameters
        ----------
        x : ndarray of float32, shape (tokens, inputs)
        out : ndarray of float32, shape (tokens, outputs)
        """
        if self.inverse_smooth is not None:
            with np.errstate(over="ignore"):  # such a token is not finite
                x = x * self.inverse_smooth
        whole, scales = quantise_tokens(x)
        np.multiply(self.sums(whole), self.scales, out=out)
        with np.errstate(invalid="ignore"):  # a token that is not finite
            out *= scales[:, None]

    def sums(self, tokens: np.ndarray) -> np.ndarray:
        """Sums of products of whole numbers, each of them rounded to float32 once.

        Parameters
        ----------
        tokens : ndarray of float32, shape (tokens, inputs)
            Whole numbers from -127 to 127.

        Returns
        -------
        ndarray of float32, shape (tokens, outputs)
        """
        if self.inputs <= EXACT_INPUTS:
            return tokens @ self.whole
        sums = np.zeros((len(tokens), self.outputs))  # float64, which holds all of them
        for begin in range(0, self.inputs, EXACT_INPUTS):
            part = slice(begin, begin + EXACT_INPUTS)
            sums += tokens[:, part] @ self.whole[part]
        return sums.astype(np.float32)


def quantise_tokens(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tokens as whole numbers of 8 bits: x / scale, ties to even; scale is the largest over 127.

    Parameters
    ----------
    x : ndarray of float32, shape (tokens, inputs)

    Returns
    -------
    whole : ndarray of float32, shape (tokens, inputs)
        From -127 to 127; zeros where nothing exceeds 2^-100, or something is not finite.
    scales : ndarray of float32, shape (tokens,)
        NaN where something is not finite.
    """
    x = np.ascontiguousarray(x, np.float32)
    bits = (x.view(np.int32) & _SIZE).max(axis=1)  # of finite numbers, their order is the sizes'
    largest = bits.view(np.float32)
    is_finite = bits < _INFINITY
    counts = is_finite & (largest >= _LEAST)
    inverse = np.divide(np.float32(127), largest, out=np.zeros_like(largest), where=counts)
    if is_finite.all():
        whole = x * inverse[:, None]
    else:
        whole = np.where(is_finite[:, None], x, np.float32(0)) * inverse[:, None]
    np.rint(whole, out=whole)
    scales = np.zeros_like(largest)
    np.divide(largest, np.float32(127), out=scales, where=counts)
    scales[~is_finite] = np.nan
    return whole, scales
