"""The command on VMamba's networks: a weights file, and published ones with random weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.commands import Command, assert_refused
from tests.support.digits import SCANS
from tests.support.vmamba_networks import MICRO, lively
from vimnp import VMamba
from vimnp.weights import Metadata, write_weights


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    read = lively(MICRO)
    tensors = ((name, read(name)) for name in MICRO.parameter_shapes())
    metadata = Metadata(config=MICRO, labels=tuple("abcdefg"))
    write_weights(tmp_path / "micro.npz", metadata, tensors)
    return tmp_path / "micro.npz"


def test_it_predicts(weights: Path, tmp_path: Path, command: Command) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    model = VMamba.from_npz(weights, img_size=(48, 64))
    best = model.predict(tmp_path / "noise.png")[0]
    run = command("predict", "--weights", weights, "--img-size", "48x64", tmp_path / "noise.png")
    assert run.code == 0, run.err
    assert best.label is not None
    assert best.label in run.out
    assert_refused(
        command("predict", "--weights", weights, "--scan", "fixlen", tmp_path / "noise.png"),
        "scan is 'fixlen'; expected one of ('fused',)",
    )


def test_a_published_network_is_profiled(command: Command) -> None:
    run = command("profile", "--random", "vmamba-tiny-s1l8", "--img-size", "32")
    assert run.code == 0, run.err
    for operation in ("in_proj", "conv2d", "scan", "fc1", "downsample"):
        assert operation in run.out


def test_a_prediction_of_vision_mamba_does_not_wait_for_vmamba() -> None:
    code = f"import sys; from vimnp.cli import main; main(['predict', {str(SCANS[7])!r}]); "
    code += "assert not [name for name in sys.modules if 'vmamba' in name]"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
