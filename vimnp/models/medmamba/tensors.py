"""The tensors of a MedMamba: a VMamba's, by the same names, and those of its convolutions."""

from __future__ import annotations

from vimnp.models.medmamba.config import MedMambaConfig
from vimnp.models.random_weights import around_one, small
from vimnp.models.vmamba.tensors import (
    Tensors,
    convolution,
    cross_scan,
    head,
    norm,
    prefixed,
    stages,
)
from vimnp.weights.family import Tensor

BRANCH = "conv33conv33conv11"
"""The convolutions of a block, as the original calls them."""


def tensors(config: MedMambaConfig) -> Tensors:
    """Every tensor that a configuration implies, by name, in the order of the network."""
    return stages(config, _block) | head(config)


def _block(config: MedMambaConfig, stage: int) -> Tensors:
    half = config.op_dims[stage]
    found = norm("norm", half) | prefixed("op", cross_scan(config, stage))
    return found | prefixed(BRANCH, _branch(half))


def _branch(channels: int) -> Tensors:
    """Norms and convolutions by their places in the original's ``nn.Sequential``."""
    return (
        _batch_norm("0", channels)
        | convolution("1", channels, channels, 3)
        | _batch_norm("2", channels)
        | convolution("4", channels, channels, 3)
        | _batch_norm("5", channels)
        | convolution("7", channels, channels, 1)
    )


def _batch_norm(name: str, channels: int) -> Tensors:
    """Mean and variance are what training has seen, and a network's outputs are sensitive to."""
    return norm(name, channels) | {
        f"{name}.running_mean": Tensor((channels,), small, fewest_bits=32),
        f"{name}.running_var": Tensor((channels,), around_one, fewest_bits=32),
    }
