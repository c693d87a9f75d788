"""The functions of four digits, and the scans and convolutions that int8 mode has with them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.arrays import normal
from tests.support.comparison import examples
from tests.support.scans import one_direction
from vimnp.ops import reference
from vimnp.ops.kernels import ScanInputs, aligned_empty
from vimnp.ops.walks import cross_walks
from vimnp.runtime import extension

FUNCTIONS = {"coarse softplus": reference.softplus, "coarse silu": reference.silu}
LARGEST_ERRORS = {"coarse softplus": 1.7e-4, "coarse silu": 1.2e-4}  # as coarse.h states them
NORMAL = 2.0**-100  # results below may be flushed to zero


@pytest.fixture(params=extension.usable_instruction_sets())
def compiled(request, monkeypatch):
    """The kernels of each instruction set of this machine in turn, which is then in use."""
    monkeypatch.setenv("VIMNP_ISA", request.param)
    return extension.kernels()


# ---- The functions -------------------------------------------------------------------------------


def apply(compiled, name: str, x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    compiled.apply(name, x, out)
    return out


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_are_as_small_as_stated(compiled, name):
    x = np.arange(0, 1 << 32, 4099, dtype=np.uint32).view(np.float32)
    x = x[np.isfinite(x)]
    found = apply(compiled, name, x).astype(np.float64)
    with np.errstate(over="ignore"):
        truth = FUNCTIONS[name](x.astype(np.float64))
    error, is_normal = np.abs(found - truth), np.abs(truth) >= NORMAL
    assert (error[is_normal] <= LARGEST_ERRORS[name] * np.abs(truth[is_normal])).all()
    assert error[~is_normal].max() <= NORMAL


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("coarse softplus", np.nan, np.nan),
        ("coarse softplus", np.inf, np.inf),
        ("coarse softplus", 3e38, 3e38),
        ("coarse softplus", 20.5, 20.5),
        ("coarse silu", np.nan, np.nan),
        ("coarse silu", np.inf, np.inf),
        ("coarse silu", -np.inf, np.nan),  # as silu's own
        ("coarse silu", 0.0, 0.0),
        ("coarse silu", -3e38, 0.0),
    ],
)
def test_odd_values(compiled, name, x, expected):
    found = apply(compiled, name, np.full(19, x, np.float32))  # full vectors and a tail
    np.testing.assert_allclose(found, np.full(19, expected, np.float32), rtol=1e-4)


def test_every_nan_stays_one(compiled):
    payloads = np.arange(1, 1 << 23, 1021, dtype=np.uint32)
    x = np.concatenate([payloads | 0x7F800000, payloads | 0xFF800000]).view(np.float32)
    for name in FUNCTIONS:
        assert np.isnan(apply(compiled, name, x)).all()


# ---- Scans ---------------------------------------------------------------------------------------


def scan(
    compiled,
    directions: tuple[ScanInputs, ...],
    z: np.ndarray | None = None,
    *,
    coarse: bool = True,
    delta_softplus: bool = True,
    num_threads: int = 1,
    **options,
) -> np.ndarray:
    out = aligned_empty(*directions[0].u.shape)
    compiled.selective_scan(
        directions,
        z,
        out,
        delta_softplus=delta_softplus,
        fixlen=False,
        fused=True,
        scale=1.0,
        last_states=options.pop("last_states", None),
        num_threads=num_threads,
        coarse=coarse,
        **options,
    )
    return out


def truth_of(
    inputs: ScanInputs, z: np.ndarray | None = None, delta_softplus: bool = True
) -> np.ndarray:
    """In float64, (length, channels)."""
    u, delta, A, B, C, D, bias = (
        None if x is None else x.astype(np.float64) for x in inputs.channel_major()
    )
    gate = None if z is None else z.astype(np.float64).T[None]
    found = reference.selective_scan(u, delta, A, B, C, D, gate, bias, delta_softplus)
    return np.asarray(found)[0].T


def magnitude_of(inputs: ScanInputs, z: np.ndarray | None = None) -> float:
    """The largest of what is added up, where the sum itself may cancel to nearly zero."""
    positive = {name: np.abs(getattr(inputs, name)) for name in ("u", "B", "C", "D")}
    return float(np.abs(truth_of(inputs._replace(**positive), z)).max())


scans = {
    "length": st.integers(1, 200),
    "channels": st.integers(1, 40),
    "d_state": st.sampled_from([1, 2, 15, 16, 17, 40]),
    "is_gated": st.booleans(),
    "seed": st.integers(0, 1000),
}


@examples
@given(**scans, large_steps=st.booleans())
def test_a_scan_errs_by_three_in_ten_thousand(
    compiled, length, channels, d_state, is_gated, seed, large_steps
):
    rng = np.random.default_rng(seed)
    inputs = one_direction(rng, length, channels, d_state, large_steps=large_steps)
    z = normal(length, channels, seed=seed) if is_gated else None
    found = scan(compiled, (inputs,), z)
    assert np.abs(found - truth_of(inputs, z)).max() <= 3e-4 * magnitude_of(inputs, z)


@examples
@given(**scans, cut=st.sets(st.integers(1, 199), max_size=8))
def test_a_scan_cut_anywhere_gives_the_same_bits(
    compiled, length, channels, d_state, is_gated, seed, cut
):
    rng = np.random.default_rng(seed)
    inputs = one_direction(rng, length, channels, d_state, large_steps=seed % 2 == 1)
    z = normal(length, channels, seed=seed) if is_gated else None
    whole = scan(compiled, (inputs,), z, num_threads=2)
    state, parts = np.zeros((d_state, channels), np.float32), []
    for begin, end in itertools.pairwise([0, *sorted(c for c in cut if c < length), length]):
        part = inputs._replace(
            **{name: getattr(inputs, name)[begin:end] for name in ("u", "delta", "B", "C")}
        )
        gate = None if z is None else z[begin:end]
        carried = {"initial_states": (state,), "last_states": (state,)}
        parts.append(scan(compiled, (part,), gate, **carried))
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("d_state", [1, 3, 16])
def test_a_scan_along_walks_is_the_sum_of_four(compiled, d_state):
    height, width, channels = 5, 9, 37
    rng = np.random.default_rng(0)
    four = tuple(one_direction(rng, height * width, channels, d_state) for _ in range(4))
    walks = cross_walks(height, width)
    total = np.zeros((height * width, channels))
    for inputs, walk in zip(four, walks, strict=True):
        order = walk.order()
        in_order = inputs._replace(
            **{name: getattr(inputs, name)[order] for name in ("u", "delta", "B", "C")}
        )
        total[order] += truth_of(in_order)
    found = scan(compiled, four, walks=walks)
    assert np.abs(found - total).max() <= 3e-4 * sum(map(magnitude_of, four))
    np.testing.assert_array_equal(scan(compiled, four, walks=walks, num_threads=3), found)


@pytest.mark.parametrize("d_state", [1, 16])
def test_slow_decays_do_not_drift(compiled, d_state):
    """4,097 tokens, decays of 1e-4 to 0.4 per token, and nothing that cancels."""
    length, channels = 4097, 37
    rng = np.random.default_rng(0)

    def about_one(*shape: int) -> np.ndarray:
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)

    rates = np.geomspace(1e-4, 0.4, channels * d_state).reshape(d_state, channels)
    inputs = ScanInputs(
        about_one(length, channels),
        np.float32(0.02) * about_one(length, channels),
        (-50 * rates).astype(np.float32),
        about_one(length, d_state),
        about_one(length, d_state),
    )
    truth = truth_of(inputs, None, delta_softplus=False)
    found = scan(compiled, (inputs,), delta_softplus=False)
    assert (np.abs(found - truth) <= 1e-3 * truth).all()


def test_a_step_of_size_zero_changes_no_state(compiled):
    inputs = one_direction(np.random.default_rng(0), 4097, 19, 16)
    inputs = inputs._replace(delta=np.zeros_like(inputs.delta), delta_bias=None)
    state = normal(16, 19, seed=1)
    last = np.empty_like(state)
    carried = {"initial_states": (state,), "last_states": (last,)}
    scan(compiled, (inputs,), delta_softplus=False, **carried)
    np.testing.assert_array_equal(last, state)


def test_what_is_not_finite_stays_so_and_keeps_to_its_channel(compiled):
    inputs = one_direction(np.random.default_rng(0), 70, 19, 16)
    clean = scan(compiled, (inputs,))
    for name, value in itertools.product(("u", "delta"), (np.nan, np.inf)):
        spoiled = getattr(inputs, name).copy()
        spoiled[40, 3] = value
        found = scan(compiled, (inputs._replace(**{name: spoiled}),))
        assert not np.isfinite(found[40, 3])
        found[40:, 3] = clean[40:, 3]
        # Where delta is too large, neighbours in its vector have the usual exponential.
        assert np.abs(found - clean).max() <= 3e-4 * magnitude_of(inputs)


def test_only_usual_scans_are_coarse(compiled):
    """Those of networks: the other modes are single operations' alone."""
    inputs = one_direction(np.random.default_rng(0), 7, 5, 2, constant=(True, False))
    with pytest.raises(ValueError, match="coarse"):
        scan(compiled, (inputs,))


# ---- Convolutions --------------------------------------------------------------------------------


@examples
@given(
    length=st.integers(1, 100),
    channels=st.integers(1, 40),
    taps=st.sampled_from([1, 3, 4, 4, 9]),
    directions=st.integers(1, 2),
    num_threads=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_a_convolution_errs_by_less(
    compiled, length, channels, taps, directions, num_threads, seed
):
    x = normal(length, channels, seed=seed)
    filters = tuple(
        (normal(taps, channels, seed=seed + i), normal(channels, seed=seed + i))
        for i in range(directions)
    )

    def convolve(*, coarse: bool, silu: bool = True) -> np.ndarray:
        outs = tuple(aligned_empty(length, channels) for _ in filters)
        compiled.causal_conv1d(x, filters, outs, silu=silu, num_threads=num_threads, coarse=coarse)
        return np.stack(outs)

    found, exact = convolve(coarse=True), convolve(coarse=False)
    assert (np.abs(found - exact) <= 2e-4 * np.abs(exact) + 1e-30).all()
    plain = convolve(coarse=True, silu=False)
    np.testing.assert_array_equal(plain, convolve(coarse=False, silu=False))


@examples
@given(
    grid=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    channels=st.integers(1, 40),
    kernel=st.sampled_from([1, 3, 3, 5]),
    num_threads=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_a_convolution_of_a_grid_errs_by_less(compiled, grid, channels, kernel, num_threads, seed):
    x = normal(grid[0] * grid[1], channels, seed=seed)
    filter = normal(kernel * kernel, channels, seed=seed + 1), normal(channels, seed=seed + 2)

    def convolve(*, coarse: bool, silu: bool = True) -> np.ndarray:
        out = aligned_empty(*x.shape)
        settings = {"silu": silu, "num_threads": num_threads, "coarse": coarse}
        compiled.conv2d(x, *filter, out, grid=grid, **settings)
        return out

    found, exact = convolve(coarse=True), convolve(coarse=False)
    assert (np.abs(found - exact) <= 2e-4 * np.abs(exact) + 1e-30).all()
    plain = convolve(coarse=True, silu=False)
    np.testing.assert_array_equal(plain, convolve(coarse=False, silu=False))
