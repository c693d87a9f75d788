"""The oracle of VMamba's model tests, held against the recorded outputs of the original itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.support import golden_vmamba, plain_vmamba


@pytest.mark.parametrize("case", golden_vmamba.CLASSIFIERS)
def test_logits_are_the_originals(golden: Path, case: str) -> None:
    config = golden_vmamba.original_config(golden, case)
    recorded = golden_vmamba.recorded(golden, case)
    with golden_vmamba.reader(golden, case) as read:
        logits = [plain_vmamba.outputs(config, read, image).logits for image in recorded["input"]]
    np.testing.assert_allclose(logits, recorded["logits64"], rtol=0, atol=1e-12)


def test_patch_merging_crops_as_the_original_did_before(golden: Path) -> None:
    config = golden_vmamba.original_config(golden, "v0_odd")
    config = dataclasses.replace(config, downsample_pad="crop")
    recorded = golden_vmamba.recorded(golden, "v0_odd")
    with golden_vmamba.reader(golden, "v0_odd") as read:
        logits = [plain_vmamba.outputs(config, read, image).logits for image in recorded["input"]]
    np.testing.assert_allclose(logits, recorded["logits_cropped"], rtol=0, atol=2e-6)


def test_a_backbones_maps_are_the_originals(golden: Path) -> None:
    config = golden_vmamba.original_config(golden, golden_vmamba.BACKBONE)
    recorded = golden_vmamba.recorded(golden, golden_vmamba.BACKBONE)
    with golden_vmamba.reader(golden, golden_vmamba.BACKBONE) as read:
        maps = plain_vmamba.stages(config, read, recorded["input"][0])
    for stage, found in enumerate(maps):
        truth = recorded[f"out{stage}_64"][0]
        np.testing.assert_allclose(found.transpose(2, 0, 1), truth, rtol=0, atol=1e-12)
