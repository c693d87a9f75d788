"""Depthwise convolution of pictures, and the windows that a dense convolution multiplies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

import vimnp
from tests.support.arrays import normal
from tests.support.comparison import assert_close, examples
from vimnp.ops import kernels, reference
from vimnp.ops.grids import token_patches
from vimnp.ops.kernels import Filter

sides = st.integers(1, 12)
channels = st.integers(1, 40)
kernel_sizes = st.sampled_from([1, 3, 5, 7])


def exact_conv2d(x, weight, bias, activation):
    """By a correlation that shares no code, in float64."""
    out = np.empty(x.shape)
    for b, picture in enumerate(x.astype(np.float64)):
        for d, plane in enumerate(picture):
            kernel = weight[d, 0].astype(np.float64)
            padded = np.pad(plane, kernel.shape[0] // 2)
            out[b, d] = signal.correlate2d(padded, kernel, mode="valid")
    out += 0 if bias is None else bias[:, None, None]
    return out / (1 + np.exp(-out)) if activation else out


@examples
@given(
    shape=st.tuples(st.integers(1, 2), channels, sides, sides),
    kernel=kernel_sizes,
    has_bias=st.booleans(),
    activation=st.sampled_from([None, "silu", "swish"]),
)
def test_conv2d_agrees_with_float64(implementation, shape, kernel, has_bias, activation):
    """At any size: lines and columns of one pixel, pictures smaller than the kernel."""
    x, weight = normal(*shape), normal(shape[1], 1, kernel, kernel, seed=1)
    bias = normal(shape[1], seed=2) if has_bias else None
    truth = exact_conv2d(x, weight, bias, activation)
    terms = exact_conv2d(np.abs(x), np.abs(weight), np.abs(bias) if has_bias else None, None)
    assert_close(vimnp.conv2d(x, weight, bias, activation), truth, terms)


def test_conv2d_reads_any_memory_layout_and_writes_none(implementation):
    x, weight, bias = normal(2, 5, 6, 7), normal(5, 1, 3, 3, seed=1), normal(5, seed=2)
    expected = vimnp.conv2d(x, weight, bias, "silu")
    odd = [np.repeat(array, 2, axis=-1)[..., ::2] for array in (x, weight, bias)]
    before = [np.copy(array) for array in odd]
    for array in odd:
        array.flags.writeable = False
    np.testing.assert_array_equal(vimnp.conv2d(*odd, "silu"), expected)
    for array, copy in zip(odd, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_pictures_without_pixels_are_left_as_they_are(implementation):
    weight = normal(3, 1, 3, 3)
    for shape in ((0, 3, 4, 4), (2, 3, 0, 4), (2, 3, 4, 0), (10**9, 3, 0, 0)):
        assert vimnp.conv2d(np.zeros(shape, np.float32), weight).shape == shape


def test_nan_reaches_the_pixels_under_the_kernel_and_no_other(implementation):
    x, weight = normal(1, 20, 6, 7), normal(20, 1, 3, 3, seed=1)
    expected = vimnp.conv2d(x, weight)
    x[0, 4, 2, 6] = np.nan
    expected[0, 4, 1:4, 5:7] = np.nan
    np.testing.assert_array_equal(vimnp.conv2d(x, weight), expected)


def test_a_tap_beside_the_picture_adds_nothing_whatever_it_is(implementation):
    x, weight = normal(1, 20, 1, 7), normal(20, 1, 3, 3, seed=1)
    expected = vimnp.conv2d(x, weight)
    weight[:, 0, ::2] = np.inf
    np.testing.assert_array_equal(vimnp.conv2d(x, weight), expected)


@pytest.mark.usefixtures("small_work_is_split")
@pytest.mark.parametrize("number", [1, 16, 17, 100])
def test_every_number_of_threads_gives_the_same_picture(implementation, number):
    x, weight, bias = normal(1, number, 9, 11), normal(number, 1, 3, 3, seed=1), normal(number)
    alone = vimnp.conv2d(x, weight, bias, "silu", num_threads=1)
    for num_threads in (2, 3, 8):
        found = vimnp.conv2d(x, weight, bias, "silu", num_threads=num_threads)
        np.testing.assert_array_equal(found, alone)


@examples
@given(grid=st.tuples(sides, sides), number=channels, margin=st.sampled_from([0, 3]))
def test_columns_of_wider_arrays_are_convolved_where_they_stand(
    implementation, grid, number, margin
):
    wide = normal(2, grid[0] * grid[1], number + 2 * margin)
    x, out = wide[..., margin : margin + number]
    filter, expected = Filter(normal(9, number), normal(number)), wide.copy()
    kernels.conv2d(x, filter, out, grid=grid, silu=True, num_threads=1)
    picture = x.T.reshape(1, number, *grid)
    weight = filter.weight.T.reshape(number, 1, 3, 3)
    truth = vimnp.conv2d(picture, weight, filter.bias, "silu").reshape(number, -1).T
    expected[1, :, margin : margin + number] = truth
    np.testing.assert_array_equal(wide, expected)


def test_half_precision_is_convolved_in_single_precision():
    x, weight, bias = (
        a.astype(np.float16) for a in (normal(1, 3, 5, 5), normal(3, 1, 3, 3), normal(3))
    )
    found = reference.conv2d(x, weight, bias, "silu")
    wide = [array.astype(np.float32) for array in (x, weight, bias)]
    np.testing.assert_array_equal(found, reference.conv2d(*wide, "silu").astype(np.float16))


MISTAKES = [
    ({"x": [[[[1.0]]]]}, TypeError, "x is a list"),
    ({"x": np.zeros((1, 6, 5, 4))}, TypeError, "x has dtype float64"),
    ({"x": np.zeros((6, 5, 4), np.float32)}, ValueError, "x has shape (6, 5, 4)"),
    ({"x": np.zeros((1, 0, 5, 4), np.float32)}, ValueError, "at least one channel"),
    ({"weight": np.zeros((5, 1, 3, 3), np.float32)}, ValueError, "weight has shape (5, 1, 3, 3)"),
    ({"weight": np.zeros((6, 6, 3, 3), np.float32)}, ValueError, "expected (d, 1, k, k)"),
    ({"weight": np.zeros((6, 1, 2, 2), np.float32)}, ValueError, "k one of 1, 3, 5, 7"),
    ({"weight": np.zeros((6, 1, 3, 1), np.float32)}, ValueError, "k one of 1, 3, 5, 7"),
    ({"weight": np.zeros((6, 1, 9, 9), np.float32)}, ValueError, "k one of 1, 3, 5, 7"),
    ({"weight": np.zeros((6, 1, 3, 3), np.int32)}, TypeError, "weight has dtype int32"),
    ({"bias": np.zeros(5, np.float32)}, ValueError, "bias has shape (5,)"),
    ({"activation": "relu"}, ValueError, "activation is 'relu'"),
    ({"num_threads": 0}, ValueError, "num_threads is 0"),
]


@pytest.mark.parametrize(("mistake", "error", "message"), MISTAKES)
def test_conv2d_names_a_mistake(implementation, mistake, error, message):
    arguments = {"x": normal(1, 6, 5, 4), "weight": normal(6, 1, 3, 3)}
    with pytest.raises(error) as raised:
        vimnp.conv2d(**(arguments | mistake))
    assert message in str(raised.value)


# ---- Windows of a grid ---------------------------------------------------------------------------


@examples
@given(
    grid=st.tuples(sides, sides),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.integers(1, 4),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    columns_first=st.booleans(),
)
def test_a_row_has_the_tokens_of_its_window(grid, kernel, stride, padding, columns_first):
    before, after = padding
    size = [side + before + after for side in grid]
    if size[0] < kernel[0] or size[1] < kernel[1]:
        return
    tokens = normal(grid[0] * grid[1], 3)
    rows = token_patches(
        tokens,
        grid=grid,
        kernel=kernel,
        stride=stride,
        padding=padding,
        columns_first=columns_first,
    )
    taps = [(i, j) for i in range(kernel[0]) for j in range(kernel[1])]
    if columns_first:
        taps = [(i, j) for j in range(kernel[1]) for i in range(kernel[0])]
    expected = []
    for top in range(-before, grid[0] + after - kernel[0] + 1, stride):
        for left in range(-before, grid[1] + after - kernel[1] + 1, stride):
            places = [(top + i, left + j) for i, j in taps]
            within = [0 <= y < grid[0] and 0 <= x < grid[1] for y, x in places]
            expected.append(
                [
                    tokens[y * grid[1] + x] if there else np.zeros(3)
                    for (y, x), there in zip(places, within, strict=True)
                ]
            )
    np.testing.assert_array_equal(rows, np.reshape(expected, (len(expected), -1)))
