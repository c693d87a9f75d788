"""Whether a state dict is a Vision Mamba, by its names and shapes."""

from __future__ import annotations

import re

from vimnp.convert import fitting
from vimnp.convert.family import Shapes
from vimnp.models.vim.config import VimConfig


def is_vim(shapes: Shapes) -> bool:
    """Whether there are mixers, as in every Mamba, and patches for them to read."""
    has_mixers = any(re.match(r"layers\.[0-9]+\.mixer\.", name) for name in shapes)
    return has_mixers and any(name.startswith("patch_embed.") for name in shapes)


def check_tensors(shapes: Shapes, config: VimConfig) -> None:
    """Raise CheckpointError unless the tensors are exactly those of the configuration."""
    fitting.check_tensors(
        shapes,
        config.parameter_shapes(),
        "a Vision Mamba",
        f"{config.depth} layers with {_describe_options(config)}",
    )


def _describe_options(config: VimConfig) -> str:
    """What was taken from names alone, so that one name too many or too few can be seen."""
    options = ["use_double_cls_token", "if_rope", "if_layer_scale"]
    found = [name for name in options if getattr(config, name)]
    return " and ".join([f"bimamba_type {config.bimamba_type}", *found])
