"""The public operations: arguments checked, layouts and broadcasting as in the original functions.

Compiled where the extension is there, plain NumPy where not (:mod:`vimnp.ops.kernels` chooses, and
says so). Arrays are float32; :mod:`vimnp.reference` has the same functions for any floating dtype.

Shapes: b batch, d channels, l tokens, n states, g groups, w taps, s inputs that a state holds; of
pictures h the height and w the width, and k the lines and columns of a kernel.
"""

from __future__ import annotations

from typing import Literal, overload

import numpy as np

from vimnp.ops import batches, kernels
from vimnp.ops.arguments import (
    expect_array,
    expect_at_least_zero,
    expect_choice,
    expect_direction,
    expect_filter,
    expect_filter_2d,
    expect_optional,
    expect_pictures,
    expect_shape,
    expect_tokens,
    expect_updatable,
)
from vimnp.ops.limits import MAX_D_STATE
from vimnp.ops.modes import SCAN_MODES, UNFUSED_MODES
from vimnp.ops.reference import Direction, one_token, shifted
from vimnp.runtime.threads import resolve_num_threads

ACTIVATIONS = (None, "silu", "swish")  # the last two are the same


@overload
def causal_conv1d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    activation: str | None = None,
    *,
    initial_states: np.ndarray | None = None,
    return_final_states: Literal[False] = False,
    num_threads: int | None = None,
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
    num_threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]: ...
def causal_conv1d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    activation: str | None = None,
    *,
    initial_states: np.ndarray | None = None,
    return_final_states: bool = False,
    num_threads: int | None = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Convolve each channel with the tokens before, then apply SiLU where asked.

    ``out[..., t] = bias + sum_k weight[:, k] * x[..., t - w + 1 + k]``, where `initial_states` or
    zeros stand before the start. Called again with the final states, it goes on from there: a
    sequence that is cut anywhere gives the bits of the whole. It is ``causal_conv1d_fn`` of
    Dao-AILab/causal-conv1d, the depthwise convolution of Mamba (Gu & Dao 2023).

    Parameters
    ----------
    x : ndarray of float32, shape (b, d, l)
        Inputs of l tokens, the oldest first.
    weight : ndarray of float32, shape (d, w)
        A filter for each channel, whose last tap is for the present token. At most 64 taps.
    bias : ndarray of float32, shape (d,), optional
        Added to each channel, before the activation; zero by default.
    activation : {None, "silu", "swish"}
        The last two are the same.
    initial_states : ndarray of float32, shape (b, d, w - 1), optional
        The inputs before x, the newest last; zeros by default.
    return_final_states : bool
        Whether to give `final_states` as well, to go on from.
    num_threads : int, optional
        See :func:`vimnp.threads.resolve_num_threads`. The result's bits do not depend on it.

    Returns
    -------
    out : ndarray of float32, shape (b, d, l)
        A new array; x stays as it is.
    final_states : ndarray of float32, shape (b, d, w - 1)
        The last inputs, the newest last. Only if `return_final_states`.

    Raises
    ------
    TypeError
        If an argument is no array of float32.
    ValueError
        If a shape does not fit, or the activation or the number of threads is not allowed.

    Examples
    --------
    >>> x = np.array([[[1, 2, 3]]], np.float32)  # one sequence of one channel
    >>> weight = np.array([[10, 1]], np.float32)  # ten times the token before, and the token
    >>> vimnp.causal_conv1d(x, weight)
    array([[[ 1., 12., 23.]]], dtype=float32)
    """
    expect_tokens("x", x)
    expect_filter(weight, bias, x.shape[1])
    expect_choice("activation", activation, ACTIVATIONS)
    expect_optional("initial_states", initial_states, (*x.shape[:2], weight.shape[1] - 1))
    num_threads = resolve_num_threads(num_threads)

    out, final_states = batches.convolve(
        x, weight, bias, activation, initial_states, return_final_states, num_threads
    )
    return out if final_states is None else (out, final_states)


def causal_conv1d_update(
    x: np.ndarray,
    conv_state: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    activation: str | None = None,
    *,
    num_threads: int | None = None,
) -> np.ndarray:
    """Convolve the next tokens of each sequence, and take them into the state.

    It is the function of that name of Dao-AILab/causal-conv1d (Gu & Dao 2023). Token by token, or
    several at a time, it gives the bits of :func:`causal_conv1d`.

    Parameters
    ----------
    x : ndarray of float32, shape (b, d) or (b, d, l)
        The next token of each sequence, or the next ones.
    conv_state : ndarray of float32, shape (b, d, s)
        The inputs before x, the newest last, at least w - 1 of them. It is updated in place: the
        oldest inputs leave it, and x enters. Any writable view will do.
    weight : ndarray of float32, shape (d, w)
        A filter for each channel, whose last tap is for the present token. At most 64 taps.
    bias : ndarray of float32, shape (d,), optional
        Added to each channel, before the activation; zero by default.
    activation : {None, "silu", "swish"}
        The last two are the same.
    num_threads : int, optional
        See :func:`vimnp.threads.resolve_num_threads`. The result's bits do not depend on it.

    Returns
    -------
    ndarray of float32, shape (b, d) or (b, d, l)
        As x has it.

    Raises
    ------
    TypeError
        If an argument is no array of float32.
    ValueError
        If a shape does not fit, the activation or the number of threads is not allowed, or the
        state cannot be updated in place. The state is then as it was.

    Examples
    --------
    >>> weight = np.array([[10, 1]], np.float32)
    >>> state = np.zeros((1, 1, 1), np.float32)
    >>> for token in (1, 2, 3):
    ...     print(vimnp.causal_conv1d_update(np.full((1, 1), token, np.float32), state, weight))
    [[1.]]
    [[12.]]
    [[23.]]
    """
    expect_array("x", x)
    if x.ndim not in (2, 3) or x.shape[1] == 0:
        raise ValueError(
            f"x has shape {x.shape}; expected (b, d) or (b, d, l) with at least one channel"
        )
    expect_filter(weight, bias, x.shape[1])
    expect_array("conv_state", conv_state)
    batch, channels = x.shape[:2]
    taps = weight.shape[1]
    if (
        conv_state.ndim != 3
        or conv_state.shape[:2] != (batch, channels)
        or conv_state.shape[2] < taps - 1
    ):
        raise ValueError(
            f"conv_state has shape {conv_state.shape}; expected ({batch}, {channels}, s) with s "
            f"from {taps - 1}, one less than the taps, upwards"
        )
    expect_updatable("conv_state", conv_state)
    expect_choice("activation", activation, ACTIVATIONS)
    num_threads = resolve_num_threads(num_threads)

    tokens = x if x.ndim == 3 else x[..., None]
    before = conv_state[..., conv_state.shape[2] - (taps - 1) :]
    out, _ = batches.convolve(tokens, weight, bias, activation, before, False, num_threads)
    conv_state[...] = shifted(conv_state, tokens)
    return out.reshape(x.shape)


def conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    activation: str | None = None,
    *,
    num_threads: int | None = None,
) -> np.ndarray:
    """Convolve each channel of pictures with zeros around them, then apply SiLU where asked.

    As PyTorch's ``conv2d`` with a group for each channel and a padding of ``k // 2``, so that
    pictures keep their size. It is that of VMamba's SS2D (Liu et al. 2024).

    Parameters
    ----------
    x : ndarray of float32, shape (b, d, h, w)
        Pictures, or maps of tokens.
    weight : ndarray of float32, shape (d, 1, k, k)
        A kernel for each channel, of which k is 1, 3, 5 or 7.
    bias : ndarray of float32, shape (d,), optional
        Added to each channel, before the activation; zero by default.
    activation : {None, "silu", "swish"}
        The last two are the same.
    num_threads : int, optional
        See :func:`vimnp.threads.resolve_num_threads`. The result's bits do not depend on it.

    Returns
    -------
    ndarray of float32, shape (b, d, h, w)
        A new array; x stays as it is.

    Raises
    ------
    TypeError
        If an argument is no array of float32.
    ValueError
        If a shape does not fit, or the activation or the number of threads is not allowed.

    Examples
    --------
    >>> x = np.ones((1, 1, 3, 3), np.float32)
    >>> vimnp.conv2d(x, np.ones((1, 1, 3, 3), np.float32))  # how many neighbours each pixel has
    array([[[[4., 6., 4.],
             [6., 9., 6.],
             [4., 6., 4.]]]], dtype=float32)
    """
    expect_pictures("x", x)
    expect_filter_2d(weight, bias, x.shape[1])
    expect_choice("activation", activation, ACTIVATIONS)
    return batches.convolve_2d(x, weight, bias, activation, resolve_num_threads(num_threads))


def layer_norm(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    eps: float = 1e-5,
    *,
    num_threads: int | None = None,
) -> np.ndarray:
    """Normalise over the last axis (LayerNorm, Ba et al. 2016), as PyTorch's ``layer_norm``.

    ``out = (x - mean) / sqrt(variance + eps) * weight + bias``

    Parameters
    ----------
    x : ndarray of float32, shape (..., d)
        What is normalised: the d numbers of each row have their own mean and variance.
    weight, bias : ndarray of float32, shape (d,)
        What each channel is multiplied by, and what is added to it.
    eps : float
        Keeps the root from 0 where all numbers of a row are equal. At least 0.
    num_threads : int, optional
        See :func:`vimnp.threads.resolve_num_threads`. The result's bits do not depend on it.

    Returns
    -------
    ndarray of float32, shape (..., d)
        A new array; x stays as it is.

    Raises
    ------
    TypeError
        If an argument is no array of float32.
    ValueError
        If a shape does not fit, or eps or the number of threads is not allowed.

    Examples
    --------
    >>> x = np.array([[1, 3], [10, 30]], np.float32)
    >>> vimnp.layer_norm(x, np.ones(2, np.float32), np.zeros(2, np.float32)).round(3)
    array([[-1.,  1.],
           [-1.,  1.]], dtype=float32)
    """
    expect_array("x", x)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"x has shape {x.shape}; expected (..., d) with at least one channel")
    channels = x.shape[-1]
    expect_shape("weight", weight, (channels,))
    expect_shape("bias", bias, (channels,))
    expect_at_least_zero("eps", eps)
    rows = batches.contiguous(x).reshape(-1, channels)
    kernels.fused_add_norm(
        rows,
        None,
        batches.contiguous(weight),
        batches.contiguous(bias),
        rows,
        epsilon=eps,
        num_threads=resolve_num_threads(num_threads),
    )
    return rows.reshape(x.shape)


def gelu(x: np.ndarray, *, num_threads: int | None = None) -> np.ndarray:
    """Apply the exact GELU, ``x * Phi(x)`` (Hendrycks & Gimpel 2016).

    Phi is the normal distribution's. As PyTorch's ``gelu`` without the approximation by tanh. Of
    minus infinity it is NaN, as there.

    Parameters
    ----------
    x : ndarray of float32, any shape
        Each number by itself.
    num_threads : int, optional
        See :func:`vimnp.threads.resolve_num_threads`. The result's bits do not depend on it.

    Returns
    -------
    ndarray of float32, of x's shape
        A new array; x stays as it is.

    Raises
    ------
    TypeError
        If x is no array of float32.
    ValueError
        If the number of threads is not allowed.

    Examples
    --------
    >>> vimnp.gelu(np.array([-1, 0, 1], np.float32)).round(4)
    array([-0.1587,  0.    ,  0.8413], dtype=float32)
    """
    expect_array("x", x)
    out = batches.contiguous(x)
    kernels.gelu(out, out, num_threads=resolve_num_threads(num_threads))
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
    initial_state: np.ndarray | None = None,
    method: str = "sequential",
    num_threads: int | None = None,
) -> np.ndarray | tuple[np.ndarray, ...]:
    """Scan sequences selectively (``selective_scan_fn``; Gu & Dao 2023, algorithm 2).

    ``h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t`` and ``out_t = (C_t . h_t + D u_t) silu(z_t)``
    with `initial_state` for ``h_{-1}``, or zero. Called again with the last state, it goes on from
    there: a sequence that is cut anywhere gives the bits of the whole.

    Parameters
    ----------
    u, delta : ndarray of float32, shape (b, d, l)
        Inputs and step sizes of l tokens.
    A : ndarray of float32, shape (d, n)
        The diagonal of each channel's state matrix, of at most 256 states. Where it is negative,
        states decay.
    B, C : ndarray of float32, shape (d, n), (b, n, l) or (b, g, n, l)
        Constant, per token, or per token and group of d / g neighbouring channels.
    D : ndarray of float32, shape (d,), optional
        What of each input goes past the states; nothing by default.
    z : ndarray of float32, shape (b, d, l), optional
        The gate; without it nothing is gated.
    delta_bias : ndarray of float32, shape (d,), optional
        Added to delta before the softplus.
    delta_softplus : bool
        Whether delta goes through ``log(1 + exp(.))`` first.
    return_last_state : bool
        Whether to give `last_state` as well, to go on from.
    initial_state : ndarray of float32, shape (b, d, n), optional
        The state before the first token; zero by default.
    method : {"sequential", "fixlen"}
        State and output token by token, or first all states (of a run of tokens), then all outputs.
    num_threads : int, optional
        See :func:`vimnp.threads.resolve_num_threads`. The result's bits do not depend on it.

    Returns
    -------
    out : ndarray of float32, shape (b, d, l)
        Gated, where z is given.
    last_state : ndarray of float32, shape (b, d, n)
        After the last token. Only if `return_last_state`.

    Raises
    ------
    TypeError
        If an argument is no array of float32.
    ValueError
        If a shape does not fit, or the method or the number of threads is not allowed.

    Examples
    --------
    >>> u = np.array([[[1, 1, 1]]], np.float32)  # one sequence of one channel, with one state
    >>> delta = np.array([[[1, 1, 1]]], np.float32)
    >>> A = np.array([[-np.log(2)]], np.float32)  # a step of 1 halves the state
    >>> one = np.ones((1, 1), np.float32)
    >>> vimnp.selective_scan(u, delta, A, one, one).round(4)
    array([[[1.  , 1.5 , 1.75]]], dtype=float32)
    """
    expect_choice("method", method, UNFUSED_MODES)
    direction = Direction(u, delta, A, B, C, D, delta_bias)
    expect_direction(direction)
    expect_optional("z", z, u.shape)
    expect_optional("initial_state", initial_state, (u.shape[0], *A.shape))
    num_threads = resolve_num_threads(num_threads)

    scan = batches.scan(
        [direction],
        z,
        delta_softplus,
        False,
        method,
        None if initial_state is None else [initial_state],
        return_last_state,
        num_threads,
    )
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
    *,
    num_threads: int | None = None,
) -> np.ndarray:
    """Scan the next token of each sequence, and take it into the state.

    ``state = exp(dt A) state + dt B x`` and ``out = (C . state + D x) silu(z)``. It is the function
    of that name of state-spaces/mamba (Gu & Dao 2023), without heads. Token by token, it gives the
    bits of :func:`selective_scan`.

    Parameters
    ----------
    state : ndarray of float32, shape (b, d, n)
        At most 256 states of a channel. It is updated in place. Any writable view will do.
    x, dt : ndarray of float32, shape (b, d)
        The token's input and step size.
    A : ndarray of float32, shape (d, n)
        The diagonal of each channel's state matrix.
    B, C : ndarray of float32, shape (b, n)
        The token's, the same for every channel.
    D : ndarray of float32, shape (d,), optional
        What of the input goes past the state; nothing by default.
    z : ndarray of float32, shape (b, d), optional
        The gate; without it nothing is gated.
    dt_bias : ndarray of float32, shape (d,), optional
        Added to dt before the softplus.
    dt_softplus : bool
        Whether dt goes through ``log(1 + exp(.))`` first.
    num_threads : int, optional
        See :func:`vimnp.threads.resolve_num_threads`. The result's bits do not depend on it.

    Returns
    -------
    ndarray of float32, shape (b, d)
        Gated, where z is given.

    Raises
    ------
    TypeError
        If an argument is no array of float32.
    ValueError
        If a shape does not fit, the number of threads is not allowed, or the state cannot be
        updated in place. The state is then as it was.

    Examples
    --------
    >>> state = np.zeros((1, 1, 1), np.float32)
    >>> A, one = np.array([[-np.log(2)]], np.float32), np.ones((1, 1), np.float32)
    >>> for _ in range(3):
    ...     print(vimnp.selective_state_update(state, one, one, A, one, one).round(4))
    [[1.]]
    [[1.5]]
    [[1.75]]
    """
    expect_array("state", state)
    if state.ndim != 3 or state.shape[1] == 0 or not 1 <= state.shape[2] <= MAX_D_STATE:
        raise ValueError(
            f"state has shape {state.shape}; expected (b, d, n) with at least one channel, and n "
            f"from 1 to {MAX_D_STATE}"
        )
    expect_updatable("state", state)
    batch, channels, d_state = state.shape
    expect_shape("x", x, (batch, channels))
    expect_shape("dt", dt, (batch, channels))
    expect_shape("A", A, (channels, d_state))
    expect_shape("B", B, (batch, d_state))
    expect_shape("C", C, (batch, d_state))
    expect_optional("D", D, (channels,))
    expect_optional("z", z, (batch, channels))
    expect_optional("dt_bias", dt_bias, (channels,))
    num_threads = resolve_num_threads(num_threads)

    scan = batches.scan(
        [one_token(x, dt, A, B, C, D, dt_bias)],
        None if z is None else z[..., None],
        dt_softplus,
        False,
        "sequential",
        [state],
        True,
        num_threads,
    )
    state[...] = scan.last_states[0]
    return scan.out[..., 0]


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
    """Sum a forward and a backward selective scan (Zhu et al. 2024, algorithm 1).

    The backward scan begins at the last token. Both directions' arrays, and the output, stand in
    the original order of time: nothing is to be flipped before or after.

    Parameters
    ----------
    forward, backward : Direction
        The arguments of :func:`selective_scan` for each direction, of the same b, d, l and n.
    z : ndarray of float32, shape (b, d, l), optional
        Gates the sum by ``silu(z)``.
    delta_softplus : bool
        Whether delta goes through ``log(1 + exp(.))`` first.
    if_divide_out : bool
        Halve the sum.
    return_last_state : bool
        Whether to give both last states as well.
    method : {"sequential", "fixlen", "fused", "fused_fixlen"}
        One direction after the other, state and output token by token, or first all states, then
        all outputs; or both directions in one pass, in either way.
    num_threads : int, optional
        See :func:`vimnp.threads.resolve_num_threads`. The result's bits do not depend on it.

    Returns
    -------
    out : ndarray of float32, shape (b, d, l)
        Gated, where z is given.
    last_state, last_state_b : ndarray of float32, shape (b, d, n)
        After the last and after the first token. Only if `return_last_state`.

    Raises
    ------
    TypeError
        If an argument is no array of float32.
    ValueError
        If a shape does not fit, or the method or the number of threads is not allowed.

    Examples
    --------
    >>> u = np.array([[[1, 0, 0]]], np.float32)  # a token that both directions pass on
    >>> delta = np.ones((1, 1, 3), np.float32)
    >>> A, one = np.array([[-np.log(2)]], np.float32), np.ones((1, 1), np.float32)
    >>> way = vimnp.Direction(u, delta, A, one, one)
    >>> vimnp.selective_scan_bidirectional(way, way).round(4)
    array([[[2.  , 0.5 , 0.25]]], dtype=float32)
    """
    expect_choice("method", method, SCAN_MODES)
    expect_direction(forward, "forward.")
    expect_direction(backward, "backward.")
    expect_shape("backward.u", backward.u, forward.u.shape)
    expect_shape("backward.A", backward.A, forward.A.shape)
    expect_optional("z", z, forward.u.shape)
    num_threads = resolve_num_threads(num_threads)

    scan = batches.scan(
        [forward, backward],
        z,
        delta_softplus,
        if_divide_out,
        method,
        None,
        return_last_state,
        num_threads,
    )
    return (scan.out, *scan.last_states) if return_last_state else scan.out
