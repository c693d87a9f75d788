"""Whether a state dict is a VM-UNet, and which of its kin it is instead."""

from __future__ import annotations

import re
from collections.abc import Collection

from vimnp.convert.family import Shapes
from vimnp.convert.formats.naming import quoted
from vimnp.convert.vmamba import rename
from vimnp.convert.vmamba.recognise import is_vmamba
from vimnp.errors import CheckpointError

_KIN = (
    (
        re.compile(r"concat_back_dim\."),
        "a network whose decoder has the encoder's maps beside its own (Mamba-UNet): this vimnp "
        "has those that add them, VM-UNet",
    ),
)


# What a count of operations (thop), which the original's training begins with, leaves in a module.
_COUNTED = ("total_ops", "total_params")


def new_names(names: Collection[str]) -> dict[str, str]:
    """The names in a state dict by the network's own: a VMamba's, and those of the decoder."""
    found = rename.new_names(names)
    return {name: there for name, there in found.items() if not name.endswith(_COUNTED)}


def is_vmunet(shapes: Shapes) -> bool:
    """Whether there are blocks that scan, and a decoder."""
    return is_vmamba(shapes) and any(name.startswith("layers_up.") for name in shapes)


def refuse_kin(shapes: Shapes) -> None:
    """Raise CheckpointError for networks that are like a VM-UNet, by name."""
    for pattern, what in _KIN:
        for name in shapes:
            if pattern.match(name):
                raise CheckpointError(f"it has {quoted(name)}, so it is {what}")
