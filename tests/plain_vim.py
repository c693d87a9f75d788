"""The whole network in float64 NumPy, straight from the description: the oracle of the model tests.

It shares nothing with ``vimnp.model`` but the names of the tensors: it flips time in memory, loops
over patches, and has no workspace.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vimnp.config import VimConfig


def logits(config: VimConfig, read: Callable[[str], np.ndarray], pixels: np.ndarray) -> np.ndarray:
    """Logits (classes,) of one normalised image (3, H, W), in float64."""

    def p(name: str) -> np.ndarray:
        return read(name).astype(np.float64)

    tokens = embed(config, p, pixels.astype(np.float64))
    residual = np.zeros_like(tokens)
    hidden = tokens
    for i in range(config.depth):
        residual = residual + hidden
        hidden = mixer(
            config, p, f"layers.{i}.mixer", norm(config, p, f"layers.{i}.norm", residual)
        )
    tokens = norm(config, p, "norm_f", residual + hidden)
    if config.class_tokens:
        features = tokens[config.class_tokens["cls_token"]]
    else:
        features = tokens.mean(axis=0) if config.final_pool_type == "mean" else tokens[-1]
    return p("head.weight") @ features + p("head.bias")


def embed(config, p, pixels):
    size, rows = config.patch_size, []
    for top in range(0, config.img_size[0] - size + 1, config.stride):
        for left in range(0, config.img_size[1] - size + 1, config.stride):
            patch = pixels[:, top : top + size, left : left + size]
            product = np.tensordot(p("patch_embed.proj.weight"), patch, axes=3)
            rows.append(product + p("patch_embed.proj.bias"))
    if config.if_cls_token:
        middle = len(rows) // 2 if config.use_middle_cls_token else 0
        rows.insert(middle, p("cls_token")[0, 0])
    tokens = np.array(rows)
    return tokens + p("pos_embed")[0] if config.if_abs_pos_embed else tokens


def norm(config, p, name, x):
    if config.rms_norm:
        return (
            x / np.sqrt((x**2).mean(1, keepdims=True) + config.norm_epsilon) * p(f"{name}.weight")
        )
    centred = x - x.mean(1, keepdims=True)
    scale = np.sqrt((centred**2).mean(1, keepdims=True) + config.norm_epsilon)
    return centred / scale * p(f"{name}.weight") + p(f"{name}.bias")


def mixer(config, p, name, h):
    x, z = np.split(h @ p(f"{name}.in_proj.weight").T, 2, axis=1)
    y = direction(config, p, name, "", x) + direction(config, p, name, "_b", x[::-1])[::-1]
    y = y * z / (1 + np.exp(-z))
    if config.if_divide_out:
        y = y / 2
    return y @ p(f"{name}.out_proj.weight").T


def direction(config, p, name, suffix, x):
    weight = p(f"{name}.conv1d{suffix}.weight")[:, 0]
    padded = np.vstack([np.zeros((config.d_conv - 1, x.shape[1])), x])
    u = p(f"{name}.conv1d{suffix}.bias") + sum(
        weight[:, k] * padded[k : k + len(x)] for k in range(config.d_conv)
    )
    u = u / (1 + np.exp(-u))
    x_dbl = u @ p(f"{name}.x_proj{suffix}.weight").T
    dt, B, C = np.split(x_dbl, [config.dt_rank, config.dt_rank + config.d_state], axis=1)
    step = dt @ p(f"{name}.dt_proj{suffix}.weight").T + p(f"{name}.dt_proj{suffix}.bias")
    delta = np.logaddexp(0, step)
    A = -np.exp(p(f"{name}.A{suffix}_log"))
    h, y = np.zeros_like(A), []
    for t in range(len(x)):
        h = np.exp(delta[t][:, None] * A) * h + (delta[t] * u[t])[:, None] * B[t]
        y.append(h @ C[t] + p(f"{name}.D{suffix}") * u[t])
    return np.array(y)
