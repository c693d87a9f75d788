"""The tensors of a VMamba, by their names in the original's state dict: the only list of them.

What reads, writes, converts or makes weights takes names and shapes from here. The names are those
of the original's code since 2024-01-28.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vimnp.models.random_weights import (
    around_one,
    delta_bias,
    fan_in,
    last_fan_in,
    small,
    state_matrix,
)
from vimnp.models.vmamba.config import DIRECTIONS, VMambaConfig
from vimnp.weights.family import Tensor

Tensors = dict[str, Tensor]


def tensors(config: VMambaConfig) -> Tensors:
    """Every tensor that a configuration implies, by name, in the order of the network."""
    found = stages(config, block)
    if not config.out_norms:
        found |= norm("classifier.norm", config.num_features)
    return found | head(config)


def stages(config: VMambaConfig, block: Callable[[Any, int], Tensors]) -> Tensors:
    """The stem and all stages, whose blocks have the tensors that `block` gives for a stage."""
    found = prefixed("patch_embed", patch_embed(config))
    for stage, depth in enumerate(config.depths):
        found |= blocks(f"layers.{stage}", depth, block(config, stage))
        if config.out_norms:
            found |= norm(f"outnorm{stage}", config.dims[stage])
        if stage < config.num_stages - 1:
            found |= prefixed(f"layers.{stage}.downsample", downsample(config, stage))
    return found


def blocks(layer: str, depth: int, block: Tensors) -> Tensors:
    """So many blocks of a layer, each with these tensors."""
    found: Tensors = {}
    for index in range(depth):
        found |= prefixed(f"{layer}.blocks.{index}", block)
    return found


def head(config: VMambaConfig) -> Tensors:
    """The classifier's, where there are classes."""
    if not config.num_classes:
        return {}
    weight = Tensor((config.num_classes, config.num_features), small)
    return {"classifier.head.weight": weight} | bias("classifier.head", config.num_classes)


def patch_embed(config: VMambaConfig) -> Tensors:
    first = config.dims[0]
    if config.patch_embed == "v1":
        return convolution("0", first, config.channels, 4) | norm("2", first)
    half = first // 2
    return (
        convolution("0", half, config.channels, 3)
        | norm("2", half)
        | convolution("5", first, half, 3)
        | norm("7", first)
    )


def downsample(config: VMambaConfig, stage: int) -> Tensors:
    """What leads from a stage to the next."""
    inputs, outputs = config.dims[stage], config.dims[stage + 1]
    if config.downsample == "v1":
        reduction = {"reduction.weight": matrix(outputs, 4 * inputs)}
        return norm("norm", 4 * inputs) | reduction
    side = 2 if config.downsample == "v2" else 3
    return convolution("1", outputs, inputs, side) | norm("3", outputs)


def block(config: VMambaConfig, stage: int) -> Tensors:
    dim, hidden = config.dims[stage], config.mlp_channels[stage]
    found = norm("norm", dim) | prefixed("op", cross_scan(config, stage))
    if hidden:
        found |= norm("norm2", dim)
        found |= linear("mlp.fc1", hidden, dim) | linear("mlp.fc2", dim, hidden)
    return found


def cross_scan(config: VMambaConfig, stage: int) -> Tensors:
    """The block's operation, the original's ``SS2D``."""
    dim, d_inner, dt_rank = config.op_dims[stage], config.d_inner[stage], config.dt_rank[stage]
    found = {"in_proj.weight": matrix((1 + config.gated) * d_inner, dim)}
    found["conv2d.weight"] = Tensor((d_inner, 1, 3, 3), fan_in)
    if config.conv_bias:
        found["conv2d.bias"] = Tensor((d_inner,), small)
    dbc = config.dbc_channels(stage)
    found["x_proj_weight"] = Tensor(
        (DIRECTIONS, dbc, d_inner), last_fan_in, as_matrix=(DIRECTIONS * dbc, d_inner)
    )
    found["dt_projs_weight"] = Tensor((DIRECTIONS, d_inner, dt_rank), last_fan_in)
    found["dt_projs_bias"] = Tensor((DIRECTIONS, d_inner), delta_bias)
    found["A_logs"] = Tensor((DIRECTIONS * d_inner, config.d_state), state_matrix)
    found["Ds"] = Tensor((DIRECTIONS * d_inner,), around_one)
    found |= norm("out_norm", d_inner)
    found["out_proj.weight"] = matrix(dim, d_inner)
    return found


def convolution(name: str, outputs: int, inputs: int, side: int) -> Tensors:
    return {
        f"{name}.weight": Tensor((outputs, inputs, side, side), fan_in),
        f"{name}.bias": Tensor((outputs,), small),
    }


def linear(name: str, outputs: int, inputs: int) -> Tensors:
    return {f"{name}.weight": matrix(outputs, inputs)} | bias(name, outputs)


def matrix(outputs: int, inputs: int) -> Tensor:
    """One that int8 has in whole numbers: all linear layers but dt_projs and the head."""
    return Tensor((outputs, inputs), small, as_matrix=(outputs, inputs))


def bias(name: str, outputs: int) -> Tensors:
    return {f"{name}.bias": Tensor((outputs,), small)}


def norm(name: str, channels: int) -> Tensors:
    return {
        f"{name}.weight": Tensor((channels,), around_one),
        f"{name}.bias": Tensor((channels,), small),
    }


def prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}
