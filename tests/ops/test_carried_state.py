"""The kernels that go on from where they stopped: what is cut gives the bits of the whole."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.comparison import assert_close, examples
from tests.support.scans import one_direction
from vimnp.ops import kernels, reference
from vimnp.ops.kernels import Filter, ScanInputs, aligned_empty
from vimnp.ops.modes import SCAN_MODES, UNFUSED_MODES

CHUNKS = [1, 7, 31, 32, 33, 64]  # tokens


def every(chunk: int, length: int) -> list[int]:
    return [*range(chunk, length, chunk)]


def parts(cuts: list[int], length: int) -> list[slice]:
    return [slice(*ends) for ends in itertools.pairwise([0, *cuts, length])]


@st.composite
def lengths_and_cuts(draw) -> tuple[int, list[int]]:
    """A number of tokens, and where to cut them."""
    length = draw(st.integers(1, 140))
    return length, sorted(draw(st.sets(st.integers(1, length), max_size=12)) - {length})


# ---- causal_conv1d -------------------------------------------------------------------------------


def convolve(x, filter, state, cuts=(), *, silu=True, num_threads=1):
    """Output, and the state after it."""
    state, out = state.copy(), aligned_empty(*x.shape)
    for part in parts(list(cuts), len(x)):
        kernels.causal_conv1d(
            x[part], (filter,), (out[part],), silu=silu, num_threads=num_threads, state=state
        )
    return out, state


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


@examples
@given(
    cut=lengths_and_cuts(),
    channels=st.integers(1, 40),
    taps=st.sampled_from([1, 2, 3, 4, 4, 5, 40, 64]),
    has_bias=st.booleans(),
    silu=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_convolution_cut_anywhere_gives_the_same_bits(
    implementation, cut, channels, taps, has_bias, silu, seed
):
    rng = np.random.default_rng(seed)
    length, cuts = cut
    x = normal(rng, length, 2 * channels)[:, channels:]  # as half of a wider array
    filter = Filter(normal(rng, taps, channels), normal(rng, channels) if has_bias else None)
    before = normal(rng, taps - 1, channels)
    whole = convolve(x, filter, before, silu=silu)
    for one, other in zip(whole, convolve(x, filter, before, cuts, silu=silu), strict=True):
        np.testing.assert_array_equal(one, other)

    everything = np.concatenate([before, x])
    np.testing.assert_array_equal(whole[1], everything[len(x) :])
    (truth,) = (aligned_empty(*everything.shape),)
    kernels.causal_conv1d(everything, (filter,), (truth,), silu=silu, num_threads=1)
    np.testing.assert_array_equal(whole[0], truth[taps - 1 :])


def test_zeros_are_what_comes_before_a_convolution_without_a_state(implementation):
    rng = np.random.default_rng(0)
    x, filter = normal(rng, 50, 37), Filter(normal(rng, 4, 37), normal(rng, 37))
    out = aligned_empty(*x.shape)
    kernels.causal_conv1d(x, (filter,), (out,), silu=True, num_threads=1)
    found, _ = convolve(x, filter, np.zeros((3, 37), np.float32), every(1, 50))
    np.testing.assert_array_equal(found, out)


# ---- selective_scan ------------------------------------------------------------------------------


def scan(inputs, z, state, cuts=(), *, mode="fused", num_threads=1):
    """Output, and the state after it."""
    state, out = state.copy(), aligned_empty(*z.shape)
    for part in parts(list(cuts), len(z)):
        kernels.selective_scan(
            (during(inputs, part),),
            z[part],
            out[part],
            (state,),
            delta_softplus=True,
            scan_mode=mode,
            num_threads=num_threads,
            initial_states=(state,),
        )
    return out, state


def during(inputs: ScanInputs, part: slice) -> ScanInputs:
    """What a scan reads in a part of the time."""
    return inputs._replace(
        u=inputs.u[part],
        delta=inputs.delta[part],
        B=inputs.B if inputs.B_constant else inputs.B[part],
        C=inputs.C if inputs.C_constant else inputs.C[part],
    )


def assert_same_bits(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("mode", SCAN_MODES)
@examples
@given(
    cut=lengths_and_cuts(),
    channels=st.integers(1, 40),
    d_state=st.sampled_from([1, 5, 8, 16, 16, 16, 17, 40]),
    constant=st.tuples(st.booleans(), st.booleans()),
    large_steps=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_scan_cut_anywhere_gives_the_same_bits(
    implementation, mode, cut, channels, d_state, constant, large_steps, seed
):
    rng = np.random.default_rng(seed)
    length, cuts = cut
    inputs = one_direction(rng, length, channels, d_state, constant, large_steps=large_steps)
    z, before = normal(rng, length, channels), normal(rng, d_state, channels)
    assert_same_bits(scan(inputs, z, before, cuts, mode=mode), scan(inputs, z, before, mode=mode))


@pytest.mark.parametrize("mode", SCAN_MODES)
def test_a_scan_from_a_state_agrees_with_float64(implementation, mode):
    rng = np.random.default_rng(5)
    inputs = one_direction(rng, 70, 37, 16)
    z, before = normal(rng, 70, 37), normal(rng, 16, 37)
    wide = ScanInputs(*(v.astype(np.float64) if isinstance(v, np.ndarray) else v for v in inputs))
    truth = reference.scan_directions(
        [wide.channel_major()],
        z.T[None].astype(np.float64),
        True,
        False,
        "sequential",
        [before.T[None].astype(np.float64)],
    )
    out, state = scan(inputs, z, before, mode=mode)
    assert_close(out, truth.out[0].T)
    assert_close(state, truth.last_states[0][0].T)


@pytest.mark.parametrize("mode", SCAN_MODES)
def test_two_directions_begin_with_a_state_each(implementation, mode):
    """Two scans in one call give what each gives alone."""
    rng = np.random.default_rng(6)
    directions = tuple(one_direction(rng, 40, 21, 16) for _ in range(2))
    before = tuple(normal(rng, 16, 21) for _ in range(2))

    def run(directions, before):
        out, after = aligned_empty(40, 21), tuple(aligned_empty(16, 21) for _ in before)
        kernels.selective_scan(
            directions,
            None,
            out,
            after,
            delta_softplus=True,
            scan_mode=mode,
            num_threads=1,
            initial_states=before,
        )
        return out, *after

    out, *after = run(directions, before)
    first, state = run(directions[:1], before[:1])
    flipped = during(directions[1], slice(None, None, -1))
    flipped = flipped._replace(**{n: getattr(flipped, n).copy() for n in ("u", "delta", "B", "C")})
    second, state_b = run((flipped,), before[1:])
    assert_close(out, first + second[::-1].astype(np.float64))
    np.testing.assert_array_equal(after[0], state)
    np.testing.assert_array_equal(after[1], state_b)


@pytest.mark.parametrize("mode", UNFUSED_MODES)
@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("d_state", [5, 16])
def test_a_token_beside_a_large_step_keeps_its_bits(implementation, mode, chunk, d_state):
    """Large steps take another exponential: which one a token takes is for no other to decide."""
    rng = np.random.default_rng(chunk)
    inputs = one_direction(rng, 130, 37, d_state, large_steps=True)
    z, before = normal(rng, 130, 37), normal(rng, d_state, 37)
    whole = scan(inputs, z, before, mode=mode)
    assert np.isfinite(whole[0]).all()
    assert_same_bits(scan(inputs, z, before, every(chunk, 130), mode=mode), whole)


@pytest.mark.usefixtures("small_work_is_split")
@pytest.mark.parametrize("chunk", CHUNKS)
def test_no_thread_and_no_chunk_changes_a_bit(implementation, chunk):
    rng = np.random.default_rng(chunk)
    inputs = one_direction(rng, 130, 530, 16, large_steps=True)
    x, filter = normal(rng, 130, 530), Filter(normal(rng, 4, 530), normal(rng, 530))
    ssm, conv = normal(rng, 16, 530), normal(rng, 3, 530)
    whole = (*scan(inputs, x, ssm), *convolve(x, filter, conv))
    for num_threads in (1, 3):
        cuts = every(chunk, 130)
        scanned = scan(inputs, x, ssm, cuts, num_threads=num_threads)
        convolved = convolve(x, filter, conv, cuts, num_threads=num_threads)
        assert_same_bits((*scanned, *convolved), whole)
