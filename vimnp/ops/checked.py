"""The public operations: arguments checked, layouts and broadcasting as in the original functions.

Compiled where the extension is there, plain NumPy where not (:mod:`vimnp.ops.kernels` chooses, and
says so). Arrays are float32; :mod:`vimnp.reference` has the same functions for any floating dtype.

Shapes: b batch, d channels, l tokens, n states, g groups, w taps.
"""

from __future__ import annotations

import math

import numpy as np

from vimnp.ops import kernels
from vimnp.ops.kernels import Filter, ScanInputs, aligned_empty
from vimnp.ops.limits import MAX_D_CONV, MAX_D_STATE
from vimnp.ops.modes import SCAN_MODES, UNFUSED_MODES
from vimnp.ops.reference import Direction, refuse_complex
from vimnp.runtime.threads import resolve_num_threads

ACTIVATIONS = (None, "silu", "swish")  # the last two are the same


def causal_conv1d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    activation: str | None = None,
    *,
    num_threads: int | None = None,
) -> np.ndarray:
    """Depthwise causal convolution, then SiLU where asked (``causal_conv1d_fn``).

    ``out[..., t] = bias + sum_k weight[:, k] * x[..., t - w + 1 + k]`` with zeros before the start.

    Parameters
    ----------
    x : ndarray of float32, shape (b, d, l)
    weight : ndarray of float32, shape (d, w)
        At most 64 taps.
    bias : ndarray of float32, shape (d,), optional
    activation : {None, "silu", "swish"}
    num_threads : int, optional
        See :func:`vimnp.threads.resolve_num_threads`. The result's bits do not depend on it.

    Returns
    -------
    ndarray of float32, shape (b, d, l)

    Raises
    ------
    TypeError
        If an argument is no array of float32.
    ValueError
        If a shape does not fit, or the activation is unknown.
    """
    _expect_tokens("x", x)
    batch, channels, length = x.shape
    _expect_array("weight", weight)
    if weight.ndim != 2 or weight.shape[0] != channels or not 1 <= weight.shape[1] <= MAX_D_CONV:
        raise ValueError(
            f"weight has shape {weight.shape}; expected (d, w) with d = {channels}, as x has, and "
            f"w from 1 to {MAX_D_CONV}"
        )
    _expect_optional("bias", bias, (channels,))
    _expect_choice("activation", activation, ACTIVATIONS)
    num_threads = resolve_num_threads(num_threads)

    filter = Filter(_contiguous(weight.T), None if bias is None else _contiguous(bias))
    out = np.empty_like(x, order="C")
    for b in range(batch if out.size else 0):
        result = aligned_empty(length, channels)
        kernels.causal_conv1d(
            _contiguous(x[b].T),
            (filter,),
            (result,),
            silu=activation is not None,
            num_threads=num_threads,
        )
        out[b] = result.T
    return out


def selective_scan(
    u: np.ndarray,
    delta: np.ndarray,
    A: np.ndarray,
    B: np.ndarray,
    C: np.ndarray,
    D: np.ndarray | None = None,
    z: np.ndarray | None = None,
    delta_bias: np.ndarray | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
    *,
    method: str = "sequential",
    num_threads: int | None = None,
) -> np.ndarray | tuple[np.ndarray, ...]:
    """Selective scan (``selective_scan_fn``; Mamba, algorithm 2).

    ``h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t`` and ``out_t = (C_t . h_t + D u_t) silu(z_t)``
    with ``h_{-1} = 0``.

    Parameters
    ----------
    u, delta : ndarray of float32, shape (b, d, l)
    A : ndarray of float32, shape (d, n)
        At most 256 states.
    B, C : ndarray of float32, shape (d, n), (b, n, l) or (b, g, n, l)
        Constant, per token, or per token and group of d / g neighbouring channels.
    D : ndarray of float32, shape (d,), optional
    z : ndarray of float32, shape (b, d, l), optional
    delta_bias : ndarray of float32, shape (d,), optional
        Added to delta before the softplus.
    delta_softplus : bool
    return_last_state : bool
    method : {"sequential", "fixlen"}
        State and output token by token, or first all states (of a run of tokens), then all outputs.
    num_threads : int, optional
        See :func:`vimnp.threads.resolve_num_threads`. The result's bits do not depend on it.

    Returns
    -------
    out : ndarray of float32, shape (b, d, l)
    last_state : ndarray of float32, shape (b, d, n)
        Only if `return_last_state`.

    Raises
    ------
    TypeError
        If an argument is no array of float32.
    ValueError
        If a shape does not fit, or the method is unknown.
    """
    _expect_choice("method", method, UNFUSED_MODES)
    direction = Direction(u, delta, A, B, C, D, delta_bias)
    _expect_direction(direction)
    _expect_optional("z", z, u.shape)
    num_threads = resolve_num_threads(num_threads)

    return _scan([direction], z, delta_softplus, False, return_last_state, method, num_threads)


def selective_scan_bidirectional(
    forward: Direction,
    backward: Direction,
    z: np.ndarray | None = None,
    delta_softplus: bool = False,
    if_divide_out: bool = False,
    return_last_state: bool = False,
    *,
    method: str = "fused",
    num_threads: int | None = None,
) -> np.ndarray | tuple[np.ndarray, ...]:
    """Sum of a forward and a backward selective scan (Vision Mamba, algorithm 1).

    The backward scan begins at the last token. Both directions' arrays, and the output, stand in
    the original order of time: nothing is to be flipped before or after.

    Parameters
    ----------
    forward, backward : Direction
        The arguments of :func:`selective_scan` for each direction, of the same b, d, l and n.
    z : ndarray of float32, shape (b, d, l), optional
        Gates the sum by ``silu(z)``.
    delta_softplus : bool
    if_divide_out : bool
        Halve the sum.
    return_last_state : bool
    method : {"sequential", "fixlen", "fused", "fused_fixlen"}
        One direction after the other, state and output token by token, or first all states, then
        all outputs; or both directions in one pass, in either way.
    num_threads : int, optional
        See :func:`vimnp.threads.resolve_num_threads`. The result's bits do not depend on it.

    Returns
    -------
    out : ndarray of float32, shape (b, d, l)
    last_state, last_state_b : ndarray of float32, shape (b, d, n)
        After the last and after the first token. Only if `return_last_state`.

    Raises
    ------
    TypeError
        If an argument is no array of float32.
    ValueError
        If a shape does not fit, or the method is unknown.
    """
    _expect_choice("method", method, SCAN_MODES)
    _expect_direction(forward, "forward.")
    _expect_direction(backward, "backward.")
    _expect_shape("backward.u", backward.u, forward.u.shape)
    _expect_shape("backward.A", backward.A, forward.A.shape)
    _expect_optional("z", z, forward.u.shape)
    directions = [forward, backward]
    return _scan(
        directions, z, delta_softplus, if_divide_out, return_last_state, method, num_threads
    )


def _scan(
    directions: list[Direction],
    z: np.ndarray | None,
    delta_softplus: bool,
    if_divide_out: bool,
    return_last_state: bool,
    method: str,
    num_threads: int | None,
) -> np.ndarray | tuple[np.ndarray, ...]:
    """Cut into scans that the kernels take: one image, one group of channels, token-major."""
    num_threads = resolve_num_threads(num_threads)
    batch, channels, length = directions[0].u.shape
    out = np.empty((batch, channels, length), np.float32)
    if not out.size:
        if not return_last_state:
            return out
        return (out, *(np.zeros((batch, *d.A.shape), np.float32) for d in directions))
    last_states = [np.empty((batch, *d.A.shape), np.float32) for d in directions]
    for b in range(batch):
        for group in _groups(directions):
            inputs = tuple(_scan_inputs(d, b, group) for d in directions)
            result = aligned_empty(length, group.stop - group.start)
            states = tuple(np.zeros(part.A.shape, np.float32) for part in inputs)
            kernels.selective_scan(
                inputs,
                None if z is None else _contiguous(z[b, group].T),
                result,
                states,
                delta_softplus=delta_softplus,
                if_divide_out=if_divide_out,
                scan_mode=method,
                num_threads=num_threads,
            )
            out[b, group] = result.T
            for last_state, state in zip(last_states, states, strict=True):
                last_state[b, group] = state.T
    return (out, *last_states) if return_last_state else out


def _groups(directions: list[Direction]) -> list[slice]:
    """Runs of channels that share one B and one C in every direction."""
    channels = directions[0].u.shape[1]
    matrices = [matrix for d in directions for matrix in (d.B, d.C)]
    number = math.lcm(*(matrix.shape[1] for matrix in matrices if matrix.ndim == 4))
    width = channels // number
    return [slice(g * width, (g + 1) * width) for g in range(number)]


def _scan_inputs(direction: Direction, b: int, group: slice) -> ScanInputs:
    u, delta, A, B, C, D, delta_bias = direction
    return ScanInputs(
        _contiguous(u[b, group].T),
        _contiguous(delta[b, group].T),
        _contiguous(A[group].T),
        _coefficients(B, u, b, group),
        _coefficients(C, u, b, group),
        None if D is None else _contiguous(D[group]),
        None if delta_bias is None else _contiguous(delta_bias[group]),
        B_constant=B.ndim == 2,
        C_constant=C.ndim == 2,
    )


def _coefficients(matrix: np.ndarray, u: np.ndarray, b: int, group: slice) -> np.ndarray:
    """B or C for one image and group: (n, d) where constant, else (l, n)."""
    if matrix.ndim == 2:
        return _contiguous(matrix[group].T)
    if matrix.ndim == 3:
        return _contiguous(matrix[b].T)
    channels_per_group = u.shape[1] // matrix.shape[1]
    return _contiguous(matrix[b, group.start // channels_per_group].T)


def _contiguous(array: np.ndarray) -> np.ndarray:
    copy = aligned_empty(*array.shape)
    copy[...] = array
    return copy


def _expect_direction(direction: Direction, prefix: str = "") -> None:
    u, delta, A, B, C, D, delta_bias = direction
    _expect_tokens(f"{prefix}u", u)
    batch, channels, length = u.shape
    _expect_shape(f"{prefix}delta", delta, u.shape)
    _expect_array(f"{prefix}A", A)
    if A.ndim != 2 or A.shape[0] != channels or not 1 <= A.shape[1] <= MAX_D_STATE:
        raise ValueError(
            f"{prefix}A has shape {A.shape}; expected (d, n) with d = {channels}, as u has, and n "
            f"from 1 to {MAX_D_STATE}"
        )
    d_state = A.shape[1]
    for name, matrix in ((f"{prefix}B", B), (f"{prefix}C", C)):
        _expect_array(name, matrix)
        shapes = [(channels, d_state), (batch, d_state, length)]
        if matrix.ndim == 4 and matrix.shape[1] and channels % matrix.shape[1] == 0:
            shapes.append((batch, matrix.shape[1], d_state, length))
        if matrix.shape not in shapes:
            raise ValueError(
                f"{name} has shape {matrix.shape}; expected {shapes[0]}, {shapes[1]} or "
                f"({batch}, g, {d_state}, {length}) with g a divisor of {channels}"
            )
    _expect_optional(f"{prefix}D", D, (channels,))
    _expect_optional(f"{prefix}delta_bias", delta_bias, (channels,))


def _expect_tokens(name: str, array: np.ndarray) -> None:
    _expect_array(name, array)
    if array.ndim != 3 or array.shape[1] == 0:
        raise ValueError(
            f"{name} has shape {array.shape}; expected (b, d, l) with at least one channel"
        )


def _expect_optional(name: str, array: np.ndarray | None, shape: tuple[int, ...]) -> None:
    if array is not None:
        _expect_shape(name, array, shape)


def _expect_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    _expect_array(name, array)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {shape}")


def _expect_array(name: str, array: object) -> None:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} is a {type(array).__name__}; expected a NumPy array of float32")
    refuse_complex(name, array)
    if array.dtype != np.float32:
        raise TypeError(
            f"{name} has dtype {array.dtype}; expected float32: convert it with "
            f"{name}.astype(np.float32)"
        )


def _expect_choice(name: str, value: object, choices: tuple[str | None, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; expected one of {choices}")
