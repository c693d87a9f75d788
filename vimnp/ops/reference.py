"""Every operation in plain NumPy: the fallback where nothing is compiled, and the tests' oracle.

The functions take the original's layouts and compute in the dtype that they are given, so that
float64 makes them the oracle; float16 is computed in float32, as in the original. They refuse
complex numbers and check nothing else: :mod:`vimnp.ops` has the same functions with checks.

Sources: Mamba (Gu & Dao 2023), algorithm 2; Vision Mamba (Zhu et al. 2024), algorithm 1;
``selective_scan_ref`` in ``mamba_ssm/ops/selective_scan_interface.py`` and ``causal_conv1d_ref``
in ``causal_conv1d/causal_conv1d_interface.py``.

Shapes: b batch, d channels, l tokens, n states, g groups, w taps, k lines and columns of a kernel.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Literal, NamedTuple, ParamSpec, TypeVar, overload

import numpy as np

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def _without_warnings(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """NaN and infinity pass without a warning, as when compiled.

    A new errstate for each call: NumPy 1's is no decorator for what may be called from several
    threads at once.
    """

    @functools.wraps(function)
    def quiet(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with np.errstate(over="ignore", invalid="ignore"):
            return function(*args, **kwargs)

    return quiet


class Direction(NamedTuple):
    """What one direction of a bidirectional scan reads, in the original order of time.

    Parameters
    ----------
    u, delta : ndarray of float32, shape (b, d, l)
        Input and step size. :mod:`vimnp.reference` takes any floating dtype, here and below.
    A : ndarray of float32, shape (d, n)
        State matrix (its diagonal, one for each channel).
    B, C : ndarray of float32, shape (d, n), (b, n, l) or (b, g, n, l)
        Input and output matrices: constant, per token, or per token and group of channels.
    D : ndarray of float32, shape (d,), optional
        Skip connection.
    delta_bias : ndarray of float32, shape (d,), optional
        Added to `delta`, before the softplus.
    """

    u: np.ndarray
    delta: np.ndarray
    A: np.ndarray
    B: np.ndarray
    C: np.ndarray
    D: np.ndarray | None = None
    delta_bias: np.ndarray | None = None

    def reversed(self) -> Direction:
        """Reverse time: the same arrays from the last token to the first, as views."""
        B, C = (m if m.ndim == 2 else m[..., ::-1] for m in (self.B, self.C))
        return self._replace(u=self.u[..., ::-1], delta=self.delta[..., ::-1], B=B, C=C)


def refuse_complex(name: str, array: np.ndarray) -> None:
    """Raise TypeError for complex numbers, which no operation takes.

    Parameters
    ----------
    name : str
        What the message calls the array.
    array : ndarray of any dtype, any shape
        Nothing but its dtype is looked at.
    """
    if array.dtype.kind == "c":
        raise TypeError(
            f"{name} has dtype {array.dtype}; expected real numbers, since complex states are not "
            f"supported: if all imaginary parts are zero, give {name}.real"
        )


@_without_warnings
def silu(x: np.ndarray) -> np.ndarray:
    """Apply SiLU, ``x * sigmoid(x)`` (Hendrycks & Gimpel 2016).

    Parameters
    ----------
    x : ndarray of any floating dtype, any shape
        Each number by itself.

    Returns
    -------
    ndarray of any floating dtype, of x's shape
        In x's dtype.
    """
    return x / (1 + np.exp(-x))  # exp(-x) may be infinite: the quotient is then zero


@_without_warnings
def softplus(x: np.ndarray) -> np.ndarray:
    """Apply softplus, ``log(1 + exp(x))``.

    It equals PyTorch's, which is the identity above 20.

    Parameters
    ----------
    x : ndarray of any floating dtype, any shape
        Each number by itself.

    Returns
    -------
    ndarray of any floating dtype, of x's shape
        In x's dtype.
    """
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


@_without_warnings
def gelu(x: np.ndarray) -> np.ndarray:
    """Apply the exact GELU, computed in float64; see :func:`vimnp.ops.gelu`.

    Phi is ``erfc(-x / sqrt(2)) / 2``, which loses nothing where it is small.
    """
    refuse_complex("x", x)
    wide = x.astype(np.float64)
    phi = np.fromiter(map(math.erfc, (wide * -math.sqrt(0.5)).ravel().tolist()), float, x.size) / 2
    return (wide * phi.reshape(x.shape)).astype(x.dtype)


def layer_norm(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float = 1e-5
) -> np.ndarray:
    """Normalise over the last axis; see :func:`vimnp.ops.layer_norm`."""
    for name, array in {"x": x, "weight": weight, "bias": bias}.items():
        refuse_complex(name, array)
    rows = _widened(x.reshape(-1, x.shape[-1]))
    out = norm(rows, _widened(weight), _widened(bias), eps)
    return out.astype(x.dtype, copy=False).reshape(x.shape)


@_without_warnings
def norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, epsilon: float) -> np.ndarray:
    """Normalise each token: by RMSNorm (Zhang & Sennrich 2019), or LayerNorm where it has a bias.

    Parameters
    ----------
    x : ndarray of any floating dtype, shape (l, d)
        A token in each row.
    weight : ndarray of any floating dtype, shape (d,)
        What each channel is multiplied by.
    bias : ndarray of any floating dtype, shape (d,), or None
        What is added to each channel. None makes it an RMSNorm, which subtracts no mean.
    epsilon : float
        Added to the mean square, or to the variance, before the root.

    Returns
    -------
    ndarray of any floating dtype, shape (l, d)
        In the dtype that NumPy has for x and the weight together.
    """
    if bias is not None:
        x = x - x.mean(axis=1, keepdims=True)
    out = x / np.sqrt((x * x).mean(axis=1, keepdims=True) + epsilon) * weight
    return out if bias is None else out + bias


@overload
def causal_conv1d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    activation: str | None = None,
    *,
    initial_states: np.ndarray | None = None,
    return_final_states: Literal[False] = False,
) -> np.ndarray: ...
@overload
def causal_conv1d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    activation: str | None = None,
    *,
    initial_states: np.ndarray | None = None,
    return_final_states: Literal[True],
) -> tuple[np.ndarray, np.ndarray]: ...
def causal_conv1d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    activation: str | None = None,
    *,
    initial_states: np.ndarray | None = None,
    return_final_states: bool = False,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Convolve each channel with the tokens before; see :func:`vimnp.ops.causal_conv1d`."""
    convolved = convolve(x, weight, bias, activation, initial_states)
    return (convolved.out, convolved.final_states) if return_final_states else convolved.out


def causal_conv1d_update(
    x: np.ndarray,
    conv_state: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    activation: str | None = None,
) -> np.ndarray:
    """Convolve the next tokens of each sequence; see :func:`vimnp.ops.causal_conv1d_update`."""
    tokens = x if x.ndim == 3 else x[..., None]
    before = conv_state[..., conv_state.shape[2] - (weight.shape[1] - 1) :]
    out = convolve(tokens, weight, bias, activation, before).out
    conv_state[...] = shifted(conv_state, tokens)
    return out.reshape(x.shape)


def shifted(conv_state: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The inputs that a state (b, d, s) holds after x (b, d, l): as many as before, newest last."""
    return np.concatenate([conv_state, x], axis=2)[..., x.shape[2] :]


class Convolved(NamedTuple):
    """Output (b, d, l), and the last inputs (b, d, w - 1), both of x's dtype."""

    out: np.ndarray
    final_states: np.ndarray


@_without_warnings
def convolve(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    activation: str | None,
    initial_states: np.ndarray | None,
) -> Convolved:
    """Convolve x, before which came `initial_states` (b, d, w - 1), or zeros."""
    dtype = x.dtype
    x, weight, bias = _widened(x), _widened(weight), None if bias is None else _widened(bias)
    taps, length = weight.shape[1], x.shape[2]
    if initial_states is None:
        initial_states = np.zeros((*x.shape[:2], taps - 1), x.dtype)
    padded = np.concatenate([initial_states, x], axis=2, dtype=x.dtype)  # (b, d, w - 1 + l)
    out = np.zeros_like(x)
    for k in range(taps):
        out += weight[:, k, None] * padded[..., k : k + length]
    if bias is not None:
        out += bias[:, None]
    if activation is not None:
        out = silu(out)
    return Convolved(out.astype(dtype, copy=False), padded[..., length:].astype(dtype, copy=False))


@_without_warnings
def conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    activation: str | None = None,
) -> np.ndarray:
    """Convolve each channel of pictures; see :func:`vimnp.ops.conv2d`."""
    for name, array in {"x": x, "weight": weight, "bias": bias}.items():
        if array is not None:
            refuse_complex(name, array)
    dtype, (height, width), kernel = x.dtype, x.shape[2:], weight.shape[2]
    x, weight = _widened(x), _widened(weight)
    out = np.zeros_like(x)
    for i, j in itertools.product(range(kernel), repeat=2):
        lines, lines_under = _overlap(height, i - kernel // 2)
        columns, columns_under = _overlap(width, j - kernel // 2)
        under_tap = x[:, :, lines_under, columns_under]
        out[:, :, lines, columns] += weight[:, 0, i, j, None, None] * under_tap
    if bias is not None:
        out += _widened(bias)[:, None, None]
    if activation is not None:
        out = silu(out)
    return out.astype(dtype, copy=False)


def _overlap(size: int, distance: int) -> tuple[slice, slice]:
    """Of so many places those that have another so far ahead of them, and these others."""
    begin, end = max(0, -distance), max(0, size - max(0, distance))
    return slice(begin, max(begin, end)), slice(begin + distance, max(begin, end) + distance)


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
    initial_state: np.ndarray | None = None,
    method: str = "sequential",
) -> np.ndarray | tuple[np.ndarray, ...]:
    """Scan sequences selectively; see :func:`vimnp.ops.selective_scan`."""
    if initial_state is not None:
        refuse_complex("initial_state", initial_state)
    direction = Direction(u, delta, A, B, C, D, delta_bias)
    initial_states = None if initial_state is None else [initial_state]
    scan = scan_directions([direction], z, delta_softplus, False, method, initial_states)
    return (scan.out, *scan.last_states) if return_last_state else scan.out


def selective_state_update(
    state: np.ndarray,
    x: np.ndarray,
    dt: np.ndarray,
    A: np.ndarray,
    B: np.ndarray,
    C: np.ndarray,
    D: np.ndarray | None = None,
    z: np.ndarray | None = None,
    dt_bias: np.ndarray | None = None,
    dt_softplus: bool = False,
) -> np.ndarray:
    """Scan the next token of each sequence; see :func:`vimnp.ops.selective_state_update`."""
    for name, array in {"state": state, "x": x, "dt": dt, "dt_bias": dt_bias}.items():
        if array is not None:
            refuse_complex(name, array)  # the scan has other names for them
    token = one_token(x, dt, A, B, C, D, dt_bias)
    gate = None if z is None else z[..., None]
    scan = scan_directions([token], gate, dt_softplus, False, "sequential", [state])
    state[...] = scan.last_states[0]
    return scan.out[..., 0]


def one_token(
    x: np.ndarray,
    dt: np.ndarray,
    A: np.ndarray,
    B: np.ndarray,
    C: np.ndarray,
    D: np.ndarray | None,
    dt_bias: np.ndarray | None,
) -> Direction:
    """The arguments of :func:`selective_state_update` as a scan's, of a single token."""
    return Direction(x[..., None], dt[..., None], A, B[..., None], C[..., None], D, dt_bias)


def selective_scan_bidirectional(
    forward: Direction,
    backward: Direction,
    z: np.ndarray | None = None,
    delta_softplus: bool = False,
    if_divide_out: bool = False,
    return_last_state: bool = False,
    *,
    method: str = "fused",
) -> np.ndarray | tuple[np.ndarray, ...]:
    """Sum a forward and a backward scan; see :func:`vimnp.ops.selective_scan_bidirectional`."""
    scan = scan_directions([forward, backward], z, delta_softplus, if_divide_out, method)
    return (scan.out, *scan.last_states) if return_last_state else scan.out


def cross_scan(x: np.ndarray) -> np.ndarray:
    """Lay out a picture's tokens in four orders; see :func:`vimnp.ops.cross_scan`."""
    refuse_complex("x", x)
    batch, channels, height, width = x.shape
    shape = (batch, channels, height * width)
    tokens = np.empty((batch, 4, *shape[1:]), x.dtype)
    tokens[:, 0] = x.reshape(shape)
    tokens[:, 1] = x.swapaxes(2, 3).reshape(shape)
    tokens[:, 2:] = tokens[:, :2, :, ::-1]
    return tokens


def cross_merge(ys: np.ndarray, h: int, w: int) -> np.ndarray:
    """Sum the tokens of four orders at their places; see :func:`vimnp.ops.cross_merge`."""
    refuse_complex("ys", ys)
    batch, _, channels, _ = ys.shape
    both = _widened(ys[:, :2]) + _widened(ys[:, 2:, :, ::-1])
    rows = both[:, 0].reshape(batch, channels, h, w)
    columns = both[:, 1].reshape(batch, channels, w, h)
    return (rows + columns.swapaxes(2, 3)).astype(ys.dtype, copy=False)


@_without_warnings
def selective_scan_2d(
    u: np.ndarray,
    delta: np.ndarray,
    A: np.ndarray,
    B: np.ndarray,
    C: np.ndarray,
    D: np.ndarray | None = None,
    delta_bias: np.ndarray | None = None,
    delta_softplus: bool = False,
) -> np.ndarray:
    """Sum four scans of a picture; see :func:`vimnp.ops.selective_scan_2d`.

    They are scanned side by side: one pass over time is enough.
    """
    dtype, batch, height, width = u.dtype, u.shape[0], *u.shape[2:]
    wide = _widened_direction(Direction(u, delta, A, B, C, D, delta_bias))

    def of_each(parameter: np.ndarray) -> np.ndarray:
        """(4, ...) -> (4 b, ...)."""
        parameters = np.broadcast_to(parameter, (batch, *parameter.shape))
        return parameters.reshape(4 * batch, *parameter.shape[1:])

    def in_order(pictures: np.ndarray) -> np.ndarray:
        """(b, 4, d, h, w), each direction's -> (4 b, d, l)."""
        tokens = np.stack([cross_scan(pictures[:, k])[:, k] for k in range(4)], axis=1)
        return tokens.reshape(-1, *tokens.shape[2:])

    directions = Direction(
        cross_scan(wide.u).reshape(4 * batch, u.shape[1], -1),
        in_order(wide.delta),
        of_each(wide.A),
        in_order(wide.B),
        in_order(wide.C),
        None if wide.D is None else of_each(wide.D),
        None if wide.delta_bias is None else of_each(wide.delta_bias),
    )
    ys, _ = _scan(directions, delta_softplus, False, None)
    merged = cross_merge(ys.reshape(batch, 4, *ys.shape[1:]), height, width)
    return merged.astype(dtype, copy=False)


class ScanResult(NamedTuple):
    """What a scan of one direction or two gives.

    Parameters
    ----------
    out : ndarray of any floating dtype, shape (b, d, l)
        The output, in the dtype of the first direction's u.
    last_states : list of ndarray of any floating dtype, shape (b, d, n)
        For each direction the state after its last token; of float16 in float32.
    """

    out: np.ndarray
    last_states: list[np.ndarray]


@_without_warnings
def scan_directions(
    directions: list[Direction],
    z: np.ndarray | None,
    delta_softplus: bool,
    if_divide_out: bool,
    method: str,
    initial_states: list[np.ndarray] | None = None,
) -> ScanResult:
    """Scan forward, and backward if there are two directions; add up, gate, halve where asked.

    Parameters
    ----------
    directions : list of Direction
        One or two, of any floating dtype. Those of float16 are computed in float32.
    z : ndarray of any floating dtype, shape (b, d, l), or None
        Gates the sum by ``silu(z)``.
    delta_softplus : bool
        Whether delta goes through ``log(1 + exp(.))`` first.
    if_divide_out : bool
        Whether the sum is halved.
    method : {"sequential", "fixlen", "fused", "fused_fixlen"}
        As for :func:`vimnp.ops.selective_scan_bidirectional`.
    initial_states : list of ndarray of any floating dtype, shape (b, d, n), optional
        The state before each direction's first token; zero by default.

    Returns
    -------
    ScanResult
        The output, and the state that each direction ends in.

    Raises
    ------
    TypeError
        If an array holds complex numbers.
    """
    dtype = directions[0].u.dtype
    initial_states = [_widened(state) for state in initial_states or ()]
    directions = [_widened_direction(direction) for direction in directions]
    if len(directions) == 2:
        directions = [directions[0], directions[1].reversed()]
    if method.startswith("fused") and len(directions) == 2:
        # One pass over time for both: two scans side by side in one batch.
        both = _scan(
            _side_by_side(*directions),
            delta_softplus,
            method.endswith("fixlen"),
            np.concatenate(initial_states) if initial_states else None,
        )
        outs, states = (np.split(array, 2) for array in both)
    else:
        scans = [
            _scan(d, delta_softplus, method == "fixlen", state)
            for d, state in itertools.zip_longest(directions, initial_states)
        ]
        outs, states = ([scan[i] for scan in scans] for i in range(2))
    out = outs[0] if len(outs) == 1 else outs[0] + outs[1][..., ::-1]
    if z is not None:
        refuse_complex("z", z)
        out *= silu(_widened(z))
    if if_divide_out:
        out /= 2
    return ScanResult(out.astype(dtype, copy=False), states)


def _widened(array: np.ndarray) -> np.ndarray:
    """float16 as float32, in which the original computes."""
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _widened_direction(direction: Direction) -> Direction:
    given = {name: array for name, array in direction._asdict().items() if array is not None}
    for name, array in given.items():
        refuse_complex(name, array)
    return direction._replace(**{name: _widened(array) for name, array in given.items()})


def _scan(
    direction: Direction, delta_softplus: bool, fixlen: bool, initial_state: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Output (b, d, l) before the gate, and last state (b, d, n).

    Here A may also be (b, d, n), and D and delta_bias (b, d): scans side by side in one batch.
    """
    u, delta, A, B, C, D, delta_bias = direction
    if delta_bias is not None:
        delta = delta + delta_bias[..., None]
    if delta_softplus:
        delta = softplus(delta)
    B, C = (_time_first(_per_token(matrix, u)) for matrix in (B, C))  # (l, b or 1, d or 1, n)
    delta_u = _time_first(delta * u)[..., None]  # (l, b, d, 1)
    delta = _time_first(delta)[..., None]
    state = np.zeros((*u.shape[:2], A.shape[-1]), u.dtype)  # (b, d, n)
    if initial_state is not None:
        state[...] = initial_state
    states = np.empty((len(delta), *state.shape), u.dtype) if fixlen else None
    y = np.empty(delta.shape[:3], u.dtype)  # (l, b, d)
    for t in range(len(delta)):
        state = _decay(delta[t] * A) * state + delta_u[t] * B[t]
        if states is None:
            y[t] = np.einsum("bdn,bdn->bd", state, C[t])
        else:
            states[t] = state
    if states is not None:
        y = np.einsum("lbdn,lbdn->lbd", states, C)
    out = np.moveaxis(y, 0, 2)
    return out if D is None else out + u * D[..., None], state


def _decay(exponents: np.ndarray) -> np.ndarray:
    """exp, right to the last place in float32 too.

    NumPy's own of float32 may be two units off, near 1 always to the same side: over thousands of
    tokens, states that decay slowly would be ten times as wrong as PyTorch's.
    """
    return np.exp(exponents, dtype=np.float64).astype(exponents.dtype, copy=False)


def _time_first(array: np.ndarray) -> np.ndarray:
    """(..., l) -> (l, ...), contiguous: as the loop over time reads it."""
    return np.ascontiguousarray(np.moveaxis(array, -1, 0))


def _per_token(matrix: np.ndarray, u: np.ndarray) -> np.ndarray:
    """B or C in any of its layouts -> (b or 1, d or 1, n, l)."""
    if matrix.ndim == 2:  # (d, n): constant
        return np.broadcast_to(matrix[None, :, :, None], (1, *matrix.shape, u.shape[2]))
    if matrix.ndim == 3:  # (b, n, l): the same for every channel
        return matrix[:, None]
    groups = matrix.shape[1]
    if groups == 1:
        return matrix
    return np.repeat(matrix, u.shape[1] // groups, axis=1)  # (b, g, n, l) -> (b, d, n, l)


def _side_by_side(first: Direction, second: Direction) -> Direction:
    """Two directions as one of twice the batch, with parameters for each entry of it."""
    batch, channels, length = first.u.shape

    def both(a: np.ndarray, b: np.ndarray, *shape: int) -> np.ndarray:
        return np.concatenate([np.broadcast_to(x, (batch, *shape)) for x in (a, b)])

    def both_optional(a: np.ndarray | None, b: np.ndarray | None) -> np.ndarray | None:
        if a is None and b is None:
            return None
        zeros = np.zeros(channels, first.u.dtype)
        return both(zeros if a is None else a, zeros if b is None else b, channels)

    def both_matrices(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a, b = (_per_token(x, first.u) for x in (a, b))
        return both(a, b, max(a.shape[1], b.shape[1]), *a.shape[2:])

    return Direction(
        both(first.u, second.u, channels, length),
        both(first.delta, second.delta, channels, length),
        both(first.A, second.A, *first.A.shape),
        both_matrices(first.B, second.B),
        both_matrices(first.C, second.C),
        both_optional(first.D, second.D),
        both_optional(first.delta_bias, second.delta_bias),
    )
