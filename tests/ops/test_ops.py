"""The public operations: every instruction set and plain NumPy through one suite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

import vimnp
from tests.support.comparison import assert_close, examples, plain_arguments, widened
from vimnp.ops import reference
from vimnp.ops.modes import SCAN_MODES, UNFUSED_MODES
from vimnp.reference import Direction


@st.composite
def scan_arguments(draw, like=None):
    """Arguments of selective_scan in every layout that it takes; b, d, l and n as in `like`."""
    if like is None:
        batch, groups, length = (draw(st.integers(1, high)) for high in (3, 3, 70))
        channels = groups * draw(st.integers(1, 14))
        d_state = draw(st.sampled_from([1, 3, 8, 16, 17]))
    else:
        (batch, channels, length), d_state, groups = like["u"].shape, like["A"].shape[1], 1
    rng = np.random.default_rng(draw(st.integers(0, 1000)))

    def normal(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    def matrix():
        layout = draw(st.sampled_from(["constant", "per token", "grouped"]))
        if layout == "constant":
            return normal(channels, d_state)
        if layout == "per token":
            return normal(batch, d_state, length)
        return normal(batch, groups, d_state, length)

    def optional(*shape):
        return normal(*shape) if draw(st.booleans()) else None

    # Steps are never negative: a state that grows would amplify every rounding without bound.
    delta_softplus = draw(st.booleans())
    return {
        "u": normal(batch, channels, length),
        "delta": 0.5 * np.abs(normal(batch, channels, length)),
        "A": -np.exp(normal(channels, d_state)),
        "B": matrix(),
        "C": matrix(),
        "D": optional(channels),
        "z": optional(batch, channels, length),
        "delta_bias": optional(channels) if delta_softplus else None,
        "delta_softplus": delta_softplus,
    }


def magnitude(arguments):
    """Output and last state if nothing cancelled: every term of every sum counts as positive."""
    positive = {name: np.abs(arguments[name]) for name in ("u", "B", "C")}
    if arguments["D"] is not None:
        positive["D"] = np.abs(arguments["D"])
    return reference.selective_scan(
        **(widened(arguments) | widened(positive) | {"z": None}), return_last_state=True
    )


def as_direction(arguments) -> Direction:
    return Direction(**{name: arguments[name] for name in Direction._fields})


# ---- causal_conv1d -------------------------------------------------------------------------------


@examples
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(0, 70)),
    taps=st.integers(1, 6),
    bias=st.booleans(),
    activation=st.sampled_from([None, "silu", "swish"]),
)
def test_causal_conv1d_is_a_filter_over_time(implementation, shape, taps, bias, activation):
    rng = np.random.default_rng(sum(shape))
    x = rng.standard_normal(shape).astype(np.float32)
    weight = rng.standard_normal((shape[1], taps)).astype(np.float32)
    offsets = rng.standard_normal(shape[1]).astype(np.float32) if bias else None
    truth = np.empty(shape)
    for channel in range(shape[1] if x.size else 0):
        newest_first = weight[channel, ::-1].astype(np.float64)
        truth[:, channel] = signal.lfilter(newest_first, 1, x[:, channel].astype(np.float64))
    truth += offsets[:, None] if bias else 0
    if activation:
        truth = truth / (1 + np.exp(-truth))
    assert_close(vimnp.causal_conv1d(x, weight, offsets, activation), truth)


@pytest.mark.parametrize("case", ["conv_vim", "conv_w2", "conv_w3", "conv_short"])
def test_causal_conv1d_gives_the_originals_outputs(implementation, golden: Path, case):
    with np.load(golden / "ops.npz") as ops:
        a = {key.split("/")[1]: ops[key] for key in ops if key.startswith(f"{case}/")}
    activation = "silu" if a["silu"] else None
    found = vimnp.causal_conv1d(a["x"], a["weight"], a.get("bias"), activation)
    assert_close(found, a["out"])


CONV_MISTAKES = [
    ({"x": [[[1.0]]]}, TypeError, "x is a list"),
    ({"x": np.zeros((1, 6, 5))}, TypeError, "x has dtype float64"),
    ({"x": np.zeros((6, 5), np.float32)}, ValueError, "x has shape (6, 5)"),
    ({"x": np.zeros((1, 0, 5), np.float32)}, ValueError, "at least one channel"),
    ({"weight": np.zeros((5, 4), np.float32)}, ValueError, "weight has shape (5, 4)"),
    ({"weight": np.zeros((6, 0), np.float32)}, ValueError, "w from 1 to 64"),
    ({"weight": np.zeros((6, 65), np.float32)}, ValueError, "w from 1 to 64"),
    ({"weight": np.zeros((6, 4), np.int32)}, TypeError, "weight has dtype int32"),
    ({"bias": np.zeros(5, np.float32)}, ValueError, "bias has shape (5,)"),
    ({"activation": "relu"}, ValueError, "activation is 'relu'"),
    ({"num_threads": 0}, ValueError, "num_threads is 0"),
]


@pytest.mark.parametrize(("mistake", "error", "message"), CONV_MISTAKES)
def test_causal_conv1d_names_a_mistake(implementation, mistake, error, message):
    x, weight = np.zeros((1, 6, 5), np.float32), np.zeros((6, 4), np.float32)
    with pytest.raises(error) as raised:
        vimnp.causal_conv1d(**({"x": x, "weight": weight} | mistake))
    assert message in str(raised.value)


# ---- selective_scan ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", UNFUSED_MODES)
@examples
@given(arguments=scan_arguments())
def test_scan_agrees_with_float64(implementation, method, arguments):
    found = vimnp.selective_scan(**arguments, method=method, return_last_state=True)
    truth = reference.selective_scan(**widened(arguments), return_last_state=True)
    out_terms, state_terms = magnitude(arguments)
    if arguments["z"] is not None:
        out_terms *= np.abs(reference.silu(arguments["z"].astype(np.float64)))
    assert_close(found[0], truth[0], out_terms)
    assert_close(found[1], truth[1], state_terms)


def test_scan_with_a_constant_step_is_a_recursive_filter(implementation):
    """An oracle that shares no code: one channel, one state, delta, B and C constant."""
    rng = np.random.default_rng(3)
    u = rng.standard_normal((1, 1, 50)).astype(np.float32)
    delta = np.full_like(u, 0.3)
    A, B, C = (np.array([[value]], np.float32) for value in (-0.7, 1.5, 0.8))
    truth = signal.lfilter([0.3 * 1.5 * 0.8], [1, -np.exp(0.3 * -0.7)], u[0, 0].astype(np.float64))
    assert_close(vimnp.selective_scan(u, delta, A, B, C), truth[None, None])


@pytest.mark.parametrize("method", UNFUSED_MODES)
@pytest.mark.parametrize("case", ["vim", "plain", "const", "constB", "grouped", "len1"])
def test_scan_gives_the_originals_outputs(implementation, golden: Path, case, method):
    arguments, truth, last_state = golden_scan(golden, case)
    out, state = vimnp.selective_scan(**arguments, return_last_state=True, method=method)
    assert_close(out, truth)
    assert_close(state, last_state)


@pytest.mark.parametrize("method", UNFUSED_MODES)
def test_channels_that_grow_without_bound_spoil_no_other(implementation, golden: Path, method):
    """This case has negative steps: some channels grow, one to 1e68, as PyTorch's do."""
    arguments, truth, last_state = golden_scan(golden, "odd")
    out, state = vimnp.selective_scan(**arguments, return_last_state=True, method=method)
    largest = np.abs(truth).max(axis=2)[0]
    bounded = largest < 1e3
    assert bounded.sum() == 30
    assert_close(out[:, bounded], truth[:, bounded])
    assert_close(state[:, bounded], last_state[:, bounded])
    # A large exponent turns its own rounding into a relative error of the result.
    grown = ~bounded & (largest < 1e37)
    for channel in np.flatnonzero(grown):
        error = np.abs(out[0, channel] - truth[0, channel]).max()
        assert error <= 2e-5 * largest[channel]
    beyond = np.abs(truth) > np.finfo(np.float32).max
    assert beyond.any()
    assert not np.isfinite(out[beyond]).any()


def golden_scan(golden: Path, case: str):
    """Arguments, output in float64 and last state of a recorded scan."""
    with np.load(golden / "ops.npz") as ops:
        a = {key.split("/")[1]: ops[key] for key in ops if key.startswith(f"scan_{case}/")}
    del a["out"]
    a["delta_softplus"] = bool(a["delta_softplus"])
    return a, a.pop("out64"), a.pop("last_state")


def test_scan_without_tokens_is_empty(implementation):
    arguments = plain_arguments(length=0)
    out, state = vimnp.selective_scan(**arguments, return_last_state=True)
    assert out.shape == (2, 6, 0)
    assert not state.any()


def test_any_number_of_empty_sequences_takes_no_time(implementation):
    x = np.zeros((10**9, 1, 0), np.float32)
    A, B = np.ones((1, 4), np.float32), np.zeros((10**9, 4, 0), np.float32)
    direction = Direction(x, x, A, B, B)
    assert vimnp.selective_scan(**direction._asdict(), z=x).shape == x.shape
    assert vimnp.selective_scan_bidirectional(direction, direction, x).shape == x.shape
    assert vimnp.causal_conv1d(x, A).shape == x.shape


def test_scan_reads_any_memory_layout_and_writes_none(implementation):
    arguments = plain_arguments()
    expected = vimnp.selective_scan(**arguments)
    odd = {
        name: np.repeat(value, 2, axis=-1)[..., ::2] if isinstance(value, np.ndarray) else value
        for name, value in arguments.items()
    }
    before = {name: np.copy(value) for name, value in odd.items()}
    np.testing.assert_array_equal(vimnp.selective_scan(**odd), expected)
    for name, value in odd.items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("method", UNFUSED_MODES)
@pytest.mark.parametrize("name", ["u", "delta", "A", "B", "C", "D", "z", "delta_bias"])
def test_nan_comes_out_where_nan_went_in(implementation, name, method):
    arguments = plain_arguments()
    arguments[name][..., 0] = np.nan
    out = vimnp.selective_scan(**arguments, method=method)
    assert np.isnan(out).any()
    clean = plain_arguments()
    assert np.isfinite(vimnp.selective_scan(**clean, method=method)).all()


def test_decays_beyond_floats_range_are_zero_or_infinite(implementation):
    ones = np.ones((1, 1, 2), np.float32)
    delta = np.array([[[1.0, 1.2]]], np.float32)
    B = C = np.ones((1, 1), np.float32)
    for A, expected in ((-1e30, [1.0, 1.2]), (80.0, [1.0, np.inf])):
        out = vimnp.selective_scan(ones, delta, np.array([[A]], np.float32), B, C)
        np.testing.assert_array_equal(out[0, 0], np.array(expected, np.float32))


SCAN_MISTAKES = [
    ({"u": None}, TypeError, "u is a NoneType"),
    ({"u": np.zeros((2, 6, 5))}, TypeError, "u has dtype float64"),
    ({"u": np.zeros((2, 6, 5), ">f4")}, TypeError, "u has dtype >f4"),
    ({"u": np.zeros((6, 5), np.float32)}, ValueError, "u has shape (6, 5)"),
    ({"u": np.zeros((2, 0, 5), np.float32)}, ValueError, "at least one channel"),
    ({"delta": np.zeros((2, 6, 4), np.float32)}, ValueError, "delta has shape (2, 6, 4)"),
    ({"A": np.zeros((5, 4), np.float32)}, ValueError, "A has shape (5, 4)"),
    ({"A": np.zeros((6, 0), np.float32)}, ValueError, "n from 1 to 256"),
    ({"A": np.zeros((6, 257), np.float32)}, ValueError, "n from 1 to 256"),
    ({"A": np.zeros((6, 4), np.complex64)}, TypeError, "A has dtype complex64"),
    ({"B": np.zeros((2, 3, 5), np.float32)}, ValueError, "B has shape (2, 3, 5)"),
    ({"B": np.zeros((2, 4, 4, 5), np.float32)}, ValueError, "g a divisor of 6"),
    ({"B": np.zeros((2, 0, 4, 5), np.float32)}, ValueError, "g a divisor of 6"),
    ({"C": np.zeros((4, 6), np.float32)}, ValueError, "C has shape (4, 6)"),
    ({"D": np.zeros(5, np.float32)}, ValueError, "D has shape (5,)"),
    ({"z": np.zeros((2, 5, 6), np.float32)}, ValueError, "z has shape (2, 5, 6)"),
    ({"delta_bias": np.zeros((6, 1), np.float32)}, ValueError, "delta_bias has shape (6, 1)"),
    ({"method": "fused"}, ValueError, "method is 'fused'"),
    ({"method": None}, ValueError, "method is None"),
    ({"num_threads": 1.5}, ValueError, "num_threads is 1.5"),
]


@pytest.mark.parametrize(("mistake", "error", "message"), SCAN_MISTAKES)
def test_scan_names_a_mistake(implementation, mistake, error, message):
    with pytest.raises(error) as raised:
        vimnp.selective_scan(**(plain_arguments() | mistake))
    assert message in str(raised.value)


# ---- selective_scan_bidirectional ----------------------------------------------------------------


@pytest.mark.parametrize("method", SCAN_MODES)
@examples
@given(data=st.data(), if_divide_out=st.booleans())
def test_two_directions_are_the_sum_of_two_scans(implementation, method, data, if_divide_out):
    first = data.draw(scan_arguments())
    second = data.draw(scan_arguments(like=first))
    if second["delta_bias"] is not None and not first["delta_softplus"]:
        second["delta_bias"] = None  # steps must not be negative
    forward, backward = as_direction(first), as_direction(second)
    softplus, z = first["delta_softplus"], first["z"]
    out, last_state, last_state_b = vimnp.selective_scan_bidirectional(
        forward, backward, z, softplus, if_divide_out, return_last_state=True, method=method
    )

    def scan(direction):
        """In float64: output and last state, and the terms of both."""
        arguments = direction._asdict() | {"delta_softplus": softplus}
        exact = reference.selective_scan(**widened(arguments), return_last_state=True)
        return *exact, *magnitude(arguments)

    truth, state, terms, state_terms = scan(forward)
    truth_b, state_b, terms_b, state_terms_b = scan(backward.reversed())
    factor = 0.5 if if_divide_out else 1.0
    if z is not None:
        factor = factor * reference.silu(z.astype(np.float64))
    flipped, flipped_terms = truth_b[..., ::-1], terms_b[..., ::-1]
    assert_close(out, (truth + flipped) * factor, (terms + flipped_terms) * np.abs(factor))
    assert_close(last_state, state, state_terms)
    assert_close(last_state_b, state_b, state_terms_b)


def test_two_directions_name_a_mistake(implementation):
    forward = as_direction(plain_arguments())
    shorter = as_direction(plain_arguments(length=4))
    with pytest.raises(ValueError, match=r"backward\.u has shape \(2, 6, 4\)"):
        vimnp.selective_scan_bidirectional(forward, shorter)
    fewer_states = as_direction(plain_arguments(d_state=3))
    with pytest.raises(ValueError, match=r"backward\.A has shape \(6, 3\)"):
        vimnp.selective_scan_bidirectional(forward, fewer_states)
    with pytest.raises(ValueError, match="z has shape"):
        vimnp.selective_scan_bidirectional(forward, forward, shorter.u)
    with pytest.raises(ValueError, match="method is 'both'"):
        vimnp.selective_scan_bidirectional(forward, forward, method="both")
    with pytest.raises(ValueError, match=r"backward\.delta has shape"):
        vimnp.selective_scan_bidirectional(forward, forward._replace(delta=shorter.delta))


# ---- Threads -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_work_is_split")
@pytest.mark.parametrize("method", SCAN_MODES)
def test_every_number_of_threads_gives_the_same_bits(implementation, method):
    arguments = plain_arguments(batch=1, channels=150, length=40, d_state=16)
    directions = (as_direction(arguments), as_direction(plain_arguments(1, 150, 40, 16, seed=1)))

    def run(num_threads):
        both = vimnp.selective_scan_bidirectional(
            *directions, arguments["z"], True, method=method, num_threads=num_threads
        )
        single = vimnp.selective_scan(
            **arguments,
            method=method.removeprefix("fused_").replace("fused", "sequential"),
            num_threads=num_threads,
        )
        weight = arguments["A"][:, :4]
        conv = vimnp.causal_conv1d(
            arguments["u"], weight, activation="silu", num_threads=num_threads
        )
        return both.tobytes(), single.tobytes(), conv.tobytes()

    alone = run(1)
    for num_threads in (2, 3, 8):
        assert run(num_threads) == alone
