"""MedMamba's and VM-UNet's checkpoints: what is inferred, what is refused, what they give."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import vimnp
from tests.support import golden_vmamba
from tests.support.neighbours import MEDMAMBA, VMUNET, lively, medmambas, vmunets
from tests.support.torch_format import save
from tests.support.vmamba_checkpoints import Weights, with_old_names
from tests.support.vmamba_networks import normalised
from vimnp import MedMamba, MedMambaConfig, VMUNet, VMUNetConfig
from vimnp.convert import Conversion, convert_checkpoint
from vimnp.convert.medmamba.infer import infer_config as infer_medmamba
from vimnp.convert.vmunet.infer import infer_config as infer_vmunet
from vimnp.errors import CheckpointError
from vimnp.weights import Metadata, WeightsFile


def weights_of(config: Any) -> Weights:
    read = lively(config)
    return {name: read(name) for name in config.parameter_shapes()}


MED, UNET = weights_of(MEDMAMBA), weights_of(VMUNET)
SIZES = {"MedMamba": {"img_size": "40x56"}, "VM-UNet": {"img_size": "32x48"}}


def as_trained(weights: Mapping[str, np.ndarray], prefix: str = "") -> Weights:
    """As the originals' ``state_dict`` has them: names of before 2024-01-28, and counters."""
    found = with_old_names(weights)
    for name in list(found):
        if name.endswith("running_mean"):
            counter = name.replace("running_mean", "num_batches_tracked")
            found[counter] = np.array(1000, np.int64)
    return {
        re.sub(r"^layers_up(.*)\.norm\.", r"layers_up\1.norm.", f"{prefix}{n}"): a
        for n, a in found.items()
    }


def converted(
    tmp_path: Path, weights: Mapping[str, np.ndarray], **options: Any
) -> tuple[Any, Conversion]:
    save(tmp_path / "net.pth", weights)
    conversion = convert_checkpoint(tmp_path / "net.pth", tmp_path / "net.npz", **options)
    return vimnp.load(tmp_path / "net.npz"), conversion


def refused(
    tmp_path: Path, weights: Mapping[str, np.ndarray], culprit: str, **options: Any
) -> None:
    save(tmp_path / "net.pth", weights)
    with pytest.raises(CheckpointError) as caught:
        convert_checkpoint(tmp_path / "net.pth", tmp_path / "net.npz", **options)
    assert culprit in str(caught.value)
    assert not (tmp_path / "net.npz").exists()


# ---- What is inferred ----------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(config=medmambas())
def test_every_medmamba_is_inferred(config: MedMambaConfig) -> None:
    untold = {"img_size": config.img_size, "downsample_pad": config.downsample_pad}
    found, _ = infer_medmamba(config.parameter_shapes(), untold)
    assert found == config


@settings(max_examples=30, deadline=None)
@given(config=vmunets())
def test_every_vmunet_is_inferred(config: VMUNetConfig) -> None:
    found, _ = infer_vmunet(config.parameter_shapes(), {"img_size": config.img_size})
    assert found == config


def test_a_medmamba_is_converted(tmp_path: Path) -> None:
    model, conversion = converted(tmp_path, as_trained(MED), settings=SIZES["MedMamba"])
    assert type(model) is MedMamba
    assert model.config == MEDMAMBA
    assert conversion.parameters == MEDMAMBA.num_parameters
    assert conversion.assumptions[:2] == (
        "downsample_pad=crop and norm_epsilon=1e-05, the default",
        "crop_pct=1.0 and mean=0.5,0.5,0.5 and std=0.5,0.5,0.5, as in the original's evaluation",
    )
    assert re.match(r"15 tensors can be left out, .*num_batches_tracked", conversion.assumptions[2])
    with WeightsFile(tmp_path / "net.npz") as file:
        for name, array in MED.items():
            np.testing.assert_array_equal(file.read(name), array)


def test_a_vmunet_is_converted(tmp_path: Path) -> None:
    weights = as_trained(UNET, "vmunet.")
    model, conversion = converted(tmp_path, weights, settings=SIZES["VM-UNet"])
    assert type(model) is VMUNet
    assert model.config == VMUNET
    untold, prepared = conversion.assumptions
    assert untold == "norm_epsilon=1e-05, the default"
    assert prepared.startswith("crop_pct=1.0 and mean=0.0,0.0,0.0 and std=0.003")
    assert prepared.endswith("which also stretches each picture's numbers to 0 to 255")
    with WeightsFile(tmp_path / "net.npz") as file:
        for name, array in UNET.items():
            np.testing.assert_array_equal(file.read(name), array)


def test_a_dump_of_vmunets_training_is_read(tmp_path: Path) -> None:
    """As its ``latest.pth``, after a count of operations that has left its own in the modules."""
    weights = as_trained(UNET, "vmunet.")
    weights["vmunet.layers.0.total_ops"] = weights["vmunet.total_params"] = np.zeros(1)
    dump = {"epoch": 3, "min_loss": 0.25, "model_state_dict": weights, "optimizer_state_dict": {}}
    model, conversion = converted(tmp_path, dump, settings=SIZES["VM-UNet"])
    assert model.config == VMUNET
    assert conversion.assumptions[-1].startswith("2 tensors can be left out")
    np.testing.assert_array_equal(
        model(normalised(VMUNET)),
        VMUNet(Metadata(config=VMUNET), lively(VMUNET))(normalised(VMUNET)),
    )


def test_what_the_user_says_of_pictures_wins(tmp_path: Path) -> None:
    given = {**SIZES["MedMamba"], "mean": "0.1,0.2,0.3", "crop_pct": "0.9"}
    model, _ = converted(tmp_path, as_trained(MED), settings=given)
    preprocessing = model.metadata.preprocessing
    assert (preprocessing.mean, preprocessing.crop_pct) == ((0.1, 0.2, 0.3), 0.9)
    assert preprocessing.std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("weights", [MED, {f"vmunet.{n}": a for n, a in UNET.items()}])
def test_new_names_are_taken_as_well(weights: Weights, tmp_path: Path) -> None:
    settings = SIZES["MedMamba" if weights is MED else "VM-UNet"]
    model, _ = converted(tmp_path, weights, settings=settings)
    assert model.config in (MEDMAMBA, VMUNET)


# ---- What is refused -----------------------------------------------------------------------------


def test_what_contradicts_itself_is_refused(tmp_path: Path) -> None:
    counters = as_trained(MED)
    name = "layers.2.blocks.0.conv33conv33conv11.4.weight"
    refused(tmp_path, {**MED, name: np.zeros((21, 21, 1, 1), np.float32)}, repr(name))
    without = {n: a for n, a in MED.items() if n != name}
    refused(
        tmp_path,
        without,
        f"a MedMamba of 1x2x1x1 blocks with patch_embed v1 and downsample v1 "
        f"and gated and conv_bias: 1 missing ('{name}')",
    )
    variance = name.replace("4.weight", "5.running_var")
    refused(tmp_path, counters | {variance: -MED[variance]}, f"{variance!r} has a number below 0")
    refused(
        tmp_path, MED, "the network tiny is a Vision Mamba, and this one a MedMamba", model="tiny"
    )
    refused(
        tmp_path, MED, "the setting d_state is 6, but the weights say 5", settings={"d_state": "6"}
    )


def test_decoders_that_are_none_of_these_are_refused(tmp_path: Path) -> None:
    back = {"concat_back_dim.1.weight": np.zeros((4, 8), np.float32)}
    refused(
        tmp_path,
        UNET | back,
        "'concat_back_dim.1.weight', so it is a network whose decoder "
        "has the encoder's maps beside its own (Mamba-UNet)",
    )
    fewer = {n: a for n, a in UNET.items() if not n.startswith("layers_up.2")}
    refused(
        tmp_path,
        fewer,
        "in the stages layers_up.0, layers_up.1; expected 3 stages, layers_up.0 to layers_up.2",
    )
    headless = {n: a for n, a in UNET.items() if n != "final_conv.weight"}
    refused(tmp_path, headless, "'final_conv.weight' is missing; expected every VM-UNet to have it")
    alone = {n: a for n, a in UNET.items() if not re.match(r"layers\.[12]|layers_up\.[12]", n)}
    refused(tmp_path, alone, "it has 1 stages; expected 2 to 8")
    refused(
        tmp_path, UNET, "img_size is 40x40; expected multiples of 16", settings={"img_size": "40"}
    )


# ---- The recorded networks -----------------------------------------------------------------------

RECORDED = {"medmamba_micro": 5e-6, "vmunet_micro": 3e-5}
"""Bounds: the second one's last norm is over five channels, and PyTorch's own error 1.8e-5."""


@pytest.mark.parametrize("backend", ["numpy", None])
@pytest.mark.parametrize("case", RECORDED)
def test_golden_outputs(case: str, backend: str | None, golden: Path, tmp_path: Path) -> None:
    recorded = golden_vmamba.recorded(golden, case)
    original = json.loads(str(recorded["config"]))
    source = golden / golden_vmamba.FOLDER / f"{case}.pth"
    size = "x".join(map(str, original["imgsize"]))
    convert_checkpoint(source, tmp_path / "out.npz", settings={"img_size": size})
    model = vimnp.load(tmp_path / "out.npz", backend=backend)
    for name in ("dims", "depths", "d_state", "num_classes"):
        found = getattr(model.config, name)
        assert (list(found) if isinstance(found, tuple) else found) == original[name]
    found = model(recorded["input"])
    np.testing.assert_allclose(found, recorded["logits64"], rtol=0, atol=RECORDED[case])
