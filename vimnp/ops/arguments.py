"""Checks of a user's arguments: one sentence says what was found, and what was expected."""

from __future__ import annotations

import numpy as np

from vimnp.ops.limits import MAX_D_CONV, MAX_D_STATE, MAX_KERNEL
from vimnp.ops.reference import Direction, refuse_complex


def expect_direction(direction: Direction, prefix: str = "") -> None:
    u, delta, A, B, C, D, delta_bias = direction
    expect_tokens(f"{prefix}u", u)
    batch, channels, length = u.shape
    expect_shape(f"{prefix}delta", delta, u.shape)
    expect_array(f"{prefix}A", A)
    if A.ndim != 2 or A.shape[0] != channels or not 1 <= A.shape[1] <= MAX_D_STATE:
        raise ValueError(
            f"{prefix}A has shape {A.shape}; expected (d, n) with d = {channels}, as u has, and n "
            f"from 1 to {MAX_D_STATE}"
        )
    d_state = A.shape[1]
    for name, matrix in ((f"{prefix}B", B), (f"{prefix}C", C)):
        expect_array(name, matrix)
        shapes = [(channels, d_state), (batch, d_state, length)]
        if matrix.ndim == 4 and matrix.shape[1] and channels % matrix.shape[1] == 0:
            shapes.append((batch, matrix.shape[1], d_state, length))
        if matrix.shape not in shapes:
            raise ValueError(
                f"{name} has shape {matrix.shape}; expected {shapes[0]}, {shapes[1]} or "
                f"({batch}, g, {d_state}, {length}) with g a divisor of {channels}"
            )
    expect_optional(f"{prefix}D", D, (channels,))
    expect_optional(f"{prefix}delta_bias", delta_bias, (channels,))


def expect_filter(weight: np.ndarray, bias: np.ndarray | None, channels: int) -> None:
    """A depthwise convolution's, of so many channels as x has."""
    expect_array("weight", weight)
    if weight.ndim != 2 or weight.shape[0] != channels or not 1 <= weight.shape[1] <= MAX_D_CONV:
        raise ValueError(
            f"weight has shape {weight.shape}; expected (d, w) with d = {channels}, as x has, and "
            f"w from 1 to {MAX_D_CONV}"
        )
    expect_optional("bias", bias, (channels,))


def expect_filter_2d(weight: np.ndarray, bias: np.ndarray | None, channels: int) -> None:
    """A depthwise convolution's in two dimensions, of so many channels as x has."""
    expect_array("weight", weight)
    kernels = range(1, MAX_KERNEL + 1, 2)
    if weight.shape not in [(channels, 1, k, k) for k in kernels]:
        raise ValueError(
            f"weight has shape {weight.shape}; expected (d, 1, k, k) with d = {channels}, as x "
            f"has, and k one of {', '.join(map(str, kernels))}"
        )
    expect_optional("bias", bias, (channels,))


def expect_pictures(name: str, array: np.ndarray) -> None:
    expect_array(name, array)
    if array.ndim != 4 or array.shape[1] == 0:
        raise ValueError(
            f"{name} has shape {array.shape}; expected (b, d, h, w) with at least one channel"
        )


def expect_tokens(name: str, array: np.ndarray) -> None:
    expect_array(name, array)
    if array.ndim != 3 or array.shape[1] == 0:
        raise ValueError(
            f"{name} has shape {array.shape}; expected (b, d, l) with at least one channel"
        )


def expect_optional(name: str, array: np.ndarray | None, shape: tuple[int, ...]) -> None:
    if array is not None:
        expect_shape(name, array, shape)


def expect_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    expect_array(name, array)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {shape}")


def expect_updatable(name: str, array: np.ndarray) -> None:
    """An array that is updated in place: every element of it can be written, by itself."""
    if not array.flags.writeable:
        raise ValueError(
            f"{name} is read-only; expected an array that can be updated in place, such as "
            f"{name}.copy()"
        )
    if _elements_overlap(array):
        raise ValueError(
            f"{name} has several elements in the same place of memory (strides {array.strides}); "
            f"expected an array that can be updated in place, such as {name}.copy()"
        )


def _elements_overlap(array: np.ndarray) -> bool:
    """Whether some axis steps back into what the axes of smaller steps cover, as in a broadcast."""
    if not array.size:
        return False
    covered = array.itemsize
    steps = zip(array.strides, array.shape, strict=True)
    for step, size in sorted((abs(step), size) for step, size in steps if size > 1):
        if step < covered:
            return True
        covered += step * (size - 1)
    return False


def expect_array(name: str, array: object) -> None:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} is a {type(array).__name__}; expected a NumPy array of float32")
    refuse_complex(name, array)
    if array.dtype != np.float32:
        raise TypeError(
            f"{name} has dtype {array.dtype}; expected float32: convert it with "
            f"{name}.astype(np.float32)"
        )


def expect_choice(name: str, value: object, choices: tuple[str | None, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; expected one of {choices}")


def expect_at_least_zero(name: str, value: object) -> None:
    is_number = isinstance(value, (int, float, np.integer, np.floating))
    if not is_number or not 0 <= value < np.inf:  # type: ignore[operator]
        raise ValueError(f"{name} is {value!r}; expected a finite number of at least 0")
