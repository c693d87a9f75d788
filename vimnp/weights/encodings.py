"""Matrices stored small: bfloat16, and whole numbers of 8 or 4 bits with scales.

The products read a matrix just as it stands in the file, so this is at once a format and a packing.

Notes
-----
A matrix (outputs, inputs) is cut into panels of 16 outputs, and its inputs into blocks of 32 (for
bfloat16: into pairs). Rows and inputs that fill the last panel and block are zeros.

================  ================================  ============================================
dtype             codes                             what a code is
================  ================================  ============================================
bfloat16          uint16 (panels, pairs, 16, 2)     the upper half of the float32, rounded to
                                                    even
int8              uint8 (panels, blocks, 8, 16, 4)  128 + q, with q from -127 to 127
int8_per_channel  uint8 (panels, blocks, 8, 16, 4)  the same
int4              uint8 (panels, blocks, 4, 16, 4)  8 + q, with q from -8 to 7: byte i of row j
                                                    holds input 8j + i below, and input
                                                    8j + 4 + i above
================  ================================  ============================================

The scales of int8 and int4 are bfloat16 as uint16 (panels, blocks, 16), one for each 32 inputs, and
a weight is ``q * scale``, which float32 holds exactly. Encoding is fixed to the bit:

- int8: the scale is the block's largest ``|w| / 127``, rounded to the nearest bfloat16 and at least
  2^-126. Rounded so, it is off by less than 2^-8 of itself, which keeps the largest ``|q|`` at 127.
- int4: for each c of :data:`INT4_LARGEST` in turn, the scale is ``m / c``, rounded in the same way
  and of that size at least, where m is the weight of the largest size, with its sign. The first c
  with the least sum of ``((w - q * scale) / m)**2`` is taken. The sign lets the largest weight
  have the code -8, which has no opposite, as in Q4_0 of ggml.
- q is ``w / scale`` rounded to even, in float32; a block of zeros has the scale 0.

So int8 is never off by more than half a scale, and what was decoded is encoded without a loss.

The scales of int8_per_channel are float32 (panels, 16), one for each output, so that a product adds
up whole numbers over all inputs. It may have a third array, ``smooth``, float32 (inputs,): the
weights were multiplied by it before they were rounded, and whoever multiplies with them multiplies
the activations by ``1 / smooth``. Large activations then become smaller at the expense of weights,
which have room for it (SmoothQuant, arXiv 2211.10438). Encoding is fixed to the bit here, too:

- the scale is the row's largest ``|w * smooth| / 127``, and at least 2^-126.
- q is ``w * smooth / scale`` rounded to even, in float32; a row of zeros has the scale 0.

What was decoded may have other scales when it is encoded again, by the last bit, and other codes
where it was smoothed: what is to stay as it is stays encoded.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from vimnp.errors import WeightsError

PANEL = 16
"""Outputs in a panel."""

BLOCK = 32
"""Inputs that share a scale."""

ENCODINGS = ("bfloat16", "int8", "int4")
"""What matrices of language models are stored as."""

PER_CHANNEL = "int8_per_channel"
"""What matrices of picture networks are stored as."""

INT4_LARGEST = (-8.0, -7.0, -7.5, -8.5, -9.0)
"""What the largest weight of a block may come to in int4; of more sizes the error gains little."""

SMALLEST_SMOOTH, LARGEST_SMOOTH = 2.0**-40, 2.0**40
"""What smoothing multiplies weights by; beyond it activations would get out of float32's range."""

_NO_CODE = "int8 codes hold 0; expected 1 to 255, for numbers of -127 to 127"
_LARGEST_WEIGHT = 3e38  # rounded up, it still is a finite bfloat16
_LARGEST_SCALE = 2.5e36  # times 127, it still is finite
_SMALLEST_SCALE = np.float32(2.0**-126)  # below it, bfloat16 rounds more coarsely
_AT_ONCE = 1 << 18  # weights that are encoded together: what is made of them stays in the cache


class Layout(NamedTuple):
    """The arrays of an encoded matrix.

    Parameters
    ----------
    codes : tuple of int
        Shape of the codes.
    codes_dtype : str
    scales : tuple of int or None
        Shape of the scales.
    scales_dtype : str
    """

    codes: tuple[int, ...]
    codes_dtype: str
    scales: tuple[int, ...] | None
    scales_dtype: str = "uint16"


def layout(dtype: str, outputs: int, inputs: int) -> Layout:
    """What arrays :func:`encode` makes. Raises WeightsError for a dtype that is none of these."""
    panels, blocks = -(-outputs // PANEL), -(-inputs // BLOCK)
    if dtype == "bfloat16":
        return Layout((panels, -(-inputs // 2), PANEL, 2), "uint16", None)
    if dtype == "int8":
        return Layout((panels, blocks, 8, PANEL, 4), "uint8", (panels, blocks, PANEL))
    if dtype == "int4":
        return Layout((panels, blocks, 4, PANEL, 4), "uint8", (panels, blocks, PANEL))
    if dtype == PER_CHANNEL:
        return Layout((panels, blocks, 8, PANEL, 4), "uint8", (panels, PANEL), "float32")
    expected = (*ENCODINGS, PER_CHANNEL)
    raise WeightsError(f"matrices cannot be stored as {dtype!r}; expected one of {expected}")


@dataclasses.dataclass(frozen=True, eq=False)
class Encoded:
    """A matrix (outputs, inputs) as it is stored and multiplied with.

    Raises WeightsError when the arrays are not what :func:`layout` says. Their numbers are looked
    at by :meth:`check` alone, because that reads the whole matrix.

    Parameters
    ----------
    dtype : {"bfloat16", "int8", "int4", "int8_per_channel"}
    inputs, outputs : int
    codes : ndarray, C-contiguous
    scales : ndarray of uint16 or float32, C-contiguous, or None for bfloat16
    smooth : ndarray of float32, shape (inputs,), optional
        Of int8_per_channel alone: what the weights were multiplied by.
    """

    dtype: str
    inputs: int
    outputs: int
    codes: np.ndarray
    scales: np.ndarray | None
    smooth: np.ndarray | None = None

    def __post_init__(self) -> None:
        if min(self.inputs, self.outputs) < 1:
            raise WeightsError(
                f"an encoded matrix is {self.outputs} x {self.inputs}; expected at least 1 x 1"
            )
        expected = layout(self.dtype, self.outputs, self.inputs)
        _check_array("codes", self.codes, expected.codes, expected.codes_dtype)
        _check_array("scales", self.scales, expected.scales, expected.scales_dtype)
        if self.smooth is not None:
            shape = (self.inputs,) if self.dtype == PER_CHANNEL else None
            _check_array("smoothing", self.smooth, shape, "float32")

    @property
    def nbytes(self) -> int:
        """Bytes of the codes, the scales and the smoothing."""
        arrays = (self.codes, self.scales, self.smooth)
        return sum(0 if array is None else array.nbytes for array in arrays)

    def scaled(self, factors: np.ndarray) -> Encoded:
        """The same codes with scales multiplied by a factor for each output.

        Parameters
        ----------
        factors : ndarray of float32, shape (outputs,)
            Of a matrix stored as int8_per_channel.
        """
        assert self.dtype == PER_CHANNEL
        assert self.scales is not None
        scales = np.zeros_like(self.scales)
        rows = scales.reshape(-1)[: self.outputs]
        np.multiply(self.scales.reshape(-1)[: self.outputs], factors, out=rows)
        return dataclasses.replace(self, scales=scales)

    def check(self) -> None:
        """Refuse numbers that :func:`encode` does not make. Raises WeightsError."""
        if self.dtype == PER_CHANNEL:
            self._check_per_channel()
            return
        bfloat16s = (self.codes if self.scales is None else self.scales).reshape(-1)
        parts = (bfloat16s[i : i + _AT_ONCE] for i in range(0, len(bfloat16s), _AT_ONCE))
        if any(np.any((part & 0x7F80) == 0x7F80) for part in parts):
            what = "weights" if self.scales is None else "scales"
            raise WeightsError(f"{what} stored as bfloat16 are not finite; expected finite ones")
        if self.dtype == "int8" and not self.codes.all():
            raise WeightsError(_NO_CODE)

    def _check_per_channel(self) -> None:
        assert self.scales is not None
        if self.codes.min() == 0:  # faster than whether all are true
            raise WeightsError(_NO_CODE)
        if not np.all((self.scales >= 0) & (self.scales <= _LARGEST_SCALE)):
            raise WeightsError(
                "a scale of int8 is negative, not finite or too large; expected one from 0 to "
                f"{_LARGEST_SCALE:g}"
            )
        if self.smooth is not None:
            _check_smooth(self.smooth)


def _check_smooth(smooth: np.ndarray) -> None:
    if not np.all((smooth >= SMALLEST_SMOOTH) & (smooth <= LARGEST_SMOOTH)):
        raise WeightsError(
            f"a number of the smoothing is none from {SMALLEST_SMOOTH:g} to {LARGEST_SMOOTH:g}; "
            "expected factors of that size"
        )


def _check_array(
    name: str, array: np.ndarray | None, shape: tuple[int, ...] | None, dtype: str
) -> None:
    found_shape = None if array is None else array.shape
    if found_shape != shape or (array is not None and array.dtype != dtype):
        expected = "none" if shape is None else f"{dtype} {shape}"
        found = "none" if array is None else f"{array.dtype} {array.shape}"
        raise WeightsError(f"the {name} of an encoded matrix are {found}; expected {expected}")
    if array is not None and not array.flags.c_contiguous:
        raise WeightsError(f"the {name} of an encoded matrix have gaps; expected C order")


def encode(dtype: str, matrix: np.ndarray, smooth: np.ndarray | None = None) -> Encoded:
    """Store a matrix small.

    Beside the result it takes a few MB, whatever the matrix. A row's codes depend on that row
    alone, so slices of whole panels can be encoded one at a time: their arrays follow each other in
    those of the whole matrix.

    Parameters
    ----------
    dtype : {"bfloat16", "int8", "int4", "int8_per_channel"}
    matrix : ndarray of floats, shape (outputs, inputs)
    smooth : ndarray of float32, shape (inputs,), optional
        For int8_per_channel: what the weights are multiplied by.

    Returns
    -------
    Encoded

    Raises
    ------
    WeightsError
        When the dtype is another, the matrix is none, or a weight is not finite (or beyond 3e38).
    """
    if matrix.ndim != 2 or not matrix.size:
        raise WeightsError(f"an array {matrix.shape} cannot be encoded; expected a matrix")
    outputs, inputs = matrix.shape
    shapes = layout(dtype, outputs, inputs)
    if smooth is not None:
        _check_array("smoothing", smooth, (inputs,), "float32")
        _check_smooth(smooth)
    codes = np.empty(shapes.codes, shapes.codes_dtype)
    scales = None if shapes.scales is None else np.empty(shapes.scales, shapes.scales_dtype)
    padded = -(-inputs // BLOCK) * BLOCK if scales is not None else -(-inputs // 2) * 2
    step = max(1, _AT_ONCE // (PANEL * padded))
    for start in range(0, len(codes), step):
        part = slice(start, min(start + step, len(codes)))
        weights = np.zeros((part.stop - start, PANEL, padded), np.float32)
        rows = matrix[start * PANEL : part.stop * PANEL]
        weights.reshape(-1, padded)[: len(rows), :inputs] = rows
        if smooth is not None:
            weights[..., :inputs] *= smooth
        _check_weights(weights)
        if scales is None:
            pairs = _rounded(weights).view(np.uint32)
            codes[part].view(np.uint32)[..., 0] = pairs.transpose(0, 2, 1)
        elif dtype == PER_CHANNEL:
            scales[part] = _in_8_bits_by_rows(weights)
            rows_of_codes = _of_8_bits(weights).view(np.uint32).reshape(len(weights), PANEL, -1, 8)
            codes[part].view(np.uint32)[..., 0] = rows_of_codes.transpose(0, 2, 3, 1)
        else:
            blocks = weights.reshape(-1, PANEL, padded // BLOCK, BLOCK)
            whole, scale = _WHOLE_NUMBERS[dtype](blocks)
            rows_of_codes = _BYTES[dtype](whole).view(np.uint32)
            codes[part].view(np.uint32)[..., 0] = rows_of_codes.transpose(0, 2, 3, 1)
            scales[part] = (scale.view(np.uint32) >> 16).transpose(0, 2, 1)
    return Encoded(dtype, inputs, outputs, codes, scales, smooth)


def decode(encoded: Encoded) -> np.ndarray:
    """The weights, as the products see them.

    Returns
    -------
    ndarray of float32, shape (outputs, inputs)
    """
    matrix = np.empty((encoded.outputs, encoded.inputs), np.float32)
    step = max(1, _AT_ONCE // (PANEL * encoded.inputs))
    for start in range(0, len(encoded.codes), step):
        part = slice(start, start + step)
        if encoded.scales is None:
            pairs = encoded.codes[part].view(np.uint32)[..., 0].transpose(0, 2, 1)
            weights = widen(np.ascontiguousarray(pairs).view(np.uint16))
        else:
            weights = whole_numbers(encoded.dtype, encoded.codes[part]).astype(np.float32)
            if encoded.dtype == PER_CHANNEL:
                weights *= encoded.scales[part][..., None, None]
            else:
                weights *= widen(encoded.scales[part]).transpose(0, 2, 1)[..., None]
        rows = matrix[start * PANEL : (start + step) * PANEL]
        rows[:] = weights.reshape(len(weights) * PANEL, -1)[: len(rows), : encoded.inputs]
    if encoded.smooth is not None:
        with np.errstate(over="ignore"):  # only of a hostile file: its reader looks for it
            matrix *= np.float32(1) / encoded.smooth
    return matrix


def widen(bfloat16s: np.ndarray) -> np.ndarray:
    """Numbers stored as bfloat16 (uint16), as float32 of the same shape."""
    return (bfloat16s.astype(np.uint32) << 16).view(np.float32)


def whole_numbers(dtype: str, codes: np.ndarray) -> np.ndarray:
    """The whole numbers that some panels' codes of int8 or int4 stand for.

    Parameters
    ----------
    dtype : {"int8", "int4", "int8_per_channel"}
    codes : ndarray of uint8, shape (panels, blocks, 8 or 4, 16, 4)

    Returns
    -------
    ndarray of int8, shape (panels, 16, blocks, 32)
    """
    panels, blocks = codes.shape[:2]
    by_rows = np.ascontiguousarray(codes.view(np.uint32)[..., 0].transpose(0, 3, 1, 2))
    found = by_rows.view(np.uint8)
    if dtype != "int4":
        return (found ^ 128).view(np.int8)
    fours = found.reshape(panels, PANEL, blocks, 4, 1, 4)
    eights = np.concatenate([fours & 15, fours >> 4], axis=4).view(np.int8)
    eights -= np.int8(8)
    return eights.reshape(panels, PANEL, blocks, BLOCK)


def _check_weights(weights: np.ndarray) -> None:
    if not np.abs(weights).max() <= _LARGEST_WEIGHT:
        raise WeightsError(
            f"a weight is not finite, or beyond {_LARGEST_WEIGHT:g}; expected numbers that can be "
            "stored small"
        )


def _rounded(numbers: np.ndarray) -> np.ndarray:
    """The nearest bfloat16s, ties to even, as uint16."""
    bits = numbers.view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)


def _scale(exact: np.ndarray) -> np.ndarray:
    """Scales that bfloat16 holds, not too small for it; float32."""
    scale = widen(_rounded(exact))
    small = np.abs(scale) < _SMALLEST_SCALE
    return np.where(small, np.copysign(_SMALLEST_SCALE, exact), scale)


def _divided(blocks: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.rint(blocks / scale[..., None])


def _in_8_bits(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers (..., 32) as float32, and scales (...) of blocks of weights."""
    largest = np.abs(blocks).max(axis=-1)
    scale = _scale(largest / np.float32(127))
    return _divided(blocks, scale), np.where(largest == 0, np.float32(0), scale)


def _in_8_bits_by_rows(rows: np.ndarray) -> np.ndarray:
    """Weights (..., inputs) become whole numbers as float32, in place; the scales (...)."""
    largest = np.maximum(rows.max(axis=-1), -rows.min(axis=-1))
    scale = np.maximum(largest / np.float32(127), _SMALLEST_SCALE)
    rows /= scale[..., None]
    np.rint(rows, out=rows)
    return np.where(largest == 0, np.float32(0), scale)


def _in_4_bits(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers (..., 32) as float32, and scales (...) of blocks of weights."""
    where = np.abs(blocks).argmax(axis=-1)[..., None]
    largest = np.take_along_axis(blocks, where, axis=-1)[..., 0]
    zero = largest == 0
    largest = np.where(zero, np.float32(1), largest)
    best = np.zeros_like(blocks)
    best_scale = np.zeros_like(largest)
    least = np.full_like(largest, np.inf)
    for size in INT4_LARGEST:
        scale = _scale(largest / np.float32(size))
        whole = np.clip(_divided(blocks, scale), -8, 7)
        error = np.square((blocks - whole * scale[..., None]) / largest[..., None]).sum(axis=-1)
        better = error < least
        np.copyto(best, whole, where=better[..., None])
        np.copyto(best_scale, scale, where=better)
        np.copyto(least, error, where=better)
    return best, np.where(zero, np.float32(0), best_scale)


def _of_8_bits(whole: np.ndarray) -> np.ndarray:
    """Bytes (panels, 16, blocks, 32) for whole numbers of that shape."""
    return (whole + 128).astype(np.uint8)


def _of_4_bits(whole: np.ndarray) -> np.ndarray:
    """Bytes (panels, 16, blocks, 16) for whole numbers (panels, 16, blocks, 32)."""
    eights = (whole + 8).astype(np.uint8).reshape(*whole.shape[:-1], 4, 2, 4)
    return (eights[..., 0, :] | eights[..., 1, :] << 4).reshape(*whole.shape[:-1], 16)


_WHOLE_NUMBERS = {"int8": _in_8_bits, "int4": _in_4_bits}
_BYTES = {"int8": _of_8_bits, "int4": _of_4_bits}
