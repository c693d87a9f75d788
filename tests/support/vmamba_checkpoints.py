"""Checkpoints of VMamba as people have them: names by the day of the code, dumps, segmenters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.support.torch_format import Built, Call, Filled, Global

Weights = dict[str, np.ndarray]

CFG_NODE = Global("yacs.config", "CfgNode")
SET = Global("__builtin__", "set")

_LINEAR = ("in_proj.weight", "out_proj.weight", "fc1.weight", "fc2.weight")
_LINEAR += ("head.weight", "reduction.weight")

# Today's names, and those of before 2024-01-28.
_OLD_NAMES = (
    (r"^patch_embed\.0\.", "patch_embed.proj."),
    (r"^patch_embed\.2\.", "patch_embed.norm."),
    (r"(blocks\.\d+)\.norm\.", r"\1.ln_1."),
    (r"(blocks\.\d+)\.op\.", r"\1.self_attention."),
    (r"^classifier\.", ""),
)


def with_old_names(weights: Mapping[str, np.ndarray]) -> Weights:
    """As the code of before 2024-01-28 names them."""
    return {_old_name(name): array for name, array in weights.items()}


def _old_name(name: str) -> str:
    for new, old in _OLD_NAMES:
        name = re.sub(new, old, name)
    return name


def in_one_file(weights: Mapping[str, np.ndarray]) -> Weights:
    """As the original's version in one file has them."""
    found: Weights = {}
    for name, array in weights.items():
        if name.endswith(("x_proj_weight", "dt_projs_weight")):
            name = name.removesuffix("_weight") + ".weight"
            array = array.reshape(-1, array.shape[2])
        found[name] = array
    return found


def in_backbone(weights: Mapping[str, np.ndarray]) -> Weights:
    """As a detector or segmenter has them."""
    return {f"backbone.{name}": array for name, array in weights.items()}


def as_they_are(weights: Mapping[str, np.ndarray]) -> Weights:
    return dict(weights)


SPELLINGS = (as_they_are, with_old_names, in_one_file, in_backbone)


def as_convolutions(weights: Mapping[str, np.ndarray]) -> Weights:
    """Linear maps as convolutions of 1x1."""
    return {
        name: array[:, :, None, None] if name.endswith(_LINEAR) else array
        for name, array in weights.items()
    }


def config_node(values: Mapping[str, object]) -> Built:
    """A ``CfgNode`` as it is pickled: a dict's items, and then its attributes."""
    items = {k: config_node(v) if isinstance(v, dict) else v for k, v in values.items()}
    attributes = {
        "__immutable__": True,
        "__deprecated_keys__": Call(SET, ([],)),
        "__renamed_keys__": {},
        "__new_allowed__": False,
    }
    return Built(Filled(Call(CFG_NODE, new=True), items), attributes)


def training_dump(
    weights: Mapping[str, np.ndarray],
    average: Mapping[str, np.ndarray],
    configuration: Mapping[str, Any],
) -> dict[str, object]:
    """What the original's ``save_checkpoint_ema`` writes."""
    moments = {index: {"step": 5, "exp_avg": array} for index, array in enumerate(weights.values())}
    return {
        "model": Filled(Call(Global("collections", "OrderedDict")), weights),
        "optimizer": {"state": moments, "param_groups": [{"lr": 1e-3, "params": [0, 1]}]},
        "lr_scheduler": {"milestones": [20]},
        "max_accuracy": 82.6,
        "scaler": {},
        "epoch": 264,
        "config": config_node(configuration),
        "model_ema": dict(average),
        "max_accuray_ema": 82.5,
    }


def segmenter(weights: Mapping[str, np.ndarray]) -> dict[str, object]:
    """What mmengine writes of a segmenter: the backbone, and a head beside it."""
    head = {"decode_head.conv_seg.weight": np.ones((2, 4, 1, 1), np.float32)}
    return {
        "meta": {"epoch": 1, "cfg": "model = dict()"},
        "state_dict": in_backbone(weights) | head,
    }
