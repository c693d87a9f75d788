"""MedMamba and VM-UNet in float64 NumPy, straight from their descriptions: the tests' oracles.

They share nothing with the package but the tensors' names; VMamba's parts are its oracle's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tests.support import plain_vmamba
from tests.support.plain_vmamba import Reader, convolution, downsample, linear, norm, ss2d, stem
from vimnp import MedMambaConfig, VMUNetConfig


def medmamba(config: MedMambaConfig, read: Reader, pixels: np.ndarray) -> plain_vmamba.Outputs:
    """All of it, of a normalised image (channels, H, W)."""
    p, found = _widened(read), []
    x = stem(config, p, pixels.astype(np.float64).transpose(1, 2, 0))
    for stage, depth in enumerate(config.depths):
        for index in range(depth):
            x = _split_block(config, p, f"layers.{stage}.blocks.{index}", x)
        found.append(x)
        if stage < 3:
            x = downsample(config, p, f"layers.{stage}.downsample", x)
    features = x.mean(axis=(0, 1))
    logits = linear(p, "classifier.head", features) if config.num_classes else features
    return plain_vmamba.Outputs(logits, features, found)


def _split_block(config, p, name, x):
    left, right = np.split(x, 2, axis=-1)
    right = ss2d(config, p, f"{name}.op", norm(config, p, f"{name}.norm", right))
    branch = f"{name}.conv33conv33conv11"
    left = _batch_norm(config, p, f"{branch}.0", left)
    for conv, after in ((1, 2), (4, 5)):
        left = convolution(p, f"{branch}.{conv}", left, 1, 1)
        left = np.maximum(_batch_norm(config, p, f"{branch}.{after}", left), 0)
    left = np.maximum(convolution(p, f"{branch}.7", left, 1, 0), 0)
    return x + np.stack([left, right], axis=-1).reshape(x.shape)


def _batch_norm(config, p, name, x):
    centred = x - p(f"{name}.running_mean")
    scale = np.sqrt(p(f"{name}.running_var") + config.norm_epsilon)
    return centred / scale * p(f"{name}.weight") + p(f"{name}.bias")


class Maps(NamedTuple):
    """What there is to know of a picture."""

    logits: np.ndarray  # (classes, H, W)
    features: np.ndarray  # (channels, H, W), what the last convolution reads
    stages: list[np.ndarray]  # of the encoder: tokens (h, w, C) before the downsampling
    sensitivity: float  # by how much the last norm, of few channels, enlarges an error


def vmunet(config: VMUNetConfig, read: Reader, pixels: np.ndarray) -> Maps:
    """All of it, of a normalised image (channels, H, W)."""
    p, found, begun = _widened(read), [], []
    x = stem(config, p, pixels.astype(np.float64).transpose(1, 2, 0))
    last = len(config.depths) - 1
    for stage, depth in enumerate(config.depths):
        begun.append(x)
        for index in range(depth):
            x = plain_vmamba.block(config, p, f"layers.{stage}.blocks.{index}", x)
        found.append(x)
        if stage < last:
            x = downsample(config, p, f"layers.{stage}.downsample", x)
    for number, depth in enumerate(config.depths_decoder):
        if number:
            name = f"layers_up.{number}.upsample"
            x = norm(config, p, f"{name}.norm", _expanded(p, name, x + begun[-number], 2))
        for index in range(depth):
            x = plain_vmamba.block(config, p, f"layers_up.{number}.blocks.{index}", x)
    pixels = _expanded(p, "final_up", x, 4)
    features = norm(config, p, "final_up.norm", pixels)
    logits = features @ p("final_conv.weight")[:, :, 0, 0].T + p("final_conv.bias")
    deviation = np.sqrt(pixels.var(axis=-1) + config.norm_epsilon)
    sensitivity = float((np.abs(pixels).max(axis=-1) / deviation).max())
    return Maps(logits.transpose(2, 0, 1), features.transpose(2, 0, 1), found, sensitivity)


def _expanded(p, name, x, scale):
    """A token -> scale x scale tokens, of which it has the numbers line by line."""
    height, width, _ = x.shape
    made = (x @ p(f"{name}.expand.weight").T).reshape(height, width, scale, scale, -1)
    return made.transpose(0, 2, 1, 3, 4).reshape(height * scale, width * scale, -1)


def _widened(read: Reader) -> Reader:
    return lambda name: read(name).astype(np.float64)
