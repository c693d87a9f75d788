"""Whether a state dict is a VMamba, and which of its kin it is instead."""

from __future__ import annotations

import re

from vimnp.convert.family import Shapes
from vimnp.convert.formats.naming import quoted
from vimnp.errors import CheckpointError

_OP = re.compile(r"(layers\.[0-9]+\.blocks\.[0-9]+\.op\.)(.+)")

# What networks have that are like a VMamba, and why they are none.
_KIN = (
    (
        re.compile(r".*\.running_(mean|var)$"),
        "a network with batch normalisation (norm_layer bn); expected LayerNorm, as in every "
        "published VMamba",
    ),
    (
        re.compile(r"pos_embed$"),
        "a network with a position embedding (posembed); expected none, as in every published "
        "VMamba",
    ),
    (
        re.compile(r".*\.op\.out_norm\.[0-9]"),
        "one of the original's ablations (_oncnorm, _ondwconv3); expected LayerNorm as out_norm",
    ),
)

# The ablations whose blocks lack a tensor that the blocks of every VMamba have.
_LACKING = {
    "x_proj_weight": "in_proj makes the steps, B and C, as in the original's ablations xv1a to "
    "xv3a",
    "dt_projs_weight": "a step is made for many channels at once, as in the original's ablation m0",
    "out_norm.weight": "nothing or no norm takes its place, as in the original's ablations "
    "_onnone, _onsoftmax and _onsigmoid",
    "conv2d.weight": "there is no convolution (ssm_conv below 2)",
}


def is_vmamba(shapes: Shapes) -> bool:
    """Whether there are blocks that scan, as in every VMamba and its kin."""
    return any(_OP.match(name) for name in shapes)


def refuse_kin(shapes: Shapes) -> None:
    """Raise CheckpointError for networks that are like a VMamba, by name."""
    for pattern, what in _KIN:
        for name in shapes:
            if pattern.match(name):
                raise CheckpointError(f"it has {quoted(name)}, so it is {what}")
    ops = [match for match in map(_OP.match, shapes) if match]
    held = {match[2] for match in ops}
    for name, why in _LACKING.items():
        if name not in held:
            raise CheckpointError(
                f"no block has a tensor such as {quoted(ops[0][1] + name)}, so {why}; expected the "
                "blocks of a published VMamba"
            )
    for name, shape in shapes.items():
        if name.endswith(".op.out_norm.weight") and len(shape) == 4:
            raise CheckpointError(
                f"{quoted(name)} has the shape {shape}, so it is a convolution, as in the "
                "original's ablation _ondwconv3; expected LayerNorm"
            )
