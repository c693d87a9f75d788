"""A whole VMamba in float64 NumPy, straight from the description: the oracle of the model tests.

It shares nothing with ``vimnp.models.vmamba`` but the names of the tensors: it goes from pixel to
pixel, turns the tokens in memory for each direction, and has no workspace.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vimnp import VMambaConfig

Reader = Callable[[str], np.ndarray]


class Outputs(NamedTuple):
    """What there is to know of a picture."""

    logits: np.ndarray  # (classes,), or without a head the features
    features: np.ndarray  # (C,), what the head reads
    stages: list[np.ndarray]  # tokens (h, w, C) before the downsampling; of a backbone their norm


def outputs(config: VMambaConfig, read: Reader, pixels: np.ndarray) -> Outputs:
    """All of it, of a normalised image (channels, H, W)."""
    p, found = _widened(read), stages(config, read, pixels)
    last = found[-1] if config.out_norms else norm(config, p, "classifier.norm", found[-1])
    features = last.mean(axis=(0, 1))
    logits = linear(p, "classifier.head", features) if config.num_classes else features
    return Outputs(logits, features, found)


def stages(config: VMambaConfig, read: Reader, pixels: np.ndarray) -> list[np.ndarray]:
    """Each stage's tokens (h, w, C), before its downsampling; of a backbone their norm."""
    p, found = _widened(read), []
    x = stem(config, p, pixels.astype(np.float64).transpose(1, 2, 0))
    for stage, depth in enumerate(config.depths):
        for index in range(depth):
            x = block(config, p, f"layers.{stage}.blocks.{index}", x)
        found.append(norm(config, p, f"outnorm{stage}", x) if config.out_norms else x)
        if stage < 3:
            x = downsample(config, p, f"layers.{stage}.downsample", x)
    return found


def _widened(read: Reader) -> Reader:
    return lambda name: read(name).astype(np.float64)


def stem(config, p, x):
    if config.patch_embed == "v1":
        return norm(config, p, "patch_embed.2", convolution(p, "patch_embed.0", x, 4, 0))
    x = norm(config, p, "patch_embed.2", convolution(p, "patch_embed.0", x, 2, 1))
    return norm(config, p, "patch_embed.7", convolution(p, "patch_embed.5", gelu(x), 2, 1))


def downsample(config, p, name, x):
    if config.downsample == "v1":
        height, width, _ = x.shape
        if config.downsample_pad == "zeros":
            x = np.pad(x, ((0, height % 2), (0, width % 2), (0, 0)))
        x = x[: len(x) // 2 * 2, : x.shape[1] // 2 * 2]
        corners = [x[0::2, 0::2], x[1::2, 0::2], x[0::2, 1::2], x[1::2, 1::2]]
        merged = norm(config, p, f"{name}.norm", np.concatenate(corners, axis=2))
        return merged @ p(f"{name}.reduction.weight").T
    padding = 1 if config.downsample == "v3" else 0
    return norm(config, p, f"{name}.3", convolution(p, f"{name}.1", x, 2, padding))


def block(config, p, name, x):
    x = x + ss2d(config, p, f"{name}.op", norm(config, p, f"{name}.norm", x))
    if config.mlp_ratio:
        hidden = gelu(linear(p, f"{name}.mlp.fc1", norm(config, p, f"{name}.norm2", x)))
        x = x + linear(p, f"{name}.mlp.fc2", hidden)
    return x


def ss2d(config, p, name, x):
    height, width, _ = x.shape
    x = x @ p(f"{name}.in_proj.weight").T
    channels = len(p(f"{name}.out_norm.weight"))
    x, z = x[..., :channels], x[..., channels:]
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    filters = p(f"{name}.conv2d.weight")
    u = np.zeros_like(x)
    for row in range(3):
        for column in range(3):
            moved = padded[row : row + height, column : column + width]
            u += filters[:, 0, row, column] * moved
    if config.conv_bias:
        u += p(f"{name}.conv2d.bias")
    u = silu(u)
    y = np.zeros_like(u)
    for direction in range(4):
        down = direction % 2 == 1
        tokens = (u.transpose(1, 0, 2) if down else u).reshape(-1, channels)
        scanned = scan(config, p, name, direction, tokens[::-1] if direction > 1 else tokens)
        if direction > 1:
            scanned = scanned[::-1]
        shape = (width, height, channels) if down else (height, width, channels)
        back = scanned.reshape(shape)
        y += back.transpose(1, 0, 2) if down else back
    y = norm(config, p, f"{name}.out_norm", y)
    if config.gated:
        y = y * silu(z)
    return y @ p(f"{name}.out_proj.weight").T


def scan(config, p, name, direction, u):
    weight = p(f"{name}.x_proj_weight")[direction]
    rank, states, channels = len(weight) - 2 * config.d_state, config.d_state, u.shape[1]
    mine = slice(direction * channels, (direction + 1) * channels)
    A, D = -np.exp(p(f"{name}.A_logs")[mine]), p(f"{name}.Ds")[mine]
    projected = u @ weight.T
    dt, B, C = np.split(projected, [rank, rank + states], axis=1)
    steps = dt @ p(f"{name}.dt_projs_weight")[direction].T
    delta = np.logaddexp(0, steps + p(f"{name}.dt_projs_bias")[direction])
    h, y = np.zeros_like(A), []
    for t in range(len(u)):
        h = np.exp(delta[t][:, None] * A) * h + (delta[t] * u[t])[:, None] * B[t]
        y.append(h @ C[t] + D * u[t])
    return np.array(y)


def convolution(p, name, x, stride, padding):
    weight = p(f"{name}.weight")
    side = weight.shape[-1]
    padded = np.pad(x, ((padding, padding), (padding, padding), (0, 0)))
    rows = range(0, padded.shape[0] - side + 1, stride)
    columns = range(0, padded.shape[1] - side + 1, stride)
    squares = [[padded[r : r + side, c : c + side] for c in columns] for r in rows]
    return np.einsum("hwyxi,oiyx->hwo", np.array(squares), weight) + p(f"{name}.bias")


def linear(p, name, x):
    return x @ p(f"{name}.weight").T + p(f"{name}.bias")


def norm(config, p, name, x):
    centred = x - x.mean(-1, keepdims=True)
    scale = np.sqrt((centred**2).mean(-1, keepdims=True) + config.norm_epsilon)
    return centred / scale * p(f"{name}.weight") + p(f"{name}.bias")


def silu(x):
    return x / (1 + np.exp(-x))


def gelu(x):
    return x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
