"""The whole network in float64 NumPy, straight from the description: the oracle of the model tests.

It shares nothing with ``vimnp.models.vim`` but the names of the tensors: it flips time in memory,
loops over patches, and has no workspace.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vimnp.config import VimConfig

Reader = Callable[[str], np.ndarray]


def logits(config: VimConfig, read: Reader, pixels: np.ndarray) -> np.ndarray:
    """Logits (classes,) of a normalised image (channels, H, W); (L, classes) if of every token."""
    each = features(config, read, pixels)
    if config.num_classes:
        each = each @ read("head.weight").astype(np.float64).T
        each = each + read("head.bias").astype(np.float64)
    return each.max(axis=0) if config.final_pool_type == "max" else each


def features(config: VimConfig, read: Reader, pixels: np.ndarray) -> np.ndarray:
    """What the head reads, (E,); (L, E) if it reads every token."""
    each = tokens(config, read, pixels)
    if config.if_cls_token and config.use_double_cls_token:
        return (each[0] + each[-1]) / 2
    if config.if_cls_token:
        return each[(len(each) - 1) // 2 if config.use_middle_cls_token else 0]
    if config.final_pool_type == "none":
        return each[-1]
    return each.mean(axis=0) if config.final_pool_type == "mean" else each


def tokens(config: VimConfig, read: Reader, pixels: np.ndarray) -> np.ndarray:
    """Every token after the last norm, (L, E)."""
    return norm(config, _widened(read), "norm_f", stream(config, read, pixels))


def last_magnification(config: VimConfig, read: Reader, pixels: np.ndarray) -> float:
    """What the last norm multiplies an error by that arose before it, at the most of any token.

    The error is one of numbers that are as large as the embedded tokens: that the residual doubles
    with each pair of layers makes it no worse.
    """
    x = stream(config, read, pixels)
    if not config.rms_norm:
        x = x - x.mean(1, keepdims=True)
    doublings = config.depth // 2 if config.if_bidirectional else 0
    return float((2.0**doublings / np.sqrt((x**2).mean(1) + config.norm_epsilon)).max())


def _widened(read: Reader) -> Reader:
    return lambda name: read(name).astype(np.float64)


def stream(
    config: VimConfig,
    read: Reader,
    pixels: np.ndarray,
    seen: list[tuple[np.ndarray, np.ndarray]] | None = None,
) -> np.ndarray:
    """Every token before the last norm, (L, E).

    `seen` gets what each layer, or each pair, gives: its output, and the stream that it read.
    """
    p = _widened(read)
    hidden = embed(config, p, pixels.astype(np.float64))
    if config.flip_img_sequences_ratio == 1:
        hidden = hidden[::-1]
    residual = np.zeros_like(hidden)
    layers = [f"layers.{i}" for i in range(config.depth)]
    while layers:
        if config.if_bidirectional and len(layers) == 1:
            break  # has no partner
        # Layer by layer, but not pair by pair, the original rotates a reversed sequence in the
        # picture's order.
        time = -1 if config.flip_img_sequences_ratio == 1 and not config.if_bidirectional else 1
        if config.if_rope:
            hidden = rotate(config, p, hidden[::time])[::time]
        if config.if_rope and config.if_rope_residual:  # before the first layer: of zeros
            residual = rotate(config, p, residual[::time])[::time]
        if config.if_bidirectional:
            h, r = layer(config, p, layers.pop(0), hidden, residual)
            h_b, r_b = layer(config, p, layers.pop(0), hidden[::-1], residual[::-1])
            hidden, residual = h + h_b[::-1], r + r_b[::-1]
        else:
            hidden, residual = layer(config, p, layers.pop(0), hidden, residual)
        if seen is not None:
            seen.append((hidden, residual))
    return residual + hidden


def embed(config, p, pixels):
    (height, width), rows = config.patch, []
    for top in range(0, config.img_size[0] - height + 1, config.stride):
        for left in range(0, config.img_size[1] - width + 1, config.stride):
            patch = pixels[:, top : top + height, left : left + width]
            product = np.tensordot(p("patch_embed.proj.weight"), patch, axes=3)
            rows.append(product + p("patch_embed.proj.bias"))
    if config.if_cls_token and config.use_double_cls_token:
        rows = [p("cls_token_head")[0, 0], *rows, p("cls_token_tail")[0, 0]]
    elif config.if_cls_token:
        middle = len(rows) // 2 if config.use_middle_cls_token else 0
        rows.insert(middle, p("cls_token")[0, 0])
    embedded = np.array(rows)
    return embedded + p("pos_embed")[0] if config.if_abs_pos_embed else embedded


def rotate(config, p, x):
    cos, sin = p("rope.freqs_cos"), p("rope.freqs_sin")
    turned = x.copy()
    for patch in range(len(cos)):
        row = patch + 1 if config.if_cls_token else patch
        for i in range(0, config.embed_dim, 2):
            j = i + 1
            turned[row, i] = x[row, i] * cos[patch, i] - x[row, j] * sin[patch, i]
            turned[row, j] = x[row, j] * cos[patch, j] + x[row, i] * sin[patch, j]
    return turned


def layer(config, p, name, hidden, residual):
    residual = residual + hidden
    return mixer(config, p, f"{name}.mixer", norm(config, p, f"{name}.norm", residual)), residual


def norm(config, p, name, x):
    if config.rms_norm:
        return (
            x / np.sqrt((x**2).mean(1, keepdims=True) + config.norm_epsilon) * p(f"{name}.weight")
        )
    centred = x - x.mean(1, keepdims=True)
    scale = np.sqrt((centred**2).mean(1, keepdims=True) + config.norm_epsilon)
    return centred / scale * p(f"{name}.weight") + p(f"{name}.bias")


def mixer(config, p, name, h):
    xz = h @ p(f"{name}.in_proj.weight").T
    if config.bias:
        xz = xz + p(f"{name}.in_proj.bias")
    x, z = np.split(xz, 2, axis=1)
    u, dt, B, C = scan_inputs(config, p, name, "", x)
    y = scan(p, name, "", p(f"{name}.A_log"), u, dt, B, C)
    if config.use_fast_path and config.bimamba_type == "v1":
        A_log = p(f"{name}.A_b_log")
        y = y + scan(p, name, "", A_log, u[::-1], dt[::-1], B[::-1], C[::-1])[::-1]
    if config.use_fast_path and config.bimamba_type == "v2":
        u, dt, B, C = scan_inputs(config, p, name, "_b", x[::-1])
        y = y + scan(p, name, "_b", p(f"{name}.A_b_log"), u, dt, B, C)[::-1]
    y = y * z / (1 + np.exp(-z))
    if config.use_fast_path and config.bimamba_type == "v2" and config.if_divide_out:
        y = y / 2
    out = y @ p(f"{name}.out_proj.weight").T
    if config.bias:
        out = out + p(f"{name}.out_proj.bias")
    return out * p(f"{name}.gamma") if config.if_layer_scale else out


def scan_inputs(config, p, name, suffix, x):
    weight = p(f"{name}.conv1d{suffix}.weight")[:, 0]
    padded = np.vstack([np.zeros((config.d_conv - 1, x.shape[1])), x])
    u = sum(weight[:, k] * padded[k : k + len(x)] for k in range(config.d_conv))
    if config.conv_bias:
        u = u + p(f"{name}.conv1d{suffix}.bias")
    u = u / (1 + np.exp(-u))
    x_dbl = u @ p(f"{name}.x_proj{suffix}.weight").T
    dt, B, C = np.split(x_dbl, [config.dt_rank, config.dt_rank + config.d_state], axis=1)
    return u, dt, B, C


def scan(p, name, suffix, A_log, u, dt, B, C):
    step = dt @ p(f"{name}.dt_proj{suffix}.weight").T + p(f"{name}.dt_proj{suffix}.bias")
    delta = np.logaddexp(0, step)
    A = -np.exp(A_log)
    h, y = np.zeros_like(A), []
    for t in range(len(u)):
        h = np.exp(delta[t][:, None] * A) * h + (delta[t] * u[t])[:, None] * B[t]
        y.append(h @ C[t] + p(f"{name}.D{suffix}") * u[t])
    return np.array(y)
