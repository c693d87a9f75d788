"""What NaN and infinity do in every kernel: what they do in float64."""

from __future__ import annotations

import numpy as np
import pytest

import vimnp
from tests.support.arrays import normal
from tests.support.comparison import assert_close, plain_arguments, widened
from tests.support.norms import add_norm, exact_norm, with_and_without_bias
from vimnp.ops import kernels, reference
from vimnp.ops.kernels import Filter
from vimnp.ops.modes import UNFUSED_MODES

# Bits of float32: NaN as usual, signalling, of both signs, with all bits set; and infinities.
NOT_FINITE = [0x7FC00000, 0x7F800001, 0xFFC12345, 0xFFFFFFFF, 0x7F800000, 0xFF800000]
# To widen a signalling NaN to float64 is a warning in NumPy.
without_warnings = np.errstate(invalid="ignore")
every_odd_value = pytest.mark.parametrize("bits", NOT_FINITE, ids=hex)

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
    """Of a scan whose steps are never negative, with softplus or without: nothing grows."""
    arguments = plain_arguments(batch=1, channels=21, length=70, d_state=16)
    steps = {name: 0.5 * np.abs(arguments[name]) for name in ("delta", "delta_bias")}
    return arguments | steps


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
@pytest.mark.parametrize("softplus", [False, True], ids=["step", "softplus"])
@pytest.mark.parametrize("method", UNFUSED_MODES)
@pytest.mark.parametrize("name", IN_SCAN)
@without_warnings
def test_what_is_not_finite_in_a_scan_spoils_what_it_must(
    implementation, name, method, softplus, bits
):
    arguments = long_arguments() | {"delta_softplus": softplus}
    arguments[name] = with_bits(arguments[name], IN_SCAN[name], bits)
    found = vimnp.selective_scan(**arguments, method=method, return_last_state=True)
    truth = reference.selective_scan(**widened(arguments), return_last_state=True)
    assert_agrees(found[0], truth[0])
    assert_agrees(found[1], truth[1])


@pytest.mark.parametrize(
    "exponent", [-1e30, -1e4, -200, -88.25, -87, -86, 86, 87, 88, 200, 1e4, 1e30]
)
@pytest.mark.parametrize("token", [13, 31, 32, 69])
@pytest.mark.parametrize("method", UNFUSED_MODES)
@without_warnings
def test_a_single_exponent_out_of_range_spoils_what_it_must(
    implementation, method, token, exponent
):
    """Between -86.6 and 86.6 the kernels take a shorter way, if all of a run's exponents are."""
    arguments = long_arguments() | {"z": None, "delta_bias": None, "delta_softplus": False}
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
    assert within.all() == (exponent <= 88)


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
