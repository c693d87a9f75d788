"""Tokens that lie in a grid, in plain NumPy: windows of neighbours, gathered to rows.

Row ``y * columns + x`` of an array is the token on line y, column x. Dense convolution and the
merging of patches are products with such rows.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def token_patches(
    tokens: np.ndarray,
    *,
    grid: tuple[int, int],
    kernel: tuple[int, int],
    stride: int,
    padding: int | tuple[int, int] = 0,
    columns_first: bool = False,
) -> np.ndarray:
    """Windows of a grid, from left to right and top to bottom, a row each.

    Parameters
    ----------
    tokens : ndarray, shape (lines * columns, channels)
    grid, kernel : tuple of int
        Lines and columns: of the grid, and of a window.
    stride : int
        Tokens from a window to the next.
    padding : int or tuple of int
        Lines and columns of zeros on every side, or before the first and after the last.
    columns_first : bool
        A row has its window's tokens column by column; line by line by default.

    Returns
    -------
    ndarray, shape (windows, tokens of a window * channels)
        A copy, which may be written.
    """
    before, after = (padding, padding) if isinstance(padding, int) else padding
    edges = ((before, after), (before, after), (0, 0))
    padded = np.pad(tokens.reshape(*grid, tokens.shape[1]), edges)
    windows = sliding_window_view(padded, kernel, axis=(0, 1))[::stride, ::stride]
    order = (0, 1, 4, 3, 2) if columns_first else (0, 1, 3, 4, 2)  # from (y, x, channel, i, j)
    number = windows.shape[0] * windows.shape[1]
    gathered = windows.transpose(order).copy()  # a lone window would be a view, and read-only
    return gathered.reshape(number, kernel[0] * kernel[1] * tokens.shape[1])
