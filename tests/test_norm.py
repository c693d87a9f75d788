"""The norm of the residual stream; and what NaN and infinity do in every kernel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_ops import assert_close, examples, plain_arguments, widened

import vimnp
from vimnp import kernels, reference
from vimnp.kernels import Filter
from vimnp.reference import METHODS

EPSILON = 1e-5

# Relative to the largest of a token's channels, before the mean is taken away. A sum of 768 float32
# is rounded at every addition, by up to 6e-8 of itself; these roundings mostly cancel. A mistake in
# the arithmetic is larger by orders of magnitude.
TOLERANCE = 2e-6


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def add_norm(residual, hidden, weight, bias, out=None, num_threads=1):
    """The norm; `residual` is updated."""
    out = np.empty_like(residual) if out is None else out
    kernels.fused_add_norm(
        residual, hidden, weight, bias, out, epsilon=EPSILON, num_threads=num_threads
    )
    return out


def exact_norm(x, weight, bias):
    """In float64."""
    bias = None if bias is None else bias.astype(np.float64)
    return reference.norm(x.astype(np.float64), weight.astype(np.float64), bias, EPSILON)


def assert_norm_is_close(found, x, weight, bias):
    exact = x.astype(np.float64)
    if bias is not None:
        exact -= exact.mean(axis=1, keepdims=True)
    scale = 1 / np.sqrt((exact**2).mean(axis=1) + EPSILON)
    largest = (np.abs(x).max(axis=1) * scale)[:, None] * np.abs(weight)
    largest += 0 if bias is None else np.abs(bias)
    assert (np.abs(found - exact_norm(x, weight, bias)) <= TOLERANCE * largest).all()


with_and_without_bias = pytest.mark.parametrize("biased", [False, True], ids=["rms", "layer"])


@examples
@given(
    tokens=st.integers(0, 70),
    channels=st.integers(1, 50) | st.sampled_from([192, 384, 768]),
    size=st.sampled_from([1e-3, 1, 1e3]),
    added=st.booleans(),
    biased=st.booleans(),
    margin=st.sampled_from([0, 3]),
)
def test_norm_agrees_with_float64(implementation, tokens, channels, size, added, biased, margin):
    """On all columns of an array, or on those in the middle of a wider one."""
    wide = np.float32(size) * normal(3, tokens, channels + 2 * margin, seed=tokens + channels)
    before = wide.copy()
    inner = np.s_[..., margin : margin + channels]
    residual, hidden, out = wide[inner]
    weight, bias = normal(2, channels, seed=channels)
    add_norm(residual, hidden if added else None, weight, bias if biased else None, out)

    expected = before.copy()
    if added:
        np.add(before[0][inner], before[1][inner], out=expected[0][inner])
    expected[2][inner] = out
    np.testing.assert_array_equal(wide, expected)
    assert_norm_is_close(out, residual, weight, bias if biased else None)


def test_a_large_offset_costs_a_layer_norm_no_more_than_the_roundings_of_its_mean(implementation):
    """The difference of mean square and squared mean would be wrong by some 1e-2 here."""
    for channels in (7, 192, 768):
        x = normal(70, channels) + np.float32(100)
        weight, bias = normal(2, channels, seed=1)
        assert_norm_is_close(add_norm(x, None, weight, bias), x, weight, bias)


@with_and_without_bias
def test_the_norm_of_zeros_is_the_bias(implementation, biased):
    x, (weight, bias) = normal(5, 21), normal(2, 21, seed=1)
    x[3] = 0
    out = add_norm(x, None, weight, bias if biased else None)
    np.testing.assert_array_equal(out[3], bias if biased else 0)
    assert out[[0, 1, 2, 4]].all()


@with_and_without_bias
def test_a_token_is_normalised_the_same_alone_and_among_others(implementation, biased):
    x, hidden = normal(2, 70, 50)
    weight, bias = normal(2, 50, seed=1)
    bias = bias if biased else None
    together = add_norm(x.copy(), hidden, weight, bias)
    for t in range(len(x)):
        alone = add_norm(x[t : t + 1].copy(), hidden[t : t + 1], weight, bias)
        np.testing.assert_array_equal(alone[0], together[t])


@pytest.mark.usefixtures("small_work_is_split")
@with_and_without_bias
def test_every_number_of_threads_gives_the_same_norm(implementation, biased):
    x, hidden = normal(2, 300, 50)
    weight, bias = normal(2, 50, seed=1)

    def run(num_threads):
        residual = x.copy()
        out = add_norm(residual, hidden, weight, bias if biased else None, num_threads=num_threads)
        return residual.tobytes(), out.tobytes()

    alone = run(1)
    for num_threads in (2, 3, 8):
        assert run(num_threads) == alone


# ---- NaN and infinity, in all kernels ------------------------------------------------------------

# Bits of float32: NaN as usual, signalling, of both signs, with all bits set; and infinities.
NOT_FINITE = [0x7FC00000, 0x7F800001, 0xFFC12345, 0xFFFFFFFF, 0x7F800000, 0xFF800000]
every_odd_value = pytest.mark.parametrize("bits", NOT_FINITE, ids=hex)

# Plain NumPy warns of an infinity less an infinity, and of a signalling NaN.
without_warnings = np.errstate(invalid="ignore", over="ignore")

CHANNELS = [7, 19]  # of 21: in a full vector, and in the last one
TOKEN = 40  # of 70: in the second run of 32
LARGEST = np.finfo(np.float32).max


def with_bits(array: np.ndarray, where, bits: int) -> np.ndarray:
    changed = array.copy()
    changed.view(np.uint32)[where] = bits
    return changed


def assert_agrees(found: np.ndarray, truth: np.ndarray) -> None:
    """NaN and infinity in the same places, and close elsewhere."""
    finite = np.isfinite(truth)
    np.testing.assert_array_equal(found[~finite], truth[~finite])
    assert_close(found[finite], truth[finite])


def long_arguments():
    """Of a scan, with steps that are never negative: nothing grows."""
    arguments = plain_arguments(batch=1, channels=21, length=70, d_state=16)
    steps = {name: 0.5 * np.abs(arguments[name]) for name in ("delta", "delta_bias")}
    return arguments | steps | {"delta_softplus": False}


IN_SCAN = {
    "u": (0, CHANNELS, TOKEN),
    "delta": (0, CHANNELS, TOKEN),
    "A": (CHANNELS, 2),
    "B": (0, 2, TOKEN),
    "C": (0, 2, TOKEN),
    "D": CHANNELS,
    "z": (0, CHANNELS, TOKEN),
    "delta_bias": CHANNELS,
}


@every_odd_value
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", IN_SCAN)
@without_warnings
def test_what_is_not_finite_in_a_scan_spoils_what_it_must(implementation, name, method, bits):
    arguments = long_arguments()
    arguments[name] = with_bits(arguments[name], IN_SCAN[name], bits)
    found = vimnp.selective_scan(**arguments, method=method, return_last_state=True)
    truth = reference.selective_scan(**widened(arguments), return_last_state=True)
    assert_agrees(found[0], truth[0])
    assert_agrees(found[1], truth[1])


@pytest.mark.parametrize("exponent", [-1e30, -1e4, -200, -87, -86, 86, 87, 200, 1e4, 1e30])
@pytest.mark.parametrize("token", [13, 31, 32, 69])
@pytest.mark.parametrize("method", METHODS)
@without_warnings
def test_a_single_exponent_out_of_range_spoils_what_it_must(
    implementation, method, token, exponent
):
    """Between -86.6 and 86.6 the kernels take a shorter way, if all of a run's exponents are."""
    arguments = long_arguments() | {"z": None, "delta_bias": None}
    arguments["A"][CHANNELS] = -1
    arguments["u"][0, CHANNELS] *= 1e-3  # so that growing by e^87 is no overflow
    arguments["delta"][0, CHANNELS, token] = -exponent
    found = vimnp.selective_scan(**arguments, method=method)[0]
    truth = reference.selective_scan(**widened(arguments))[0]
    others = np.delete(np.arange(21), CHANNELS)
    assert_close(found[others], truth[others])
    # A large exponent turns its own rounding into a relative error of all that follows.
    largest = np.maximum.accumulate(np.abs(truth[CHANNELS]), axis=1)
    within = largest <= LARGEST
    assert not np.isfinite(found[CHANNELS][~within]).any()
    error = np.abs(found[CHANNELS] - truth[CHANNELS])
    assert (error[within] <= 2e-5 * largest[within]).all()
    assert within.all() == (exponent < 88)


IN_CONVOLUTION = {"x": (TOKEN, CHANNELS), "weight": (1, CHANNELS), "bias": CHANNELS}


@every_odd_value
@pytest.mark.parametrize("name", IN_CONVOLUTION)
@without_warnings
def test_what_is_not_finite_in_a_convolution_spoils_what_it_must(implementation, name, bits):
    arrays = {"x": normal(70, 21), "weight": normal(4, 21, seed=1), "bias": normal(21, seed=2)}
    arrays[name] = with_bits(arrays[name], IN_CONVOLUTION[name], bits)
    filters = (Filter(arrays["weight"], arrays["bias"]),) * 2
    outs = np.empty_like(arrays["x"]), np.empty_like(arrays["x"])
    kernels.causal_conv1d(arrays["x"], filters, outs, silu=True, num_threads=1)
    x, weight, bias = widened(arrays).values()
    for out, step in zip(outs, (1, -1), strict=True):
        truth = reference.causal_conv1d(x[::step].T[None], weight.T, bias, "silu")
        assert_agrees(out[::step], truth[0].T)


@every_odd_value
@with_and_without_bias
@without_warnings
def test_what_is_not_finite_in_a_token_stays_in_its_norm(implementation, biased, bits):
    clean, (weight, bias) = normal(70, 21), normal(2, 21, seed=1)
    bias = bias if biased else None
    for channel in CHANNELS:
        x = with_bits(clean, (TOKEN, channel), bits)
        expected = add_norm(clean.copy(), None, weight, bias)
        expected[TOKEN] = exact_norm(x[TOKEN : TOKEN + 1], weight, bias)
        np.testing.assert_array_equal(add_norm(x, None, weight, bias), expected)
