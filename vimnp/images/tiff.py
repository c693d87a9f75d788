"""The size of a TIFF picture's tiles, which pillow does not hold against its limit of pixels.

libtiff unpacks a tile whole, however little of it the picture shows: 400 KB can hold one of
20,000 x 20,000 pixels.
"""

from __future__ import annotations

import struct
from typing import IO

_TILE_WIDTH, _TILE_LENGTH = 322, 323  # tags
_SHORT, _LONG = 3, 4  # types of their values


def largest_tile(file: IO[bytes], offset: int) -> tuple[int, int]:
    """Width and height that the tags give for tiles; 1 where there are none.

    The tags are read here, and not taken from pillow: of two equal ones its list has the last, and
    libtiff takes the first.

    Parameters
    ----------
    file : binary file
        The whole picture.
    offset : int
        Where its tags begin.

    Raises
    ------
    ValueError, struct.error
        If the tags are damaged.
    """
    file.seek(0)
    start = file.read(4)
    order = "<" if start.startswith(b"II") else ">"
    is_big = b"+" in start  # BigTIFF, with longer numbers
    header = struct.Struct(order + ("Q" if is_big else "H"))
    entry = struct.Struct(order + ("HHQ4s4x" if is_big else "HHI4s"))
    file.seek(offset)
    (count,) = header.unpack(file.read(header.size))
    sides = {_TILE_WIDTH: 1, _TILE_LENGTH: 1}
    for _ in range(count):
        tag, kind, length, value = entry.unpack(file.read(entry.size))
        if tag in sides:
            if kind not in (_SHORT, _LONG) or length != 1:
                raise ValueError("the size of its tiles is not a number of 16 or 32 bits")
            (side,) = struct.unpack_from(order + ("H" if kind == _SHORT else "I"), value)
            sides[tag] = max(sides[tag], side)
    return sides[_TILE_WIDTH], sides[_TILE_LENGTH]
