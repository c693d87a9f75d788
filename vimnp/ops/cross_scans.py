"""VMamba's cross-scan as public operations: arguments checked, layouts as in the original's.

Four directions pass a picture: its rows, its columns, and both backwards. The scan is compiled
where the extension is there (:mod:`vimnp.ops.kernels` chooses). To put tokens in order, or back and
add them up, moves memory alone: that is NumPy's work anywhere. Arrays are float32;
:mod:`vimnp.reference` has the same functions for any floating dtype.

Shapes: b batch, d channels, h height, w width, l = h * w tokens, n states.
"""

from __future__ import annotations

import numpy as np

from vimnp.counts import checked_count
from vimnp.ops import batches, reference
from vimnp.ops.arguments import expect_array, expect_optional, expect_pictures, expect_shape
from vimnp.ops.limits import MAX_D_STATE
from vimnp.runtime.threads import resolve_num_threads


def cross_scan(x: np.ndarray) -> np.ndarray:
    """Lay out a picture's tokens in the order of each of four directions.

    It is ``CrossScan`` of MzeroMiko/VMamba (Liu et al. 2024). Row by row, column by column, and
    both backwards. :func:`selective_scan_2d` needs no such copy: it reads every token at its place.

    Parameters
    ----------
    x : ndarray of float32, shape (b, d, h, w)
        Pictures of h * w tokens.

    Returns
    -------
    ndarray of float32, shape (b, 4, d, l)
        A copy of all tokens for each direction, l = h * w.

    Raises
    ------
    TypeError
        If x is no array of float32.
    ValueError
        If its shape does not fit.

    Examples
    --------
    >>> x = np.array([[[[1, 2], [3, 4]]]], np.float32)
    >>> vimnp.cross_scan(x)[0, :, 0]  # rows, columns, and both backwards
    array([[1., 2., 3., 4.],
           [1., 3., 2., 4.],
           [4., 3., 2., 1.],
           [4., 2., 3., 1.]], dtype=float32)
    """
    expect_pictures("x", x)
    return reference.cross_scan(x)


def cross_merge(ys: np.ndarray, h: int, w: int) -> np.ndarray:
    """Sum four directions' tokens, each back at its place.

    It is ``CrossMerge`` of MzeroMiko/VMamba (Liu et al. 2024), which undoes the order of
    :func:`cross_scan`.

    Parameters
    ----------
    ys : ndarray of float32, shape (b, 4, d, l)
        Each direction's tokens in its own order, as :func:`cross_scan` gives them.
    h, w : int
        Height and width of the picture.

    Returns
    -------
    ndarray of float32, shape (b, d, h, w)
        At each token's place what the four directions have for it.

    Raises
    ------
    TypeError
        If ys is no array of float32.
    ValueError
        If its shape does not fit the picture's, or a side is no whole number.

    Examples
    --------
    >>> x = np.array([[[[1, 2], [3, 4]]]], np.float32)
    >>> vimnp.cross_merge(vimnp.cross_scan(x), 2, 2)[0, 0]  # each token once for each direction
    array([[ 4.,  8.],
           [12., 16.]], dtype=float32)
    """
    expect_array("ys", ys)
    h, w = (checked_count(name, side, least=0) for name, side in (("h", h), ("w", w)))
    if ys.ndim != 4 or ys.shape[1] != 4 or ys.shape[2] == 0 or ys.shape[3] != h * w:
        raise ValueError(
            f"ys has shape {ys.shape}; expected (b, 4, d, {h * w}), four directions of {h} x {w} "
            "tokens, with at least one channel"
        )
    return reference.cross_merge(ys, h, w)


def selective_scan_2d(
    u: np.ndarray,
    delta: np.ndarray,
    A: np.ndarray,
    B: np.ndarray,
    C: np.ndarray,
    D: np.ndarray | None = None,
    delta_bias: np.ndarray | None = None,
    delta_softplus: bool = False,
    *,
    num_threads: int | None = None,
) -> np.ndarray:
    """Sum a picture's selective scans in four directions (VMamba's SS2D, Liu et al. 2024).

    Each direction has its own step sizes and parameters, and reads the same u. Everything stands at
    the tokens' places, whatever the order in which a direction comes to them: it is what
    ``cross_merge(selective_scan(cross_scan(u), ...))`` gives, without the copies.

    Parameters
    ----------
    u : ndarray of float32, shape (b, d, h, w)
        Inputs, a token at each place.
    delta : ndarray of float32, shape (b, 4, d, h, w)
        Step sizes. Directions: row by row, column by column, and both backwards.
    A : ndarray of float32, shape (4, d, n)
        The diagonal of each channel's state matrix, of at most 256 states.
    B, C : ndarray of float32, shape (b, 4, n, h, w)
        Each token's, the same for every channel.
    D : ndarray of float32, shape (4, d), optional
        What of each input goes past the states; nothing by default.
    delta_bias : ndarray of float32, shape (4, d), optional
        Added to delta before the softplus.
    delta_softplus : bool
        Whether delta goes through ``log(1 + exp(.))`` first.
    num_threads : int, optional
        See :func:`vimnp.threads.resolve_num_threads`. The result's bits do not depend on it.

    Returns
    -------
    ndarray of float32, shape (b, d, h, w)
        At each token's place the sum of the four directions' outputs.

    Raises
    ------
    TypeError
        If an argument is no array of float32.
    ValueError
        If a shape does not fit, or the number of threads is not allowed.

    Examples
    --------
    >>> u = np.zeros((1, 1, 2, 2), np.float32)
    >>> u[..., 0, 0] = 1  # a token that every direction passes on
    >>> steps, ones = np.ones((1, 4, 1, 2, 2), np.float32), np.ones((1, 4, 1, 2, 2), np.float32)
    >>> A = np.full((4, 1, 1), -np.log(2), np.float32)  # a step of 1 halves the state
    >>> vimnp.selective_scan_2d(u, steps, A, ones, ones)[0, 0].round(4)
    array([[4.  , 0.75],
           [0.75, 0.25]], dtype=float32)
    """
    expect_pictures("u", u)
    batch, channels, height, width = u.shape
    expect_shape("delta", delta, (batch, 4, channels, height, width))
    expect_array("A", A)
    if A.ndim != 3 or A.shape[:2] != (4, channels) or not 1 <= A.shape[2] <= MAX_D_STATE:
        raise ValueError(
            f"A has shape {A.shape}; expected (4, d, n) with d = {channels}, as u has, and n from "
            f"1 to {MAX_D_STATE}"
        )
    for name, matrix in (("B", B), ("C", C)):
        expect_shape(name, matrix, (batch, 4, A.shape[2], height, width))
    expect_optional("D", D, (4, channels))
    expect_optional("delta_bias", delta_bias, (4, channels))
    num_threads = resolve_num_threads(num_threads)
    return batches.scan_2d(u, delta, A, B, C, D, delta_bias, delta_softplus, num_threads)
