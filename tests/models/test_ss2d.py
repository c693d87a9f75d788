"""The cross-scan block by itself: against the original's recorded blocks and a float64 oracle."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vimnp
from tests.support import plain_vmamba
from tests.support.arrays import normal
from tests.support.golden_operations import recorded_operation
from tests.support.vmamba_networks import BLOCK, block_tensors
from vimnp import SS2D, ConfigError, VMambaConfig, WeightsError

Tensors = dict[str, np.ndarray]

CASES = {
    "ss2d_v0": "",
    "ss2d_v0_wide": "",
    "ss2d_v0_d_state8": "",
    "ss2d_v05_noz": "",
    "ss2d_v05_noz_s1": "",
    "ss2d_v05_noz_last": "",
    "ss2d_v05_z": "",
    "ss2d_v05_z_first": "",
}
"""The recorded blocks of published networks, and of other numbers of states."""


def config_of(**changes: Any) -> VMambaConfig:
    """A small network whose first block is of these sizes."""
    sizes = {"dim": 10, "d_inner": 20, "dt_rank": 2} | changes
    stages = {f: sizes.pop(f) for f in ("dim", "d_inner", "dt_rank")}
    return VMambaConfig(
        dims=(stages["dim"],) * 4,
        d_inner=(stages["d_inner"],) * 4,
        dt_rank=(stages["dt_rank"],) * 4,
        depths=(1, 1, 1, 1),
        **sizes,
    )


CONFIG = config_of(d_state=3)
TENSORS = block_tensors(CONFIG)


def truth(config: VMambaConfig, tensors: Tensors, x: np.ndarray) -> np.ndarray:
    def read(name: str) -> np.ndarray:
        return tensors[name.removeprefix(BLOCK)].astype(np.float64)

    grids = x.reshape(-1, *x.shape[-3:]).astype(np.float64)
    found = [plain_vmamba.ss2d(config, read, BLOCK.removesuffix("."), grid) for grid in grids]
    return np.stack(found).reshape(x.shape) if found else np.empty(x.shape)


def assert_close(found: np.ndarray, expected: np.ndarray, bound: float = 2e-6) -> None:
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    if found.size:
        assert np.abs(found - expected).max() <= bound * max(1.0, np.abs(expected).max())


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("case", CASES)
def test_the_original_block(case: str, golden: Path) -> None:
    recorded = recorded_operation(golden, "vmamba", case)
    x, expected = recorded["x"], recorded["out64"]
    if b'"channel_first": true' in str(recorded["config"]).encode():
        x, expected = np.moveaxis(x, 1, -1), np.moveaxis(expected, 1, -1)
    block = SS2D(recorded, prefix="param/")
    assert_close(block(x), expected)
    for picture, of_picture in zip(x, expected, strict=True):
        assert_close(block(picture), of_picture)


@pytest.mark.usefixtures("way")
def test_the_op_of_a_whole_block(golden: Path) -> None:
    """A state dict with other tensors beside, as of a block with its norm."""
    recorded = recorded_operation(golden, "vmamba", "vssblock_v0")
    norm = {name: recorded[f"param/norm.{name}"] for name in ("weight", "bias")}
    normed = vimnp.ops.layer_norm(recorded["x"], **norm)
    out = recorded["x"] + SS2D(recorded, prefix="param/op.")(normed)
    assert_close(out, recorded["out64"])


GRIDS = st.tuples(st.integers(1, 9), st.integers(1, 9))


@pytest.mark.usefixtures("way")
@given(
    config=st.builds(
        config_of,
        dim=st.sampled_from([1, 4, 17]),
        d_inner=st.sampled_from([1, 5, 16, 33]),
        dt_rank=st.integers(1, 3),
        d_state=st.sampled_from([1, 2, 5, 16]),
        gated=st.booleans(),
        conv_bias=st.booleans(),
    ),
    grid=GRIDS,
    batch=st.none() | st.integers(0, 3),
)
@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_block(config: VMambaConfig, grid: tuple[int, int], batch: int | None) -> None:
    tensors = block_tensors(config)
    shape = (*grid, config.dims[0]) if batch is None else (batch, *grid, config.dims[0])
    x = normal(*shape)
    block = SS2D(tensors)
    assert (block.dim, block.d_inner) == (config.dims[0], config.d_inner[0])
    assert (block.d_state, block.gated) == (config.d_state, config.gated)
    assert_close(block(x), truth(config, tensors, x), 1e-5)


def test_spellings() -> None:
    expected = SS2D(TENSORS)(normal(4, 6, 10))
    one_file = dict(TENSORS)
    for old, new in (("x_proj.weight", "x_proj_weight"), ("dt_projs.weight", "dt_projs_weight")):
        weight = one_file.pop(new)
        one_file[old] = weight.reshape(-1, weight.shape[2])
    convolutions = TENSORS | {
        name: TENSORS[name][:, :, None, None] for name in ("in_proj.weight", "out_proj.weight")
    }
    doubles = {name: array.astype(np.float64) for name, array in TENSORS.items()}
    lists = {name: array.tolist() for name, array in TENSORS.items()}
    for other in (one_file, convolutions, doubles, lists):
        np.testing.assert_array_equal(SS2D(other)(normal(4, 6, 10)), expected)


@pytest.mark.usefixtures("way")
def test_bits_do_not_depend_on_threads_or_batch() -> None:
    x = normal(3, 7, 5, 10)
    expected = SS2D(TENSORS, num_threads=1)(x)
    for num_threads in (2, 3):
        np.testing.assert_array_equal(SS2D(TENSORS, num_threads=num_threads)(x), expected)
    block = SS2D(TENSORS)
    for picture, of_picture in zip(x, expected, strict=True):
        np.testing.assert_array_equal(block(picture), of_picture)
    views = np.asfortranarray(x), np.ascontiguousarray(x[:, ::-1])[:, ::-1]
    for view in views:
        np.testing.assert_array_equal(block(view), expected)


def test_several_threads_at_once() -> None:
    block, x = SS2D(TENSORS), normal(2, 6, 6, 10)
    expected, found = block(x), [np.empty(0)] * 4

    def run(index: int) -> None:
        found[index] = block(x)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in found:
        np.testing.assert_array_equal(each, expected)


def test_the_tensors_are_copied() -> None:
    tensors = {name: array.copy() for name, array in TENSORS.items()}
    block, x = SS2D(tensors), normal(3, 3, 10)
    expected = block(x)
    for array in tensors.values():
        array[...] = 0
    np.testing.assert_array_equal(block(x), expected)


def test_what_it_says_of_itself() -> None:
    assert repr(SS2D(TENSORS)) == "SS2D(dim=10, d_inner=20, d_state=3, with a gate)"


@pytest.mark.usefixtures("way")
def test_backends_agree() -> None:
    x = normal(2, 5, 7, 10)
    expected = SS2D(TENSORS, backend="numpy")(x)
    block = SS2D(TENSORS)
    assert block.backend in ("numpy", "native")
    assert_close(block(x), expected)


def test_a_backend_that_is_none() -> None:
    with pytest.raises(ConfigError, match="backend is 'torch'; expected one of"):
        SS2D(TENSORS, backend="torch")  # type: ignore[arg-type]


def without(name: str) -> Tensors:
    return {other: array for other, array in TENSORS.items() if other != name}


def shaped(name: str, *shape: int) -> Tensors:
    assert name in TENSORS
    return TENSORS | {name: np.zeros(shape, np.float32)}


REFUSED = {
    "nothing": ({}, "no tensor's name begins with ''"),
    "no in_proj": (without("in_proj.weight"), "in_proj.weight: missing"),
    "no Ds": (without("Ds"), "Ds: missing; expected in_proj.weight, conv2d.weight, "),
    "another's": (TENSORS | {"norm.weight": TENSORS["Ds"]}, "norm.weight: not a tensor of a block"),
    "rows": (shaped("in_proj.weight", 30, 10), "in_proj.weight: has 30 rows; expected 20, as out"),
    "dimensions": (shaped("A_logs", 80), r"A_logs: has shape (80,); expected 2 dimensions"),
    "empty": (shaped("A_logs", 80, 0), r"A_logs: has shape (80, 0); expected 2 dimensions"),
    "states": (shaped("A_logs", 80, 4), r"x_proj_weight: has shape (4, 8, 20); expected (4, 10, 2"),
    "too many states": (shaped("A_logs", 80, 10_000), "of no block: d_state is 10000"),
    "directions": (shaped("Ds", 40), r"Ds: has shape (40,); expected (80,)"),
    "taps": (shaped("conv2d.weight", 20, 1, 5, 5), r"(20, 1, 5, 5); expected (20, 1, 3, 3)"),
    "transposed": (shaped("out_proj.weight", 20, 10), r"(20, 10); expected (10, 20)"),
    "text": (TENSORS | {"Ds": "ones"}, "Ds: no array of numbers"),
    "uneven": (TENSORS | {"Ds": [[1], [1, 2]]}, "Ds: no array of numbers"),
}


@pytest.mark.parametrize(("tensors", "culprit"), REFUSED.values(), ids=REFUSED)
def test_other_tensors_are_refused_by_name(tensors: dict[str, Any], culprit: str) -> None:
    with pytest.raises(WeightsError) as error:
        SS2D(tensors)
    assert culprit in str(error.value)


def test_a_prefix_that_no_name_has() -> None:
    with pytest.raises(WeightsError, match=r"no tensor's name begins with 'op\.'"):
        SS2D(TENSORS, prefix="op.")


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (np.zeros((4, 4, 10)), TypeError, "x"),
        ([[[0.0] * 10]], TypeError, "x"),
        (normal(4, 4, 9), ValueError, r"\(4, 4, 9\); expected \(H, W, 10\) or \(B, H, W, 10\)"),
        (normal(4, 10), ValueError, "expected"),
        (normal(1, 1, 4, 4, 10), ValueError, "expected"),
        (normal(0, 4, 10), ValueError, "at least one token"),
        (normal(1, 5000, 10), ValueError, "1x5000 tokens, which are too many"),
    ],
)
def test_other_inputs_are_refused(x: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        SS2D(TENSORS)(x)
