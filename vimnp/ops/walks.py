"""The order in which a scan passes the tokens of a picture; ``csrc/walk.h`` is its compiled form.

What stands at a place in memory stays there: a walk says where the scan goes next.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Walk(NamedTuple):
    """Rows of an array in lines of tokens, one line after the other.

    Parameters
    ----------
    first : int
        Row of the first token.
    stride : int
        Rows from a token to the next of its line; negative where the walk goes backwards.
    length : int
        Tokens of a line.
    line_stride : int
        Rows from a line's first token to that of the next line.
    lines : int
    """

    first: int
    stride: int
    length: int
    line_stride: int
    lines: int

    @classmethod
    def rows(cls, height: int, width: int) -> Walk:
        """A picture's rows, from the top, each from the left; the place (y, x) is row y * w + x."""
        return cls(0, 1, width, width, height)

    @classmethod
    def columns(cls, height: int, width: int) -> Walk:
        """A picture's columns, from the left, each from the top."""
        return cls(0, width, height, 1, width)

    def backward(self) -> Walk:
        """The same tokens, the last one first."""
        last = self.first + (self.length - 1) * self.stride + (self.lines - 1) * self.line_stride
        return Walk(last, -self.stride, self.length, -self.line_stride, self.lines)

    def order(self) -> np.ndarray:
        """The rows in the order of the walk, (lines * length,) of intp."""
        lines = self.first + self.line_stride * np.arange(self.lines)
        return (lines[:, None] + self.stride * np.arange(self.length)).reshape(-1)

    def is_of_every_row(self, rows: int) -> bool:
        """Whether it passes each of so many rows once, and no other."""
        if self.lines < 1 or self.length < 1 or self.lines * self.length != rows:
            return False
        before = (self.length - 1) * min(self.stride, 0)
        before += (self.lines - 1) * min(self.line_stride, 0)
        return self.first + before == 0 and self._steps_fill()

    def _steps_fill(self) -> bool:
        """Whether lines lie side by side, or their tokens between each other's, without a gap."""
        within, across = abs(self.stride), abs(self.line_stride)
        if self.length == 1 or self.lines == 1:
            return 1 in (self.lines * self.length, across if self.length == 1 else within)
        return (within, across) in ((1, self.length), (self.lines, 1))

    def step(self) -> int | None:
        """Rows from each token to the next, where all are as far apart; else None."""
        if self.lines == 1:
            return self.stride
        if self.length == 1:
            return self.line_stride
        return self.stride if self.line_stride == self.length * self.stride else None


def cross_walks(height: int, width: int) -> tuple[Walk, Walk, Walk, Walk]:
    """The four directions of VMamba's cross-scan: rows, columns, and both backwards."""
    rows, columns = Walk.rows(height, width), Walk.columns(height, width)
    return rows, columns, rows.backward(), columns.backward()
