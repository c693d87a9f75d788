"""Whether a state dict is a Mamba language model, and which of its kin it is instead."""

from __future__ import annotations

import re

from vimnp.convert.family import Shapes
from vimnp.convert.formats.naming import quoted
from vimnp.errors import CheckpointError
from vimnp.models.mamba.tensors import EMBEDDING

_LAYER = re.compile(r"backbone\.layers\.([0-9]{1,6})\.")

# What networks have that are like a Mamba, and why they are none: by the ends of tensors' names.
_KIN = (
    (
        re.compile(
            r"\.(absmax|quant_map|SCB|weight_format|qweight|qzeros|g_idx|weight_scale)$"
            r"|\.quant_state\.|\.nested_"
        ),
        "an already quantised checkpoint; expected the weights in 16 or 32 bits: take the "
        "checkpoint that it was made from, and quantise with --dtype",
    ),
    (
        re.compile(r"\.mixer\.(Wqkv|q_proj|k_proj|v_proj|attn)\b|\.(self_attn|attn)\."),
        "a hybrid network with attention (attn_layer_idx); expected a Mamba in every layer",
    ),
    (
        re.compile(r"\.mixer\.(dt_bias|norm\.weight|B_bias|C_bias)$"),
        "a Mamba-2 or Mamba-3 network; expected the first Mamba, whose mixers have an x_proj",
    ),
    (
        re.compile(r"\.layers\.[0-9]+\.(mlp|norm2|feed_forward|moe)\b"),
        "a network with an MLP in its layers (d_intermediate above 0); expected mixers alone",
    ),
)


def is_mamba(shapes: Shapes) -> bool:
    """Whether there are an embedding and layers of mixers, as in every Mamba of text."""
    has_mixers = any(re.match(r"backbone\.layers\.[0-9]+\.mixer\.", name) for name in shapes)
    return has_mixers and EMBEDDING in shapes


def refuse_kin(shapes: Shapes) -> None:
    """Raise CheckpointError for networks that are like a Mamba, by name."""
    for pattern, what in _KIN:
        for name in shapes:
            if pattern.search(name):
                raise CheckpointError(f"it has {quoted(name)}, so it is {what}")


def count_layers(shapes: Shapes) -> int:
    """One more than the largest number of a layer."""
    matches = map(_LAYER.match, shapes)
    return 1 + max(int(match[1]) for match in matches if match)
