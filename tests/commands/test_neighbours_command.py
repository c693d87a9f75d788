"""The command on networks that stand on VMamba's block."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import Command, assert_refused
from tests.support.digits import SCANS
from tests.support.neighbours import VMUNET, lively
from vimnp.weights import Metadata, write_weights


@pytest.mark.parametrize("neighbour", ["medmamba", "vmunet"])
def test_nobody_waits_for_what_stands_on_vmamba(neighbour: str) -> None:
    code = "import sys, vimnp; vimnp.VMamba.random(config=vimnp.VMambaConfig(dims=(6, 6, 6, 6)));"
    code += f"assert not [name for name in sys.modules if {neighbour!r} in name]"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("name", ["medmamba-tiny", "vmunet"])
def test_networks_that_stand_on_vmamba_are_profiled(name: str, command: Command) -> None:
    run = command("profile", "--random", name, "--img-size", "32")
    assert run.code == 0, run.err
    for operation in ("in_proj", "conv2d", "scan", "downsample"):
        assert operation in run.out


def test_no_class_is_predicted_where_each_pixel_has_one(command: Command, tmp_path: Path) -> None:
    read = lively(VMUNET)
    tensors = ((name, read(name)) for name in VMUNET.parameter_shapes())
    write_weights(tmp_path / "unet.npz", Metadata(config=VMUNET), tensors)
    run = command("predict", str(SCANS[7]), "--weights", str(tmp_path / "unet.npz"))
    assert_refused(run, "this network has a class for each pixel, and none for the picture")
