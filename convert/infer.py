"""The configuration of a network from the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vimnp.config import VimConfig
from vimnp.convert.geometry import infer_geometry
from vimnp.convert.naming import quoted
from vimnp.convert.recognise import Shapes, check_tensors, refuse_other_networks
from vimnp.convert.settings import to_text
from vimnp.errors import CheckpointError, ConfigError


def infer_config(shapes: Shapes, settings: Mapping[str, Any]) -> tuple[VimConfig, list[str]]:
    """Find the configuration that a state dict was made with.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Every tensor of the state dict.
    settings : mapping of str to object
        Values of fields that the user gives, parsed.

    Returns
    -------
    config : VimConfig
        Its ``parameter_shapes()`` are exactly ``shapes``.
    assumptions : list of str
        What neither the weights nor the user told, as sentences.

    Raises
    ------
    CheckpointError
        If the network is not a supported Vision Mamba, or a setting contradicts the weights.
    """
    refuse_other_networks(shapes)
    inferred = _infer_sizes(shapes)
    _refuse_contradictions(settings, inferred)
    patches = _count_patches(shapes)
    stride, img_size = infer_geometry(
        inferred["patch_size"], patches, settings.get("stride"), settings.get("img_size")
    )
    try:
        config = VimConfig(**{**settings, **inferred, "stride": stride, "img_size": img_size})
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    check_tensors(shapes, config)
    return config, _list_assumptions(config, patches, settings)


def _infer_sizes(shapes: Shapes) -> dict[str, Any]:
    """Every field that the weights tell."""
    mixer = "layers.0.mixer"
    embed_dim, _, patch_size, patch_width = _shape_of(shapes, "patch_embed.proj.weight", 4)
    if patch_size != patch_width:
        raise CheckpointError(f"its patches are {patch_size}x{patch_width}; expected squares")
    d_inner, _, d_conv = _shape_of(shapes, f"{mixer}.conv1d.weight", 3)
    if d_inner % embed_dim:
        raise CheckpointError(
            f"its layers are {d_inner} wide inside and {embed_dim} between them; "
            "expected a whole multiple"
        )
    return {
        "embed_dim": embed_dim,
        "depth": _count_layers(shapes),
        "patch_size": patch_size,
        "d_state": _shape_of(shapes, f"{mixer}.A_log", 2)[1],
        "d_conv": d_conv,
        "expand": d_inner // embed_dim,
        "dt_rank": _shape_of(shapes, f"{mixer}.dt_proj.weight", 2)[1],
        "num_classes": _shape_of(shapes, "head.weight", 2)[0],
        "rms_norm": "norm_f.bias" not in shapes,
        "if_cls_token": "cls_token" in shapes,
        "if_abs_pos_embed": "pos_embed" in shapes,
    }


def _shape_of(shapes: Shapes, name: str, dimensions: int) -> tuple[int, ...]:
    if name not in shapes:
        raise CheckpointError(f"{quoted(name)} is missing; expected every Vision Mamba to have it")
    shape = shapes[name]
    if len(shape) != dimensions or 0 in shape:
        raise CheckpointError(
            f"{quoted(name)} has the shape {shape}; expected {dimensions} dimensions, none empty"
        )
    return shape


def _count_layers(shapes: Shapes) -> int:
    matches = (re.match(r"layers\.([0-9]{1,6})\.", name) for name in shapes)
    return 1 + max(int(match[1]) for match in matches if match)


def _count_patches(shapes: Shapes) -> int | None:
    """Number of patches that the position embedding is made for, None without one."""
    if "pos_embed" not in shapes:
        return None
    tokens = _shape_of(shapes, "pos_embed", 3)[1]
    patches = tokens - int("cls_token" in shapes)
    if patches < 1:
        raise CheckpointError("'pos_embed' has a single row, for the class token; expected patches")
    return patches


def _refuse_contradictions(settings: Mapping[str, Any], inferred: Mapping[str, Any]) -> None:
    for name, value in inferred.items():
        if name in settings and settings[name] != value:
            raise CheckpointError(
                f"the setting {name} is {to_text(settings[name])}, but the weights say "
                f"{to_text(value)}; leave it out"
            )


def _list_assumptions(
    config: VimConfig, patches: int | None, settings: Mapping[str, Any]
) -> list[str]:
    assumptions = []
    geometry = [name for name in ("stride", "img_size") if name not in settings]
    if geometry:
        values = " and ".join(f"{name}={to_text(getattr(config, name))}" for name in geometry)
        because = (
            f"as the simplest that gives the {patches} patches of 'pos_embed'"
            if patches and config.stride == config.patch_size
            else f"as it gives the {patches} patches of 'pos_embed'"
            if patches
            else "as there is no 'pos_embed' to tell"
        )
        assumptions.append(f"{values}, {because}")
    untold = ["if_divide_out", "norm_epsilon"]
    untold.insert(0, "use_middle_cls_token" if config.if_cls_token else "final_pool_type")
    assumptions += [
        f"{name}={to_text(getattr(config, name))}, as in the published networks"
        for name in untold
        if name not in settings
    ]
    return assumptions
