"""Whether a state dict is a VM-UNet, and which of its kin it is instead."""

from __future__ import annotations

import re

from vimnp.convert.family import Shapes
from vimnp.convert.formats.naming import quoted
from vimnp.convert.vmamba.recognise import is_vmamba
from vimnp.errors import CheckpointError

_KIN = (
    (
        re.compile(r"concat_back_dim\."),
        "a network whose decoder has the encoder's maps beside its own (Mamba-UNet): this vimnp "
        "has those that add them, VM-UNet",
    ),
)


def is_vmunet(shapes: Shapes) -> bool:
    """Whether there are blocks that scan, and a decoder."""
    return is_vmamba(shapes) and any(name.startswith("layers_up.") for name in shapes)


def refuse_kin(shapes: Shapes) -> None:
    """Raise CheckpointError for networks that are like a VM-UNet, by name."""
    for pattern, what in _KIN:
        for name in shapes:
            if pattern.match(name):
                raise CheckpointError(f"it has {quoted(name)}, so it is {what}")
