"""The configuration of a network from the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from vimnp.convert.family import Shapes
from vimnp.convert.fitting import check_tensors, find_factor, refuse_contradictions, shape_of
from vimnp.convert.formats.naming import quoted
from vimnp.convert.settings import to_text
from vimnp.convert.vmamba.recognise import refuse_kin
from vimnp.errors import CheckpointError, ConfigError
from vimnp.models.vmamba.config import STAGES, VMambaConfig
from vimnp.models.vmamba.published import name_of
from vimnp.weights.family import ReadTensor

AnyVMamba = TypeVar("AnyVMamba", bound=VMambaConfig)

_TITLE = "VMamba"
_BLOCK = re.compile(r"layers\.([0-9]{1,6})\.blocks\.([0-9]{1,6})\.")

# Which tensor tells a size, how many dimensions it has, and which of them it is.
_SIZES = {
    "d_state": ("layers.0.blocks.0.op.A_logs", 2, 1),
    "channels": ("patch_embed.0.weight", 4, 1),
}
_SIZES_OF_STAGES = {
    "dims": ("norm.weight", 1, 0),
    "d_inner": ("op.out_norm.weight", 1, 0),
    "dt_rank": ("op.dt_projs_weight", 3, 2),
}
"""The same of a size that each stage has, by a tensor of its first block."""

_HEAD = "classifier.head.weight"
_UNTOLD = ("img_size", "downsample_pad", "norm_epsilon")  # by any tensor


def infer_config(
    shapes: Shapes, settings: Mapping[str, Any], model: str | None = None
) -> tuple[VMambaConfig, list[str]]:
    """Find the configuration that a state dict was made with.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Every tensor of the state dict, by today's names and in the network's shapes.
    settings : mapping of str to object
        Values of fields that the training's configuration or the user gives.
    model : str, optional
        The published network that it is to be. The tensors tell which one they are of, so that
        this settles nothing.

    Returns
    -------
    config : VMambaConfig
        Its ``parameter_shapes()`` are exactly ``shapes``.
    assumptions : list of str
        What neither the weights nor the settings told, as sentences.

    Raises
    ------
    CheckpointError
        If the network is no such VMamba, or a setting or the model contradicts the weights.
    """
    refuse_kin(shapes)
    inferred = infer_sizes(shapes, STAGES) | infer_options(shapes)
    config = fit(VMambaConfig, shapes, inferred, settings, "a VMamba")
    like = name_of(config)
    expect_model(model, like)
    return config, assumptions(config, settings, like)


def expect_model(model: str | None, like: str | None) -> None:
    """Raise CheckpointError if the user names another network than that of these sizes."""
    if model not in (None, like):
        found = f"of {like}" if like else "of none that was published"
        raise CheckpointError(
            f"the network is to be {model}, but the weights have the sizes {found}; leave --model "
            "out or name another"
        )


def fit(
    kind: type[AnyVMamba],
    shapes: Shapes,
    inferred: Mapping[str, Any],
    settings: Mapping[str, Any],
    title: str,
) -> AnyVMamba:
    """The configuration of these values, whose tensors are exactly these.

    Raises
    ------
    CheckpointError
        If there is none, or a setting contradicts what was inferred.
    """
    refuse_contradictions(settings, inferred)
    try:
        config = kind(**{**settings, **inferred})
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    check_tensors(shapes, config.parameter_shapes(), title, _describe(config))
    return config


def examine(
    config: VMambaConfig, read: ReadTensor, settings: Mapping[str, Any], model: str | None
) -> list[str]:
    """Nothing: no number tells of what was assumed."""
    return []


def infer_sizes(shapes: Shapes, stages: int) -> dict[str, Any]:
    """The fields that are numbers, of a network that has so many stages."""
    depths = count_blocks(shapes, stages)
    sizes: dict[str, Any] = {
        field: shape_of(shapes, name, dimensions, _TITLE)[axis]
        for field, (name, dimensions, axis) in _SIZES.items()
    }
    for field, (name, dimensions, axis) in _SIZES_OF_STAGES.items():
        sizes[field] = tuple(
            shape_of(shapes, f"layers.{stage}.blocks.0.{name}", dimensions, _TITLE)[axis]
            for stage in range(stages)
        )
    sizes["num_classes"] = shape_of(shapes, _HEAD, 2, _TITLE)[0] if _HEAD in shapes else 0
    return {**sizes, "depths": depths, "mlp_ratio": _find_mlp_ratio(shapes, sizes["dims"])}


def count_blocks(shapes: Shapes, stages: int, layers: str = "layers") -> tuple[int, ...]:
    """The number of blocks of each of so many stages, by the names before their numbers."""
    depths: dict[int, int] = {}
    pattern = re.compile(rf"{layers}\.([0-9]{{1,6}})\.blocks\.([0-9]{{1,6}})\.")
    for match in filter(None, map(pattern.match, shapes)):
        stage, block = int(match[1]), int(match[2])
        depths[stage] = max(depths.get(stage, 0), block + 1)
    if sorted(depths) != list(range(stages)):
        found = ", ".join(f"{layers}.{stage}" for stage in sorted(depths)[: stages + 1])
        raise CheckpointError(
            f"it has blocks in the stages {found or 'none'}; expected {stages} stages, "
            f"{layers}.0 to {layers}.{stages - 1}"
        )
    return tuple(depths[stage] for stage in range(stages))


def _find_mlp_ratio(shapes: Shapes, dims: tuple[int, ...]) -> float:
    """By what the MLPs are wider than the blocks; 0 where there are none."""
    if not any(_BLOCK.match(name) and ".mlp." in name for name in shapes):
        return 0.0
    names = [f"layers.{stage}.blocks.0.mlp.fc1.weight" for stage in range(len(dims))]
    widths = [shape_of(shapes, name, 2, _TITLE)[0] for name in names]
    inner = shape_of(shapes, "layers.0.blocks.0.mlp.fc2.weight", 2, _TITLE)[1]
    if widths[0] == 2 * inner:
        raise CheckpointError(
            f"{quoted(names[0])} makes {widths[0]} channels, of which the layer behind it reads "
            f"{inner}, as in an MLP with a gate (gmlp); expected one without, as in every "
            "published VMamba"
        )
    for width, dim in zip(widths, dims, strict=True):  # a wide stage's tells more than a narrow's
        ratio = float(find_factor(width, dim))
        if all(int(ratio * d) == w for d, w in zip(dims, widths, strict=True)):
            return ratio
    raise CheckpointError(
        f"the MLPs of its stages have {to_text(tuple(widths))} channels, in blocks of "
        f"{to_text(dims)}; expected one ratio of both in all stages"
    )


def infer_options(shapes: Shapes) -> dict[str, Any]:
    """The fields that names and shapes tell."""
    # A block's tensors without its numbers.
    names = {_BLOCK.sub("", name) for name in shapes}
    out_norms = any(name.startswith("outnorm") for name in names)
    options = {
        "gated": _has_gate(shapes),
        "conv_bias": "op.conv2d.bias" in names,
        "patch_embed": "v2" if any(n.startswith("patch_embed.5.") for n in names) else "v1",
        "downsample": _find_downsample(shapes),
        "out_norms": out_norms,
    }
    return options | ({"num_classes": 0} if out_norms else {})


def _has_gate(shapes: Shapes) -> bool:
    """Whether in_proj makes twice the channels that are scanned."""
    block = "layers.0.blocks.0.op."
    rows = shape_of(shapes, f"{block}in_proj.weight", 2, _TITLE)[0]
    d_inner = shape_of(shapes, f"{block}out_norm.weight", 1, _TITLE)[0]
    if rows not in (d_inner, 2 * d_inner):
        raise CheckpointError(
            f"{quoted(f'{block}in_proj.weight')} has {rows} rows; expected {d_inner}, as "
            f"{quoted(f'{block}out_norm.weight')} has, or with a gate {2 * d_inner}"
        )
    return rows != d_inner


def _find_downsample(shapes: Shapes) -> str:
    prefix = "layers.0.downsample."
    if f"{prefix}reduction.weight" in shapes:
        return "v1"
    side = shape_of(shapes, f"{prefix}1.weight", 4, _TITLE)[2]
    return "v2" if side == 2 else "v3"


def assumptions(config: VMambaConfig, settings: Mapping[str, Any], like: str | None) -> list[str]:
    """What no tensor tells, as far as it matters to such a network.

    Parameters
    ----------
    config : VMambaConfig
    settings : mapping of str to object
        What the user or the training's configuration told.
    like : str, optional
        The published network that has these sizes.
    """
    told = {"downsample_pad"} if config.downsample != "v1" else set()
    names = [n for n in _UNTOLD if n not in told and n not in settings]
    because = f"as in the published network {like}" if like else "the default"
    values = " and ".join(f"{name}={to_text(getattr(config, name))}" for name in names)
    assumed = [f"{values}, {because}"] if names else []
    if config.num_classes or "num_classes" in settings:
        return assumed
    kind = "a backbone" if config.out_norms else "a network without a head"
    return [f"num_classes=0, as there is no {_HEAD!r}: {kind}", *assumed]


def _describe(config: VMambaConfig) -> str:
    """What was taken from names alone, so that one name too many or too few can be seen."""
    options = [f"patch_embed {config.patch_embed}", f"downsample {config.downsample}"]
    options += ["gated"] if config.gated else []
    options += ["an MLP in each block"] if config.mlp_ratio else []
    options += [name for name in ("conv_bias", "out_norms") if getattr(config, name)]
    return f"{to_text(config.depths)} blocks with {' and '.join(options)}"
