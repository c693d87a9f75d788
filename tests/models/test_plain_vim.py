"""The oracle of the model tests, held against the recorded outputs of the original itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support import golden_cases, plain_vim
from vimnp.convert.formats.checkpoint import Checkpoint

# The large network would take minutes, and has no option that these lack.
CASES = [name for name in golden_cases.NETWORKS if name != "vim_tiny_patch16_224"]


@pytest.mark.parametrize("case", CASES)
def test_logits_are_the_originals(golden: Path, case: str) -> None:
    config = golden_cases.original_config(golden, case)
    with np.load(golden / f"{case}.npz") as recorded:
        images, truth = recorded["input"], recorded["logits64"]
    with Checkpoint(golden / f"{case}.pth") as checkpoint:
        logits = [plain_vim.logits(config, checkpoint.read, image) for image in images]
    limit = golden_cases.FLOAT32_RESIDUAL.get(case, 1e-9)
    assert np.abs(np.array(logits) - truth).max() < limit * np.abs(truth).max()
