"""The public operations that carry a state: the original's numbers, and sequences cut anywhere."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vimnp
from tests.support.arrays import normal
from tests.support.comparison import assert_close, examples, plain_arguments, widened
from tests.support.golden_mamba import recorded_in
from vimnp.ops import reference
from vimnp.ops.modes import UNFUSED_MODES

Case = dict[str, np.ndarray]

UPDATES = ["update_full", "update_n8", "update_n5", "update_plain"]
MORE_UPDATES = [
    "ssu_plain",
    "ssu_D",
    "ssu_full",
    "ssu_bias_no_softplus",
    "ssu_odd",
    "ssu_dstate1",
    "ssu_large_dt",
]
STEPS = ["ssu_steps", "ssu_steps_from_zero", "ssu_steps_vim"]
CONVOLUTIONS = ["conv_one", "conv_w3", "conv_w2", "conv_five", "conv_long"]
MORE_CONVOLUTIONS = [
    "update_w2",
    "update_w3",
    "update_w4",
    "update_state_of_w",
    "update_nobias_nosilu",
    "update_several",
    "update_several_long_state",
]
STATES = ["w2", "w3", "w4", "short", "nobias_nosilu", "vim"]
SCANS = ["scan_a", "scan_b"]


def recorded(golden: Path, case: str) -> Case:
    """A case of the language models' operations."""
    return read(recorded_in(golden) / "ops.npz", case)


def recorded_before(golden: Path, case: str) -> Case:
    """A case of those that were recorded for Vision Mamba."""
    file = golden / "ops_more.npz"
    if not file.is_file():
        pytest.skip("these golden outputs have no ops_more.npz")
    return read(file, case)


def read(file: Path, case: str) -> Case:
    with np.load(file) as ops:
        return {key.split("/")[1]: ops[key] for key in ops if key.startswith(f"{case}/")}


def in_double(case: Case) -> Case:
    return {
        name: array.astype(np.float64) if array.dtype == np.float32 else array
        for name, array in case.items()
    }


def assert_same_in_double(found: np.ndarray, truth: np.ndarray, tolerance: float = 1e-13) -> None:
    assert found.shape == truth.shape
    assert np.abs(found - truth).max() <= tolerance * np.abs(truth).max()


def update_arguments(case: Case) -> dict:
    """Those of selective_state_update, with the state to be updated."""
    names = ("x", "dt", "A", "B", "C", "D", "z", "dt_bias")
    softplus = case["dt_softplus"] if "dt_softplus" in case else case["softplus"]
    return {
        "state": case["state"].copy(),
        **{name: case.get(name) for name in names},
        "dt_softplus": bool(softplus),
    }


def convolution_arguments(case: Case) -> dict:
    """Those of causal_conv1d_update, with the state to be updated."""
    return {
        "x": case["x"],
        "conv_state": case["conv_state" if "conv_state" in case else "state"].copy(),
        "weight": case["weight"],
        "bias": case.get("bias"),
        "activation": "silu" if case["silu"] else None,
    }


def scan_arguments(case: Case) -> dict:
    names = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias")
    return {**{name: case[name] for name in names}, "delta_softplus": True}


def during(arguments: dict, part: slice) -> dict:
    """What a scan reads in a part of the time."""
    in_time = {name: arguments[name][..., part] for name in ("u", "delta", "B", "C", "z")}
    return arguments | in_time


# ---- The reference, against the original ---------------------------------------------------------


@pytest.mark.parametrize("name", UPDATES)
def test_the_reference_of_a_step_is_the_original(golden: Path, name):
    case = in_double(recorded(golden, name))
    arguments = update_arguments(case)
    assert_same_in_double(reference.selective_state_update(**arguments), case["out64"])
    assert_same_in_double(arguments["state"], case["new_state64"])


@pytest.mark.parametrize("name", MORE_UPDATES)
def test_the_reference_of_a_step_is_the_original_in_other_cases_too(golden: Path, name):
    case = in_double(recorded_before(golden, name))
    arguments = update_arguments(case)
    # PyTorch's softplus of steps above 20 leaves out up to exp(-20), in float64 too.
    tolerance = np.exp(-20) / 20 if name == "ssu_large_dt" else 1e-13
    out = reference.selective_state_update(**arguments)
    assert_same_in_double(out, case["out64"], tolerance)
    assert_same_in_double(arguments["state"], case["state_out64"], tolerance)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_the_reference_of_a_convolutions_step_is_the_original(golden: Path, name):
    case = in_double(recorded(golden, name))
    arguments = convolution_arguments(case)
    assert_same_in_double(reference.causal_conv1d_update(**arguments), case["out64"])
    np.testing.assert_array_equal(arguments["conv_state"], case["new_state64"], strict=True)


@pytest.mark.parametrize("name", SCANS)
def test_the_reference_of_a_scan_goes_on_as_the_original(golden: Path, name):
    case = in_double(recorded(golden, name))
    arguments = scan_arguments(case)
    whole, last = reference.selective_scan(**arguments, return_last_state=True)
    assert_same_in_double(whole, case["out64"])
    assert_same_in_double(last, case["last_state64"])
    for cut in case["cuts"]:
        state = case[f"state_at_{cut}_64"]
        out, last = reference.selective_scan(
            **during(arguments, slice(cut, None)), return_last_state=True, initial_state=state
        )
        assert_same_in_double(out, case["out64"][..., cut:])
        assert_same_in_double(last, case["last_state64"])


# ---- The public operations, against the original -------------------------------------------------


@pytest.mark.parametrize("name", UPDATES)
def test_a_step_gives_the_originals_outputs(implementation, golden: Path, name):
    case = recorded(golden, name)
    arguments = update_arguments(case)
    assert_close(vimnp.selective_state_update(**arguments), case["out64"])
    assert_close(arguments["state"], case["new_state64"])


@pytest.mark.parametrize("name", MORE_UPDATES)
def test_a_step_gives_the_originals_outputs_in_other_cases_too(implementation, golden: Path, name):
    case = recorded_before(golden, name)
    arguments = update_arguments(case)
    assert_close(vimnp.selective_state_update(**arguments), case["out64"])
    assert_close(arguments["state"], case["state_out64"])


@pytest.mark.parametrize("operations", [vimnp, reference])
@pytest.mark.parametrize("name", STEPS)
def test_many_steps_give_the_originals_outputs(implementation, golden: Path, name, operations):
    case = recorded_before(golden, name)
    arguments = update_arguments(case)
    for t, truth in enumerate(case["out64"]):
        token = {n: arguments[n][t] for n in ("x", "dt", "B", "C", "z")}
        assert_close(operations.selective_state_update(**arguments | token), truth)
    assert_close(arguments["state"], case["state_out64"])


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolutions_step_gives_the_originals_outputs(implementation, golden: Path, name):
    case = recorded(golden, name)
    arguments = convolution_arguments(case)
    assert_close(vimnp.causal_conv1d_update(**arguments), case["out64"])
    np.testing.assert_array_equal(arguments["conv_state"], case["new_state"], strict=True)


@pytest.mark.parametrize("operations", [vimnp, reference])
@pytest.mark.parametrize("name", MORE_CONVOLUTIONS)
def test_a_convolutions_step_gives_the_originals_outputs_in_other_cases_too(
    implementation, golden: Path, name, operations
):
    case = recorded_before(golden, name)
    arguments = convolution_arguments(case)
    assert_close(operations.causal_conv1d_update(**arguments), case["out64"])
    np.testing.assert_array_equal(arguments["conv_state"], case["conv_state_out"], strict=True)


@pytest.mark.parametrize("operations", [vimnp, reference])
@pytest.mark.parametrize(
    "name", ["conv_final_only", "conv_final_short", *(f"conv_states_{name}" for name in STATES)]
)
def test_a_convolution_from_states_gives_the_originals_outputs(
    implementation, golden: Path, name, operations
):
    case = recorded_before(golden, name)
    out, final_states = operations.causal_conv1d(
        *(case["x"], case["weight"], case.get("bias"), "silu" if case["silu"] else None),
        initial_states=case.get("initial_states"),
        return_final_states=True,
    )
    assert_close(out, case["out64"])
    np.testing.assert_array_equal(final_states, case["final_states"], strict=True)


@pytest.mark.parametrize("method", UNFUSED_MODES)
@pytest.mark.parametrize("name", SCANS)
def test_a_scan_goes_on_as_the_original(implementation, golden: Path, name, method):
    case = recorded(golden, name)
    arguments = scan_arguments(case)
    cuts = [0, *case["cuts"], arguments["u"].shape[2]]
    state = None
    for start, stop in itertools.pairwise(cuts):
        out, state = vimnp.selective_scan(
            **during(arguments, slice(start, stop)),
            return_last_state=True,
            initial_state=state,
            method=method,
        )
        assert_close(out, case["out64"][..., start:stop])
        assert_close(state, case.get(f"state_at_{stop}_64", case["last_state64"]))


# ---- Any cutting gives the bits of the whole -----------------------------------------------------


@st.composite
def lengths_and_parts(draw) -> tuple[int, list[slice]]:
    """A number of tokens, and parts that make it up; empty ones among them."""
    length = draw(st.integers(1, 80))
    cuts = sorted(draw(st.lists(st.integers(0, length), max_size=8)))
    return length, [slice(*ends) for ends in itertools.pairwise([0, *cuts, length])]


def assert_same_bits(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


@examples
@given(
    cut=lengths_and_parts(),
    batch=st.integers(1, 3),
    channels=st.integers(1, 40),
    taps=st.sampled_from([1, 2, 3, 4, 4, 5, 40]),
    spare=st.integers(0, 3),
    has_bias=st.booleans(),
    activation=st.sampled_from([None, "silu"]),
    from_states=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_convolution_cut_anywhere_gives_the_same_bits(
    implementation,
    cut,
    batch,
    channels,
    taps,
    spare,
    has_bias,
    activation,
    from_states,
    seed,
):
    length, parts = cut
    x = normal(batch, channels, length, seed=seed)
    rest = (normal(channels, taps, seed=1), normal(channels, seed=2) if has_bias else None)
    before = normal(batch, channels, taps - 1, seed=3) if from_states else None
    whole, final = vimnp.causal_conv1d(
        x, *rest, activation, initial_states=before, return_final_states=True
    )
    everything = x if before is None else np.concatenate([before, x], axis=2)
    assert_same_bits(
        vimnp.causal_conv1d(everything, *rest, activation)[..., everything.shape[2] - length :],
        whole,
    )

    states = before
    for part in parts:
        out, states = vimnp.causal_conv1d(
            x[..., part], *rest, activation, initial_states=states, return_final_states=True
        )
        assert_same_bits(out, whole[..., part])
    assert_same_bits(states, final)

    conv_state = np.zeros((batch, channels, taps - 1 + spare), np.float32)
    if before is not None:
        conv_state[..., spare:] = before
    padded = np.concatenate([conv_state, x], axis=2)
    for part in parts:
        out = vimnp.causal_conv1d_update(x[..., part], conv_state, *rest, activation)
        assert_same_bits(out, whole[..., part])
    assert_same_bits(conv_state, padded[..., length:])


@pytest.mark.parametrize("method", UNFUSED_MODES)
@examples
@given(
    cut=lengths_and_parts(),
    batch=st.integers(1, 3),
    channels=st.integers(1, 20),
    groups=st.sampled_from([None, 1, 2]),
    d_state=st.sampled_from([1, 5, 8, 16, 16, 17]),
    from_state=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_scan_cut_anywhere_gives_the_same_bits(
    implementation, method, cut, batch, channels, groups, d_state, from_state, seed
):
    length, parts = cut
    channels *= groups or 1
    arguments = plain_arguments(batch, channels, length, d_state, seed)
    if groups is not None:
        arguments["B"] = normal(batch, groups, d_state, length, seed=seed)
    before = normal(batch, channels, d_state, seed=1) if from_state else None
    options = {"return_last_state": True, "method": method}
    whole, last = vimnp.selective_scan(**arguments, **options, initial_state=before)
    state = before
    for part in parts:
        out, state = vimnp.selective_scan(**during(arguments, part), **options, initial_state=state)
        assert_same_bits(out, whole[..., part])
    assert_same_bits(state, last)


@examples
@given(
    batch=st.integers(1, 3),
    channels=st.integers(1, 40),
    length=st.integers(1, 40),
    d_state=st.sampled_from([1, 5, 8, 16, 16, 17]),
    dropped=st.sets(st.sampled_from(["D", "z", "delta_bias"])),
    softplus=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_steps_give_the_bits_of_a_scan(
    implementation, batch, channels, length, d_state, dropped, softplus, seed
):
    arguments = plain_arguments(batch, channels, length, d_state, seed)
    arguments |= dict.fromkeys(dropped) | {"delta_softplus": softplus}
    if not softplus:
        arguments["delta"] = np.abs(arguments["delta"])
        arguments["delta_bias"] = None
    state = normal(batch, channels, d_state, seed=1)
    whole, last = vimnp.selective_scan(**arguments, return_last_state=True, initial_state=state)
    for t in range(length):
        u, delta, B, C = (arguments[name][..., t] for name in ("u", "delta", "B", "C"))
        z = None if arguments["z"] is None else arguments["z"][..., t]
        out = vimnp.selective_state_update(
            *(state, u, delta, arguments["A"], B, C, arguments["D"], z),
            *(arguments["delta_bias"], softplus),
        )
        assert_same_bits(out, whole[..., t])
    assert_same_bits(state, last)


@examples
@given(
    batch=st.integers(1, 3),
    channels=st.integers(1, 40),
    length=st.integers(1, 40),
    d_state=st.sampled_from([1, 8, 16, 17]),
    seed=st.integers(0, 1000),
)
def test_a_scan_from_a_state_agrees_with_float64(
    implementation, batch, channels, length, d_state, seed
):
    arguments = plain_arguments(batch, channels, length, d_state, seed)
    arguments["initial_state"] = normal(batch, channels, d_state, seed=1)
    found = vimnp.selective_scan(**arguments, return_last_state=True)
    truth = reference.selective_scan(**widened(arguments), return_last_state=True)
    # What cancels to nearly nothing is measured by its terms.
    positive = {name: np.abs(arguments[name]) for name in ("u", "B", "C", "D", "initial_state")}
    terms = reference.selective_scan(
        **(widened(arguments) | widened(positive) | {"z": None}), return_last_state=True
    )
    gate = np.abs(reference.silu(arguments["z"].astype(np.float64)))
    assert_close(found[0], truth[0], terms[0] * gate)
    assert_close(found[1], truth[1], terms[1])


@pytest.mark.usefixtures("small_work_is_split")
def test_no_thread_changes_a_bit(implementation):
    scan, convolution = step_arguments(2, 150, 16), conv_arguments(2, 150)

    def run(num_threads: int) -> list[bytes]:
        state, conv_state = scan["state"].copy(), convolution["conv_state"].copy()
        options = {"num_threads": num_threads}
        out = vimnp.selective_state_update(**scan | {"state": state}, **options)
        conv = vimnp.causal_conv1d_update(**convolution | {"conv_state": conv_state}, **options)
        return [array.tobytes() for array in (out, state, conv, conv_state)]

    alone = run(1)
    for num_threads in (2, 3, 8):
        assert run(num_threads) == alone


def test_a_batch_gives_the_bits_of_its_rows(implementation):
    scan, convolution = step_arguments(3, 21, 8), conv_arguments(3, 21)
    rows = list(zip(rows_of(scan), rows_of(convolution), strict=True))
    out = vimnp.selective_state_update(**scan)
    conv = vimnp.causal_conv1d_update(**convolution)
    for b, (row, conv_row) in enumerate(rows):
        assert_same_bits(vimnp.selective_state_update(**row), out[b : b + 1])
        assert_same_bits(row["state"], scan["state"][b : b + 1])
        assert_same_bits(vimnp.causal_conv1d_update(**conv_row), conv[b : b + 1])
        assert_same_bits(conv_row["conv_state"], convolution["conv_state"][b : b + 1])


def step_arguments(batch: int = 2, channels: int = 6, d_state: int = 4) -> dict:
    return {
        "state": normal(batch, channels, d_state, seed=0),
        "x": normal(batch, channels, seed=1),
        "dt": normal(batch, channels, seed=2),
        "A": -np.exp(normal(channels, d_state, seed=3)),
        "B": normal(batch, d_state, seed=4),
        "C": normal(batch, d_state, seed=5),
        "D": normal(channels, seed=6),
        "z": normal(batch, channels, seed=7),
        "dt_bias": normal(channels, seed=8),
        "dt_softplus": True,
    }


def conv_arguments(batch: int = 2, channels: int = 6, length: int = 3) -> dict:
    return {
        "x": normal(batch, channels, length, seed=0),
        "conv_state": normal(batch, channels, 4, seed=1),
        "weight": normal(channels, 4, seed=2),
        "bias": normal(channels, seed=3),
        "activation": "silu",
    }


def rows_of(arguments: dict) -> Iterator[dict]:
    """The arguments of each sequence alone, as copies."""
    names = {"state", "x", "dt", "B", "C", "z", "conv_state"} & {*arguments}
    for b in range(len(arguments["x"])):
        yield arguments | {name: arguments[name][b : b + 1].copy() for name in names}


# ---- In place ------------------------------------------------------------------------------------

VIEWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "whole": lambda array: array.copy(),
    "every second": lambda array: np.repeat(array, 2, axis=2)[..., ::2],
    "transposed": lambda array: np.array(array.transpose(2, 0, 1)).transpose(1, 2, 0),
    "reversed": lambda array: array[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1],
    "a part": lambda array: np.pad(array, 1)[1:-1, 1:-1, 1:-1],
    "not aligned": lambda array: not_aligned(array),
}
"""Copies of an array as views of other layouts."""


def not_aligned(array: np.ndarray) -> np.ndarray:
    memory = np.zeros(array.nbytes + 1, np.uint8)
    view = memory[1:].view(np.float32).reshape(array.shape)
    view[...] = array
    return view


@pytest.mark.parametrize("operations", [vimnp, reference])
@pytest.mark.parametrize("view", VIEWS)
def test_any_view_of_a_state_is_updated_in_place(implementation, view, operations):
    for update, name, arguments in (
        (operations.selective_state_update, "state", step_arguments()),
        (operations.causal_conv1d_update, "conv_state", conv_arguments()),
    ):
        state = VIEWS[view](arguments[name])
        memory = memory_of(state)
        before = memory.copy()
        out = update(**arguments | {name: state})
        assert_same_bits(out, update(**arguments))
        assert_same_bits(state, arguments[name])
        state[...] = 0
        covered = memory.copy()
        state[...] = np.uint32(0xFFFFFFFF).view(np.float32)  # no byte of which is zero
        outside = covered == memory
        np.testing.assert_array_equal(memory[outside], before[outside])


def memory_of(view: np.ndarray) -> np.ndarray:
    """All that lies around a view."""
    while isinstance(view.base, np.ndarray):
        view = view.base
    return view


def test_an_input_may_lie_in_the_state(implementation):
    """Everything is read before the state is written."""
    arguments = step_arguments()
    state = arguments["state"].copy()
    inside = arguments | {"state": state, "x": state[..., 0], "z": state[..., 3]}
    apart = arguments | {"x": state[..., 0].copy(), "z": state[..., 3].copy()}
    assert_same_bits(vimnp.selective_state_update(**inside), vimnp.selective_state_update(**apart))
    assert_same_bits(state, arguments["state"])

    arguments = conv_arguments()
    state = arguments["conv_state"].copy()
    inside = arguments | {"conv_state": state, "x": state[..., 1:]}
    apart = arguments | {"x": state[..., 1:].copy()}
    assert_same_bits(vimnp.causal_conv1d_update(**inside), vimnp.causal_conv1d_update(**apart))
    assert_same_bits(state, arguments["conv_state"])


def test_states_that_are_given_are_not_changed(implementation):
    before, x = normal(2, 6, 3), normal(2, 6, 5)
    kept = before.copy()
    weight = normal(6, 4)
    vimnp.causal_conv1d(x, weight, initial_states=before, return_final_states=True)
    assert_same_bits(before, kept)
    _, final = vimnp.causal_conv1d(
        x[..., :0], weight, initial_states=before, return_final_states=True
    )
    assert_same_bits(final, kept)
    assert not np.shares_memory(final, before)

    arguments, state = plain_arguments(), normal(2, 6, 4)
    kept = state.copy()
    vimnp.selective_scan(**arguments, initial_state=state, return_last_state=True)
    assert_same_bits(state, kept)
    arguments = plain_arguments(length=0)
    _, last = vimnp.selective_scan(**arguments, initial_state=state, return_last_state=True)
    assert_same_bits(last, kept)
    assert not np.shares_memory(last, state)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_in_its_channel(implementation, value):
    others = np.arange(21) != 7
    scan, convolution = step_arguments(2, 21, 8), conv_arguments(2, 21)
    for update, name, arguments in (
        (vimnp.selective_state_update, "state", scan),
        (vimnp.causal_conv1d_update, "conv_state", convolution),
    ):
        odd = arguments[name].copy()
        odd[1, 7, -1] = value
        out, clean = (update(**arguments | {name: s}) for s in (odd, arguments[name]))
        assert not np.isfinite(out[1, 7]).any()
        assert not np.isfinite(odd[1, 7]).all()
        for found, expected in ((out, clean), (odd, arguments[name])):
            assert_same_bits(found[0], expected[0])
            assert_same_bits(found[1, others], expected[1, others])


def test_no_token_leaves_a_state_as_it_is(implementation):
    arguments = conv_arguments(length=0)
    before = arguments["conv_state"].copy()
    assert vimnp.causal_conv1d_update(**arguments).shape == (2, 6, 0)
    assert_same_bits(arguments["conv_state"], before)


def test_no_sequence_is_no_mistake(implementation):
    assert vimnp.selective_state_update(**step_arguments(batch=0)).shape == (0, 6)
    assert vimnp.causal_conv1d_update(**conv_arguments(batch=0)).shape == (0, 6, 3)


def test_a_convolution_of_one_tap_needs_no_state(implementation):
    x, weight = normal(2, 6), normal(6, 1)
    found = vimnp.causal_conv1d_update(x, np.empty((2, 6, 0), np.float32), weight)
    np.testing.assert_array_equal(found, x * weight[:, 0])


@pytest.mark.parametrize("state", [np.float16, np.float32])
def test_the_reference_of_float16_is_computed_in_float32(state):
    arguments = step_arguments()
    names = ("x", "dt", "B", "C", "z")
    half = arguments | {name: arguments[name].astype(np.float16) for name in names}
    half["state"] = arguments["state"].astype(state)
    wide = half | {name: half[name].astype(np.float32) for name in (*names, "state")}
    out, truth = (reference.selective_state_update(**given) for given in (half, wide))
    np.testing.assert_array_equal(out, truth.astype(np.float16), strict=True)
    np.testing.assert_array_equal(half["state"], wide["state"].astype(state), strict=True)

    arguments = conv_arguments()
    half = arguments | {name: arguments[name].astype(np.float16) for name in ("x", "conv_state")}
    wide = half | {name: half[name].astype(np.float32) for name in ("x", "conv_state")}
    out, truth = (reference.causal_conv1d_update(**given) for given in (half, wide))
    np.testing.assert_array_equal(out, truth.astype(np.float16), strict=True)
    np.testing.assert_array_equal(half["conv_state"], wide["conv_state"].astype(np.float16))


# ---- Mistakes ------------------------------------------------------------------------------------


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def read_only(*shape: int) -> np.ndarray:
    array = zeros(*shape)
    array.flags.writeable = False
    return array


def repeated(*shape: int) -> np.ndarray:
    """A writable array of which every row is the same memory."""
    row = zeros(*shape[1:])
    return np.lib.stride_tricks.as_strided(row, shape, (0, *row.strides), writeable=True)


def sliding(*shape: int) -> np.ndarray:
    """A writable array whose last axis shares all but one element with the next row's."""
    flat = zeros(100)
    return np.lib.stride_tricks.as_strided(flat, shape, (40, 4, 4), writeable=True)


STEP_MISTAKES = [
    ({"state": [[[1.0]]]}, TypeError, "state is a list"),
    ({"state": np.zeros((2, 6, 4))}, TypeError, "state has dtype float64"),
    ({"state": np.zeros((2, 6, 4), ">f4")}, TypeError, "state has dtype >f4"),
    ({"state": np.zeros((2, 6, 4), np.complex64)}, TypeError, "state has dtype complex64"),
    ({"state": zeros(6, 4)}, ValueError, "state has shape (6, 4); expected (b, d, n)"),
    (
        {"state": zeros(2, 4, 6, 16)},
        ValueError,
        "state has shape (2, 4, 6, 16); expected (b, d, n)",
    ),
    ({"state": zeros(2, 0, 4)}, ValueError, "at least one channel"),
    ({"state": zeros(2, 6, 0)}, ValueError, "n from 1 to 256"),
    ({"state": zeros(2, 6, 257)}, ValueError, "n from 1 to 256"),
    ({"state": read_only(2, 6, 4)}, ValueError, "state is read-only"),
    ({"state": repeated(2, 6, 4)}, ValueError, "state has several elements in the same place"),
    ({"state": sliding(2, 6, 4)}, ValueError, "state has several elements in the same place"),
    ({"x": zeros(2, 5)}, ValueError, "x has shape (2, 5); expected (2, 6)"),
    ({"x": zeros(2, 6, 1)}, ValueError, "x has shape (2, 6, 1); expected (2, 6)"),
    ({"dt": zeros(1, 6)}, ValueError, "dt has shape (1, 6); expected (2, 6)"),
    ({"dt": np.zeros((2, 6), np.float16)}, TypeError, "dt has dtype float16"),
    ({"A": zeros(6, 5)}, ValueError, "A has shape (6, 5); expected (6, 4)"),
    ({"A": np.zeros((6, 4), np.complex64)}, TypeError, "A has dtype complex64"),
    ({"B": zeros(6, 4)}, ValueError, "B has shape (6, 4); expected (2, 4)"),
    ({"C": zeros(2, 1, 4)}, ValueError, "C has shape (2, 1, 4); expected (2, 4)"),
    ({"C": None}, TypeError, "C is a NoneType"),
    ({"D": zeros(5)}, ValueError, "D has shape (5,); expected (6,)"),
    ({"z": zeros(6, 2)}, ValueError, "z has shape (6, 2); expected (2, 6)"),
    ({"dt_bias": zeros(6, 1)}, ValueError, "dt_bias has shape (6, 1); expected (6,)"),
    ({"num_threads": 0}, ValueError, "num_threads is 0"),
]


@pytest.mark.parametrize(("mistake", "error", "message"), STEP_MISTAKES)
def test_a_step_names_a_mistake_and_changes_nothing(implementation, mistake, error, message):
    arguments = step_arguments() | mistake
    assert_refused(vimnp.selective_state_update, arguments, arguments["state"], error, message)


CONV_MISTAKES = [
    ({"x": 1.0}, TypeError, "x is a float"),
    ({"x": np.zeros((2, 6, 3))}, TypeError, "x has dtype float64"),
    ({"x": zeros(6)}, ValueError, "x has shape (6,); expected (b, d) or (b, d, l)"),
    ({"x": zeros(2, 6, 3, 1)}, ValueError, "expected (b, d) or (b, d, l)"),
    ({"x": zeros(2, 0)}, ValueError, "at least one channel"),
    ({"weight": zeros(5, 4)}, ValueError, "weight has shape (5, 4)"),
    ({"weight": zeros(6, 65)}, ValueError, "w from 1 to 64"),
    ({"bias": zeros(5)}, ValueError, "bias has shape (5,); expected (6,)"),
    ({"activation": "relu"}, ValueError, "activation is 'relu'"),
    ({"conv_state": None}, TypeError, "conv_state is a NoneType"),
    ({"conv_state": np.zeros((2, 6, 4), np.float16)}, TypeError, "conv_state has dtype float16"),
    ({"conv_state": zeros(2, 6, 2)}, ValueError, "(2, 6, 2); expected (2, 6, s) with s from 3"),
    ({"conv_state": zeros(2, 4, 6)}, ValueError, "conv_state has shape (2, 4, 6)"),
    ({"conv_state": zeros(1, 6, 4)}, ValueError, "conv_state has shape (1, 6, 4)"),
    ({"conv_state": zeros(6, 4)}, ValueError, "conv_state has shape (6, 4)"),
    ({"conv_state": read_only(2, 6, 4)}, ValueError, "conv_state is read-only"),
    ({"conv_state": repeated(2, 6, 4)}, ValueError, "conv_state has several elements"),
    ({"conv_state": sliding(2, 6, 4)}, ValueError, "conv_state has several elements"),
    ({"num_threads": 1.5}, ValueError, "num_threads is 1.5"),
]


@pytest.mark.parametrize(("mistake", "error", "message"), CONV_MISTAKES)
def test_a_convolutions_step_names_a_mistake_and_changes_nothing(
    implementation, mistake, error, message
):
    arguments = conv_arguments() | mistake
    assert_refused(vimnp.causal_conv1d_update, arguments, arguments["conv_state"], error, message)


def assert_refused(operation, arguments, state, error, message) -> None:
    before = np.copy(state)
    with pytest.raises(error) as raised:
        operation(**arguments)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    np.testing.assert_array_equal(state, before)


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ([1.0], TypeError, "initial_states is a list"),
        (np.zeros((2, 6, 3)), TypeError, "initial_states has dtype float64"),
        (zeros(2, 6, 4), ValueError, "initial_states has shape (2, 6, 4); expected (2, 6, 3)"),
        (zeros(2, 3, 6), ValueError, "initial_states has shape (2, 3, 6); expected (2, 6, 3)"),
    ],
)
def test_a_convolution_names_a_mistake_in_its_states(implementation, state, error, message):
    with pytest.raises(error) as raised:
        vimnp.causal_conv1d(zeros(2, 6, 5), zeros(6, 4), initial_states=state)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (0.0, TypeError, "initial_state is a float"),
        (np.zeros((2, 6, 4)), TypeError, "initial_state has dtype float64"),
        (np.zeros((2, 6, 4), np.complex64), TypeError, "initial_state has dtype complex64"),
        (zeros(2, 4, 6), ValueError, "initial_state has shape (2, 4, 6); expected (2, 6, 4)"),
        (zeros(1, 6, 4), ValueError, "initial_state has shape (1, 6, 4); expected (2, 6, 4)"),
    ],
)
def test_a_scan_names_a_mistake_in_its_state(implementation, state, error, message):
    with pytest.raises(error) as raised:
        vimnp.selective_scan(**plain_arguments(), initial_state=state)
    assert message in str(raised.value)


@pytest.mark.parametrize("name", ["state", "x", "dt", "A", "B", "C", "D", "z", "dt_bias"])
def test_the_reference_of_a_step_refuses_complex_numbers_by_its_own_names(name):
    arguments = step_arguments()
    arguments[name] = arguments[name].astype(np.complex64)
    with pytest.raises(TypeError, match=rf"^{name} has dtype complex64"):
        reference.selective_state_update(**arguments)


def test_the_reference_of_a_scan_refuses_a_complex_state():
    with pytest.raises(TypeError, match="initial_state has dtype complex64"):
        reference.selective_scan(**plain_arguments(), initial_state=np.zeros((2, 6, 4), "c8"))
