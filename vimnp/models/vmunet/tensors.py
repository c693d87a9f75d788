"""The tensors of a VM-UNet: a VMamba's of its encoder, by the same names, and its decoder's."""

from __future__ import annotations

from vimnp.models.random_weights import fan_in, small
from vimnp.models.vmamba.tensors import Tensors, block, blocks, norm, prefixed, stages
from vimnp.models.vmunet.config import SCALE, VMUNetConfig
from vimnp.weights.family import Tensor


def tensors(config: VMUNetConfig) -> Tensors:
    """Every tensor that a configuration implies, by name, in the order of the network."""
    found = stages(config, block)
    for number, depth in enumerate(config.depths_decoder):
        stage = config.num_stages - 1 - number
        name, dim = f"layers_up.{number}", config.dims[stage]
        found |= blocks(name, depth, block(config, stage))
        if number:
            found |= prefixed(f"{name}.upsample", _expansion(2 * dim, 2))
    found |= prefixed("final_up", _expansion(config.dims[0], SCALE))
    found["final_conv.weight"] = Tensor((config.num_classes, config.num_features, 1, 1), fan_in)
    found["final_conv.bias"] = Tensor((config.num_classes,), small)
    return found


def _expansion(channels: int, scale: int) -> Tensors:
    """What makes squares of tokens of a token, `scale` down and across."""
    inputs = channels
    outputs = scale * channels
    return {"expand.weight": Tensor((outputs, inputs), small)} | norm("norm", outputs // scale**2)
