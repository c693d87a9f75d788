"""Whether a state dict is a Vision Mamba, by its names and shapes."""

from __future__ import annotations

import re
from collections.abc import Collection

from vimnp.convert.family import Shapes
from vimnp.convert.formats.naming import listing, quoted
from vimnp.errors import CheckpointError
from vimnp.models.vim.config import VimConfig


def is_vim(shapes: Shapes) -> bool:
    """Whether there are mixers, as in every Mamba, and patches for them to read."""
    has_mixers = any(re.match(r"layers\.[0-9]+\.mixer\.", name) for name in shapes)
    return has_mixers and any(name.startswith("patch_embed.") for name in shapes)


def check_tensors(shapes: Shapes, config: VimConfig) -> None:
    """Raise CheckpointError unless the tensors are exactly those of the configuration."""
    expected = config.parameter_shapes()
    problems = [
        _problem("missing", expected.keys() - shapes.keys()),
        _problem("not part of a Vision Mamba", shapes.keys() - expected.keys()),
    ]
    if any(problems):
        raise CheckpointError(
            f"its tensors are not those of a Vision Mamba of {config.depth} layers with "
            f"{_describe_options(config)}: {'; '.join(filter(None, problems))}"
        )
    wrong = [name for name, shape in expected.items() if shapes[name] != shape]
    if wrong:
        raise CheckpointError(
            f"{len(wrong)} tensors have another shape than expected: {quoted(wrong[0])} has "
            f"{shapes[wrong[0]]}, expected {expected[wrong[0]]}"
        )


def _describe_options(config: VimConfig) -> str:
    """What was taken from names alone, so that one name too many or too few can be seen."""
    options = ["use_double_cls_token", "if_rope", "if_layer_scale"]
    found = [name for name in options if getattr(config, name)]
    return " and ".join([f"bimamba_type {config.bimamba_type}", *found])


def _problem(what: str, names: Collection[str]) -> str:
    return f"{len(names)} {what} ({listing(sorted(names))})" if names else ""
