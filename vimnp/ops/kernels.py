"""The operations as the network uses them: token-major, into given arrays, compiled or not.

Nothing is checked: the network builds its own arrays, and :mod:`vimnp.ops` checks a user's.

Arrays are float32 of shape (tokens, channels), or a slice of such an array's columns; parameters
that hold something for every channel are (..., channels). Everything stands in the original order
of time: where a scan or a convolution runs backwards, the kernels walk backwards.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vimnp.runtime import extension, threads
from vimnp.runtime.extension import Choice

if TYPE_CHECKING:  # the reference loads where it runs: most processes have compiled kernels
    from vimnp._scan import Kernels
    from vimnp.ops.reference import Direction

# Work of fewer elements (tokens x channels) than this stays on one thread: a second one sleeps
# between regions, and waking it may cost more than it brings, above all where the instruction set
# is fast (bench/thresholds.py measures it). At 197 tokens, convolutions and norms gain only if
# called again and again: in a pass, a second thread brings them nothing. A native pass counts its
# elements over all layers.
_LEAST_ELEMENTS = {
    "causal_conv1d": 1 << 17,
    "conv2d": 1 << 17,
    "fused_add_norm": 1 << 17,
    "gelu": 1 << 17,
    "selective_scan": 1 << 13,
    "forward": 1 << 14,
}

# What came after the switches (runtime/extension.py) goes with the operation that is most like it:
# to switch that one off is to have this one in plain NumPy, too.
_SWITCHED_WITH = {"conv2d": "causal_conv1d", "gelu": "fused_add_norm"}

LINE = 16  # floats in a cache line of 64 bytes


def whole_lines(floats: int) -> int:
    """As many floats, and what fills the last cache line."""
    return floats + -floats % LINE


class Filter(NamedTuple):
    """A depthwise convolution's weight (taps, d), and its bias (d,) where it has one."""

    weight: np.ndarray
    bias: np.ndarray | None


class ScanInputs(NamedTuple):
    """One direction of a scan, token-major.

    Parameters
    ----------
    u, delta : ndarray, shape (l, d)
    A : ndarray, shape (n, d)
    B, C : ndarray, shape (l, n), or (n, d) where constant
    D, delta_bias : ndarray, shape (d,), optional
    B_constant, C_constant : bool
        Whether B and C are constant over time, with values for each channel.
    """

    u: np.ndarray
    delta: np.ndarray
    A: np.ndarray
    B: np.ndarray
    C: np.ndarray
    D: np.ndarray | None = None
    delta_bias: np.ndarray | None = None
    B_constant: bool = False
    C_constant: bool = False

    def channel_major(self) -> Direction:
        """The same as the original lays it out, with a batch of one, as views."""
        from vimnp.ops.reference import Direction

        B = self.B.T if self.B_constant else self.B.T[None]
        C = self.C.T if self.C_constant else self.C.T[None]
        return Direction(
            self.u.T[None], self.delta.T[None], self.A.T, B, C, self.D, self.delta_bias
        )


def aligned_empty(*shape: int) -> np.ndarray:
    """An array of float32 for the kernels, not initialised, that begins at a cache line.

    A vector of AVX-512 is then a whole line. NumPy begins its arrays at any 16 bytes, where it lies
    in two (``bench/bench_layer.py``).
    """
    size = math.prod(shape)
    buffer = np.empty(size + LINE, np.float32)
    start = -(buffer.ctypes.data // buffer.itemsize) % LINE
    return buffer[start : start + size].reshape(shape)


def threads_for(operation: str, elements: int, num_threads: int) -> int:
    """How many of them to use for so many elements: one where that is little, or no more can be."""
    if elements < _LEAST_ELEMENTS[operation]:
        return 1
    return threads.in_this_process(num_threads, start_anew=extension.has_pool())


def _kernels_for(operation: str, chosen: Choice | None) -> Kernels | None:
    operation = _SWITCHED_WITH.get(operation, operation)
    if chosen is None:
        return extension.for_operation(operation)
    found: Kernels | None = getattr(chosen, operation)
    return found


def causal_conv1d(
    x: np.ndarray,
    filters: tuple[Filter, ...],
    outs: tuple[np.ndarray, ...],
    *,
    silu: bool,
    num_threads: int,
    state: np.ndarray | None = None,
    chosen: Choice | None = None,
) -> None:
    """Causal depthwise convolution of x, and with a second filter the anti-causal one too.

    ``out[t] = silu(bias + sum_k weight[k] * x[t - K + 1 + k])``, backwards
    ``x[t + K - 1 - k]``; x is zero outside the sequence, or what the state says.

    Parameters
    ----------
    x : ndarray, shape (l, d)
    filters : one or two Filter
        The forward direction's, and the backward one's if there are two; as many taps in both.
    outs : ndarrays of shape (l, d), one for each direction
    silu : bool
    num_threads : int
    state : ndarray, shape (K - 1, d), optional
        Of one direction: the inputs before x, the newest last. The last ones of it and x replace
        them, so that the next call goes on from here.
    chosen : Choice, optional
        What runs it; by default as the environment says now.
    """
    compiled = _kernels_for("causal_conv1d", chosen)
    if compiled is not None:
        num_threads = threads_for("causal_conv1d", x.size, min(num_threads, x.shape[1]))
        compiled.causal_conv1d(x, filters, outs, silu=silu, num_threads=num_threads, state=state)
        return
    from vimnp.ops import reference

    activation = "silu" if silu else None
    initial = None if state is None else state.T[None]
    for filter, out, step in zip(filters, outs, (1, -1), strict=False):
        convolved = reference.convolve(
            x[::step].T[None], filter.weight.T, filter.bias, activation, initial
        )
        out[::step] = convolved.out[0].T
    if state is not None:
        state[...] = convolved.final_states[0].T


def conv2d(
    x: np.ndarray,
    filter: Filter,
    out: np.ndarray,
    *,
    grid: tuple[int, int],
    silu: bool,
    num_threads: int,
    chosen: Choice | None = None,
) -> None:
    """Depthwise convolution of a grid of tokens, with zeros around it, and SiLU.

    Parameters
    ----------
    x, out : ndarray, shape (lines * columns, d)
        Two arrays. Row ``y * columns + x`` is the token on line y, column x.
    filter : Filter
        Its weight (k * k, d) has the taps line by line; k is odd.
    grid : tuple of int
        Lines and columns.
    silu : bool
    num_threads : int
    chosen : Choice, optional
        What runs it; by default as the environment says now.
    """
    compiled = _kernels_for("conv2d", chosen)
    if compiled is not None:
        num_threads = threads_for("conv2d", x.size, min(num_threads, x.shape[1]))
        compiled.conv2d(x, *filter, out, grid=grid, silu=silu, num_threads=num_threads)
        return
    from vimnp.ops import reference

    kernel = math.isqrt(len(filter.weight))
    convolved = reference.conv2d(
        x.T.reshape(1, x.shape[1], *grid),
        filter.weight.T.reshape(x.shape[1], 1, kernel, kernel),
        filter.bias,
        "silu" if silu else None,
    )
    out[...] = convolved.reshape(x.shape[1], -1).T


def gelu(x: np.ndarray, out: np.ndarray, *, num_threads: int, chosen: Choice | None = None) -> None:
    """The exact GELU of every element of x into `out`, which may be x.

    Parameters
    ----------
    x, out : ndarray of one shape, both C-contiguous
    num_threads : int
    chosen : Choice, optional
        What runs it; by default as the environment says now.
    """
    compiled = _kernels_for("gelu", chosen)
    if compiled is not None:
        num_threads = threads_for("gelu", x.size, num_threads)
        compiled.gelu(x.reshape(-1), out.reshape(-1), num_threads=num_threads)
        return
    from vimnp.ops import reference

    out[...] = reference.gelu(x)


def fused_add_norm(
    residual: np.ndarray,
    hidden: np.ndarray | None,
    weight: np.ndarray,
    bias: np.ndarray | None,
    out: np.ndarray,
    *,
    epsilon: float,
    num_threads: int,
    gate: np.ndarray | None = None,
    chosen: Choice | None = None,
) -> None:
    """``residual += hidden``, then its RMSNorm, or with a bias its LayerNorm, into `out`.

    Parameters
    ----------
    residual, out : ndarray, shape (l, d)
    hidden : ndarray, shape (l, d), optional
        Nothing is added without.
    weight, bias : ndarray, shape (d,)
        The bias is optional.
    epsilon : float
    num_threads : int
    gate : ndarray, shape (l, d), optional
        The norm is multiplied by ``silu(gate)``.
    chosen : Choice, optional
        What runs it; by default as the environment says now.
    """
    compiled = _kernels_for("fused_add_norm", chosen)
    if compiled is not None:
        num_threads = threads_for("fused_add_norm", residual.size, min(num_threads, len(residual)))
        compiled.fused_add_norm(
            residual, hidden, weight, bias, out, epsilon=epsilon, num_threads=num_threads, gate=gate
        )
        return
    from vimnp.ops import reference

    if hidden is not None:
        residual += hidden
    out[...] = reference.norm(residual, weight, bias, epsilon)
    if gate is not None:
        out *= reference.silu(gate)


def selective_scan(
    directions: tuple[ScanInputs, ...],
    z: np.ndarray | None,
    out: np.ndarray,
    last_states: tuple[np.ndarray, ...] | None = None,
    *,
    delta_softplus: bool,
    if_divide_out: bool = False,
    scan_mode: str,
    num_threads: int,
    initial_states: tuple[np.ndarray, ...] | None = None,
    chosen: Choice | None = None,
) -> None:
    """Selective scan in one direction, or the sum of a forward and a backward one, into `out`.

    Parameters
    ----------
    directions : one or two ScanInputs
        The forward direction, and the backward one if there are two.
    z : ndarray, shape (l, d), optional
        Gates the sum by ``silu(z)``.
    out : ndarray, shape (l, d)
    last_states : ndarrays of shape (n, d), one for each direction, optional
        Filled with the state after the last token of the direction's time.
    delta_softplus : bool
    if_divide_out : bool
        Halve the result.
    scan_mode : {"sequential", "fixlen", "fused", "fused_fixlen"}
        "fused" ones run both directions for a block of channels before they turn to the next
        block; of a single direction they make no difference.
    num_threads : int
    initial_states : ndarrays of shape (n, d), one for each direction, optional
        The state before the first token of the direction's time; zero by default. They may be the
        arrays that `last_states` fills: then the next call goes on from here.
    chosen : Choice, optional
        What runs it; by default as the environment says now.
    """
    compiled = _kernels_for("selective_scan", chosen)
    if compiled is not None:
        compiled.selective_scan(
            directions,
            z,
            out,
            delta_softplus=delta_softplus,
            fixlen=scan_mode.endswith("fixlen"),
            fused=scan_mode.startswith("fused"),
            scale=0.5 if if_divide_out else 1.0,
            last_states=last_states,
            num_threads=threads_for("selective_scan", out.size, min(num_threads, out.shape[1])),
            initial_states=initial_states,
        )
        return
    from vimnp.ops import reference

    scan = reference.scan_directions(
        [inputs.channel_major() for inputs in directions],
        None if z is None else z.T[None],
        delta_softplus,
        if_divide_out,
        scan_mode,
        [state.T[None] for state in initial_states] if initial_states else None,
    )
    out[...] = scan.out[0].T
    for target, state in zip(last_states or (), scan.last_states, strict=False):
        target[...] = state[0].T


def selective_scan_2d(
    directions: tuple[ScanInputs, ...],
    out: np.ndarray,
    *,
    grid: tuple[int, int],
    delta_softplus: bool,
    num_threads: int,
    chosen: Choice | None = None,
) -> None:
    """The sum of four selective scans of a grid of tokens into `out` (VMamba's cross-scan).

    They pass the lines, the columns, and both backwards. All arrays have their rows at the tokens'
    places: nothing is flipped or transposed.

    Parameters
    ----------
    directions : four ScanInputs
        B and C are per token.
    out : ndarray, shape (lines * columns, d)
        Row ``y * columns + x`` is the token on line y, column x.
    grid : tuple of int
        Lines and columns.
    delta_softplus : bool
    num_threads : int
    chosen : Choice, optional
        What runs it; by default as the environment says now.
    """
    compiled = _kernels_for("selective_scan", chosen)
    if compiled is not None:
        from vimnp.ops.walks import cross_walks  # most networks have sequences, and no walk

        compiled.selective_scan(
            directions,
            None,
            out,
            delta_softplus=delta_softplus,
            fixlen=False,
            fused=True,
            scale=1.0,
            last_states=None,
            num_threads=threads_for("selective_scan", out.size, min(num_threads, out.shape[1])),
            walks=cross_walks(*grid),
        )
        return
    from vimnp.ops import reference

    def picture(name: str) -> np.ndarray:
        arrays = np.stack([getattr(inputs, name).T for inputs in directions])
        return arrays.reshape(1, *arrays.shape[:2], *grid)

    def parameter(name: str) -> np.ndarray | None:
        given = [getattr(inputs, name) for inputs in directions]
        if all(array is None for array in given):
            return None
        zeros = np.zeros(out.shape[1], np.float32)
        return np.stack([zeros if array is None else array for array in given])

    scanned = reference.selective_scan_2d(
        directions[0].u.T.reshape(1, -1, *grid),
        picture("delta"),
        np.stack([inputs.A.T for inputs in directions]),
        picture("B"),
        picture("C"),
        parameter("D"),
        parameter("delta_bias"),
        delta_softplus,
    )
    out[...] = scanned.reshape(out.shape[::-1]).T
