"""The order in which a network likes its classes: the same one for predictions and accuracy."""

from __future__ import annotations

import numpy as np

from vimnp.errors import ImageError


def best_first(logits: np.ndarray) -> np.ndarray:
    """Classes in the order of their logits.

    Parameters
    ----------
    logits : ndarray of float32, shape (classes,)

    Returns
    -------
    ndarray of int, shape (classes,)
        Indices, the largest logit's first; among equal ones the lower index comes first.

    Raises
    ------
    ImageError
        If a logit is NaN or infinite: no order of the classes would mean anything then.
    """
    wrong = np.count_nonzero(~np.isfinite(logits))
    if wrong:
        raise ImageError(
            f"{wrong} of the network's {len(logits)} logits are not finite; expected numbers: look "
            "for what is not finite in the picture's array, or too large in the weights"
        )
    return np.argsort(-logits, kind="stable")
