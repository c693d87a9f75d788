"""Scans along walks: which there are, and that along one the tokens are scanned in its order."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.arrays import normal
from tests.support.examples import examples_of
from tests.support.implementations import NATIVE_WAYS, only
from tests.support.programs import packed, run
from vimnp.engine.builder import Builder
from vimnp.engine.packing import sizes_only
from vimnp.engine.program import ProgramError, ScanDirection
from vimnp.ops import reference
from vimnp.ops.walks import Walk, cross_walks

GRIDS = [(1, 9), (9, 1), (1, 1), (7, 7), (5, 33), (40, 2)]
sides = st.integers(1, 6)


# ---- Walks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), GRIDS)
def test_the_four_walks_are_rows_and_columns_and_both_backwards(height: int, width: int) -> None:
    places = np.arange(height * width).reshape(height, width)
    expected = [places.ravel(), places.T.ravel(), places.ravel()[::-1], places.T.ravel()[::-1]]
    for walk, order in zip(cross_walks(height, width), expected, strict=True):
        np.testing.assert_array_equal(walk.order(), order)
        assert walk.is_of_every_row(height * width)
        assert not walk.is_of_every_row(height * width + 1)
        assert walk.backward().backward() == walk


@settings(max_examples=examples_of(400))
@given(
    first=st.integers(-1, 8),
    stride=st.integers(-5, 5),
    length=sides,
    line_stride=st.integers(-6, 6),
    lines=sides,
)
def test_a_walk_knows_whether_it_passes_every_row_once(
    first: int, stride: int, length: int, line_stride: int, lines: int
) -> None:
    walk = Walk(first, stride, length, line_stride, lines)
    order = walk.order()
    assert walk.is_of_every_row(len(order)) == (sorted(order) == [*range(len(order))])
    step = walk.step()
    assert (step is not None) <= (len({*np.diff(order)} | {step}) == 1)


# ---- Scans along them ----------------------------------------------------------------------------


class Sizes(NamedTuple):
    height: int
    width: int
    channels: int
    d_state: int
    dt_rank: int


class Inputs:
    """Of a scan in four directions, and its result in float64."""

    def __init__(self, sizes: Sizes, *, is_gated: bool = False, large_steps: bool = False) -> None:
        self.sizes, self.is_gated = sizes, is_gated
        length = sizes.height * sizes.width
        self.u, self.z = normal(2, length, sizes.channels, seed=1)
        self.of_direction = normal(4, length, sizes.dt_rank + 2 * sizes.d_state, seed=2)
        self.dt_proj = 0.4 * normal(4, sizes.dt_rank, sizes.channels, seed=3)
        self.delta_bias = normal(4, sizes.channels, seed=4) - 2
        if large_steps:
            self.delta_bias[:, ::3] = 300
        self.A = -np.exp(normal(4, sizes.d_state, sizes.channels, seed=5))
        self.D = normal(4, sizes.channels, seed=6)

    def truth(self) -> np.ndarray:
        sizes, u = self.sizes, self.u.astype(np.float64)
        total = np.zeros_like(u)
        for k, walk in enumerate(cross_walks(sizes.height, sizes.width)):
            order = walk.order()
            dt, B, C = np.split(
                self.of_direction[k, order].astype(np.float64),
                [sizes.dt_rank, sizes.dt_rank + sizes.d_state],
                axis=1,
            )
            arrays = (u[order], dt @ self.dt_proj[k], self.A[k].astype(np.float64), B, C)
            u_, delta, A, B, C = (array.T for array in arrays)
            total[order] += np.asarray(
                reference.selective_scan(
                    u_[None], delta[None], A, B[None], C[None], self.D[k], None,
                    self.delta_bias[k], True,
                )
            )[0].T  # fmt: skip
        return total * reference.silu(self.z.astype(np.float64)) if self.is_gated else total

    def result(self, num_threads: int, *, projects: bool = True) -> np.ndarray:
        """delta is projected within the scan, or there already."""
        sizes = self.sizes
        length = sizes.height * sizes.width
        delta = [self.of_direction[k, :, : sizes.dt_rank] @ self.dt_proj[k] for k in range(4)]
        picture = np.concatenate([self.u, self.z, *self.of_direction, *delta], axis=1)
        b = Builder((1, *picture.shape), (length, sizes.channels))
        everything, y = b.array(*picture.shape), b.array(length, sizes.channels)
        ends = np.cumsum([0, *2 * [sizes.channels], *4 * [self.of_direction.shape[2]]])
        ends = [*ends, *ends[-1] + sizes.channels * np.arange(1, 5)]
        u, z, *rest = (everything.columns(i, j) for i, j in itertools.pairwise(ends))
        with b.rows(length):
            unit = packed(np.eye(picture.shape[1], dtype=np.float32))
            numbers, offset = np.arange(length, dtype=np.intc), np.zeros_like(picture)
            b.embed(everything, unit, offset, numbers, patch=(1, picture.shape[1]), stride=1)
        directions = []
        for k, walk in enumerate(cross_walks(sizes.height, sizes.width)):
            dt = rest[k].columns(0, sizes.dt_rank)
            B = rest[k].columns(sizes.dt_rank, sizes.dt_rank + sizes.d_state)
            C = rest[k].columns(sizes.dt_rank + sizes.d_state, rest[k].channels)
            given = (dt, packed(self.dt_proj[k]), None) if projects else (None, None, rest[4 + k])
            gate = z if self.is_gated and k == 3 else None
            parameters = (self.delta_bias[k], self.A[k], self.D[k])
            directions.append(ScanDirection(u, *given, B, C, gate, y, *parameters, None, walk))
        with b.columns(sizes.channels, length):
            b.scan(directions)
        with b.rows(length):
            b.copy("c", y, b.out)
        return run(b.program(), picture[None], num_threads)


@only(NATIVE_WAYS)
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("d_state", [1, 2, 16, 17])
@pytest.mark.parametrize(("height", "width"), GRIDS)
def test_four_directions_are_the_sum_of_four_scans(height: int, width: int, d_state: int) -> None:
    for channels in (16, 37):
        inputs = Inputs(Sizes(height, width, channels, d_state, 3))
        truth = inputs.truth()
        for projects in (True, False):
            found = inputs.result(1, projects=projects)
            assert np.abs(found - truth).max() < 1e-5 * np.abs(truth).max()


@only(NATIVE_WAYS)
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("d_state", [1, 16])
@pytest.mark.parametrize("is_gated", [False, True])
@pytest.mark.parametrize("large_steps", [False, True])
def test_no_number_of_threads_changes_a_bit(
    d_state: int, is_gated: bool, large_steps: bool
) -> None:
    inputs = Inputs(Sizes(6, 23, 83, d_state, 5), is_gated=is_gated, large_steps=large_steps)
    truth, alone = inputs.truth(), inputs.result(1)
    assert np.abs(alone - truth).max() < 1e-5 * np.abs(truth).max()
    for num_threads in (2, 3, 8):
        np.testing.assert_array_equal(inputs.result(num_threads), alone)


@only(NATIVE_WAYS)
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("d_state", [1, 16])
def test_a_state_is_carried_along_a_walk(d_state: int) -> None:
    """What a picture leaves goes into the next one: the state after the walk's last token."""
    height, width, channels = 5, 9, 24
    length = height * width
    walk = Walk.columns(height, width)
    pictures = normal(2, length, 2 * channels + 2 * d_state)
    A, D = -np.exp(normal(d_state, channels)), normal(channels)
    bias = np.zeros(channels, np.float32)
    size = pictures.shape[2]
    b = Builder((1, length, size), (length, channels), state=d_state * channels)
    everything = b.array(length, size)
    ends = np.cumsum([0, channels, channels, d_state, d_state])
    u, delta, B, C = (everything.columns(i, j) for i, j in itertools.pairwise(ends))
    with b.rows(length):
        numbers, unit = np.arange(length, dtype=np.intc), packed(np.eye(size, dtype=np.float32))
        offset = np.zeros((length, size), np.float32)
        b.embed(everything, unit, offset, numbers, patch=(1, size), stride=1)
    with b.columns(channels, length):
        carried = b.state(0, d_state, channels)
        arrays = (u, None, None, delta, B, C, None, b.out, bias, A, D, carried, walk)
        b.scan([ScanDirection(*arrays)])
    state = np.zeros(d_state * channels, np.float32)
    found = [run(b.program(), picture[None], 2, state)[walk.order()] for picture in pictures]
    wide = np.concatenate([picture[walk.order()] for picture in pictures]).astype(np.float64)
    u_, delta_, B_, C_ = (wide[:, i:j].T[None] for i, j in itertools.pairwise(ends))
    truth, last = reference.selective_scan(
        u_, delta_, A.T.astype(np.float64), B_, C_, D, None, bias, True, True
    )
    assert np.abs(np.concatenate(found) - truth[0].T).max() < 1e-5 * np.abs(truth).max()
    last_state = state.reshape(d_state, channels)
    assert np.abs(last_state - last[0].T).max() < 1e-5 * np.abs(last).max()


ZEROS = np.zeros(8, np.float32)
PARAMETERS = (ZEROS, np.zeros((2, 8), np.float32), ZEROS)  # delta_bias, A, D
DT_PROJ = sizes_only(np.zeros((8, 2), np.float32))


def described(walk: Walk | None, length: int = 12) -> ScanDirection:
    """A scan's only direction as a program has it."""
    b = Builder((1, 1, 1), (1, 1))
    u, narrow, out = (b.array(length, channels) for channels in (8, 2, 8))
    arrays = (u, narrow, DT_PROJ, None, narrow, narrow, None, out)
    direction = ScanDirection(*arrays, *PARAMETERS, None, walk)
    with b.columns(8, length):
        b.scan([direction])
    (found,) = b.program().stages[0].operations[0].task.directions  # type: ignore[union-attr]
    return found


def test_a_walk_of_row_after_row_is_none() -> None:
    plain = described(None)
    assert described(Walk.rows(3, 4)) == plain
    assert described(Walk.columns(1, 12)) == described(Walk.columns(12, 1)) == plain
    backward = described(Walk.rows(3, 4).backward())
    assert (backward.walk, backward.u, backward.out) == (
        None,
        plain.u.backward(),
        plain.out.backward(),
    )
    assert described(Walk.columns(3, 4)).walk == Walk.columns(3, 4)


@pytest.mark.parametrize(
    "walk",
    [
        Walk.rows(3, 5),
        Walk.rows(3, 3),
        Walk(1, 1, 4, 4, 3),
        Walk(0, 2, 6, 0, 2),
        Walk(0, 0, 12, 0, 1),
        Walk(0, 1, 0, 1, 0),
        Walk(0, -1, 4, 4, 3),
    ],
)
def test_a_walk_that_leaves_rows_out_is_refused(walk: Walk) -> None:
    with pytest.raises(ProgramError, match="does not pass each of 12 rows once"):
        described(walk)


def test_the_output_is_counted_where_nothing_gates_it() -> None:
    costs = []
    for is_gated in (False, True):
        b = Builder((1, 1, 1), (1, 1))
        u, narrow, out = (b.array(12, channels) for channels in (8, 2, 8))
        arrays = (u, None, None, u, narrow, narrow, u if is_gated else None, out)
        with b.columns(8, 12):
            b.scan([ScanDirection(*arrays, *PARAMETERS)])
        costs.append(b.program().costs["scan"])
    assert costs[1].bytes - costs[0].bytes == 4 * 12 * 8  # z
