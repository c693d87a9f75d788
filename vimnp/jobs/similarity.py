"""Which pictures' features point the same way."""

from __future__ import annotations

import numpy as np

_AT_ONCE = 4096  # rows, which are turned into float64


def cosines(features: np.ndarray, query: np.ndarray) -> np.ndarray:
    """The cosine of the angle between a vector and each row.

    Parameters
    ----------
    features : ndarray of float32, shape (pictures, dim)
    query : ndarray of float32, shape (dim,)

    Returns
    -------
    ndarray of float64, shape (pictures,)
        NaN where a row has NaN, or no direction: all of it, or of the query, is 0.
    """
    found = np.empty(len(features))
    query = query.astype(np.float64)
    length = np.sqrt(np.einsum("i,i->", query, query))
    for begin in range(0, len(features), _AT_ONCE):
        rows = features[begin : begin + _AT_ONCE].astype(np.float64)
        # einsum sums each row by itself: how many there are, and the threads, change no bit.
        lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows)) * length
        products = np.einsum("ij,j->i", rows, query)
        with np.errstate(divide="ignore", invalid="ignore"):
            found[begin : begin + _AT_ONCE] = products / lengths
    return found


def most_similar(
    features: np.ndarray, query: np.ndarray, top_k: int, without: int | None = None
) -> list[tuple[int, float]]:
    """The rows with the largest cosine, best first; of equal ones the earlier row comes first.

    Parameters
    ----------
    features, query
        As for :func:`cosines`.
    top_k : int
        How many; fewer where there are fewer rows with a cosine.
    without : int, optional
        A row that is left out: the query's own.

    Returns
    -------
    list of (int, float)
        Rows, and their cosines.
    """
    scores = cosines(features, query)
    if without is not None:
        scores[without] = np.nan
    order = np.argsort(-scores, kind="stable")  # NaN comes last
    best = [int(row) for row in order[:top_k] if not np.isnan(scores[row])]
    return [(row, float(scores[row])) for row in best]
