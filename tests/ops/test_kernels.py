"""The kernels as the network calls them: two directions in a call, and sizes beyond their parts.

test_ops.py has the operations themselves; here are the seams: runs of 32 tokens, vectors of
up to 16 channels, parts whose states fit 32 KB, and what several threads share.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.comparison import TOLERANCE, assert_close, examples
from vimnp.ops import kernels, reference
from vimnp.ops.kernels import Filter, ScanInputs, aligned_empty
from vimnp.ops.modes import SCAN_MODES

RUNS = [1, 31, 32, 33, 64, 65, 100]  # tokens


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


# ---- causal_conv1d -------------------------------------------------------------------------------


def convolve(x, filters, *, silu=True, num_threads=1):
    outs = tuple(aligned_empty(*x.shape) for _ in filters)
    kernels.causal_conv1d(x, filters, outs, silu=silu, num_threads=num_threads)
    return outs


@examples
@given(
    length=st.integers(0, 70),
    channels=st.integers(1, 40),
    taps=st.integers(1, 6),
    has_bias=st.booleans(),
    silu=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_two_filters_look_back_and_ahead(
    implementation, length, channels, taps, has_bias, silu, seed
):
    rng = np.random.default_rng(seed)
    x = normal(rng, length, 2 * channels)[:, :channels]  # as half of a wider array
    filters = tuple(
        Filter(normal(rng, taps, channels), normal(rng, channels) if has_bias else None)
        for _ in range(2)
    )
    for found, filter, step in zip(convolve(x, filters, silu=silu), filters, (1, -1), strict=True):
        exact = Filter(*(None if part is None else part.astype(np.float64) for part in filter))
        truth = reference.causal_conv1d(
            x[::step].T[None].astype(np.float64),
            exact.weight.T,
            exact.bias,
            "silu" if silu else None,
        )
        terms = np.array(taps * np.abs(x).max(initial=1.0))
        assert_close(found, truth[0].T[::step], terms)


# ---- selective_scan ------------------------------------------------------------------------------


def scan_inputs(rng: np.random.Generator, length: int, channels: int, d_state: int) -> ScanInputs:
    return ScanInputs(
        normal(rng, length, channels),
        normal(rng, length, channels) - 2,
        -np.exp(normal(rng, d_state, channels)),
        normal(rng, length, d_state),
        normal(rng, length, d_state),
        normal(rng, channels),
        normal(rng, channels),
    )


def scan(directions, z, method="fused", num_threads=1):
    """Output, and the last state of each direction."""
    out = aligned_empty(*directions[0].u.shape)
    last_states = tuple(aligned_empty(*d.A.shape) for d in directions)
    kernels.selective_scan(
        directions,
        z,
        out,
        last_states,
        delta_softplus=True,
        if_divide_out=True,
        scan_mode=method,
        num_threads=num_threads,
    )
    return out, *last_states


def exact_scan(directions, z):
    wide = [
        ScanInputs(*(v.astype(np.float64) if isinstance(v, np.ndarray) else v for v in d))
        for d in directions
    ]
    result = reference.scan_directions(
        [d.channel_major() for d in wide], z.T[None].astype(np.float64), True, True, "sequential"
    )
    return result.out[0].T, *(state[0].T for state in result.last_states)


@pytest.mark.parametrize("method", SCAN_MODES)
@pytest.mark.parametrize(
    ("length", "channels", "d_state"),
    [*((length, 33, 16) for length in RUNS), (40, 70, 256), (65, 530, 16), (70, 48, 5)],
)
def test_scans_longer_and_wider_than_a_part(implementation, method, length, channels, d_state):
    rng = np.random.default_rng(length)
    directions = tuple(scan_inputs(rng, length, channels, d_state) for _ in range(2))
    z = normal(rng, length, channels)
    for found, truth in zip(scan(directions, z, method), exact_scan(directions, z), strict=True):
        assert np.abs(found - truth).max() <= TOLERANCE * np.abs(truth).max()


@pytest.mark.usefixtures("small_work_is_split")
@pytest.mark.parametrize("channels", [1, 16, 17, 100, 530])
def test_no_split_changes_a_bit(implementation, channels):
    rng = np.random.default_rng(channels)
    directions = tuple(scan_inputs(rng, 70, channels, 16) for _ in range(2))
    z = normal(rng, 70, channels)
    filters = tuple(Filter(normal(rng, 4, channels), normal(rng, channels)) for _ in range(2))

    def run(num_threads):
        results = (
            *scan(directions, z, num_threads=num_threads),
            *convolve(z, filters, num_threads=num_threads),
        )
        return [result.tobytes() for result in results]

    alone = run(1)
    for num_threads in (2, 3, 5, 16):
        assert run(num_threads) == alone
