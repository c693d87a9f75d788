"""The tensors of a Mamba language model, by their names in the original's state dict.

This is the only list of them: what reads, writes, converts or makes weights takes names and shapes
from here. The converter finds in two tables the way back, from a state dict to the configuration.
"""

from __future__ import annotations

import functools

from vimnp.models.mamba.config import MambaConfig
from vimnp.models.random_weights import around_one, delta_bias, fan_in, small, state_matrix
from vimnp.weights.family import Tensor

# The head is what quantising costs most at: it keeps 8 bits, and so does the embedding, which is
# the same matrix where both are tied. What is no matrix of a large product stays in float32: it is
# small, and an error in A_log or delta lasts for as many tokens as a state does.
_head = functools.partial(Tensor, fewest_bits=8)
_matrix = functools.partial(Tensor, fewest_bits=4)
_exact = functools.partial(Tensor, fewest_bits=32)

EMBEDDING = "backbone.embedding.weight"
HEAD = "lm_head.weight"
_FIRST = "backbone.layers.0"
FIRST_MIXER = f"{_FIRST}.mixer"
"""Stands for all of them, whose tensors are alike."""

SIZES: dict[str, tuple[str, int, int]] = {
    "padded_vocab_size": (EMBEDDING, 2, 0),
    "d_model": (EMBEDDING, 2, 1),
    "d_inner": (f"{_FIRST}.mixer.conv1d.weight", 3, 0),
    "d_conv": (f"{_FIRST}.mixer.conv1d.weight", 3, 2),
    "d_state": (f"{_FIRST}.mixer.A_log", 2, 1),
    "dt_rank": (f"{_FIRST}.mixer.dt_proj.weight", 2, 1),
}
"""Which tensor tells a size, how many dimensions it has, and which of them it is."""

OPTIONS: dict[str, dict[bool, str]] = {
    "rms_norm": {False: "backbone.norm_f.bias"},
    "bias": {True: f"{_FIRST}.mixer.in_proj.bias"},
    "conv_bias": {True: f"{_FIRST}.mixer.conv1d.bias"},
    "tie_embeddings": {False: HEAD},
}
"""Which value an option has if a tensor is there; without that tensor it has the other one."""


def tensors(config: MambaConfig) -> dict[str, Tensor]:
    """Every tensor that a configuration implies, by name, in the order of the network."""
    vocabulary = (config.padded_vocab_size, config.d_model)
    found = {EMBEDDING: _head(vocabulary, small)}
    for index in range(config.n_layer):
        found |= _norm(config, f"backbone.layers.{index}.norm")
        for name, tensor in _mixer(config).items():
            found[f"backbone.layers.{index}.mixer.{name}"] = tensor
    found |= _norm(config, "backbone.norm_f")
    if not config.tie_embeddings:
        found[HEAD] = _head(vocabulary, fan_in)
    return found


def _mixer(config: MambaConfig) -> dict[str, Tensor]:
    d_model, d_inner, d_state = config.d_model, config.d_inner, config.d_state
    found = {"in_proj.weight": _matrix((2 * d_inner, d_model), fan_in)}
    if config.bias:
        found["in_proj.bias"] = _exact((2 * d_inner,), small)
    found["conv1d.weight"] = _exact((d_inner, 1, config.d_conv), fan_in)
    if config.conv_bias:
        found["conv1d.bias"] = _exact((d_inner,), small)
    found["x_proj.weight"] = _matrix((config.dt_rank + 2 * d_state, d_inner), fan_in)
    found["dt_proj.weight"] = _exact((d_inner, config.dt_rank), fan_in)
    found["dt_proj.bias"] = _exact((d_inner,), delta_bias)
    found["A_log"] = _exact((d_inner, d_state), state_matrix)
    found["D"] = _exact((d_inner,), around_one)
    found["out_proj.weight"] = _matrix((d_model, d_inner), fan_in)
    if config.bias:
        found["out_proj.bias"] = _exact((d_model,), small)
    return found


def _norm(config: MambaConfig, prefix: str) -> dict[str, Tensor]:
    found = {f"{prefix}.weight": _exact((config.d_model,), around_one)}
    if not config.rms_norm:
        found[f"{prefix}.bias"] = _exact((config.d_model,), small)
    return found
