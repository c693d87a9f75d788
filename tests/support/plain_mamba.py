"""The whole language model in float64 NumPy, straight from the description: the tests' oracle.

It shares nothing with ``vimnp.models.mamba`` but the names of the tensors: it goes token by token,
and takes a prompt from its beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vimnp.models.mamba.config import MambaConfig

Reader = Callable[[str], np.ndarray]


class Seen(NamedTuple):
    """What a prompt of L tokens gives.

    Parameters
    ----------
    logits : (L, padded_vocab_size)
    final : (L, d_model)
        Every token after the last norm.
    stream : (n_layer + 1, L, d_model)
        The residual stream: the embedding, and after each layer.
    conv : (n_layer, d_conv - 1, d_inner)
        The last inputs of each convolution, the newest last.
    ssm : (n_layer, d_state, d_inner)
        The states of each scan after the last token.
    """

    logits: np.ndarray
    final: np.ndarray
    stream: np.ndarray
    conv: np.ndarray
    ssm: np.ndarray


def run(config: MambaConfig, read: Reader, ids: np.ndarray) -> Seen:
    """A prompt (L,) of ids through the network."""

    def p(name: str) -> np.ndarray:
        return read(name).astype(np.float64)

    x = p("backbone.embedding.weight")[ids]
    stream, convs, ssms = [x], [], []
    for index in range(config.n_layer):
        layer = f"backbone.layers.{index}"
        out, conv, ssm = mixer(config, p, f"{layer}.mixer", norm(config, p, f"{layer}.norm", x))
        x = x + out
        stream.append(x)
        convs.append(conv)
        ssms.append(ssm)
    final = norm(config, p, "backbone.norm_f", x)
    head = p("backbone.embedding.weight" if config.tie_embeddings else "lm_head.weight")
    return Seen(final @ head.T, final, np.array(stream), np.array(convs), np.array(ssms))


def log_probabilities(logits: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """log p of each token from the second on: logits (L, vocabulary), ids (L,) -> (L - 1,)."""
    logits = logits[:-1] - logits[:-1].max(1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return logs[np.arange(len(ids) - 1), ids[1:]]


def last_magnification(config: MambaConfig, seen: Seen) -> float:
    """What the last norm multiplies an error by that arose before it, at the most of any token."""
    x = seen.stream[-1]
    if not config.rms_norm:
        x = x - x.mean(1, keepdims=True)
    return float((1 / np.sqrt((x**2).mean(1) + config.norm_epsilon)).max())


def norm(config, p, name, x):
    if not config.rms_norm:
        x = x - x.mean(1, keepdims=True)
    x = x / np.sqrt((x**2).mean(1, keepdims=True) + config.norm_epsilon) * p(f"{name}.weight")
    return x if config.rms_norm else x + p(f"{name}.bias")


def mixer(config, p, name, h):
    xz = h @ p(f"{name}.in_proj.weight").T
    if config.bias:
        xz = xz + p(f"{name}.in_proj.bias")
    x, z = np.split(xz, 2, axis=1)
    weight, before = p(f"{name}.conv1d.weight")[:, 0], np.zeros((config.d_conv - 1, x.shape[1]))
    inputs = np.vstack([before, x])
    u = np.array([(weight.T * inputs[t : t + config.d_conv]).sum(0) for t in range(len(x))])
    if config.conv_bias:
        u = u + p(f"{name}.conv1d.bias")
    u = u / (1 + np.exp(-u))
    x_dbl = u @ p(f"{name}.x_proj.weight").T
    dt, B, C = np.split(x_dbl, [config.dt_rank, config.dt_rank + config.d_state], axis=1)
    if config.mixer_rms_eps is not None:
        epsilon = config.mixer_rms_eps
        dt, B, C = (m / np.sqrt((m**2).mean(1, keepdims=True) + epsilon) for m in (dt, B, C))
    delta = np.logaddexp(0, dt @ p(f"{name}.dt_proj.weight").T + p(f"{name}.dt_proj.bias"))
    A, D = -np.exp(p(f"{name}.A_log")), p(f"{name}.D")
    h, y = np.zeros_like(A), []
    for t in range(len(u)):
        h = np.exp(delta[t][:, None] * A) * h + (delta[t] * u[t])[:, None] * B[t]
        y.append((h @ C[t] + D * u[t]) * z[t] / (1 + np.exp(-z[t])))
    out = np.array(y) @ p(f"{name}.out_proj.weight").T
    if config.bias:
        out = out + p(f"{name}.out_proj.bias")
    return out, inputs[len(x) :], h.T
