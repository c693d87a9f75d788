"""Batches of channel-major sequences, cut into what the kernels take, and put together again.

Nothing is checked here: :mod:`vimnp.ops.checked` has done it.
"""

from __future__ import annotations

import math

import numpy as np

from vimnp.ops import kernels
from vimnp.ops.kernels import Filter, ScanInputs, aligned_empty
from vimnp.ops.reference import Direction, ScanResult


def convolve(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    activation: str | None,
    initial_states: np.ndarray | None,
    keep_states: bool,
    num_threads: int,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Output (b, d, l), and the last inputs (b, d, w - 1) where they are to be kept.

    Before x came `initial_states` (b, d, w - 1), or zeros.
    """
    batch, channels, length = x.shape
    before = (weight.shape[1] - 1, channels)
    filter = Filter(contiguous(weight.T), None if bias is None else contiguous(bias))
    out = np.empty((batch, channels, length), np.float32)
    final_states = np.zeros((batch, channels, before[0]), np.float32) if keep_states else None
    if final_states is not None and initial_states is not None:
        final_states[...] = initial_states
    for b in range(batch if out.size else 0):
        result = aligned_empty(length, channels)
        state = None
        if initial_states is not None:
            state = contiguous(initial_states[b].T)
        elif keep_states:
            state = np.zeros(before, np.float32)
        kernels.causal_conv1d(
            contiguous(x[b].T),
            (filter,),
            (result,),
            silu=activation is not None,
            num_threads=num_threads,
            state=state,
        )
        out[b] = result.T
        if final_states is not None and state is not None:
            final_states[b] = state.T
    return out, final_states


def convolve_2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    activation: str | None,
    num_threads: int,
) -> np.ndarray:
    """Output (b, d, h, w), one picture after the other."""
    batch, channels, height, width = x.shape
    taps = contiguous(weight.reshape(channels, -1).T)
    filter = Filter(taps, None if bias is None else contiguous(bias))
    out = np.empty((batch, channels, height, width), np.float32)
    for b in range(batch if out.size else 0):
        result = aligned_empty(height * width, channels)
        kernels.conv2d(
            contiguous(x[b].reshape(channels, -1).T),
            filter,
            result,
            grid=(height, width),
            silu=activation is not None,
            num_threads=num_threads,
        )
        out[b] = result.T.reshape(channels, height, width)
    return out


def scan(
    directions: list[Direction],
    z: np.ndarray | None,
    delta_softplus: bool,
    if_divide_out: bool,
    method: str,
    initial_states: list[np.ndarray] | None,
    keep_states: bool,
    num_threads: int,
) -> ScanResult:
    """Scan one sequence and one group of channels after the other.

    `initial_states` (b, d, n), one for each direction, are zero by default. The result has no last
    states unless they are to be kept.
    """
    batch, channels, length = directions[0].u.shape
    out = np.empty((batch, channels, length), np.float32)
    last_states = [np.zeros((batch, *d.A.shape), np.float32) for d in directions if keep_states]
    if initial_states is not None:
        for last_state, initial_state in zip(last_states, initial_states, strict=False):
            last_state[...] = initial_state
    for b in range(batch if out.size else 0):
        for group in _groups(directions):
            inputs = tuple(_scan_inputs(d, b, group) for d in directions)
            result = aligned_empty(length, group.stop - group.start)
            if initial_states is None:
                states = tuple(np.zeros(part.A.shape, np.float32) for part in inputs)
            else:
                states = tuple(contiguous(state[b, group].T) for state in initial_states)
            kernels.selective_scan(
                inputs,
                None if z is None else contiguous(z[b, group].T),
                result,
                states,
                delta_softplus=delta_softplus,
                if_divide_out=if_divide_out,
                scan_mode=method,
                num_threads=num_threads,
                initial_states=None if initial_states is None else states,
            )
            out[b, group] = result.T
            for last_state, state in zip(last_states, states, strict=False):
                last_state[b, group] = state.T
    return ScanResult(out, last_states)


def scan_2d(
    u: np.ndarray,
    delta: np.ndarray,
    A: np.ndarray,
    B: np.ndarray,
    C: np.ndarray,
    D: np.ndarray | None,
    delta_bias: np.ndarray | None,
    delta_softplus: bool,
    num_threads: int,
) -> np.ndarray:
    """Scan one picture after the other in four directions: output (b, d, h, w)."""
    out = np.empty(u.shape, np.float32)
    batch, channels, height, width = u.shape
    parameters = [
        (
            contiguous(A[k].T),
            None if D is None else contiguous(D[k]),
            None if delta_bias is None else contiguous(delta_bias[k]),
        )
        for k in range(4)
    ]
    for b in range(batch if out.size else 0):
        tokens = _tokens(u[b])
        directions = tuple(
            ScanInputs(
                tokens, _tokens(delta[b, k]), own_A, _tokens(B[b, k]), _tokens(C[b, k]), own_D, bias
            )
            for k, (own_A, own_D, bias) in enumerate(parameters)
        )
        result = aligned_empty(height * width, channels)
        kernels.selective_scan_2d(
            directions,
            result,
            grid=(height, width),
            delta_softplus=delta_softplus,
            num_threads=num_threads,
        )
        out[b] = result.T.reshape(u.shape[1:])
    return out


def _tokens(picture: np.ndarray) -> np.ndarray:
    """(d, h, w) -> (h * w, d), contiguous."""
    return contiguous(picture.reshape(len(picture), -1).T)


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
        contiguous(u[b, group].T),
        contiguous(delta[b, group].T),
        contiguous(A[group].T),
        _coefficients(B, u, b, group),
        _coefficients(C, u, b, group),
        None if D is None else contiguous(D[group]),
        None if delta_bias is None else contiguous(delta_bias[group]),
        B_constant=B.ndim == 2,
        C_constant=C.ndim == 2,
    )


def _coefficients(matrix: np.ndarray, u: np.ndarray, b: int, group: slice) -> np.ndarray:
    """B or C for one image and group: (n, d) where constant, else (l, n)."""
    if matrix.ndim == 2:
        return contiguous(matrix[group].T)
    if matrix.ndim == 3:
        return contiguous(matrix[b].T)
    channels_per_group = u.shape[1] // matrix.shape[1]
    return contiguous(matrix[b, group.start // channels_per_group].T)


def contiguous(array: np.ndarray) -> np.ndarray:
    """A copy in the order of its axes, which begins at a cache line."""
    copy = aligned_empty(*array.shape)
    copy[...] = array
    return copy
