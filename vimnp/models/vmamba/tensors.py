"""The tensors of a VMamba, by their names in the original's state dict: the only list of them.

What reads, writes, converts or makes weights takes names and shapes from here. The names are those
of the original's code since 2024-01-28.
"""

from __future__ import annotations

from vimnp.models.random_weights import (
    around_one,
    delta_bias,
    fan_in,
    last_fan_in,
    small,
    state_matrix,
)
from vimnp.models.vmamba.config import DIRECTIONS, STAGES, VMambaConfig
from vimnp.weights.family import Tensor


def tensors(config: VMambaConfig) -> dict[str, Tensor]:
    """Every tensor that a configuration implies, by name, in the order of the network."""
    found = _prefixed("patch_embed", _patch_embed(config))
    for stage in range(STAGES):
        block = _block(config, stage)
        for index in range(config.depths[stage]):
            found |= _prefixed(f"layers.{stage}.blocks.{index}", block)
        if config.out_norms:
            found |= _norm(f"outnorm{stage}", config.dims[stage])
        if stage < STAGES - 1:
            found |= _prefixed(f"layers.{stage}.downsample", _downsample(config, stage))
    if not config.out_norms:
        found |= _norm("classifier.norm", config.num_features)
    if config.num_classes:
        head = Tensor((config.num_classes, config.num_features), small)
        found |= {"classifier.head.weight": head} | _bias("classifier.head", config.num_classes)
    return found


def _patch_embed(config: VMambaConfig) -> dict[str, Tensor]:
    first = config.dims[0]
    if config.patch_embed == "v1":
        return _convolution("0", first, config.channels, 4) | _norm("2", first)
    half = first // 2
    return (
        _convolution("0", half, config.channels, 3)
        | _norm("2", half)
        | _convolution("5", first, half, 3)
        | _norm("7", first)
    )


def _downsample(config: VMambaConfig, stage: int) -> dict[str, Tensor]:
    """What leads from a stage to the next."""
    inputs, outputs = config.dims[stage], config.dims[stage + 1]
    if config.downsample == "v1":
        reduction = {"reduction.weight": _matrix(outputs, 4 * inputs)}
        return _norm("norm", 4 * inputs) | reduction
    side = 2 if config.downsample == "v2" else 3
    return _convolution("1", outputs, inputs, side) | _norm("3", outputs)


def _block(config: VMambaConfig, stage: int) -> dict[str, Tensor]:
    dim, hidden = config.dims[stage], config.mlp_channels[stage]
    found = _norm("norm", dim) | _prefixed("op", _cross_scan(config, stage))
    if hidden:
        found |= _norm("norm2", dim)
        found |= _linear("mlp.fc1", hidden, dim) | _linear("mlp.fc2", dim, hidden)
    return found


def _cross_scan(config: VMambaConfig, stage: int) -> dict[str, Tensor]:
    """The block's operation, the original's ``SS2D``."""
    dim, d_inner, dt_rank = config.dims[stage], config.d_inner[stage], config.dt_rank[stage]
    found = {"in_proj.weight": _matrix((1 + config.gated) * d_inner, dim)}
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
    found |= _norm("out_norm", d_inner)
    found["out_proj.weight"] = _matrix(dim, d_inner)
    return found


def _convolution(name: str, outputs: int, inputs: int, side: int) -> dict[str, Tensor]:
    return {
        f"{name}.weight": Tensor((outputs, inputs, side, side), fan_in),
        f"{name}.bias": Tensor((outputs,), small),
    }


def _linear(name: str, outputs: int, inputs: int) -> dict[str, Tensor]:
    return {f"{name}.weight": _matrix(outputs, inputs)} | _bias(name, outputs)


def _matrix(outputs: int, inputs: int) -> Tensor:
    """One that int8 has in whole numbers: all linear layers but dt_projs and the head."""
    return Tensor((outputs, inputs), small, as_matrix=(outputs, inputs))


def _bias(name: str, outputs: int) -> dict[str, Tensor]:
    return {f"{name}.bias": Tensor((outputs,), small)}


def _norm(name: str, channels: int) -> dict[str, Tensor]:
    return {
        f"{name}.weight": Tensor((channels,), around_one),
        f"{name}.bias": Tensor((channels,), small),
    }


def _prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}
