"""More recorded outputs of the original's functions: those that our operations are, or make up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vimnp
from tests.support.comparison import assert_close
from vimnp.ops import reference
from vimnp.ops.modes import UNFUSED_MODES
from vimnp.reference import Direction

Case = dict[str, np.ndarray]

INNERS = ["inner", "inner_constB", "inner_constC_w3", "inner_const", "inner_biases"]
BIDIRECTIONAL_INNERS = ["inner_v1", "inner_v2", "inner_v2_divide"]


def load(golden: Path, case: str) -> Case:
    file = golden / "ops_more.npz"
    if not file.is_file():
        pytest.skip("these golden outputs have no ops_more.npz")
    with np.load(file) as ops:
        return {key.split("/")[1]: ops[key] for key in ops if key.startswith(f"{case}/")}


def in_double(case: Case) -> Case:
    return {
        name: array.astype(np.float64) if array.dtype == np.float32 else array
        for name, array in case.items()
    }


# ---- Mixers, made up of the operations and NumPy's products --------------------------------------


def direction(operations: Any, case: Case, suffix: str = "") -> Direction:
    """Convolution and projections: what the scan of one direction reads."""

    def own(name: str) -> np.ndarray:
        return case.get(name + suffix, case[name])

    x = case["xz"][:, : case["xz"].shape[1] // 2]
    step = -1 if f"conv1d_weight{suffix}" in case and suffix else 1  # v1 convolves forward only
    u = operations.causal_conv1d(
        np.ascontiguousarray(x[..., ::step]), own("conv1d_weight")[:, 0], own("conv1d_bias"), "silu"
    )[..., ::step]
    x_dbl = own("x_proj_weight") @ u
    dt_rank, d_state = own("delta_proj_weight").shape[1], case["A"].shape[1]
    dt, B, C = x_dbl[:, :dt_rank], case.get("B"), case.get("C")
    if B is None:
        B = (
            x_dbl[:, dt_rank : dt_rank + d_state]
            + case.get("B_proj_bias", np.float32(0))[..., None]
        )
    if C is None:
        C = x_dbl[:, -d_state:] + case.get("C_proj_bias", np.float32(0))[..., None]
    delta = own("delta_proj_weight") @ dt
    return Direction(u, delta, own("A"), B, C, own("D"), own("delta_bias"))


def gate(case: Case) -> np.ndarray:
    return case["xz"][:, case["xz"].shape[1] // 2 :]


def projected(case: Case, y: np.ndarray) -> np.ndarray:
    out = y.transpose(0, 2, 1) @ case["out_proj_weight"].T
    return out + case["out_proj_bias"] if "out_proj_bias" in case else out


def mixer(operations: Any, case: Case, name: str, **options: Any) -> np.ndarray:
    if name in INNERS:
        y = operations.selective_scan(
            **direction(operations, case)._asdict(), z=gate(case), delta_softplus=True, **options
        )
    else:
        y = operations.selective_scan_bidirectional(
            direction(operations, case),
            direction(operations, case, "_b"),
            gate(case),
            True,
            name.endswith("divide"),
            **options,
        )
    return projected(case, y)


@pytest.mark.parametrize("name", INNERS + BIDIRECTIONAL_INNERS)
@pytest.mark.parametrize("method", UNFUSED_MODES)
def test_operations_make_up_the_originals_mixers(implementation, golden: Path, name, method):
    case = load(golden, name)
    assert_close(mixer(vimnp, case, name, method=method), case["out64"])


@pytest.mark.parametrize("name", INNERS + BIDIRECTIONAL_INNERS)
def test_the_reference_makes_up_the_originals_mixers_in_double(golden: Path, name):
    case = in_double(load(golden, name))
    truth = case["out64"]
    assert np.abs(mixer(reference, case, name) - truth).max() <= 1e-12 * np.abs(truth).max()


# ---- Others --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", UNFUSED_MODES)
def test_a_scan_is_steps_from_a_zero_state(implementation, golden: Path, method):
    case = load(golden, "ssu_steps_from_zero")
    x, dt, B, C, z = (np.moveaxis(case[name], 0, 2) for name in ("x", "dt", "B", "C", "z"))
    assert not case["state"].any()
    out, state = vimnp.selective_scan(
        *(x, dt, case["A"], B, C, case["D"], z, case["dt_bias"], bool(case["dt_softplus"])),
        return_last_state=True,
        method=method,
    )
    assert_close(out, np.moveaxis(case["out64"], 0, 2))
    assert_close(state, case["state_out64"])


@pytest.mark.parametrize("name", ["conv_final_only", "conv_final_short"])
def test_a_convolution_without_states_gives_the_originals_outputs(
    implementation, golden: Path, name
):
    case = load(golden, name)
    activation = "silu" if case["silu"] else None
    found = vimnp.causal_conv1d(case["x"], case["weight"], case["bias"], activation)
    assert_close(found, case["out64"])


@pytest.mark.parametrize("name", ["scan_complex", "scan_complex_const", "scan_complex_grouped"])
@pytest.mark.parametrize("operations", [vimnp, reference])
def test_scans_of_complex_states_are_refused(implementation, golden: Path, name, operations):
    case = load(golden, name)
    direction = Direction(**{field: case.get(field) for field in Direction._fields})
    softplus = bool(case["delta_softplus"])
    with pytest.raises(TypeError, match="A has dtype complex64"):
        operations.selective_scan(**direction._asdict(), delta_softplus=softplus)
    with pytest.raises(TypeError, match="A has dtype complex64"):
        operations.selective_scan_bidirectional(direction, direction, None, softplus)
