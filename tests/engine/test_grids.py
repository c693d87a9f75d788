"""Operations on tokens in a grid, and what goes with them: gates, GELU, and pictures' edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import vimnp
from tests.support.arrays import normal
from tests.support.comparison import assert_close
from tests.support.examples import examples_of
from tests.support.golden_operations import recorded_operation
from tests.support.implementations import NATIVE_WAYS, Way, only
from tests.support.programs import packed, reading_tokens, run
from vimnp.engine.builder import Builder
from vimnp.engine.packing import PackedMatrix, Packing
from vimnp.engine.program import Array, Filter
from vimnp.ops import reference
from vimnp.ops.grids import token_patches
from vimnp.runtime import extension
from vimnp.weights.encodings import ENCODINGS, encode

examples = settings(
    deadline=None,
    max_examples=examples_of(25),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
sides = st.integers(1, 9)
channels = st.integers(1, 40)
threads = st.integers(1, 5)
THREADS = (1, 2, 3, 8)


def exact(*arrays: np.ndarray) -> list[np.ndarray]:
    return [array.astype(np.float64) for array in arrays]


# ---- Depthwise convolution -----------------------------------------------------------------------


@only(NATIVE_WAYS)
@pytest.mark.usefixtures("way")
@examples
@given(
    grid=st.tuples(sides, sides),
    number=channels,
    kernel=st.sampled_from([1, 3, 5, 7]),
    has_bias=st.booleans(),
    silu=st.booleans(),
    block=st.integers(1, 90),
    num_threads=threads,
)
def test_conv2d_follows_its_product_block_by_block(
    grid, number, kernel, has_bias, silu, block, num_threads
):
    length, inputs = grid[0] * grid[1], 5
    x, matrix = normal(length, inputs), normal(inputs, number, seed=1)
    weight = normal(kernel * kernel, number, seed=2)
    bias = normal(number, seed=3) if has_bias else None

    def convolved(block: int, num_threads: int) -> np.ndarray:
        b, tokens = reading_tokens(length, inputs, (length, number))
        both = b.array(length, number + 3)  # beside something else
        with b.columns(number, length, block=block):
            b.product("p", tokens, packed(matrix), both.columns(0, number))
            filter = Filter(weight, bias, b.out)
            b.conv2d(both.columns(0, number), filter, grid=grid, silu=silu)
        return run(b.program(), x[None], num_threads)

    found = convolved(block, num_threads)
    np.testing.assert_array_equal(found, convolved(length, 1))
    picture, taps = exact((x @ matrix).T, weight.T)
    picture = picture.reshape(1, number, *grid)
    taps = taps.reshape(number, 1, kernel, kernel)
    truth = reference.conv2d(picture, taps, bias, "silu" if silu else None)
    terms = reference.conv2d(np.abs(picture), np.abs(taps)).max(initial=1) + has_bias * 4
    assert_close(found, truth.reshape(number, -1).T, np.array(3 * terms))


# ---- Patches, and dense convolution --------------------------------------------------------------


@st.composite
def windows(draw):
    """Arguments of patches, of which there is at least one."""
    grid, kernel = draw(st.tuples(sides, sides)), draw(st.tuples(st.integers(1, 4), sides))
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    if draw(st.booleans()):
        padding = padding[0]
    both = sum(padding) if isinstance(padding, tuple) else 2 * padding
    assume(all(k <= side + both for k, side in zip(kernel, grid, strict=True)))
    return {"grid": grid, "kernel": kernel, "stride": draw(st.integers(1, 4)), "padding": padding}


@only(NATIVE_WAYS)
@pytest.mark.usefixtures("way")
@examples
@given(windows=windows(), number=channels, columns_first=st.booleans(), num_threads=threads)
def test_patches_are_the_windows_of_the_grid(windows, number, columns_first, num_threads):
    rows, columns = windows["grid"]
    x = normal(rows * columns, number + 2)
    expected = token_patches(x[:, 1:-1], **windows, columns_first=columns_first)
    b, tokens = reading_tokens(rows * columns, number + 2, expected.shape)
    with b.rows(len(expected)):
        inner = tokens.columns(1, number + 1)
        b.patches(inner, b.out, **windows, columns_first=columns_first)
    np.testing.assert_array_equal(run(b.program(), x[None], num_threads), expected)


@only(NATIVE_WAYS)
@pytest.mark.usefixtures("way")
@examples
@given(
    windows=windows(),
    number=st.integers(1, 9),
    outputs=channels,
    has_bias=st.booleans(),
    activation=st.sampled_from([None, "gelu"]),
    num_threads=threads,
)
def test_dense_convolution_is_the_product_of_patches(
    windows, number, outputs, has_bias, activation, num_threads
):
    rows, columns = windows["grid"]
    x = normal(rows * columns, number)
    patches = token_patches(x, **windows)
    matrix = normal(patches.shape[1], outputs, seed=1)
    bias = normal(outputs, seed=2) if has_bias else None

    def convolved(num_threads: int) -> np.ndarray:
        b, tokens = reading_tokens(*x.shape, (len(patches), outputs))
        with b.rows(len(patches)):
            b.conv("c", tokens, packed(matrix), b.out, **windows, bias=bias, activation=activation)
        return run(b.program(), x[None], num_threads)

    found = convolved(num_threads)
    np.testing.assert_array_equal(found, convolved(1))
    truth = np.matmul(*exact(patches, matrix)) + (0 if bias is None else bias)
    terms = np.abs(patches) @ np.abs(matrix) + 4
    assert_close(found, truth if activation is None else reference.gelu(truth), terms)


# ---- Norms ---------------------------------------------------------------------------------------


@only(NATIVE_WAYS)
@pytest.mark.usefixtures("way")
@examples
@given(
    length=st.integers(1, 50),
    number=st.integers(1, 200),
    biased=st.booleans(),
    in_place=st.booleans(),
    after=st.sampled_from(["gate", "gelu", "nothing"]),
    num_threads=threads,
)
def test_a_norm_may_be_gated_or_go_through_gelu(
    length, number, biased, in_place, after, num_threads
):
    both = normal(length, 2 * number)
    weight, bias = normal(2, number, seed=1)
    b, tokens = reading_tokens(length, 2 * number, (length, number))
    x, z = tokens.columns(0, number), tokens.columns(number, 2 * number)
    with b.rows(length):
        out = x if in_place else b.out
        gate, activation = z if after == "gate" else None, "gelu" if after == "gelu" else None
        b.norm(
            x,
            out,
            weight,
            bias if biased else None,
            1e-5,
            gate=gate,
            activation=activation,
        )
        if in_place:
            b.copy("c", x, b.out)
    truth = reference.norm(
        *exact(both[:, :number], weight), bias.astype(np.float64) if biased else None, 1e-5
    )
    factor = reference.silu(both[:, number:].astype(np.float64)) if after == "gate" else 1
    found = run(b.program(), both[None], num_threads)
    terms = (np.abs(truth).max(initial=1) + 4) * np.abs(factor)
    assert_close(found, reference.gelu(truth) if after == "gelu" else truth * factor, terms)


# ---- Sums ----------------------------------------------------------------------------------------


@only(NATIVE_WAYS)
@pytest.mark.usefixtures("way")
@examples
@given(
    length=st.integers(1, 70),
    number=channels,
    groups=st.integers(1, 4),
    block=st.integers(1, 70),
    num_threads=threads,
)
def test_what_is_added_takes_its_channels_from_groups_in_turn(
    length, number, groups, block, num_threads
):
    width = number * groups
    both = normal(length, 2 * width + 1)
    b, tokens = reading_tokens(length, 2 * width + 1, (length, width))
    x, out = tokens.columns(0, width), tokens.columns(width + 1, 2 * width + 1)
    with b.rows(length, block=block):
        b.add("a", x, out, groups=groups)
        b.copy("c", out, b.out)
    shuffled = both[:, :width].reshape(length, groups, number).swapaxes(1, 2).reshape(length, -1)
    found = run(b.program(), both[None], num_threads)
    np.testing.assert_array_equal(found, both[:, width + 1 :] + shuffled)


# ---- ReLU after a product ------------------------------------------------------------------------


@only(NATIVE_WAYS)
@pytest.mark.usefixtures("way")
@examples
@given(
    length=st.integers(1, 20) | st.sampled_from([119, 121]),
    inputs=channels,
    outputs=st.integers(1, 150) | st.sampled_from([530]),
    split=st.sampled_from(["rows", "columns"]),
    dtype=st.sampled_from(["float32", *ENCODINGS]),
    num_threads=threads,
)
def test_relu_after_a_product_is_that_of_the_stored_product(
    length, inputs, outputs, split, dtype, num_threads
):
    x, matrix, bias = normal(length, inputs), normal(inputs, outputs, seed=1), normal(outputs)

    def multiplied(activation: str | None, num_threads: int) -> np.ndarray:
        b, tokens = reading_tokens(length, inputs, (length, outputs))
        weights = encoded(dtype, matrix)
        with b.rows(length) if split == "rows" else b.columns(outputs, length):
            b.product("p", tokens, weights, b.out, bias=bias, activation=activation)
        return run(b.program(), x[None], num_threads)

    plain, found = multiplied(None, 1), multiplied("relu", num_threads)
    np.testing.assert_array_equal(found, np.where(plain < 0, np.float32(0), plain))


@only(NATIVE_WAYS)
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_relu_of_what_is_not_finite_is_as_pytorch_has_it(special):
    b, tokens = reading_tokens(1, 1, (1, 1))
    with b.rows(1):
        weights = packed(np.ones((1, 1), np.float32))
        b.product("p", tokens, weights, b.out, activation="relu")
    found = run(b.program(), np.full((1, 1, 1), special, np.float32), 1)
    np.testing.assert_array_equal(found, [[np.maximum(special, 0)]])


# ---- GELU after a product ------------------------------------------------------------------------


def encoded(dtype: str, matrix: np.ndarray) -> PackedMatrix:
    """A matrix (inputs, outputs) as it is stored."""
    if dtype == "float32":
        return packed(matrix)
    kernels = extension.kernels()
    return Packing(kernels.width, kernels.panel).pack(encode(dtype, matrix.T))


@only(NATIVE_WAYS)
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", ["float32", *ENCODINGS])
@examples
@given(
    length=st.integers(1, 20) | st.sampled_from([119, 120, 121, 250]),
    inputs=channels,
    outputs=st.integers(1, 150) | st.sampled_from([512, 530]),
    split=st.sampled_from(["rows", "columns", "later columns"]),
    added=st.booleans(),
    num_threads=threads,
)
def test_gelu_after_a_product_is_that_of_the_stored_product(
    dtype, length, inputs, outputs, split, added, num_threads
):
    """The same bits, whatever the matrix is stored as and however the stage is split."""
    x, matrix, bias = normal(length, inputs), normal(inputs, outputs, seed=1), normal(outputs)

    def multiplied(activation: str | None, num_threads: int) -> np.ndarray:
        b, tokens = reading_tokens(length, inputs, (length, outputs))
        y = b.array(length, outputs)
        with b.rows(length):
            b.product("first", tokens, packed(matrix), y)
        column = outputs // 2 if split == "later columns" else 0
        stage = b.rows(length) if split == "rows" else b.columns(outputs - column, length)
        with stage:
            b.product(
                "p",
                tokens,
                encoded(dtype, matrix),
                y,
                add=y if added else None,
                bias=bias,
                activation=activation,
                column=column,
            )
        with b.rows(length):
            b.copy("c", y, b.out)
        return run(b.program(), x[None], num_threads)

    plain, found = multiplied(None, 1), multiplied("gelu", num_threads)
    width = extension.kernels().width
    first = -(-(outputs // 2) // width) * width if split == "later columns" else 0
    np.testing.assert_array_equal(found[:, first:], vimnp.gelu(plain[:, first:]))
    np.testing.assert_array_equal(found[:, :first], plain[:, :first])


# ---- Pictures ------------------------------------------------------------------------------------


@only(NATIVE_WAYS)
@pytest.mark.usefixtures("way")
@examples
@given(
    size=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    patch=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 4),
    padding=st.integers(0, 3),
    for_all=st.booleans(),
    num_threads=threads,
)
def test_a_pictures_patches_reach_beyond_its_edges(
    size, patch, stride, padding, for_all, num_threads
):
    assume(all(k <= side + 2 * padding for k, side in zip(patch, size, strict=True)))
    pixels, outputs = normal(3, *size), 11
    tokens = pixels.transpose(1, 2, 0).reshape(-1, 3)
    rows = token_patches(tokens, grid=size, kernel=patch, stride=stride, padding=padding)
    # The engine's pictures have their channels first, and so have their patches.
    rows = rows.reshape(len(rows), *patch, 3).transpose(0, 3, 1, 2).reshape(len(rows), -1)
    matrix = normal(rows.shape[1], outputs, seed=1)
    offset = normal(*((outputs,) if for_all else (len(rows), outputs)), seed=2)
    b = Builder(pixels.shape, (len(rows), outputs))
    with b.rows(len(rows)):
        b.embed(
            b.out,
            packed(matrix),
            offset,
            np.arange(len(rows), dtype=np.intc),
            patch=patch,
            stride=stride,
            padding=padding,
        )
    found = run(b.program(), pixels, num_threads)
    truth = np.matmul(*exact(rows, matrix)) + offset
    assert_close(found, truth, np.abs(rows) @ np.abs(matrix) + 4)


# ---- Recorded layers of VMamba -------------------------------------------------------------------


def channels_last(case: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """x and the result (b, h, w, c) of what was recorded with its channels first."""
    return case["x"].transpose(0, 2, 3, 1), case["out64"].transpose(0, 2, 3, 1)


def of_taps(weight: np.ndarray) -> PackedMatrix:
    """A kernel (out, in, k, k) as a matrix from a patch of tokens."""
    return packed(weight.transpose(2, 3, 1, 0).reshape(-1, len(weight)))


class Layers:
    """Some recorded layers as a program, one of one picture."""

    def __init__(self, parameters: dict[str, np.ndarray]) -> None:
        self.of = {name.removeprefix("param/"): array for name, array in parameters.items()}

    def norm(self, b: Builder, x: Array, out: Array, name: str, activation=None) -> None:
        weight, bias = self.of[f"{name}.weight"], self.of[f"{name}.bias"]
        b.norm(x, out, weight, bias, 1e-5, activation=activation)

    def run(self, b: Builder, input: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        input = np.ascontiguousarray(input)
        alone = run(b.program(), input, 1)
        for num_threads in THREADS:
            np.testing.assert_array_equal(run(b.program(), input, num_threads), alone)
        return alone.reshape(shape)

    def layer_norm(self, x: np.ndarray) -> np.ndarray:
        b, tokens = reading_tokens(x[..., 0].size, x.shape[-1], (x[..., 0].size, x.shape[-1]))
        with b.rows(tokens.rows):
            b.norm(tokens, b.out, self.of["weight"], self.of["bias"], 1e-5)
        return self.run(b, x.reshape(1, tokens.rows, -1), x.shape)

    def mlp(self, x: np.ndarray) -> np.ndarray:
        b, tokens = reading_tokens(x[..., 0].size, x.shape[-1], (x[..., 0].size, x.shape[-1]))
        hidden = b.array(tokens.rows, len(self.of["fc1.bias"]))
        with b.rows(tokens.rows):
            fc1, fc2 = (packed(self.of[f"{name}.weight"].T) for name in ("fc1", "fc2"))
            b.product("fc1", tokens, fc1, hidden, bias=self.of["fc1.bias"], activation="gelu")
            b.product("fc2", hidden, fc2, b.out, bias=self.of["fc2.bias"])
        return self.run(b, x.reshape(1, tokens.rows, -1), x.shape)

    def merged(self, x: np.ndarray) -> np.ndarray:
        grid, number = x.shape[:2], 4 * x.shape[2]
        halves = tuple(-(-side // 2) for side in grid)
        rows = halves[0] * halves[1]
        b, tokens = reading_tokens(grid[0] * grid[1], x.shape[2], (rows, number // 2))
        patches = b.array(rows, number)
        with b.rows(rows):
            kind = {"grid": grid, "kernel": (2, 2), "stride": 2, "padding": (0, 1)}
            b.patches(tokens, patches, **kind, columns_first=True)
            self.norm(b, patches, patches, "norm")
            b.product("reduction", patches, packed(self.of["reduction.weight"].T), b.out)
        return self.run(b, x.reshape(1, -1, x.shape[2]), (*halves, number // 2))

    def convolved(self, x: np.ndarray, padding: int) -> np.ndarray:
        """A convolution and its norm."""
        weight, grid = self.of["1.weight"], x.shape[:2]
        kernel = weight.shape[2:]
        sides = tuple((side + 2 * padding - kernel[0]) // 2 + 1 for side in grid)
        rows = sides[0] * sides[1]
        b, tokens = reading_tokens(grid[0] * grid[1], x.shape[2], (rows, len(weight)))
        with b.rows(rows):
            kind = {"grid": grid, "kernel": kernel, "stride": 2, "padding": padding}
            b.conv("conv", tokens, of_taps(weight), b.out, **kind, bias=self.of["1.bias"])
            self.norm(b, b.out, b.out, "3")
        return self.run(b, x.reshape(1, -1, x.shape[2]), (*sides, len(weight)))

    def embedded(self, pixels: np.ndarray) -> np.ndarray:
        """The stem, of one convolution or of two."""
        has_two = "5.weight" in self.of
        weight = self.of["0.weight"]
        stride, padding = (2, 1) if has_two else (4, 0)
        grid = tuple(
            (side + 2 * padding - weight.shape[2]) // stride + 1 for side in pixels.shape[1:]
        )
        rows, number = grid[0] * grid[1], len(weight)
        sides = tuple((side + 2 - 3) // 2 + 1 for side in grid) if has_two else grid
        shape = (*sides, len(self.of["5.weight" if has_two else "0.weight"]))
        b = Builder(pixels.shape, (sides[0] * sides[1], shape[2]))
        tokens = b.array(rows, number) if has_two else b.out
        with b.rows(rows):
            patches, matrix = np.arange(rows, dtype=np.intc), packed(weight.reshape(number, -1).T)
            kind = {"patch": weight.shape[2:], "stride": stride, "padding": padding}
            b.embed(tokens, matrix, self.of["0.bias"], patches, **kind)
            self.norm(b, tokens, tokens, "2", "gelu" if has_two else None)
        if has_two:
            with b.rows(b.out.rows):
                kind = {"grid": grid, "kernel": (3, 3), "stride": 2, "padding": 1}
                matrix = of_taps(self.of["5.weight"])
                b.conv("conv", tokens, matrix, b.out, **kind, bias=self.of["5.bias"])
                self.norm(b, b.out, b.out, "7")
        return self.run(b, pixels, shape)


@only(NATIVE_WAYS)
@pytest.mark.parametrize("name", ["layernorm2d", "layernorm2d_constant", "mlp"])
def test_a_layer_gives_the_originals_outputs(way: Way, golden: Path, name: str) -> None:
    case = recorded_operation(golden, "vmamba", name)
    x, out = channels_last(case)
    layers = Layers(case)
    assert_close(layers.mlp(x) if name == "mlp" else layers.layer_norm(x), out)


@only(NATIVE_WAYS)
@pytest.mark.parametrize("name", ["patch_embed_v1", "patch_embed_v2"])
@pytest.mark.parametrize("odd", ["", "_odd"])
def test_a_stem_gives_the_originals_outputs(way: Way, golden: Path, name: str, odd: str) -> None:
    case = recorded_operation(golden, "vmamba", name + odd)
    outs = case["out64"] if name == "patch_embed_v1" else channels_last(case)[1]
    for pixels, out in zip(case["x"], outs, strict=True):
        assert_close(Layers(case).embedded(pixels), out)


@only(NATIVE_WAYS)
@pytest.mark.parametrize(
    "name",
    ["downsample_v1", "downsample_v1_odd", "downsample_v2", "downsample_v3", "downsample_v3_odd"],
)
def test_a_downsampling_gives_the_originals_outputs(way: Way, golden: Path, name: str) -> None:
    case = recorded_operation(golden, "vmamba", name)
    merges = name.startswith("downsample_v1")
    xs, outs = (case["x"], case["out64"]) if merges else channels_last(case)
    for x, out in zip(xs, outs, strict=True):
        layers = Layers(case)
        found = layers.merged(x) if merges else layers.convolved(x, int("v3" in name))
        assert_close(found, out)
