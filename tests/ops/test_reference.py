"""The operations in plain NumPy as they are: what they refuse, and what dtypes they compute in."""

from __future__ import annotations

import numpy as np
import pytest

import vimnp
from tests.support.comparison import plain_arguments
from vimnp.ops import reference
from vimnp.ops.modes import SCAN_MODES, UNFUSED_MODES
from vimnp.reference import Direction


@pytest.mark.parametrize("name", ["u", "delta", "A", "B", "C", "D", "z", "delta_bias"])
@pytest.mark.parametrize("scan", [reference.selective_scan, vimnp.selective_scan])
def test_complex_numbers_are_refused(scan, name):
    arguments = plain_arguments()
    arguments[name] = arguments[name].astype(np.complex64)
    with pytest.raises(TypeError, match=rf"{name} has dtype complex64.*{name}\.real"):
        scan(**arguments)


@pytest.mark.parametrize("backward", [False, True])
def test_complex_numbers_are_refused_in_either_direction(backward):
    arguments = plain_arguments()
    real = Direction(*(arguments[name] for name in Direction._fields))
    directions = [real, real._replace(A=real.A.astype(np.complex128))]
    with pytest.raises(TypeError, match="A has dtype complex128"):
        reference.selective_scan_bidirectional(*directions[:: 1 if backward else -1])


def halves(arguments):
    """Activations in float16, parameters in float32, as in mixed precision; and their float32."""
    half = {name: arguments[name].astype(np.float16) for name in ("u", "delta", "B", "C", "z")}
    whole = {name: array.astype(np.float32) for name, array in half.items()}
    return arguments | half, arguments | whole


@pytest.mark.parametrize("method", UNFUSED_MODES)
def test_a_scan_of_float16_is_computed_in_float32(method):
    half, whole = halves(plain_arguments(length=300))
    out, state = reference.selective_scan(**half, return_last_state=True, method=method)
    truth, truth_state = reference.selective_scan(**whole, return_last_state=True, method=method)
    assert (out.dtype, state.dtype) == (np.float16, np.float32)
    np.testing.assert_array_equal(out, truth.astype(np.float16))
    np.testing.assert_array_equal(state, truth_state)


@pytest.mark.parametrize("method", SCAN_MODES)
def test_two_directions_of_float16_are_computed_in_float32(method):
    found, truth = (
        reference.selective_scan_bidirectional(
            *[Direction(*(arguments[name] for name in Direction._fields))] * 2,
            arguments["z"],
            True,
            method=method,
        )
        for arguments in halves(plain_arguments(length=300))
    )
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, truth.astype(np.float16))


@pytest.mark.parametrize("parameters", [np.float16, np.float32])
def test_a_convolution_of_float16_is_computed_in_float32(parameters):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 6, 50)).astype(np.float16)
    weight, bias = (rng.standard_normal(s).astype(parameters) for s in ((6, 4), (6,)))
    found = reference.causal_conv1d(x, weight, bias, "silu")
    truth = reference.causal_conv1d(*(a.astype(np.float32) for a in (x, weight, bias)), "silu")
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, truth.astype(np.float16))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_other_dtypes_are_computed_in_as_they_are(dtype):
    arguments = {
        name: value.astype(dtype) if isinstance(value, np.ndarray) else value
        for name, value in plain_arguments().items()
    }
    out, state = reference.selective_scan(**arguments, return_last_state=True)
    assert out.dtype == state.dtype == dtype
    assert reference.causal_conv1d(arguments["u"], arguments["A"]).dtype == dtype
