"""The configuration of a network from the names and shapes of its tensors."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from vimnp.convert.family import Shapes
from vimnp.convert.fitting import find_factor as find_expand
from vimnp.convert.fitting import refuse_contradictions, shape_of
from vimnp.convert.formats.naming import quoted
from vimnp.convert.settings import to_text
from vimnp.convert.vim.geometry import infer_geometry
from vimnp.convert.vim.recognise import check_tensors
from vimnp.errors import CheckpointError, ConfigError
from vimnp.models.vim.config import VimConfig
from vimnp.models.vim.published import PUBLISHED
from vimnp.models.vim.rope import COS, are_tables
from vimnp.models.vim.tensors import OPTIONS, SIZES
from vimnp.weights.family import ReadTensor


def infer_config(
    shapes: Shapes, settings: Mapping[str, Any], model: str | None = None
) -> tuple[VimConfig, list[str]]:
    """Find the configuration that a state dict was made with.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Every tensor of the state dict.
    settings : mapping of str to object
        Values of fields that the user gives, parsed.
    model : str, optional
        The network in :data:`vimnp.config.PUBLISHED` that settles what neither the weights nor the
        user tell.

    Returns
    -------
    config : VimConfig
        Its ``parameter_shapes()`` are exactly ``shapes``.
    assumptions : list of str
        What neither the weights nor the user told, as sentences. It is taken from the published
        network that has the same tensors, or is the default.

    Raises
    ------
    CheckpointError
        If the network is no such Vision Mamba, or a setting or the model contradicts the weights.
    """
    inferred = _infer_sizes(shapes, settings) | _infer_options(shapes)
    refuse_contradictions(settings, inferred)
    telling, patches = _count_patches(shapes)
    given = settings
    if model is not None:
        _refuse_other_model(model, inferred)
        settings = dataclasses.asdict(PUBLISHED[model]) | dict(settings)
    stride, img_size = infer_geometry(
        inferred["patch_size"], patches, settings.get("stride"), settings.get("img_size"), telling
    )
    like = _recognise(inferred, patches)
    untold = PUBLISHED[like] if like else VimConfig()
    values = {**settings, **inferred, "stride": stride, "img_size": img_size}
    try:
        config = dataclasses.replace(untold, **values)
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    check_tensors(shapes, config)
    assumptions = _assume_geometry(config, telling, patches, settings)
    if not config.num_classes and "num_classes" not in given:
        assumptions.append(
            "num_classes=0, as there is no 'head.weight': a backbone, whose logits are its features"
        )
    because = f"as in the published network {like}" if like else "the default"
    assumptions += [
        f"{name}={to_text(getattr(config, name))}, {because}"
        for name in _untold_options(config)
        if name not in settings
    ]
    return config, assumptions


def examine(
    config: VimConfig, read: ReadTensor, settings: Mapping[str, Any], model: str | None
) -> list[str]:
    """What the rotary tables say of ``pt_hw_seq_len``, where nobody has said it."""
    if model is not None or "pt_hw_seq_len" in settings or are_tables(config, read):
        return []
    return [
        f"pt_hw_seq_len={config.pt_hw_seq_len}, though the rotary tables are not those that it "
        "gives; it matters to pictures of another size only"
    ]


def _infer_sizes(shapes: Shapes, settings: Mapping[str, Any]) -> dict[str, Any]:
    has_head = any(name.startswith("head.") for name in shapes)
    sizes: dict[str, Any] = {
        field: shape_of(shapes, name, dimensions, "Vision Mamba")[axis]
        for field, (name, dimensions, axis) in SIZES.items()
        if has_head or field != "num_classes"
    }
    sizes.setdefault("num_classes", 0)
    height, width = sizes["patch_size"]
    sizes["patch_size"] = height if height == width else (height, width)
    embed_dim, d_inner = sizes["embed_dim"], sizes.pop("d_inner")
    expand = settings.get("expand", math.nan)  # of the many that make as many channels
    if not (math.isfinite(expand) and int(expand * embed_dim) == d_inner):
        expand = find_expand(d_inner, embed_dim)
    return {**sizes, "depth": _count_layers(shapes), "expand": expand}


def _infer_options(shapes: Shapes) -> dict[str, Any]:
    # A layer's tensors without its number, and the beginning of every name up to a dot.
    names = {re.sub(r"^layers\.[0-9]+\.", "", name) for name in shapes}
    names |= {f"{name.rpartition('.')[0]}." for name in names}
    options = {
        option: next(
            value
            for value, telling in values.items()
            if not telling or not names.isdisjoint(telling)
        )
        for option, values in OPTIONS.items()
    }
    if not options["if_cls_token"]:  # without, it has no meaning, and may be anything
        del options["use_double_cls_token"]
    return options


def _count_layers(shapes: Shapes) -> int:
    matches = (re.match(r"layers\.([0-9]{1,6})\.", name) for name in shapes)
    return 1 + max(int(match[1]) for match in matches if match)


def _count_patches(shapes: Shapes) -> tuple[str, int | None]:
    """The tensor with a row for each patch, and how many those are; None where no tensor tells."""
    if "pos_embed" in shapes:
        tokens = shape_of(shapes, "pos_embed", 3, "Vision Mamba")[1]
        class_tokens = sum(name.startswith("cls_token") for name in shapes)
        if tokens <= class_tokens:
            raise CheckpointError(
                f"'pos_embed' has {tokens} rows for {class_tokens} class tokens and the patches; "
                "expected more"
            )
        return "pos_embed", tokens - class_tokens
    if COS in shapes:
        return COS, shape_of(shapes, COS, 2, "Vision Mamba")[0]
    return "pos_embed", None


def _recognise(inferred: Mapping[str, Any], patches: int | None) -> str | None:
    """The published network that has the same tensors, if there is one."""
    for name, network in PUBLISHED.items():
        told = {field: getattr(network, field) for field in inferred}
        if told == inferred and network.num_patches == patches:
            return name
    return None


def _refuse_other_model(model: str, inferred: Mapping[str, Any]) -> None:
    for name, value in inferred.items():
        expected = getattr(PUBLISHED[model], name)
        if expected != value and name != "num_classes":  # a fine-tuned network may have a new head
            raise CheckpointError(
                f"the weights have {name} {to_text(value)}, but the network {model} has "
                f"{to_text(expected)}; leave --model out or name another"
            )


def _assume_geometry(
    config: VimConfig, telling: str, patches: int | None, settings: Mapping[str, Any]
) -> list[str]:
    names = [name for name in ("stride", "img_size") if name not in settings]
    if not names:
        return []
    values = " and ".join(f"{name}={to_text(getattr(config, name))}" for name in names)
    if patches is None:
        return [f"{values}, as there is no {quoted(telling)} to tell"]
    simplest = "the simplest that" if config.stride == min(config.patch) else "it"
    return [f"{values}, as {simplest} gives the {patches} patches of {quoted(telling)}"]


def _untold_options(config: VimConfig) -> list[str]:
    """The fields beside sizes that no tensor tells, as far as they matter to such a network."""
    names = []
    if not config.if_cls_token:
        names.append("final_pool_type")
    elif not config.use_double_cls_token:
        names.append("use_middle_cls_token")
    if config.bimamba_type != "none":
        names.append("use_fast_path")
    if config.bimamba_type == "v2" and config.use_fast_path:
        names.append("if_divide_out")
    if config.depth > 1:
        names.append("if_bidirectional")
    if config.if_rope:
        names.append("if_rope_residual")
    return [*names, "flip_img_sequences_ratio", "norm_epsilon"]
