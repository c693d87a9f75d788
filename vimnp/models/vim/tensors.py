"""The tensors of a Vision Mamba, by their names in the PyTorch state dict: the only list of them.

What reads, writes, converts or makes weights takes names and shapes from here. Two tables tell the
way back, from a state dict to the configuration.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vimnp.models.random_weights import around_one, delta_bias, fan_in, small, state_matrix
from vimnp.models.vim import rope
from vimnp.models.vim.config import VimConfig
from vimnp.weights.family import Initial, Tensor

SIZES: dict[str, tuple[str, int, int | slice]] = {
    "embed_dim": ("patch_embed.proj.weight", 4, 0),
    "channels": ("patch_embed.proj.weight", 4, 1),
    "patch_size": ("patch_embed.proj.weight", 4, slice(2, 4)),
    "d_inner": ("layers.0.mixer.conv1d.weight", 3, 0),
    "d_conv": ("layers.0.mixer.conv1d.weight", 3, 2),
    "d_state": ("layers.0.mixer.A_log", 2, 1),
    "dt_rank": ("layers.0.mixer.dt_proj.weight", 2, 1),
    "num_classes": ("head.weight", 2, 0),
}
"""Which tensor tells a size, how many dimensions it has, and which of them it is, or are."""

OPTIONS: dict[str, dict[Any, tuple[str, ...]]] = {
    "rms_norm": {False: ("norm_f.bias",), True: ()},
    "if_cls_token": {True: ("cls_token", "cls_token_head", "cls_token_tail"), False: ()},
    "use_double_cls_token": {True: ("cls_token_head", "cls_token_tail"), False: ()},
    "if_abs_pos_embed": {True: ("pos_embed",), False: ()},
    "if_rope": {True: ("rope.",), False: ()},
    "if_layer_scale": {True: ("mixer.gamma",), False: ()},
    "bias": {True: ("mixer.in_proj.bias", "mixer.out_proj.bias"), False: ()},
    "conv_bias": {True: ("mixer.conv1d.bias", "mixer.conv1d_b.bias"), False: ()},
    "bimamba_type": {
        "v2": ("mixer.conv1d_b.", "mixer.x_proj_b.", "mixer.dt_proj_b.", "mixer.D_b"),
        "v1": ("mixer.A_b_log",),
        "none": (),
    },
}
"""Which tensors tell an option: it has the first value that one of the tensors is there for, or
else the last. A layer's are named without its number, and a final dot stands for all that follows.
"""


def tensors(config: VimConfig) -> dict[str, Tensor]:
    """Every tensor that a configuration implies, by name."""
    embed_dim = config.embed_dim
    found = dict.fromkeys(config.class_tokens, Tensor((1, 1, embed_dim), small))
    if config.if_abs_pos_embed:
        found["pos_embed"] = Tensor((1, config.num_tokens, embed_dim), small)
    if config.if_rope:
        for name in (rope.COS, rope.SIN):
            values = _table(config, name)
            found[name] = Tensor((config.num_patches, embed_dim), values, is_weight=False)
    patch = (config.channels, *config.patch)
    found["patch_embed.proj.weight"] = Tensor(
        (embed_dim, *patch), fan_in, as_matrix=(embed_dim, math.prod(patch))
    )
    found["patch_embed.proj.bias"] = Tensor((embed_dim,), small)
    layer = {f"mixer.{name}": tensor for name, tensor in _mixer(config).items()}
    layer |= _norm(config, "norm")
    for index in range(config.depth):
        for name, tensor in layer.items():
            found[f"layers.{index}.{name}"] = tensor
    found |= _norm(config, "norm_f")
    if config.num_classes:
        found["head.weight"] = Tensor((config.num_classes, embed_dim), fan_in)
        found["head.bias"] = Tensor((config.num_classes,), small)
    return found


def _mixer(config: VimConfig) -> dict[str, Tensor]:
    embed_dim, d_inner, d_state = config.embed_dim, config.d_inner, config.d_state
    dt_rank = config.dt_rank
    assert dt_rank is not None  # set in __post_init__
    found = {"in_proj.weight": _matrix(2 * d_inner, embed_dim)}
    if config.bias:
        found["in_proj.bias"] = Tensor((2 * d_inner,), small)
        found["out_proj.bias"] = Tensor((embed_dim,), small)
    if config.if_layer_scale:
        found["gamma"] = Tensor((embed_dim,), around_one)
    for suffix in config.stored_suffixes:
        found[f"conv1d{suffix}.weight"] = Tensor((d_inner, 1, config.d_conv), fan_in)
        if config.conv_bias:
            found[f"conv1d{suffix}.bias"] = Tensor((d_inner,), small)
        found[f"x_proj{suffix}.weight"] = _matrix(dt_rank + 2 * d_state, d_inner)
        found[f"dt_proj{suffix}.weight"] = Tensor((d_inner, dt_rank), fan_in)
        found[f"dt_proj{suffix}.bias"] = Tensor((d_inner,), delta_bias)
        found[f"A{suffix}_log"] = Tensor((d_inner, d_state), state_matrix)
        found[f"D{suffix}"] = Tensor((d_inner,), around_one)
    if config.bimamba_type == "v1":
        found["A_b_log"] = Tensor((d_inner, d_state), state_matrix)
    found["out_proj.weight"] = _matrix(embed_dim, d_inner)
    return found


def _matrix(outputs: int, inputs: int) -> Tensor:
    """One that int8 has in whole numbers.

    The others are left out: dt_proj has few inputs, and of all products the head's errors would
    move the logits most.
    """
    return Tensor((outputs, inputs), fan_in, as_matrix=(outputs, inputs))


def _norm(config: VimConfig, prefix: str) -> dict[str, Tensor]:
    found = {f"{prefix}.weight": Tensor((config.embed_dim,), around_one)}
    if not config.rms_norm:
        found[f"{prefix}.bias"] = Tensor((config.embed_dim,), small)
    return found


def _table(config: VimConfig, name: str) -> Initial:
    """A rotary table, which the configuration tells."""

    def values(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        return rope.tables(config)[name]

    return values
