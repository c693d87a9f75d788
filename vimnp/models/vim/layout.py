"""A network's parameters between layouts: out of one backend's, and into another's.

Plain is what a pickled model holds, whatever it ran on: matrices (inputs, outputs), and everything
else as it is. Nothing is computed, so that what is laid out again has the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vimnp.models.vim.config import VimConfig
from vimnp.models.vim.parameters import Layout, Parameters, Room

MATRICES = frozenset({"patch_proj", "in_proj", "x_proj", "dt_proj", "out_proj", "head"})
"""Fields of the parameters that a backend's :data:`vimnp.models.vim.parameters.Layout` has made."""


def with_matrices(
    parameters: Parameters,
    matrix: Callable[[str, np.ndarray], np.ndarray],
    array: Callable[[np.ndarray], np.ndarray] = lambda array: array,
) -> Parameters:
    """Others in the place of the arrays; what several fields share, they share again.

    Parameters
    ----------
    parameters : Parameters
    matrix : callable
        Makes what stands for a matrix, given its field and its array.
    array : callable
        Makes what stands for every other array; by default the array itself.
    """
    made: dict[int, np.ndarray] = {}

    def other(value: Any, field: str = "") -> Any:
        if isinstance(value, np.ndarray):
            if id(value) not in made:
                made[id(value)] = matrix(field, value) if field in MATRICES else array(value)
            return made[id(value)]
        if hasattr(value, "_fields"):  # a NamedTuple
            return type(value)(*map(other, value, value._fields))
        return tuple(map(other, value)) if isinstance(value, tuple) else value

    found: Parameters = other(parameters)
    return found


def lay_out(config: VimConfig, plain: Parameters, layout: Layout) -> Parameters:
    """Copies of plain parameters, as a backend reads them, in one room.

    Parameters
    ----------
    config : VimConfig
    plain : Parameters
    layout : callable
        Of the matrices that are multiplied with.
    """
    room = Room.of(config)
    return with_matrices(plain, lambda _, matrix: layout(matrix.T, room.empty), room.copy)
