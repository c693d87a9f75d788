"""The recorded networks of VMamba's original: which there are, and how each was made."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vimnp import VMambaConfig
from vimnp.convert.formats.checkpoint import Checkpoint

FOLDER = "vmamba"

CLASSIFIERS = (
    "v0_micro",
    "v0_odd",
    "v0_oldnames_rect",
    "s2l5_micro",
    "s2l5_weights4d",
    "s2l5_conv1x1_onefile",
    "s1l8_micro_rect",
    "s1l8_odd",
    "t0220_micro",
)
BACKBONE = "s1_backbone_seg"

_OLD_NAMES = (
    (r"patch_embed\.0", "patch_embed.proj"),
    (r"patch_embed\.2", "patch_embed.norm"),
    (r"(blocks\.\d+)\.norm", r"\1.ln_1"),
    (r"(blocks\.\d+)\.op", r"\1.self_attention"),
    (r"classifier\.", ""),
)


def recorded(golden: Path, case: str) -> dict[str, np.ndarray]:
    """What the original gave: inputs, the truth, every stage."""
    with np.load(golden / FOLDER / f"{case}.npz") as file:
        return dict(file)


def arguments(golden: Path, case: str) -> dict[str, Any]:
    """The arguments of the original's constructor."""
    found: dict[str, Any] = json.loads(str(recorded(golden, case)["config"]))
    return found


def original_config(golden: Path, case: str) -> VMambaConfig:
    """The configuration that a network was made with."""
    given = arguments(golden, case)
    first = given["dims"]
    dims = [first << stage for stage in range(4)] if isinstance(first, int) else first
    return VMambaConfig(
        dims=dims,
        depths=given["depths"],
        d_inner=[int(given["ssm_ratio"] * dim) for dim in dims],
        d_state=given["ssm_d_state"],
        gated=not given["forward_type"].endswith("noz"),
        mlp_ratio=given["mlp_ratio"],
        conv_bias=given["ssm_conv_bias"],
        patch_embed=given["patchembed_version"],
        downsample=given["downsample_version"],
        out_norms="out_indices" in given,
        num_classes=given.get("num_classes", 0),
        img_size=given["imgsize"],
    )


@contextmanager
def reader(golden: Path, case: str) -> Iterator[Callable[[str], np.ndarray]]:
    """Give a network's tensors by the new names and shapes, whatever the file calls them."""
    given = arguments(golden, case)
    shapes = original_config(golden, case).parameter_shapes()

    def read(name: str) -> np.ndarray:
        return checkpoint.read(_name_in(name, given)).reshape(shapes[name])

    with Checkpoint(golden / FOLDER / f"{case}.pth") as checkpoint:
        yield read


def _name_in(name: str, given: dict[str, Any]) -> str:
    if given["names"] == "onefile":
        name = name.replace("x_proj_weight", "x_proj.weight")
        name = name.replace("dt_projs_weight", "dt_projs.weight")
    if given["names"] == "old":
        for new, old in _OLD_NAMES:
            name = re.sub(new, old, name)
    return given.get("prefix", "") + name
