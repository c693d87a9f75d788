"""The cross-scan: every instruction set and plain NumPy through one suite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vimnp
from tests.support.arrays import normal
from tests.support.comparison import assert_close, examples, widened
from vimnp.ops import reference
from vimnp.ops.kernels import ScanInputs
from vimnp.ops.walks import Walk
from vimnp.runtime import extension

Arguments = dict[str, np.ndarray | bool | None]

GRIDS = [(1, 9), (9, 1), (1, 1), (7, 7), (5, 33)]
shapes = st.tuples(*[st.integers(1, high) for high in (2, 20, 9, 9)])


def arguments(batch=2, channels=6, height=3, width=5, d_state=4, seed=0) -> Arguments:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    return {
        "u": draw(batch, channels, height, width),
        "delta": draw(batch, 4, channels, height, width) - 1,
        "A": -np.exp(draw(4, channels, d_state)),
        "B": draw(batch, 4, d_state, height, width),
        "C": draw(batch, 4, d_state, height, width),
        "D": draw(4, channels),
        "delta_bias": draw(4, channels),
        "delta_softplus": True,
    }


def exact(a: Arguments) -> np.ndarray:
    """In float64, by orders of places and scans of one sequence, which share no order with ours."""
    wide = widened(a)
    batch, channels, height, width = wide["u"].shape
    out = np.zeros((batch, channels, height * width))
    places = np.arange(height * width).reshape(height, width)
    orders = (places.ravel(), places.T.ravel(), places.ravel()[::-1], places.T.ravel()[::-1])
    for k, order in enumerate(orders):

        def tokens(picture: np.ndarray, order: np.ndarray = order) -> np.ndarray:
            return picture.reshape(*picture.shape[:-2], -1)[..., order]

        parameters = [None if wide[name] is None else wide[name][k] for name in ("D", "delta_bias")]
        out[..., order] += reference.selective_scan(
            tokens(wide["u"]),
            tokens(wide["delta"][:, k]),
            wide["A"][k],
            tokens(wide["B"][:, k]),
            tokens(wide["C"][:, k]),
            parameters[0],
            None,
            parameters[1],
            wide["delta_softplus"],
        )
    return out.reshape(wide["u"].shape)


def magnitude(a: Arguments) -> np.ndarray:
    """If nothing cancelled: every term of every sum counts as positive."""
    names = ("u", "B", "C", "D")
    return exact(a | {name: np.abs(a[name]) for name in names if a[name] is not None})


# ---- Orders --------------------------------------------------------------------------------------


@examples
@given(shape=shapes)
def test_a_cross_scan_is_rows_columns_and_both_backwards(shape):
    x = normal(*shape)
    found = vimnp.cross_scan(x)
    batch, channels, height, width = shape
    assert found.shape == (batch, 4, channels, height * width)
    for y, column in np.ndindex(height, width):
        for k, i in enumerate((y * width + column, column * height + y)):
            np.testing.assert_array_equal(found[:, k, :, i], x[:, :, y, column])
            np.testing.assert_array_equal(found[:, k + 2, :, -1 - i], x[:, :, y, column])


@examples
@given(shape=shapes)
def test_a_merge_adds_up_what_a_scan_put_in_order(shape):
    x = normal(*shape)
    np.testing.assert_array_equal(vimnp.cross_merge(vimnp.cross_scan(x), *shape[2:]), 4 * x)
    ys = normal(shape[0], 4, shape[1], shape[2] * shape[3], seed=1)
    # The merge is the scan's transpose: <scan(x), ys> = <x, merge(ys)>.
    both = [vimnp.cross_scan(x) * ys.astype(np.float64), x * vimnp.cross_merge(ys, *shape[2:])]
    assert abs(both[0].sum() - both[1].sum()) <= 1e-5 * np.abs(both[0]).sum()


def test_other_dtypes_are_put_in_order_too():
    x = normal(2, 3, 4, 5)
    for dtype in (np.float16, np.float64):
        found = vimnp.reference.cross_scan(x.astype(dtype))
        np.testing.assert_array_equal(found, vimnp.cross_scan(x).astype(dtype), strict=True)
    halves = vimnp.reference.cross_scan(x.astype(np.float16))
    merged = vimnp.reference.cross_merge(halves, 4, 5)
    np.testing.assert_array_equal(merged, 4 * x.astype(np.float16), strict=True)
    a = arguments()
    half = a | {name: a[name].astype(np.float16) for name in ("u", "delta", "B", "C")}
    whole = half | {name: half[name].astype(np.float32) for name in ("u", "delta", "B", "C")}
    found = vimnp.reference.selective_scan_2d(**half)
    expected = vimnp.reference.selective_scan_2d(**whole).astype(np.float16)
    np.testing.assert_array_equal(found, expected, strict=True)


# ---- The scan ------------------------------------------------------------------------------------


@examples
@given(shape=shapes, d_state=st.sampled_from([1, 2, 16, 17]), data=st.data())
def test_four_scans_agree_with_float64(implementation, shape, d_state, data):
    a = arguments(*shape, d_state, seed=data.draw(st.integers(0, 1000)))
    a["delta_softplus"] = data.draw(st.booleans())
    if not a["delta_softplus"]:  # steps must not be negative: a state would grow without bound
        a |= {"delta": np.abs(a["delta"]), "delta_bias": None}
    for name in ("D", "delta_bias"):
        a[name] = a[name] if data.draw(st.booleans()) else None
    assert_close(vimnp.selective_scan_2d(**a), exact(a), magnitude(a))


@pytest.mark.parametrize("d_state", [1, 2, 16, 17])
@pytest.mark.parametrize(("height", "width"), GRIDS)
def test_odd_pictures_agree_with_float64(implementation, height, width, d_state):
    a = arguments(1, 35, height, width, d_state)
    assert_close(vimnp.selective_scan_2d(**a), exact(a), magnitude(a))


def test_large_steps_forget_what_was_before(implementation):
    a = arguments(1, 32, 6, 9, 1)
    a["delta"][:, :, ::3, 2:4] = 300
    assert_close(vimnp.selective_scan_2d(**a), exact(a), magnitude(a))


def test_it_is_the_scan_of_copies(implementation):
    a = arguments(2, 20, 5, 7, 3)
    batch, channels, height, width = a["u"].shape
    tokens = vimnp.cross_scan(a["u"])

    def in_order(pictures: np.ndarray) -> np.ndarray:
        return np.stack([vimnp.cross_scan(pictures[:, k])[:, k] for k in range(4)], axis=1)

    ys = vimnp.selective_scan(
        tokens.reshape(batch, 4 * channels, -1),
        in_order(a["delta"]).reshape(batch, 4 * channels, -1),
        a["A"].reshape(4 * channels, -1),
        in_order(a["B"]),
        in_order(a["C"]),
        a["D"].ravel(),
        None,
        a["delta_bias"].ravel(),
        True,
    )
    merged = vimnp.cross_merge(ys.reshape(tokens.shape), height, width)
    assert_close(vimnp.selective_scan_2d(**a), merged, magnitude(a))


@pytest.mark.usefixtures("small_work_is_split")
@pytest.mark.parametrize("d_state", [1, 16])
def test_every_number_of_threads_gives_the_same_bits(implementation, d_state):
    a = arguments(2, 83, 5, 13, d_state)
    alone = vimnp.selective_scan_2d(**a, num_threads=1)
    for num_threads in (2, 3, 8):
        found = vimnp.selective_scan_2d(**a, num_threads=num_threads)
        np.testing.assert_array_equal(found, alone)


def test_it_reads_any_memory_layout_and_writes_none(implementation):
    a = arguments()
    expected = vimnp.selective_scan_2d(**a)
    odd = {
        name: np.repeat(value, 2, axis=-1)[..., ::2] if isinstance(value, np.ndarray) else value
        for name, value in a.items()
    }
    for value in odd.values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    np.testing.assert_array_equal(vimnp.selective_scan_2d(**odd), expected)


@pytest.mark.parametrize("name", ["u", "delta", "A", "B", "C", "D", "delta_bias"])
@pytest.mark.parametrize("d_state", [1, 16])
def test_nan_comes_out_where_nan_went_in(implementation, name, d_state):
    a = arguments(1, 16, 3, 11, d_state)
    assert np.isfinite(vimnp.selective_scan_2d(**a)).all()
    a[name][..., 0] = np.nan
    assert np.isnan(vimnp.selective_scan_2d(**a)).any()


@pytest.mark.parametrize("shape", [(0, 6, 3, 5), (2, 6, 0, 5), (2, 6, 3, 0), (10**9, 6, 3, 0)])
def test_empty_pictures_are_empty(implementation, shape):
    batch, channels, height, width = shape
    x = np.zeros(shape, np.float32)
    A = -np.ones((4, channels, 2), np.float32)
    delta, B = (np.zeros((batch, 4, n, height, width), np.float32) for n in (channels, 2))
    assert vimnp.selective_scan_2d(x, delta, A, B, B).shape == shape
    tokens = vimnp.cross_scan(x)
    assert tokens.shape == (batch, 4, channels, height * width)
    assert vimnp.cross_merge(tokens, height, width).shape == shape


MISTAKES = [
    ({"u": None}, TypeError, "u is a NoneType"),
    ({"u": np.zeros((2, 6, 3, 5))}, TypeError, "u has dtype float64"),
    ({"u": normal(2, 6, 15)}, ValueError, "u has shape (2, 6, 15); expected (b, d, h, w)"),
    ({"u": normal(2, 0, 3, 5)}, ValueError, "at least one channel"),
    ({"delta": normal(2, 6, 3, 5)}, ValueError, "expected (2, 4, 6, 3, 5)"),
    ({"delta": normal(2, 4, 6, 5, 3)}, ValueError, "delta has shape (2, 4, 6, 5, 3)"),
    ({"A": normal(24, 4)}, ValueError, "A has shape (24, 4); expected (4, d, n) with d = 6"),
    ({"A": normal(4, 6, 257)}, ValueError, "n from 1 to 256"),
    ({"A": normal(4, 6, 0)}, ValueError, "n from 1 to 256"),
    ({"A": normal(4, 6, 4).astype(np.complex64)}, TypeError, "A has dtype complex64"),
    ({"B": normal(2, 4, 3, 3, 5)}, ValueError, "B has shape (2, 4, 3, 3, 5)"),
    ({"C": normal(2, 4, 4, 15)}, ValueError, "C has shape (2, 4, 4, 15)"),
    ({"D": normal(6)}, ValueError, "D has shape (6,); expected (4, 6)"),
    ({"delta_bias": normal(24)}, ValueError, "delta_bias has shape (24,); expected (4, 6)"),
    ({"num_threads": 0}, ValueError, "num_threads is 0"),
]


@pytest.mark.parametrize(("mistake", "error", "message"), MISTAKES)
def test_a_mistake_is_named(implementation, mistake, error, message):
    with pytest.raises(error) as raised:
        vimnp.selective_scan_2d(**(arguments() | mistake))
    assert message in str(raised.value)


@pytest.mark.skipif(extension.kernels() is None, reason="needs the compiled kernels")
@pytest.mark.parametrize(
    "walk",
    [(0, 1, 4, 4, 4), (1, 1, 12, 1, 1), (0, -1, 12, 1, 1), (0, 1, 0, 1, 0), (0, 1, 12, 1, 0)],
)
def test_the_kernels_keep_to_their_arrays(walk):
    compiled = extension.kernels()
    assert compiled is not None
    x, A, B, out = (
        normal(12, 5),
        -np.exp(normal(2, 5)),
        normal(12, 2),
        np.empty((12, 5), np.float32),
    )

    inputs = ScanInputs(x, x, A, B, B)

    def scan(walks, inputs=inputs):
        compiled.selective_scan(
            (inputs,) * 4, None, out, delta_softplus=True, fixlen=False, fused=True, scale=1.0,
            last_states=None, num_threads=1, walks=walks,
        )  # fmt: skip

    good = Walk.rows(3, 4)
    scan((good,) * 4)
    with pytest.raises(ValueError, match="walk"):
        scan((good, good, good, walk))
    with pytest.raises(ValueError, match="walks"):
        scan((good,) * 3)
    with pytest.raises(ValueError, match="walks"):
        scan((good,) * 4, ScanInputs(x, x, A, A, A, B_constant=True, C_constant=True))


ORDER_MISTAKES = [
    (lambda: vimnp.cross_scan([1.0]), TypeError, "x is a list"),
    (lambda: vimnp.cross_scan(normal(3, 4, 5)), ValueError, "expected (b, d, h, w)"),
    (lambda: vimnp.cross_merge(np.zeros((1, 4, 2, 6)), 2, 3), TypeError, "ys has dtype float64"),
    (lambda: vimnp.cross_merge(normal(1, 4, 2, 6), 2, 2), ValueError, "expected (b, 4, d, 4)"),
    (lambda: vimnp.cross_merge(normal(1, 3, 2, 6), 2, 3), ValueError, "four directions"),
    (lambda: vimnp.cross_merge(normal(1, 4, 2, 6), -2, -3), ValueError, "h is -2"),
    (lambda: vimnp.cross_merge(normal(1, 4, 2, 6), 2, 3.0), ValueError, "w is 3.0"),
]


@pytest.mark.parametrize(("call", "error", "message"), ORDER_MISTAKES)
def test_a_mistake_about_the_order_is_named(call, error, message):
    with pytest.raises(error) as raised:
        call()
    assert message in str(raised.value)


# ---- The original's outputs ----------------------------------------------------------------------


def recorded(golden: Path, prefix: str) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of each case whose name begins so."""
    file = golden / "vmamba" / "ops.npz"
    if not file.is_file():
        pytest.skip("these golden outputs have no vmamba/ops.npz")
    cases: dict[str, dict[str, np.ndarray]] = {}
    with np.load(file) as ops:
        for key in ops:
            if key.startswith(prefix):
                case, name = key.split("/", 1)
                cases.setdefault(case, {})[name] = ops[key]
    assert cases
    return cases


def test_a_cross_scan_gives_the_originals_order(golden: Path):
    for case, a in recorded(golden, "cross_scan_").items():
        if "directional" in case:
            continue  # in no published network
        x, truth = a["x"], a["out"]
        if "_last_" in case:  # (b, h, w, d) -> (b, l, 4, d)
            x, truth = np.moveaxis(x, 3, 1), truth.transpose(0, 2, 3, 1)
        np.testing.assert_array_equal(vimnp.cross_scan(x), truth, err_msg=case)


def test_a_cross_merge_gives_the_originals_sums(golden: Path):
    for case, a in recorded(golden, "cross_merge_").items():
        if "directional" in case:
            continue
        ys, truth = a["ys"], a["out"]
        if "_last_" in case:  # (b, h, w, 4, d) -> (b, l, d)
            height, width = ys.shape[1:3]
            ys = ys.reshape(ys.shape[0], height * width, *ys.shape[3:]).transpose(0, 2, 3, 1)
            truth = np.moveaxis(truth, 2, 1)
        else:
            height, width = ys.shape[3:]
            ys = ys.reshape(*ys.shape[:3], -1)
        found = vimnp.cross_merge(np.ascontiguousarray(ys), height, width)
        assert_close(found.reshape(truth.shape), truth)


def test_scans_in_groups_give_the_originals_outputs(implementation, golden: Path):
    """Each direction's channels are a group of one scan in the original."""
    for a in recorded(golden, "scan_").values():
        names = ("u", "delta", "A", "B", "C", "D", "delta_bias")
        given = {name: a[name] for name in names if name in a}
        found = vimnp.selective_scan(**given, delta_softplus=bool(a["delta_softplus"]))
        assert_close(found, a["out64"])


def alone(values: np.ndarray, k: int, axis: int) -> np.ndarray:
    """For one of four directions, and zero in the others."""
    return np.stack([values * np.float32(i == k) for i in range(4)], axis=axis)


def test_scans_of_pictures_give_the_originals_outputs(implementation, golden: Path):
    """The original's scan of each direction, put at the places of a picture in that order.

    There each direction has another u, so the others' B, C and D are zero here.
    """
    for case, a in recorded(golden, "scan_k4").items():
        channels, length = a["u"].shape[1] // 4, a["u"].shape[2]
        height = max(n for n in range(1, length + 1) if length % n == 0 and n * n <= length)
        grid = (height, length // height)
        for k in range(4):
            own = slice(k * channels, (k + 1) * channels)

            def at_places(tokens: np.ndarray, grid: tuple[int, int] = grid, k: int = k):
                ys = [tokens if i == k else np.zeros_like(tokens) for i in range(4)]
                return reference.cross_merge(np.stack(ys, axis=1), *grid)

            found = vimnp.selective_scan_2d(
                at_places(a["u"][:, own]),
                np.stack([at_places(a["delta"][:, own])] * 4, axis=1),
                np.stack([a["A"][own]] * 4),
                alone(at_places(a["B"][:, k]), k, 1),
                alone(at_places(a["C"][:, k]), k, 1),
                alone(a["D"][own], k, 0) if "D" in a else None,
                np.stack([a["delta_bias"][own]] * 4) if "delta_bias" in a else None,
                bool(a["delta_softplus"]),
            )
            truth = at_places(a["out64"][:, own])
            assert np.abs(found - truth).max() <= 2e-6 * np.abs(a["out64"]).max(), case
