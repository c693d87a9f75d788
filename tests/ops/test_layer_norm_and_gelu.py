"""LayerNorm and GELU as public operations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

import vimnp
from tests.support.arrays import normal
from tests.support.comparison import assert_close, examples
from tests.support.golden_operations import recorded_operation
from tests.support.norms import exact_norm
from vimnp.ops import kernels, reference

shapes = st.lists(st.integers(1, 6), min_size=0, max_size=3).map(tuple)


def exact_gelu(x):
    wide = x.astype(np.float64)
    return wide * special.ndtr(wide)


# ---- layer_norm ----------------------------------------------------------------------------------


@examples
@given(shape=shapes, channels=st.integers(1, 50) | st.sampled_from([192, 768]))
def test_layer_norm_agrees_with_float64(implementation, shape, channels):
    x, (weight, bias) = normal(*shape, channels), normal(2, channels, seed=1)
    truth = exact_norm(x.reshape(-1, channels), weight, bias).reshape(x.shape)
    terms = np.array(4 + np.abs(truth).max())
    assert_close(vimnp.layer_norm(x, weight, bias), truth, terms)


def test_layer_norm_takes_an_epsilon(implementation):
    x, weight, bias = np.float32(1e-3) * normal(3, 20), normal(20), normal(20)
    for eps in (0, 1e-6, np.float32(0.5), 1):
        wide = x.astype(np.float64)
        wide = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + eps)
        assert_close(vimnp.layer_norm(x, weight, bias, eps), wide * weight + bias, np.array(8.0))


def test_layer_norm_leaves_its_arguments_alone(implementation):
    x, weight, bias = normal(4, 3, 20), normal(20), normal(20)
    expected = vimnp.layer_norm(x, weight, bias)
    odd = [np.repeat(array, 2, axis=-1)[..., ::2] for array in (x, weight, bias)]
    for array in odd:
        array.flags.writeable = False
    np.testing.assert_array_equal(vimnp.layer_norm(*odd), expected)
    np.testing.assert_array_equal(odd[0], x)


def test_nothing_is_normalised_to_nothing(implementation):
    weight = normal(5)
    assert vimnp.layer_norm(np.zeros((3, 0, 5), np.float32), weight, weight).shape == (3, 0, 5)


def test_layer_norm_in_half_precision_computes_in_single_precision():
    x, weight, bias = (normal(*shape).astype(np.float16) for shape in ((4, 9), (9,), (9,)))
    found = reference.layer_norm(x, weight, bias)
    wide = [array.astype(np.float32) for array in (x, weight, bias)]
    np.testing.assert_array_equal(found, reference.layer_norm(*wide).astype(np.float16))


NORM_MISTAKES = [
    ({"x": [1.0]}, TypeError, "x is a list"),
    ({"x": np.zeros((2, 6))}, TypeError, "x has dtype float64"),
    ({"x": np.float32(1)}, TypeError, "x is a float32"),
    ({"x": np.zeros((), np.float32)}, ValueError, "x has shape ()"),
    ({"x": np.zeros((2, 0), np.float32)}, ValueError, "at least one channel"),
    ({"weight": np.zeros(5, np.float32)}, ValueError, "weight has shape (5,); expected (6,)"),
    ({"bias": np.zeros((1, 6), np.float32)}, ValueError, "bias has shape (1, 6)"),
    ({"bias": None}, TypeError, "bias is a NoneType"),
    ({"eps": -1e-5}, ValueError, "eps is -1e-05; expected a finite number"),
    ({"eps": float("nan")}, ValueError, "eps is nan"),
    ({"eps": "1e-5"}, ValueError, "eps is '1e-5'"),
    ({"num_threads": 0}, ValueError, "num_threads is 0"),
]


@pytest.mark.parametrize(("mistake", "error", "message"), NORM_MISTAKES)
def test_layer_norm_names_a_mistake(implementation, mistake, error, message):
    arguments = {"x": normal(2, 6), "weight": normal(6), "bias": normal(6)}
    with pytest.raises(error) as raised:
        vimnp.layer_norm(**(arguments | mistake))
    assert message in str(raised.value)


@pytest.mark.parametrize("name", ["layernorm2d", "layernorm2d_constant"])
def test_layer_norm_gives_the_originals_outputs(implementation, golden: Path, name):
    case = recorded_operation(golden, "vmamba", name)
    x = case["x"].transpose(0, 2, 3, 1)
    found = vimnp.layer_norm(x, case["param/weight"], case["param/bias"], float(case["eps"]))
    assert_close(found, case["out64"].transpose(0, 2, 3, 1))


# ---- A gate after a norm -------------------------------------------------------------------------


@examples
@given(length=st.integers(0, 40), channels=st.integers(1, 200), biased=st.booleans())
def test_a_gate_multiplies_the_norm(implementation, length, channels, biased):
    x, wide = normal(length, channels), normal(length, channels + 3, seed=2)
    gate, (weight, bias) = wide[:, 1:-2], normal(2, channels, seed=1)
    out, before = np.empty_like(x), x.copy()
    kernels.fused_add_norm(
        x, None, weight, bias if biased else None, out, epsilon=1e-5, num_threads=1, gate=gate
    )
    np.testing.assert_array_equal(x, before)
    truth = exact_norm(x, weight, bias if biased else None)
    factor = reference.silu(gate.astype(np.float64))
    assert_close(out, truth * factor, (4 + np.abs(truth).max(initial=0)) * np.abs(factor))


# ---- gelu ----------------------------------------------------------------------------------------


@examples
@given(shape=shapes, size=st.sampled_from([1e-3, 1, 10, 1e10]), seed=st.integers(0, 100))
def test_gelu_agrees_with_float64(implementation, shape, size, seed):
    x = np.asarray(np.float32(size) * normal(*shape, seed=seed))
    assert_close(vimnp.gelu(x), exact_gelu(x))


def test_gelu_is_right_where_it_is_small(implementation):
    """What the form with tanh, or one with 1 + erf(x), is not."""
    x = -np.linspace(0, 9, 1001, dtype=np.float32)
    truth = exact_gelu(x)
    np.testing.assert_array_less(np.abs(vimnp.gelu(x) - truth), 1e-5 * np.abs(truth) + 1e-40)


@pytest.mark.parametrize("x", [-11.085128, -11.456779, -11.396393])
def test_gelu_is_right_where_the_square_is_large(implementation, x):
    """Half a unit in the last place of x^2 is many of exp(-x^2 / 2)."""
    alone = np.asarray(np.float32(x))
    assert_close(vimnp.gelu(alone), exact_gelu(alone))


def test_gelu_in_double_precision_is_exact_to_its_last_places():
    x = np.linspace(-30, 9, 1001)
    np.testing.assert_allclose(reference.gelu(x), exact_gelu(x), rtol=1e-12, atol=0)


def test_gelu_leaves_its_argument_alone(implementation):
    x = normal(3, 40)
    odd = np.repeat(x, 2, axis=-1)[:, ::2]
    odd.flags.writeable = False
    np.testing.assert_array_equal(vimnp.gelu(odd), vimnp.gelu(x))
    np.testing.assert_array_equal(odd, x)


def test_gelu_of_nothing_is_nothing(implementation):
    assert vimnp.gelu(np.zeros((2, 0), np.float32)).shape == (2, 0)


def test_gelu_of_odd_values(implementation):
    x = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 0, 20, -20], np.float32)
    expected = np.array([np.nan, np.inf, np.nan, 3e38, 0, 0, 20, 0], np.float32)
    np.testing.assert_allclose(vimnp.gelu(x), expected, rtol=0, atol=1e-30)


@pytest.mark.usefixtures("small_work_is_split")
@pytest.mark.parametrize("size", [1, 500, 513, 5000])
def test_every_number_of_threads_gives_the_same_bits(implementation, size):
    x, weight, bias = normal(size // 5 + 1, 30), normal(30, seed=1), normal(30, seed=2)
    alone = [vimnp.gelu(x, num_threads=1), vimnp.layer_norm(x, weight, bias, num_threads=1)]
    for threads in (2, 3, 8):
        np.testing.assert_array_equal(vimnp.gelu(x, num_threads=threads), alone[0])
        found = vimnp.layer_norm(x, weight, bias, num_threads=threads)
        np.testing.assert_array_equal(found, alone[1])


@pytest.mark.parametrize(
    ("mistake", "error", "message"),
    [
        ({"x": 1.0}, TypeError, "x is a float"),
        ({"x": np.zeros(3)}, TypeError, "x has dtype float64"),
        ({"x": np.zeros(3, np.complex64)}, TypeError, "x has dtype complex64"),
        ({"x": np.zeros(3, np.float32), "num_threads": -1}, ValueError, "num_threads is -1"),
    ],
)
def test_gelu_names_a_mistake(implementation, mistake, error, message):
    with pytest.raises(error) as raised:
        vimnp.gelu(**mistake)
    assert message in str(raised.value)
