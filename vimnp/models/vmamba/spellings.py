"""The names and shapes that a cross-scan block's tensors have had elsewhere: the same numbers."""

from __future__ import annotations

from vimnp.models.vmamba.config import DIRECTIONS

ONE_FILE = {"x_proj.weight": "x_proj_weight", "dt_projs.weight": "dt_projs_weight"}
"""Today's names of two tensors that are layers in the original's version in one file."""

_LINEAR = (
    "in_proj.weight",
    "out_proj.weight",
    "mlp.fc1.weight",
    "mlp.fc2.weight",
    "reduction.weight",
    "classifier.head.weight",
)
_OF_DIRECTIONS = ("x_proj_weight", "dt_projs_weight")


def network_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a tensor has in the network.

    Parameters
    ----------
    name : str
        Today's.
    shape : tuple of int
        As it is stored. A linear map may be a convolution of 1x1, which the original's loader takes
        as well, and the directions may stand one below the other, as in its version in one file.

    Returns
    -------
    tuple of int
        ``shape`` itself, where it is neither.
    """
    if name.endswith(_LINEAR):
        return _without_ones(shape)
    if name.endswith(_OF_DIRECTIONS) and len(shape) != 3:
        flat = _without_ones(shape)
        if len(flat) == 2 and flat[0] % DIRECTIONS == 0:
            return (DIRECTIONS, flat[0] // DIRECTIONS, flat[1])
    return shape


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A matrix's shape without the height and width of a convolution of 1x1."""
    return shape[:2] if set(shape[2:]) == {1} else shape
