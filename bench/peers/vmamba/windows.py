"""Swin's windows: which tokens look at which, as arrays of indices.

Shapes: G rows and columns of tokens, w those of a window, which has w^2 tokens.
"""

from __future__ import annotations

import numpy as np

FAR = -100.0  # what the original adds where a token is not to look


def window_order(grid: int, window: int, shift: int) -> np.ndarray:
    """Tokens window by window, each window row by row: (G^2 / w^2, w^2).

    Parameters
    ----------
    grid : int
        G, a multiple of `window`.
    window : int
    shift : int
        By how many rows and columns the windows begin later; the last ones go on at the beginning.
    """
    places = np.arange(grid**2).reshape(grid, grid)
    return _windows(np.roll(places, (-shift, -shift), (0, 1)), window)


def shift_mask(grid: int, window: int, shift: int) -> np.ndarray:
    """What is added to the attention of shifted windows: float32 (G^2 / w^2, w^2, w^2).

    Tokens of a window that are no neighbours in the picture do not see each other.
    """
    bounds = [grid - window, grid - shift]
    part = np.searchsorted(bounds, np.arange(grid), side="right")
    parts = _windows(3 * part[:, None] + part, window)
    return np.where(parts[:, None] == parts[:, :, None], 0.0, FAR).astype(np.float32)


def relative_positions(window: int) -> np.ndarray:
    """Which row of the table of biases is for a token and another one's place: (w^2, w^2)."""
    rows, columns = (places.ravel() for places in np.indices((window, window)))
    down = rows[:, None] - rows + window - 1
    return down * (2 * window - 1) + columns[:, None] - columns + window - 1


def _windows(grid: np.ndarray, window: int) -> np.ndarray:
    parts = grid.reshape(len(grid) // window, window, -1, window)
    return parts.swapaxes(1, 2).reshape(-1, window**2)
