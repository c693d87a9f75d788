"""The recorded networks of the original: which there are, and how each was made.

The folder ``vim/`` has every option of the original, by itself and where options meet.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from vimnp.config import VimConfig

_BIDIRECTIONAL = {"if_bidirectional": "true"}
_ROPE_RESIDUAL = {"if_rope_residual": "true"}
_FIRST_TOKEN = {"use_middle_cls_token": "false"}

OPTIONS = {
    "vim/micro_bidirectional_none": _BIDIRECTIONAL,
    "vim/micro_bidirectional_v1": _BIDIRECTIONAL,
    "vim/micro_bidirectional_v2": _BIDIRECTIONAL,
    "vim/micro_bidirectional_depth5": _BIDIRECTIONAL,
    "vim/micro_bidirectional_layernorm": _BIDIRECTIONAL,
    "vim/micro_bidirectional_eps": _BIDIRECTIONAL | {"norm_epsilon": "1e-2"},
    "vim/micro_bidirectional_rope": _BIDIRECTIONAL,
    "vim/micro_bidirectional_rope_residual": _BIDIRECTIONAL | _ROPE_RESIDUAL | _FIRST_TOKEN,
    "vim/micro_bidirectional_nocls_mean": _BIDIRECTIONAL | {"final_pool_type": "mean"},
    "vim/micro_rope": {},
    "vim/micro_rope_residual": _ROPE_RESIDUAL,
    "vim/micro_rope_headcls_nodiv": _ROPE_RESIDUAL | _FIRST_TOKEN | {"if_divide_out": "false"},
    "vim/micro_doublecls": {},
    "vim/micro_v1": {},
    "vim/micro_forward": {},
    "vim/micro_layerscale": {},
    "vim/micro_nocls_none": {"final_pool_type": "none"},
    "vim/micro_nocls_max": {"final_pool_type": "max"},
    "vim/micro_nocls_all": {"final_pool_type": "all"},
    "vim/micro_nopos": {"img_size": "64"},
    "vim/micro_eps": {"norm_epsilon": "1e-2"},
    "vim/micro_slowpath": {"use_fast_path": "false"},
    "vim/micro_noconvbias": {},
    "vim/micro_projbias": {},
    "vim/micro_expand1p5": {},
    "vim/micro_gray": {},
    "vim/micro_nohead": {},
    "vim/micro_rectpatch": {},
    "vim/micro_flip": {"flip_img_sequences_ratio": "1"},
}
NETWORKS: dict[str, dict[str, str]] = {
    "micro": {},
    "micro_stride8": {"stride": "8"},
    "micro_headcls": _FIRST_TOKEN,
    "micro_nocls_mean": {"final_pool_type": "mean"},
    "micro_nodiv": {"if_divide_out": "false"},
    "micro_layernorm": {},
    "micro_dstate8_rect": {"img_size": "48x80"},
    "micro_training_checkpoint": {},
    "vim_tiny_patch16_224": {},
    **OPTIONS,
}
"""What ``vimnp convert`` cannot see in the weights, as its settings, by the case's name."""

# The original's unfused path keeps the residual in float32 even when all else is float64.
FLOAT32_RESIDUAL = {"micro_layernorm": 3e-7}


def original_config(golden: Path, case: str) -> VimConfig:
    """The configuration that a network was made with."""
    with np.load(golden / f"{case}.npz") as recorded:
        arguments = json.loads(str(recorded["config"]))
    arguments |= arguments.pop("ssm_cfg", {})
    arguments["if_layer_scale"] = arguments.pop("init_layer_scale", None) is not None
    known = {field.name for field in dataclasses.fields(VimConfig)}
    values = {name: value for name, value in arguments.items() if name in known}
    side = values["img_size"]
    values["img_size"] = side if isinstance(side, list) else (side, side)
    return VimConfig(**values)
