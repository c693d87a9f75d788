"""The header of a ``.npy`` member, read without trust."""

from __future__ import annotations

import functools
import io
import warnings

import numpy as np
from numpy.lib import format as npy_format

HEADER_LIMIT = 1 << 10  # bytes; ours take 128
_HEADER_START = 10  # of them before its text: magic, version, and the text's length


def parse_header(start: bytes) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, order, dtype and length of the header that a ``.npy`` member starts with.

    Layers have the same headers, and NumPy takes long to parse one: a network has but a few.
    """
    return _parse_whole_header(start[: _HEADER_START + int.from_bytes(start[8:10], "little")])


@functools.lru_cache(maxsize=64)
def _parse_whole_header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    file = io.BytesIO(header)
    if npy_format.read_magic(file) != (1, 0):
        raise ValueError("not version 1.0 of the .npy format")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Python's and NumPy's, of odd spellings
        shape, fortran, dtype = npy_format.read_array_header_1_0(file, max_header_size=HEADER_LIMIT)
    return shape, fortran, dtype, file.tell()
