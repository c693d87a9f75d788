"""VMamba's checkpoints: every spelling and layout, what is inferred, what is refused."""

from __future__ import annotations

import dataclasses
import re
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import golden_vmamba
from tests.support.arrays import assert_same
from tests.support.mamba_checkpoints import write_original
from tests.support.micro import MICRO as VISION
from tests.support.random_weights import random_weights
from tests.support.torch_format import Built, Call, Filled, Global, Persistent, Raw, save
from tests.support.vmamba_checkpoints import (
    CFG_NODE,
    SET,
    SPELLINGS,
    Weights,
    as_convolutions,
    config_node,
    in_backbone,
    in_one_file,
    segmenter,
    training_dump,
    with_old_names,
)
from tests.support.vmamba_networks import MICRO, OPTIONS, configurations
from vimnp import VimConfig, VMamba, VMambaConfig
from vimnp.cli import main
from vimnp.convert import Conversion, convert_checkpoint
from vimnp.convert.formats.checkpoint import Checkpoint
from vimnp.convert.vmamba.infer import infer_config
from vimnp.convert.vmamba.rename import new_names
from vimnp.errors import CheckpointError
from vimnp.models.mamba.config import MambaConfig
from vimnp.models.random_weights import random_reader
from vimnp.models.vmamba.published import FILES, PUBLISHED
from vimnp.models.vmamba.spellings import network_shape
from vimnp.weights import WeightsFile

# Small, with all that a network may have.
CONFIG = VMambaConfig(
    dims=(6, 8, 10, 12), depths=(1, 2, 1, 1), d_state=2, num_classes=3, img_size=(40, 48)
)
LATER: dict[str, Any] = {
    "d_state": 1,
    "gated": False,
    "mlp_ratio": 4.0,
    "conv_bias": False,
    "patch_embed": "v2",
    "downsample": "v3",
}
SIZE = {"img_size": "40x48"}
BOUND = 5e-6  # of logits, features and feature maps, whose largest is about 2


def changed(**changes: Any) -> VMambaConfig:
    return dataclasses.replace(CONFIG, **changes)


def weights_of(config: VMambaConfig, seed: int = 0) -> Weights:
    read = random_reader(config, seed)
    return {name: read(name) for name in config.parameter_shapes()}


WEIGHTS = weights_of(CONFIG)


def convert(folder: Path, content: object, **options: Any) -> tuple[Conversion, Weights]:
    """Convert a checkpoint of this content, and read back every tensor of the weights file."""
    save(folder / "vmamba.pth", content)
    conversion = convert_checkpoint(folder / "vmamba.pth", folder / "vmamba.npz", **options)
    with WeightsFile(folder / "vmamba.npz") as file:
        assert file.metadata == conversion.metadata
        names = file.metadata.config.parameter_shapes()
        return conversion, {name: file.read(name) for name in names}


def refused(folder: Path, content: object, culprit: str, **options: Any) -> None:
    """Nothing is written, and the message names the culprit."""
    with pytest.raises(CheckpointError) as error:
        convert(folder, content, **options)
    assert culprit in str(error.value)
    assert not (folder / "vmamba.npz").exists()


# ---- Every spelling and layout -------------------------------------------------------------------


@pytest.mark.parametrize("arrange", [dict, as_convolutions])
@pytest.mark.parametrize("spell", SPELLINGS)
@pytest.mark.parametrize(
    "config", [CONFIG, changed(**LATER), changed(**LATER | {"gated": True})], ids=str
)
def test_every_spelling(
    config: VMambaConfig,
    spell: Callable[[Weights], Weights],
    arrange: Callable[[Weights], Weights],
    tmp_path: Path,
) -> None:
    weights = weights_of(config)
    given = spell(arrange(weights))
    conversion, found = convert(tmp_path, {"model": given}, settings=SIZE)
    assert conversion.metadata.config == config
    assert_same(found, weights)


def test_spellings_may_be_mixed(tmp_path: Path) -> None:
    _, found = convert(tmp_path, in_backbone(with_old_names(as_convolutions(in_one_file(WEIGHTS)))))
    assert_same(found, WEIGHTS)


@pytest.mark.parametrize("row", OPTIONS)
def test_every_option(row: str, tmp_path: Path) -> None:
    config = dataclasses.replace(MICRO, **OPTIONS[row])
    weights = weights_of(config)
    given = {"img_size": "40x56", "norm_epsilon": str(config.norm_epsilon)}
    if config.downsample == "v1":
        given["downsample_pad"] = config.downsample_pad
    conversion, found = convert(tmp_path, weights, settings=given)
    assert conversion.metadata.config == config
    assert_same(found, weights)


@given(config=configurations(), spell=st.sampled_from(SPELLINGS), four=st.booleans())
@settings(deadline=None)
def test_any_configuration_is_found_again(
    config: VMambaConfig, spell: Callable[[Weights], Weights], four: bool
) -> None:
    shapes = config.parameter_shapes()
    arrays = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
    there = spell(as_convolutions(arrays) if four else arrays)
    names = new_names(there)
    found = {name: network_shape(name, there[old].shape) for name, old in names.items()}
    told = {"img_size": config.img_size, "norm_epsilon": config.norm_epsilon}
    told["downsample_pad"] = config.downsample_pad
    inferred, _ = infer_config(found, told)
    assert inferred == dataclasses.replace(config, mlp_ratio=inferred.mlp_ratio)
    assert inferred.mlp_channels == config.mlp_channels
    assert infer_config(found, told | {"mlp_ratio": inferred.mlp_ratio})[0] == inferred


def test_a_segmenter(tmp_path: Path) -> None:
    config = changed(**LATER, out_norms=True, num_classes=0)
    weights = weights_of(config)
    conversion, found = convert(tmp_path, segmenter(weights), settings=SIZE)
    assert conversion.metadata.config == config
    assert_same(found, weights)
    assert conversion.assumptions[0].startswith("num_classes=0, as there is no 'classifier.head")
    assert conversion.assumptions[-1] == (
        "1 tensor can be left out, as no part of the network: 'decode_head.conv_seg.weight'"
    )


TRAINED = {
    "DATA": {"IMG_SIZE": 64, "DATASET": "imagenet"},
    "MODEL": {
        "NUM_CLASSES": 3,
        "VSSM": {"DEPTHS": [1, 2, 1, 1], "EMBED_DIM": [6, 8, 10, 12], "SSM_D_STATE": 2}
        | {"SSM_FORWARDTYPE": "v0", "SSM_ACT_LAYER": "silu", "MLP_ACT_LAYER": "gelu"},
    },
}


def trained(**network: object) -> dict[str, Any]:
    """A training's configuration with another network."""
    model: dict[str, Any] = TRAINED["MODEL"]
    return TRAINED | {"MODEL": model | {"VSSM": model["VSSM"] | network}}


@pytest.mark.parametrize("use_ema", [False, True])
def test_a_training_dump(use_ema: bool, tmp_path: Path) -> None:
    average = weights_of(CONFIG, seed=1)
    dump = training_dump(with_old_names(WEIGHTS), with_old_names(average), TRAINED)
    conversion, found = convert(tmp_path, dump, use_ema=use_ema)
    assert conversion.metadata.config == changed(img_size=(64, 64))
    assert_same(found, average if use_ema else WEIGHTS)
    assert not any("img_size" in said or "though" in said for said in conversion.assumptions)


def test_the_users_word_is_above_the_trainings(tmp_path: Path) -> None:
    dump = training_dump(WEIGHTS, WEIGHTS, TRAINED)
    conversion, _ = convert(tmp_path, dump, settings=SIZE)
    assert conversion.metadata.config == CONFIG


def test_the_weights_word_is_above_the_trainings(tmp_path: Path) -> None:
    dump = training_dump(WEIGHTS, WEIGHTS, trained(DEPTHS=[2, 2, 9, 2], EMBED_DIM=96))
    conversion, found = convert(tmp_path, dump)
    assert_same(found, WEIGHTS)
    assert [said for said in conversion.assumptions if "though" in said] == [
        "depths=1x2x1x1, as the weights say, though the training's configuration has 2x2x9x2",
        "dims=6x8x10x12, as the weights say, though the training's configuration has "
        "96x192x384x768",
    ]


@pytest.mark.parametrize("forward_type", ["v0", "v0seq", "v2", "v3", "v3noz", "v3_noz", "v05_noz"])
def test_forward_types_of_published_networks(forward_type: str, tmp_path: Path) -> None:
    dump = training_dump(WEIGHTS, WEIGHTS, trained(SSM_FORWARDTYPE=forward_type))
    _, found = convert(tmp_path, dump)
    assert_same(found, WEIGHTS)


@pytest.mark.parametrize(
    "forward_type",
    ["v051d_noz", "v052d", "v052dc", "v31d", "m0_noz", "xv1a", "v05_oact", "v2nozact", "v3_onnone"],
)
def test_ablations_whose_tensors_are_the_same(forward_type: str, tmp_path: Path) -> None:
    dump = training_dump(WEIGHTS, WEIGHTS, trained(SSM_FORWARDTYPE=forward_type))
    refused(tmp_path, dump, f"SSM_FORWARDTYPE '{forward_type}', one of the original's ablations")


@pytest.mark.parametrize("name", ["SSM_ACT_LAYER", "MLP_ACT_LAYER"])
def test_another_activation(name: str, tmp_path: Path) -> None:
    dump = training_dump(WEIGHTS, WEIGHTS, trained(**{name: "relu"}))
    refused(tmp_path, dump, f"{name} 'relu'; expected ")


HUGE = 1 << 40_000
NONSENSE = [
    {},
    {"MODEL": None, "DATA": []},
    {"MODEL": {"VSSM": {}}, "DATA": {"IMG_SIZE": 0}},
    {"MODEL": {"VSSM": "v0", "NUM_CLASSES": HUGE}},
    {"MODEL": TRAINED["MODEL"], "DATA": {"IMG_SIZE": "224"}},
    {"MODEL": TRAINED["MODEL"], "DATA": {"IMG_SIZE": [1, 2, 3]}},
    {"MODEL": TRAINED["MODEL"], "DATA": {"IMG_SIZE": HUGE}},
    {"MODEL": TRAINED["MODEL"], "DATA": {"IMG_SIZE": True}},
    trained(DEPTHS=HUGE, EMBED_DIM=[HUGE] * 4, SSM_D_STATE=-1, SSM_FORWARDTYPE=1) | {"DATA": {}},
    trained(DEPTHS=[None] * 4, EMBED_DIM=-1, SSM_ACT_LAYER=[], MLP_ACT_LAYER={}) | {"DATA": None},
]


@pytest.mark.parametrize("configuration", NONSENSE, ids=range(len(NONSENSE)))
def test_a_training_that_tells_nothing(configuration: dict[str, Any], tmp_path: Path) -> None:
    dump = training_dump(WEIGHTS, WEIGHTS, configuration)
    conversion, found = convert(tmp_path, dump)
    assert conversion.metadata.config == changed(img_size=(224, 224))
    assert not any("though" in said for said in conversion.assumptions)
    assert_same(found, WEIGHTS)


def test_a_picture_of_the_training_that_no_network_takes(tmp_path: Path) -> None:
    dump = training_dump(WEIGHTS, WEIGHTS, TRAINED | {"DATA": {"IMG_SIZE": 1 << 20}})
    refused(tmp_path, dump, "img_size is 1048576; expected a whole number from 1 to 16384")


# ---- The one global that a training dump has -----------------------------------------------------

NODE = Call(CFG_NODE, new=True)
ITSELF = Raw(b"cyacs.config\nCfgNode\n)\x81q\x63(X\x01\x00\x00\x00ah\x63u")  # a dict in itself

HARMLESS = {
    "called": Call(CFG_NODE),
    "nobody's": CFG_NODE,
    "attributes": Built(NODE, {"__class__": CFG_NODE, "__reduce__": None, "__getattr__": SET}),
    "slots": Built(NODE, (None, {"__dict__": {}})),
    "items": Filled(NODE, {"__class__": CFG_NODE, "__init__": SET, "get": 1, "items": []}),
    "itself": ITSELF,
    "deep": Raw(b"cyacs.config\nCfgNode\n)\x81" + b"X\x01\x00\x00\x00a}" * 5000 + b"s" * 5000),
    "a set of anything": Call(SET, ([CFG_NODE, (), [[]], 1 << 200],)),
}


@pytest.mark.parametrize("node", HARMLESS.values(), ids=HARMLESS)
def test_a_node_is_an_inert_dict(node: object, tmp_path: Path) -> None:
    _, found = convert(tmp_path, {"config": node, "model": WEIGHTS, "MODEL": node})
    assert_same(found, WEIGHTS)


HOSTILE = {
    "of another module": (Call(Global("yacs.config", "_load_module_from_file")), "yacs.config._l"),
    "its module's module": (Call(Global("yacs.config", "os.system"), ("touch x",)), "os.system'"),
    "its method": (Call(Global("yacs.config", "CfgNode.load_cfg"), ("a: 1",)), "CfgNode.load_cfg'"),
    "with what it would load": (Call(CFG_NODE, ({"a": 1},)), "CfgNode is called with arguments"),
    "made with arguments": (Call(CFG_NODE, (Raw(b"N"),), new=True), "is called with arguments"),
    "the result called": (Call(NODE, ("touch x",)), "calls a value of type dict"),
    "as a key": (Raw(b"}cyacs.config\nCfgNode\nNs"), "a dict's key is a value of type function"),
    "a number too large as a key": (Filled(NODE, {1 << 40: 1}), "a dict's key is"),
    "as a storage's type": (
        Persistent(("storage", CFG_NODE, "0", "cpu", 1)),
        "a storage's type is a value of type function",
    ),
    "a node as a storage": (
        Call(Global("torch._utils", "_rebuild_tensor_v2"), (NODE, 0, (), (), False, None)),
        "a tensor's storage is a value of type dict",
    ),
    "with attributes of its own": (Built(CFG_NODE, {"__code__": 1}), "sets attributes of a value"),
    "appended to": (Raw(b"cyacs.config\nCfgNode\n)\x81Na"), "appends to a value of type dict"),
    "the items of a set": (Filled(Call(SET, ([],)), {"a": 1}), "sets an item of"),
    "frozen set": (Call(Global("__builtin__", "frozenset"), ([],)), "'__builtin__.frozenset'"),
    "eval beside the set": (Call(Global("__builtin__", "eval"), ("1",)), "'__builtin__.eval'"),
}


@pytest.mark.parametrize(("value", "culprit"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_uses_of_a_node(value: object, culprit: str, tmp_path: Path) -> None:
    refused(tmp_path, {"config": value, "model": WEIGHTS}, culprit)


@pytest.mark.parametrize("value", [CFG_NODE, NODE, Call(SET, ([],))])
def test_a_node_among_the_weights(value: object, tmp_path: Path) -> None:
    refused(tmp_path, {"model": WEIGHTS | {"classifier.head.bias": value}}, "expected a tensor")


def test_a_node_for_the_weights(tmp_path: Path) -> None:
    """A dict is a dict: what it holds is checked as ever."""
    _, found = convert(tmp_path, {"model": Filled(NODE, WEIGHTS)})
    assert_same(found, WEIGHTS)


def test_the_configuration_is_read_as_a_nest_of_dicts(tmp_path: Path) -> None:
    save(tmp_path / "dump.pth", {"model": WEIGHTS, "config": config_node(TRAINED)})
    with Checkpoint(tmp_path / "dump.pth") as checkpoint:
        assert checkpoint.training == TRAINED
    save(tmp_path / "other.pth", {"model": WEIGHTS, "config": "text"})
    with Checkpoint(tmp_path / "other.pth") as checkpoint:
        assert not checkpoint.training


# ---- What is said --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_are_named(name: str) -> None:
    config, assumptions = infer_config(PUBLISHED[name].parameter_shapes(), {})
    assert config == PUBLISHED[name]
    (said,) = assumptions
    assert said.endswith(f"norm_epsilon=1e-05, as in the published network {name}")
    assert ("downsample_pad=zeros" in said) == (config.downsample == "v1")


def test_networks_whose_files_are_mixed_up_are_told_apart() -> None:
    first, second = (
        infer_config(PUBLISHED[FILES[file]].parameter_shapes(), {})[1][0]
        for file in FILES
        if file.startswith(("vssm_tiny_0230_", "vssm1_tiny_0230s_"))
    )
    assert first.endswith("vmamba-tiny-s2l5")
    assert second.endswith("vmamba-tiny-s1l8")


@pytest.mark.parametrize("changes", [{"num_classes": 10}, {"num_classes": 0, "out_norms": True}])
def test_what_was_made_of_a_published_network_is_named(changes: dict[str, Any]) -> None:
    config = dataclasses.replace(PUBLISHED["vmamba-tiny-s1l8"], **changes)
    _, assumptions = infer_config(config.parameter_shapes(), {})
    assert assumptions[-1].endswith("the published network vmamba-tiny-s1l8")


def test_only_what_is_not_told_is_assumed() -> None:
    shapes = CONFIG.parameter_shapes()
    assert infer_config(shapes, {})[1] == [
        "img_size=224x224 and downsample_pad=zeros and norm_epsilon=1e-05, the default"
    ]
    told = {"img_size": (40, 48), "downsample_pad": "crop", "norm_epsilon": 1e-6}
    config, assumptions = infer_config(shapes, told)
    assert config == changed(downsample_pad="crop", norm_epsilon=1e-6)
    assert assumptions == []


def test_sizes_may_be_said(tmp_path: Path) -> None:
    said = {"dims": "6x8x10x12", "depths": "1x2x1x1", "d_inner": "12x16x20x24", "gated": "true"}
    conversion, _ = convert(tmp_path, WEIGHTS, settings=SIZE | said | {"downsample_pad": "crop"})
    assert conversion.metadata.config == changed(downsample_pad="crop")


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        ({"settings": {"dims": "6x8x10x13"}}, "dims is 6x8x10x13, but the weights say 6x8x10x12"),
        ({"settings": {"dims": "6x8x10"}}, "expected a whole number for each of the four stages"),
        ({"settings": {"gated": "false"}}, "the setting gated is false, but the weights say true"),
        ({"settings": {"downsample": "v3"}}, "downsample is v3, but the weights say v1"),
        ({"settings": {"downsample_pad": "ones"}}, "downsample_pad is 'ones'; expected one of"),
        ({"settings": {"stride": "4"}}, "unknown setting 'stride'; expected one of dims, depths"),
        ({"settings": {"img_size": "3"}}, "img_size is 3x3"),
        ({"model": "tiny"}, "the network tiny is a Vision Mamba, and this one a VMamba"),
        ({"tokenizer": "bytes"}, "a tokenizer for a network that takes no text"),
        ({"dtype": "int4"}, "int4"),
        ({"use_ema": True}, "model_ema"),
    ],
)
def test_wrong_settings(options: dict[str, Any], culprit: str, tmp_path: Path) -> None:
    refused(tmp_path, WEIGHTS, culprit, **options)


# ---- What is refused -----------------------------------------------------------------------------


def without(*parts: str, weights: Mapping[str, np.ndarray] = WEIGHTS) -> Weights:
    return {name: a for name, a in weights.items() if not any(part in name for part in parts)}


def plus(**shapes: tuple[int, ...]) -> Weights:
    """With other tensors; in their names two underscores are a dot."""
    return WEIGHTS | {
        name.replace("__", "."): np.zeros(shape, np.float32) for name, shape in shapes.items()
    }


def reshaped(name: str, *shape: int, weights: Mapping[str, np.ndarray] = WEIGHTS) -> Weights:
    assert name in weights
    return {**weights, name: np.zeros(shape, np.float32)}


MLP = weights_of(changed(**LATER))
OP = "layers.0.blocks.0.op"

REFUSED = {
    "of MedMamba": (
        plus(layers__0__blocks__0__conv33conv33conv11__0__weight=(3,)),
        "its tensors are not those of a MedMamba of 1x2x1x1 blocks",
    ),
    "of VM-UNet": (
        {f"vmunet.{n}": a for n, a in plus(layers_up__0__upsample__norm__bias=(3,)).items()},
        "it has blocks in the stages none; expected 4 stages, layers_up.0 to layers_up.3",
    ),
    "batch norm": (plus(patch_embed__2__running_mean=(6,)), "with batch normalisation"),
    "position embedding": (plus(pos_embed=(1, 6, 10, 10)), "with a position embedding"),
    "xv": (without("x_proj_weight"), "the original's ablations xv1a to xv3a"),
    "m0": (without("dt_projs_weight"), "the original's ablation m0"),
    "onnone": (without("out_norm"), "the original's ablations _onnone"),
    "oncnorm": (plus(layers__0__blocks__0__op__out_norm__0__weight=(12, 1, 3, 3)), "_oncnorm"),
    "ondwconv3": (reshaped(f"{OP}.out_norm.weight", 12, 1, 3, 3), "_ondwconv3"),
    "no convolution": (without("conv2d"), "no convolution (ssm_conv below 2)"),
    "gmlp": (
        reshaped("layers.0.blocks.0.mlp.fc1.weight", 48, 6, weights=MLP),
        "an MLP with a gate (gmlp)",
    ),
    "MLPs of several ratios": (
        reshaped("layers.1.blocks.0.mlp.fc1.weight", 33, 8, weights=MLP),
        "have 24x33x40x48 channels, in blocks of 6x8x10x12; expected one ratio",
    ),
    "three stages": (without("layers.3"), "in the stages layers.0, layers.1, layers.2; expected 4"),
    "five stages": (
        plus(layers__4__blocks__0__norm__weight=(3,)),
        "layers.0, layers.1, layers.2, layers.3, layers.4; expected 4",
    ),
    "a stage without its first block": (
        without("layers.1.blocks.0."),
        "'layers.1.blocks.0.norm.weight' is missing",
    ),
    "a block too few": (
        plus(layers__0__blocks__7__norm__weight=(6,)),
        "a VMamba of 8x2x1x1 blocks with patch_embed v1 and downsample v1 and gated and conv_bias: "
        "90 missing",
    ),
    "a billion blocks": (plus(layers__0__blocks__999999__norm__weight=(6,)), "depths is"),
    "one tensor missing": (without(f"{OP}.Ds"), f"1 missing ('{OP}.Ds')"),
    "no stem": (without("patch_embed"), "'patch_embed.0.weight' is missing"),
    "no A": (without("A_logs"), f"'{OP}.A_logs' is missing; expected every VMamba to have it"),
    "an unknown tensor": (plus(layers__0__blocks__0__op__b=(1,)), f"VMamba ('{OP}.b')"),
    "an unknown tensor beside": (plus(neck=(1,)), "1 not part of a VMamba ('neck')"),
    "both ends": (
        plus(outnorm0__weight=(6,)),
        "out_norms: 7 missing ('outnorm0.bias', 'outnorm1.bias', 'outnorm1.weight' and 4 more); "
        "4 not part of a VMamba ('classifier.head.bias'",
    ),
    "no gate, no two": (
        reshaped(f"{OP}.in_proj.weight", 25, 6),
        f"'{OP}.in_proj.weight' has 25 rows; expected 12, as '{OP}.out_norm.weight' has, or with a "
        "gate 24",
    ),
    "one block without a gate": (
        reshaped("layers.1.blocks.1.op.in_proj.weight", 16, 8),
        "'layers.1.blocks.1.op.in_proj.weight' has (16, 8), expected (32, 8)",
    ),
    "of two directions": (
        reshaped(f"{OP}.x_proj_weight", 2, 5, 12),
        f"'{OP}.x_proj_weight' has (2, 5, 12), expected (4, 5, 12)",
    ),
    "directions that are no four": (
        with_old_names(reshaped(f"{OP}.x_proj_weight", 21, 12)),
        f"'{OP}.x_proj_weight' has (21, 12), expected (4, 5, 12)",
    ),
    "taps": (
        reshaped(f"{OP}.conv2d.weight", 12, 1, 5, 5),
        "(12, 1, 5, 5), expected (12, 1, 3, 3)",
    ),
    "a linear map of 3x3": (
        reshaped(f"{OP}.in_proj.weight", 24, 6, 3, 3),
        f"'{OP}.in_proj.weight' has the shape (24, 6, 3, 3); expected 2 dimensions",
    ),
    "an empty tensor": (
        reshaped(f"{OP}.A_logs", 48, 0),
        f"'{OP}.A_logs' has the shape (48, 0); expected 2 dimensions, none empty",
    ),
    "states": (
        reshaped(f"{OP}.A_logs", 48, 3),
        "x_proj_weight' has (4, 5, 12), expected (4, 7, 12",
    ),
    "patches of 16": (
        reshaped("patch_embed.0.weight", 6, 3, 16, 16),
        "'patch_embed.0.weight' has (6, 3, 16, 16), expected (6, 3, 4, 4)",
    ),
    "downsampling by 5x5": (
        reshaped("layers.0.downsample.1.weight", 8, 6, 5, 5, weights=MLP),
        "'layers.0.downsample.1.weight' has (8, 6, 5, 5), expected (8, 6, 3, 3)",
    ),
    "downsamplings that differ": (
        without("layers.1.downsample") | plus(layers__1__downsample__1__weight=(10, 8, 3, 3)),
        "1 not part of a VMamba ('layers.1.downsample.1.weight')",
    ),
    "no downsampling": (without("downsample"), "'layers.0.downsample.1.weight' is missing"),
    "two spellings at once": (
        WEIGHTS | {"norm.weight": WEIGHTS["classifier.norm.weight"]},
        "'classifier.norm.weight' and 'norm.weight', which are two names of one tensor",
    ),
    "two backbones": (
        WEIGHTS | in_backbone(WEIGHTS),
        "it holds several VMambas, before whose names stand '', 'backbone.'",
    ),
    "a Swin": (
        {"layers.0.blocks.0.attn.qkv.weight": WEIGHTS["classifier.head.bias"]},
        "a VMamba has names such as 'layers.0.blocks.0.op.x_proj_weight'",
    ),
}


@pytest.mark.parametrize(("weights", "culprit"), REFUSED.values(), ids=REFUSED)
def test_refused(weights: Weights, culprit: str, tmp_path: Path) -> None:
    refused(tmp_path, {"model": weights}, culprit)


def test_a_name_made_of_prefixes_takes_no_time(tmp_path: Path) -> None:
    """A state dict may be hostile."""
    ends = ("a", "layers.0.blocks.0.", "layers.0.blocks.0.op", "layers." + "0" * 40_000)
    starts = ("a." * 100_000, "backbone." * 30_000, "a" * 100_000, "layers.0.blocks.0." * 9_000)
    weights = {f"{start}{end}": WEIGHTS["classifier.head.bias"] for start in starts for end in ends}
    refused(tmp_path, {"model": weights}, "no Vision Mamba")


def test_other_families_are_told_by_their_tensors(tmp_path: Path) -> None:
    vision, _ = convert(tmp_path, random_weights(VISION))
    assert type(vision.metadata.config) is VimConfig
    text = convert_checkpoint(write_original(tmp_path / "text"), tmp_path / "text.npz")
    assert type(text.metadata.config) is MambaConfig
    assert type(convert(tmp_path, WEIGHTS)[0].metadata.config) is VMambaConfig


def test_the_command_shows_the_family(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "in.pth", WEIGHTS)
    source, destination = str(tmp_path / "in.pth"), str(tmp_path / "out.npz")
    assert main(["convert", source, destination, "--set", "downsample_pad=crop"]) == 0
    assert main(["info", destination]) == 0
    shown = capsys.readouterr().out
    assert "assumed img_size=224x224 and norm_epsilon=1e-05, the default\n" in shown
    assert re.search(r"^  family +vmamba$", shown, re.MULTILINE)
    assert re.search(r"^  downsample_pad +crop$", shown, re.MULTILINE)


# ---- The original's recorded networks ------------------------------------------------------------

DUMPS = ("s1_published", "v0_published")
CASES = [(case, False) for case in (*golden_vmamba.CLASSIFIERS, golden_vmamba.BACKBONE)]
CASES += [(case, use_ema) for case in DUMPS for use_ema in (False, True)]


def convert_golden(
    golden: Path, case: str, destination: Path, *, use_ema: bool = False, **given: str
) -> Conversion:
    """Convert a recorded network by what the file tells, but for the size of its pictures."""
    height, width = golden_vmamba.arguments(golden, case)["imgsize"]
    if case not in DUMPS:  # whose configuration tells it
        given["img_size"] = f"{height}x{width}"
    source = golden / golden_vmamba.FOLDER / f"{case}.pth"
    return convert_checkpoint(source, destination, settings=given, use_ema=use_ema)


@pytest.mark.parametrize(("case", "use_ema"), CASES)
def test_golden_checkpoint(case: str, use_ema: bool, golden: Path, tmp_path: Path) -> None:
    conversion = convert_golden(golden, case, tmp_path / "out.npz", use_ema=use_ema)
    assert conversion.metadata.config == golden_vmamba.original_config(golden, case)
    left_out = [said for said in conversion.assumptions if "left out" in said]
    assert len(left_out) == (case == golden_vmamba.BACKBONE)
    assert not any("though" in said for said in conversion.assumptions)


@pytest.mark.parametrize(("case", "use_ema"), CASES)
def test_golden_tensors_are_those_of_torch(
    case: str, use_ema: bool, golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    yacs = types.ModuleType("yacs.config")
    yacs.CfgNode = type("CfgNode", (dict,), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "yacs", types.ModuleType("yacs"))
    monkeypatch.setitem(sys.modules, "yacs.config", yacs)
    convert_golden(golden, case, tmp_path / "out.npz", use_ema=use_ema)
    content = torch.load(golden / golden_vmamba.FOLDER / f"{case}.pth", weights_only=False)
    names = ["model_ema"] if use_ema else ["model", "state_dict"]
    (original,) = (content[name] for name in names if name in content)
    names_there = new_names(original)
    with WeightsFile(tmp_path / "out.npz") as file:
        assert names_there.keys() == file.metadata.config.parameter_shapes().keys()
        for name, there in names_there.items():
            np.testing.assert_array_equal(file.read(name).ravel(), original[there].numpy().ravel())


@pytest.mark.parametrize("backend", [None, "numpy"])
@pytest.mark.parametrize(("case", "use_ema"), CASES)
def test_golden_outputs(
    case: str, use_ema: bool, backend: str | None, golden: Path, tmp_path: Path
) -> None:
    convert_golden(golden, case, tmp_path / "out.npz", use_ema=use_ema)
    model = VMamba.from_npz(tmp_path / "out.npz", backend=backend)
    recorded = golden_vmamba.recorded(golden, case)
    if case == golden_vmamba.BACKBONE:
        for stage, found in enumerate(model.feature_maps(recorded["input"])):
            np.testing.assert_allclose(found, recorded[f"out{stage}_64"], rtol=0, atol=BOUND)
        return
    ema = "_ema" * use_ema
    pixels = recorded["input"]
    np.testing.assert_allclose(model(pixels), recorded[f"logits64{ema}"], rtol=0, atol=BOUND)
    if "features64" in recorded:
        features = model.features(pixels)
        np.testing.assert_allclose(features, recorded["features64"], rtol=0, atol=BOUND)


def test_golden_cropping(golden: Path, tmp_path: Path) -> None:
    """The patch merging of the code before 2024-01-28."""
    convert_golden(golden, "v0_odd", tmp_path / "out.npz", downsample_pad="crop")
    recorded = golden_vmamba.recorded(golden, "v0_odd")
    logits = VMamba.from_npz(tmp_path / "out.npz")(recorded["input"])
    np.testing.assert_allclose(logits, recorded["logits_cropped"], rtol=0, atol=BOUND)


# ---- Named networks ------------------------------------------------------------------------------


def test_a_file_may_be_held_to_a_published_network() -> None:
    """Two of the published files have names that are mixed up easily."""
    shapes = PUBLISHED["vmamba-tiny-s1l8"].parameter_shapes()
    config, _ = infer_config(shapes, {}, "vmamba-tiny-s1l8")
    assert config == PUBLISHED["vmamba-tiny-s1l8"]
    with pytest.raises(
        CheckpointError,
        match="to be vmamba-tiny-s2l5, but the weights have the "
        "sizes of vmamba-tiny-s1l8; leave --model out or name another",
    ):
        infer_config(shapes, {}, "vmamba-tiny-s2l5")


def test_another_network_than_the_named_is_refused(tmp_path: Path) -> None:
    refused(
        tmp_path,
        WEIGHTS,
        "but the weights have the sizes of none that was published",
        model="vmamba-tiny",
    )
    refused(
        tmp_path, WEIGHTS, "the network vmunet is a VM-UNet, and this one a VMamba", model="vmunet"
    )
    weights = random_weights(VISION)
    refused(
        tmp_path,
        weights,
        "the network vmamba-tiny is a VMamba, and this one a Vision Mamba",
        model="vmamba-tiny",
    )


def test_the_command_takes_the_names_of_all_published_networks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "net.pth", WEIGHTS)
    command = ["convert", str(tmp_path / "net.pth"), str(tmp_path / "net.npz"), "--model"]
    assert main([*command, "vmamba-base"]) != 0
    assert "of none that was published" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*command, "vmamba-huge"])
    assert "vmamba-tiny-s1l8" in capsys.readouterr().err
