"""The examples run, and show what they say that they show."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import vimnp
from tests.support.golden_operations import recorded_operation

EXAMPLES = Path(__file__).parents[1] / "examples"

pytestmark = pytest.mark.skipif(not EXAMPLES.exists(), reason="the tests lie beside no checkout")


@pytest.fixture
def vssblock() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vssblock", EXAMPLES / "vssblock.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_vssblock_shows_the_error(vssblock: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    vssblock.main()
    errors = dict(re.findall(r"^  (\S.*?) +([0-9.]+) %", capsys.readouterr().out, re.MULTILINE))
    assert float(errors.pop("as rewritten")) > 10
    assert len(errors) == 3
    assert all(float(error) < 1e-3 for error in errors.values())


def test_vssblock_scans_agree(vssblock: ModuleType) -> None:
    rng = np.random.default_rng(0)
    u, delta = rng.standard_normal((2, 2, 6, 9)).astype(np.float32)
    A = -np.exp(rng.standard_normal((6, 4))).astype(np.float32)
    B, C = rng.standard_normal((2, 2, 3, 4, 9)).astype(np.float32)  # 3 groups of 2 channels
    D = rng.standard_normal(6).astype(np.float32)
    delta = np.abs(delta)
    expected = vssblock.written_out(u, delta, A, B, C, D)
    found = vimnp.selective_scan(u, delta, A, B, C, D)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert vssblock.rewritten(u, delta, A, B, C, D).shape == expected.shape


def test_vssblock_gives_what_the_original_gives(vssblock: ModuleType, golden: Path) -> None:
    recorded = recorded_operation(golden, "vmamba", "ss2d_v0_wide")
    tensors = {
        name.removeprefix("param/"): array
        for name, array in recorded.items()
        if name.startswith("param/")
    }
    x, truth = recorded["x"], recorded["out64"]
    for out in (
        vssblock.block(tensors, x, vssblock.written_out),
        vssblock.block(tensors, x, vimnp.selective_scan),
        vimnp.SS2D(tensors)(x),
    ):
        np.testing.assert_allclose(out, truth, rtol=0, atol=2e-6 * np.abs(truth).max())
    wrong = vssblock.block(tensors, x, vssblock.rewritten, positive=False)
    assert np.linalg.norm(wrong - truth) > 0.5 * np.linalg.norm(truth)
