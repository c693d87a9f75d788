"""Programs: what the builder refuses, and that what it lets through computes what it says."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.implementations import NATIVE_WAYS, Way, only
from tests.support.micro import MICRO
from tests.support.options import OPTIONS
from tests.support.programs import packed, run
from vimnp.engine import program as engine
from vimnp.engine.builder import Builder
from vimnp.engine.packing import PackedMatrix, Packing, sizes_only
from vimnp.engine.program import Array, Filter, ProgramError, ScanDirection
from vimnp.models.random_weights import random_reader
from vimnp.models.vim.parameters import load_parameters
from vimnp.models.vim.program import build
from vimnp.ops import reference
from vimnp.runtime import extension

LENGTH, CHANNELS, STATES = 7, 20, 3


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def matrix(inputs: int, outputs: int) -> PackedMatrix:
    return sizes_only(zeros(outputs, inputs))


class Some:
    """A builder and arrays of it that fit each other."""

    def __init__(self) -> None:
        self.b = Builder((3, 8, 8), (LENGTH, CHANNELS), state=STATES * CHANNELS + 1)
        self.x, self.y = (self.b.array(LENGTH, CHANNELS) for _ in range(2))
        self.mine = self.b.private(LENGTH, CHANNELS)
        self.narrow = self.b.array(LENGTH, STATES)

    def rows(self) -> AbstractContextManager[None]:
        return self.b.rows(LENGTH)

    def columns(self) -> AbstractContextManager[None]:
        return self.b.columns(CHANNELS, LENGTH)

    def direction(self, **changes: object) -> ScanDirection:
        arguments = {
            "u": self.x,
            "dt": self.narrow,
            "dt_proj": matrix(STATES, CHANNELS),
            "delta": None,
        }
        arguments |= {"B": self.narrow, "C": self.narrow, "z": self.y, "out": self.y}
        arguments |= {"delta_bias": zeros(20), "A": zeros(STATES, 20), "D": zeros(20)}
        return ScanDirection(**(arguments | changes))  # type: ignore[arg-type]

    def conv1d(self, filters: int = 1, **changes: object) -> None:
        arguments: dict[str, object] = {"state": self.b.state(0, 3, CHANNELS)}
        self.b.conv1d(self.x, [conv] * filters, **(arguments | changes))  # type: ignore[arg-type]

    def norm(self, out: Array, add: Array | None = None) -> None:
        self.b.norm(self.x, out, zeros(CHANNELS), None, 1e-5, add=add)

    def gated_norm(self, **changes: object) -> None:
        arguments = {"residual": self.x, "out": self.x, "weight": zeros(20), "bias": zeros(20)}
        arguments |= {"epsilon": 1e-5, "gate": self.y}
        self.b.norm(**(arguments | changes))  # type: ignore[arg-type]

    def lookup(self, rows: int = LENGTH, channels: int = CHANNELS) -> None:
        b = self.b = Builder((1, LENGTH), (1, 1))
        with b.rows(rows):
            b.lookup(matrix(CHANNELS, 100), b.array(rows, channels))

    def embed(self, **changes: object) -> None:
        arguments = {"out": self.x, "patch_proj": matrix(3 * 16, CHANNELS)}
        arguments |= {"offset": zeros(LENGTH, CHANNELS), "patches": np.zeros(LENGTH, np.intc)}
        arguments |= {"patch": (4, 4), "stride": 4}
        self.b.embed(**(arguments | changes))  # type: ignore[arg-type]

    def conv2d(self, taps: int = 9, **changes: object) -> None:
        arguments = {"x": self.x, "filter": Filter(zeros(taps, CHANNELS), zeros(20), self.y)}
        self.b.conv2d(**(arguments | {"grid": (7, 1)} | changes))  # type: ignore[arg-type]

    def patches(self, channels: int = 3 * STATES, **changes: object) -> None:
        """The columns of a grid of 3 x 7 tokens."""
        tokens, out = self.b.array(21, STATES), self.b.array(LENGTH, channels)
        arguments = {"x": tokens, "out": out, "grid": (3, 7), "kernel": (3, 1), "stride": 1}
        self.b.patches(**(arguments | changes))  # type: ignore[arg-type]

    def conv(self, **changes: object) -> None:
        """Of a grid of 14 x 1 tokens every second."""
        arguments = {"x": self.b.array(14, STATES), "weights": matrix(3 * STATES, CHANNELS)}
        arguments |= {"out": self.x, "grid": (14, 1), "kernel": (3, 1), "stride": 2}
        arguments |= {"padding": (1, 0), "bias": zeros(CHANNELS), "activation": "gelu"}
        self.b.conv("c", **(arguments | changes))  # type: ignore[arg-type]


square = matrix(CHANNELS, CHANNELS)
conv = Filter(zeros(4, CHANNELS), None, Array(3, 0, CHANNELS, LENGTH, CHANNELS))

FITTING: dict[str, tuple[str, Callable[[Some], None]]] = {
    "product": ("rows", lambda s: s.b.product("p", s.x, square, s.y, add=s.y, bias=zeros(20))),
    "product of columns": ("columns", lambda s: s.b.product("p", s.x, square, s.y, rows=(2, 5))),
    "norm": ("rows", lambda s: s.b.norm(s.x, s.y, zeros(20), zeros(20), 0.0, add=s.x)),
    "rotate": ("rows", lambda s: s.b.rotate(s.x, zeros(7, 20), zeros(7, 20), (0, 7))),
    "copy": ("rows", lambda s: s.b.copy("c", s.x, s.b.out)),
    "add": ("rows", lambda s: s.b.add("a", s.x, s.y)),
    "add of groups": ("rows", lambda s: s.b.add("a", s.x, s.y, groups=5)),
    "conv1d": ("columns", lambda s: s.b.conv1d(s.x, [conv, conv])),
    "scan": ("columns", lambda s: s.b.scan([s.direction(z=None), s.direction()])),
    "largest": ("columns", lambda s: s.b.largest("l", s.x, s.b.out.first(1))),
    "embed": ("rows", lambda s: s.embed()),
    "conv1d with a state": ("columns", lambda s: s.conv1d()),
    "scan with a state": (
        "columns",
        lambda s: s.b.scan([s.direction(state=s.b.state(0, STATES, CHANNELS))]),
    ),
    "a state's last float": ("columns", lambda s: s.conv1d(state=s.b.state(1, 3, CHANNELS))),
    "lookup": ("", lambda s: s.lookup()),
    "product with GELU": (
        "rows",
        lambda s: s.b.product("p", s.x, square, s.y, activation="gelu"),
    ),
    "product with ReLU": (
        "rows",
        lambda s: s.b.product("p", s.x, square, s.y, activation="relu"),
    ),
    "norm with a gate": ("rows", lambda s: s.gated_norm()),
    "norm with GELU": ("rows", lambda s: s.gated_norm(gate=None, activation="gelu")),
    "embed with padding": ("rows", lambda s: s.embed(padding=2, offset=zeros(CHANNELS))),
    "conv2d": ("columns", lambda s: s.conv2d()),
    "patches": ("rows", lambda s: s.patches()),
    "conv": ("rows", lambda s: s.conv()),
}


def what_each_thread_has_alone(some: Some) -> None:
    with some.columns():
        some.norm(some.mine)


MISFITS: dict[str, tuple[str, Callable[[Some], None]]] = {
    "rows split for columns": ("columns", FITTING["norm"][1]),
    "columns split for rows": ("rows", FITTING["conv1d"][1]),
    "in no stage": ("", FITTING["product"][1]),
    "a stage within a stage": ("rows", lambda s: s.columns().__enter__()),
    "inputs": ("rows", lambda s: s.b.product("p", s.narrow, square, s.y)),
    "a sum of other shapes": ("rows", lambda s: s.b.add("a", s.narrow, s.y)),
    "a sum where columns are split": ("columns", lambda s: s.b.add("a", s.x, s.y)),
    "groups that do not fit": ("rows", lambda s: s.b.add("a", s.x, s.y, groups=3)),
    "no group": ("rows", lambda s: s.b.add("a", s.x, s.y, groups=0)),
    "a norm with ReLU": ("rows", lambda s: s.gated_norm(gate=None, activation="relu")),
    "outputs": ("rows", lambda s: s.b.product("p", s.x, square, s.narrow)),
    "rows of out": ("rows", lambda s: s.b.product("p", s.x, square, s.y.first(6))),
    "add": ("rows", lambda s: s.b.product("p", s.x, square, s.y, add=s.narrow)),
    "bias": ("rows", lambda s: s.b.product("p", s.x, square, s.y, bias=zeros(19))),
    "rows beyond": ("rows", lambda s: s.b.product("p", s.x, square, s.y, rows=(0, 8))),
    "columns beyond": ("columns", lambda s: s.b.product("p", s.x, square, s.y, column=4)),
    "columns where rows are split": (
        "rows",
        lambda s: s.b.product("p", s.x, square, s.y, column=4),
    ),
    "another length": ("columns", lambda s: s.b.product("p", s.x.first(3), square, s.y.first(3))),
    "writing the input": ("rows", lambda s: s.b.copy("c", s.x, s.b.input)),
    "weight": ("rows", lambda s: s.b.norm(s.x, s.y, zeros(19), None, 1e-5)),
    "hidden": ("rows", lambda s: s.b.norm(s.x, s.y, zeros(20), None, 1e-5, add=s.narrow)),
    "tables": ("rows", lambda s: s.b.rotate(s.x, zeros(7, 20), zeros(6, 20), (0, 7))),
    "an odd channel": ("rows", lambda s: s.b.rotate(s.narrow, zeros(7, 3), zeros(7, 3), (0, 7))),
    "no filter": ("columns", lambda s: s.b.conv1d(s.x, [])),
    "three filters": ("columns", lambda s: s.b.conv1d(s.x, [conv] * 3)),
    "taps": ("columns", lambda s: s.b.conv1d(s.x, [conv, conv._replace(weight=zeros(3, 20))])),
    "no direction": ("columns", lambda s: s.b.scan([])),
    "five directions": ("columns", lambda s: s.b.scan([s.direction(z=None)] * 5)),
    "z of the first": ("columns", lambda s: s.b.scan([s.direction(), s.direction()])),
    "delta twice": ("columns", lambda s: s.b.scan([s.direction(delta=s.x)])),
    "no delta": ("columns", lambda s: s.b.scan([s.direction(dt_proj=None)])),
    "states": ("columns", lambda s: s.b.scan([s.direction(A=zeros(4, 20))])),
    "A": ("columns", lambda s: s.b.scan([s.direction(A=zeros(60))])),
    "D": ("columns", lambda s: s.b.scan([s.direction(D=zeros(19))])),
    "shorter B": ("columns", lambda s: s.b.scan([s.direction(B=s.narrow.first(3))])),
    "a mean in parts": ("rows", lambda s: s.b.mean("m", s.x, s.y.first(1))),
    "patches": ("rows", lambda s: s.embed(patches=np.full(LENGTH, 4, np.intc))),
    "no such patch": ("rows", lambda s: s.embed(patches=np.full(LENGTH, -2, np.intc))),
    "long numbers": ("rows", lambda s: s.embed(patches=np.zeros(LENGTH, np.int64))),
    "a patch's size": ("rows", lambda s: s.embed(patch=(4, 3))),
    "offset": ("rows", lambda s: s.embed(offset=zeros(LENGTH, 19))),
    "a state beyond": ("", lambda s: s.b.state(2, STATES, CHANNELS)),
    "a state of other taps": ("columns", lambda s: s.conv1d(state=s.b.state(0, 2, CHANNELS))),
    "a state of both directions": ("columns", lambda s: s.conv1d(filters=2)),
    "a scan's other states": (
        "columns",
        lambda s: s.b.scan([s.direction(state=s.b.state(0, 2, CHANNELS))]),
    ),
    "other ids": ("", lambda s: s.lookup(rows=6)),
    "another embedding": ("", lambda s: s.lookup(channels=19)),
    "private in no stage": ("", lambda s: s.norm(s.mine)),
    "private alone": ("", what_each_thread_has_alone),
    "private after the stage's own": ("columns", lambda s: (s.conv1d(), s.norm(s.mine))),
    "private that adds": ("columns", lambda s: s.norm(s.mine, add=s.y)),
    "no such rows": ("", lambda s: s.x.part(3, 5)),
    "no such channels": ("", lambda s: s.x.columns(3, 21)),
    "no such stride": ("", lambda s: s.x.every(0)),
    "an empty stage": ("", lambda s: s.rows().__exit__(None, None, None)),
    "no rows": ("", lambda s: s.b.rows(0).__enter__()),
    "an open stage": ("rows", lambda s: s.b.program()),
    "no such activation": (
        "rows",
        lambda s: s.b.product("p", s.x, square, s.y, activation="silu"),
    ),
    "a gate of other channels": ("rows", lambda s: s.gated_norm(gate=s.narrow)),
    "a gate and GELU": ("rows", lambda s: s.gated_norm(activation="gelu")),
    "a gate of what is private": ("columns", lambda s: s.gated_norm(out=s.mine)),
    "a norm's other activation": ("rows", lambda s: s.gated_norm(gate=None, activation="tanh")),
    "an offset for all": ("rows", lambda s: s.embed(offset=zeros(19))),
    "a padding before nothing": ("rows", lambda s: s.embed(padding=-3)),
    "conv2d of rows": ("rows", lambda s: s.conv2d()),
    "taps of no square": ("columns", lambda s: s.conv2d(taps=8)),
    "an even kernel": ("columns", lambda s: s.conv2d(taps=4)),
    "a large kernel": ("columns", lambda s: s.conv2d(taps=81)),
    "conv2d of another grid": ("columns", lambda s: s.conv2d(grid=(2, 4))),
    "conv2d of no grid": ("columns", lambda s: s.conv2d(grid=(-7, -1))),
    "conv2d in place": (
        "columns",
        lambda s: s.conv2d(filter=Filter(zeros(9, CHANNELS), None, s.x)),
    ),
    "conv2d's bias": (
        "columns",
        lambda s: s.conv2d(filter=Filter(zeros(9, CHANNELS), zeros(9), s.y)),
    ),
    "patches of columns": ("columns", lambda s: s.patches()),
    "a patch's numbers": ("rows", lambda s: s.patches(channels=STATES)),
    "the number of patches": ("rows", lambda s: s.patches(padding=1)),
    "patches of another grid": ("rows", lambda s: s.patches(grid=(3, 9))),
    "patches larger than the grid": ("rows", lambda s: s.patches(kernel=(40, 1))),
    "patches of no tokens": ("rows", lambda s: s.patches(kernel=(0, 1))),
    "patches that do not move": ("rows", lambda s: s.patches(stride=0)),
    "a negative padding": ("rows", lambda s: s.patches(padding=(-1, 22))),
    "patches over their tokens": ("rows", lambda s: s.conv(x=s.x, grid=(7, 1), stride=1)),
    "patches of the input": ("rows", lambda s: s.conv(x=s.b.input, grid=(24, 1), stride=3)),
    "a convolution's weights": ("rows", lambda s: s.conv(weights=square)),
    "a convolution's bias": ("rows", lambda s: s.conv(bias=zeros(19))),
    "a convolution's activation": ("rows", lambda s: s.conv(activation="tanh")),
    "too many buffers": ("", lambda s: [s.b.array(1, 1) for _ in range(30)]),  # type: ignore
}


def stage_of(some: Some, split: str) -> AbstractContextManager[None]:
    return {"rows": some.rows, "columns": some.columns}.get(split, nullcontext)()


@pytest.mark.parametrize("name", FITTING)
def test_what_fits_is_taken_down(name: str) -> None:
    split, add = FITTING[name]
    some = Some()
    with stage_of(some, split):
        add(some)
    (stage,) = some.b.program().stages
    assert stage.split == (split or "rows")
    assert len(stage.operations) == 1


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_is_refused_when_the_program_is_built(name: str) -> None:
    split, add = MISFITS[name]
    some = Some()
    if name == "an empty stage":
        with pytest.raises(ProgramError, match="no operation"), some.rows():
            pass
        return
    with pytest.raises(ProgramError), stage_of(some, split):
        add(some)


@pytest.mark.skipif(extension.loaded() is None, reason="needs the compiled kernels")
def test_the_builder_knows_the_kernels_limits() -> None:
    compiled = extension.loaded()
    assert compiled is not None
    assert {name: getattr(engine, name) for name in compiled.PROGRAM_LIMITS} == (
        compiled.PROGRAM_LIMITS
    )


# ---- What programs compute -----------------------------------------------------------------------


sizes = st.integers(1, 40)


@only(NATIVE_WAYS)
@pytest.mark.usefixtures("way")
@settings(max_examples=20)
@given(
    length=sizes,
    inputs=sizes,
    outputs=sizes,
    block=sizes,
    num_threads=st.integers(1, 5),
    backward=st.booleans(),
    by_columns=st.booleans(),
    adds=st.booleans(),
    needed=st.tuples(sizes, sizes),
)
def test_a_product_is_that_of_numpy_however_it_is_split(
    length, inputs, outputs, block, num_threads, backward, by_columns, adds, needed
):
    generator = np.random.default_rng(length * inputs * outputs)
    patches = generator.standard_normal((length, inputs)).astype(np.float32)
    first, bias = (generator.standard_normal(n).astype(np.float32) for n in (inputs, outputs))
    weights = generator.standard_normal((inputs, outputs)).astype(np.float32)
    begin, end = sorted(min(n, length) for n in needed)
    # A picture of one column of patches: what is embedded by the unit matrix is its rows.
    b = Builder((1, length, inputs), (length, outputs))
    x, unit = b.array(length, inputs), packed(np.eye(inputs, dtype=np.float32))
    with b.rows(length):
        offset = np.tile(first, (length, 1))
        numbers = np.arange(length, dtype=np.intc)
        b.embed(x, unit, offset, numbers, patch=(1, inputs), stride=1)
        b.copy("clear", b.out, b.out)
    source, target = (x.backward(), b.out.backward()) if backward else (x, b.out)
    stage = b.columns(outputs, length, block=block) if by_columns else b.rows(length)
    with stage:
        add = target if adds else None
        b.product("p", source, packed(weights), target, add=add, bias=bias, rows=(begin, end))
    found = run(b.program(), patches[None], num_threads)
    if backward:
        begin, end = length - end, length - begin
    if not adds:  # else what is not written is not known
        truth = (patches + first).astype(np.float64) @ weights + bias
        np.testing.assert_allclose(found[begin:end], truth[begin:end], rtol=2e-5, atol=2e-5)
        assert np.isnan(found[:begin]).all()
        assert np.isnan(found[end:]).all()


@only(NATIVE_WAYS)
@pytest.mark.parametrize("directions", [1, 2, 3, 4])
def test_any_number_of_directions_are_summed_and_gated(way: Way, directions: int) -> None:
    generator = np.random.default_rng(directions)
    length, channels = 70, 37
    u, delta, z = generator.standard_normal((3, length, channels)).astype(np.float32)
    A = -np.exp(generator.standard_normal((directions, STATES, channels))).astype(np.float32)
    values = generator.standard_normal((length, STATES)).astype(np.float32)
    D, bias = generator.standard_normal((2, channels)).astype(np.float32)
    picture = np.concatenate([u, delta, z, values], axis=1)
    b = Builder((1, *picture.shape), (length, channels))
    width = picture.shape[1]
    everything, y = b.array(length, width), b.array(length, channels)
    with b.rows(length):
        unit = packed(np.eye(width, dtype=np.float32))
        numbers = np.arange(length, dtype=np.intc)
        b.embed(everything, unit, zeros(length, width), numbers, patch=(1, width), stride=1)
    starts = (0, channels, 2 * channels, 3 * channels, width)
    parts = [everything.columns(i, j) for i, j in itertools.pairwise(starts)]
    described = []
    for i in range(directions):
        is_last = i + 1 == directions
        a, d, gate, bc, out = [array.backward() if i % 2 else array for array in (*parts, y)]
        described.append(
            ScanDirection(a, None, None, d, bc, bc, gate if is_last else None, out, bias, A[i], D)
        )
    with b.columns(channels, length):
        b.scan(described, scale=0.5)
    with b.rows(length):
        b.copy("c", y, b.out)
    program = b.program()
    truth = np.zeros((length, channels))
    for i in range(directions):
        step = -1 if i % 2 else 1
        arrays = [array[::step].T[None].astype(np.float64) for array in (u, delta)]
        coefficients = values[::step].T[None].astype(np.float64)
        scanned = reference.selective_scan(
            *arrays, A[i].T.astype(np.float64), coefficients, coefficients, D, None, bias, True
        )
        truth += np.asarray(scanned)[0].T[::step]
    truth *= 0.5 * z / (1 + np.exp(-z.astype(np.float64)))
    found = run(program, picture[None], 1)
    assert np.abs(found - truth).max() < 2e-5 * np.abs(truth).max()
    for num_threads in (2, 3, 8):
        np.testing.assert_array_equal(run(program, picture[None], num_threads), found)


class Recurrent:
    """A network of ids: lookup, norm, convolution, scan, all with a state; and its outputs."""

    TAPS, IDS = 4, 50

    def __init__(self, batch: int, length: int, *, is_private: bool) -> None:
        generator = np.random.default_rng(0)
        channels, rows = CHANNELS, batch * length
        self.table = generator.standard_normal((channels, self.IDS)).astype(np.float32)
        taps = generator.standard_normal((self.TAPS, channels)).astype(np.float32)
        A = -np.exp(generator.standard_normal((STATES, channels))).astype(np.float32)
        D, bias, weight = generator.standard_normal((3, channels)).astype(np.float32)
        eye = np.eye(channels, dtype=np.float32)
        of_sequence = (self.TAPS - 1 + STATES) * channels
        b = Builder((batch, length), (rows, channels), state=batch * of_sequence)
        residual, x, u, coefficients = (b.array(rows, channels) for _ in range(4))
        normed = (b.private if is_private else b.array)(rows, channels)
        with b.rows(rows):
            b.lookup(packed(self.table), residual)
            b.copy("copy", residual, coefficients)
        if not is_private:
            with b.rows(rows):
                b.norm(residual, normed, weight, None, 1e-5)
        with b.columns(channels, rows):
            if is_private:
                b.norm(residual, normed, weight, None, 1e-5)
            b.product("p", normed, packed(eye), x)
            for i in range(batch):
                part, out = (a.part(i * length, length) for a in (x, u))
                state = b.state(i * of_sequence, self.TAPS - 1, channels)
                b.conv1d(part, [Filter(taps, None, out)], state=state)
        with b.columns(channels, rows):
            for i in range(batch):
                part, of, out = (a.part(i * length, length) for a in (u, coefficients, b.out))
                of = of.columns(0, STATES)
                state = b.state(i * of_sequence + (self.TAPS - 1) * channels, STATES, channels)
                of_scan = (part, None, None, part, of, of, None, out, bias, A, D, state)
                b.scan([ScanDirection(*of_scan)])
        self.program = b.program()
        self.state = np.zeros(batch * of_sequence, np.float32)


@only(NATIVE_WAYS)
@pytest.mark.parametrize("batch", [1, 3])
def test_a_carried_state_makes_parts_of_a_sequence_the_whole(way: Way, batch: int) -> None:
    length = 75
    ids = np.random.default_rng(1).integers(0, Recurrent.IDS, (batch, length)).astype(np.intc)
    whole = Recurrent(batch, length, is_private=False)
    truth = run(whole.program, ids, 1, whole.state).reshape(batch, length, -1)
    assert np.isfinite(truth).all()
    alone = Recurrent(1, length, is_private=False)
    np.testing.assert_array_equal(run(alone.program, ids[:1], 2, alone.state), truth[0])
    for size, num_threads, is_private in ((1, 1, True), (1, 8, True), (7, 3, True), (33, 2, False)):
        state, found = np.zeros_like(whole.state), []
        for begin in range(0, length, size):
            part = np.ascontiguousarray(ids[:, begin : begin + size])
            program = Recurrent(*part.shape, is_private=is_private).program
            found.append(run(program, part, num_threads, state).reshape(batch, -1, CHANNELS))
        np.testing.assert_array_equal(np.concatenate(found, axis=1), truth)
        np.testing.assert_array_equal(state, whole.state)


@only(NATIVE_WAYS)
def test_ids_of_no_embedding_are_refused(way: Way) -> None:
    recurrent = Recurrent(1, 2, is_private=True)
    for wrong in (-1, Recurrent.IDS):
        with pytest.raises(ValueError, match="none of 50"):
            run(recurrent.program, np.array([[0, wrong]], np.intc), 1, recurrent.state)
    with pytest.raises(ValueError, match="state"):
        run(recurrent.program, np.zeros((1, 2), np.intc), 1, recurrent.state[1:])


@only(NATIVE_WAYS)
@pytest.mark.parametrize("option", OPTIONS)
def test_steps_apart_are_the_same_network(way: Way, option: str) -> None:
    """They are what the NumPy network's costs are counted by."""
    config = dataclasses.replace(MICRO, **OPTIONS[option])
    kernels = extension.kernels()
    assert kernels is not None
    pack = Packing(kernels.width, kernels.panel).pack
    parameters = load_parameters(config, random_reader(config, 0), pack)
    pixels = np.random.default_rng(0).standard_normal((config.channels, *config.img_size))
    both = [
        run(build(config, parameters, "logits", apart=apart), pixels.astype(np.float32), 2)
        for apart in (False, True)
    ]
    assert np.isfinite(both[0]).all()
    # Only the order differs in which outputs, biases and residuals are added up and rotated.
    assert np.abs(both[0] - both[1]).max() <= 2e-6 * max(1, np.abs(both[0]).max())
    if "rope" not in option and "bi" not in option:
        np.testing.assert_array_equal(*both)
