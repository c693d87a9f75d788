"""Whether a state dict is a MedMamba, and its tensors by the names that the network has."""

from __future__ import annotations

from collections.abc import Collection

from vimnp.convert.family import Shapes
from vimnp.convert.vmamba import rename
from vimnp.convert.vmamba.recognise import is_vmamba
from vimnp.models.medmamba.tensors import BRANCH

_COUNTER = ".num_batches_tracked"


def new_names(names: Collection[str]) -> dict[str, str]:
    """The names in a state dict by the network's own: a VMamba's, and those of the convolutions.

    What batch normalisation counts while it is trained is no part of the network.
    """
    found = rename.new_names(names)
    return {name: there for name, there in found.items() if not name.endswith(_COUNTER)}


def is_medmamba(shapes: Shapes) -> bool:
    """Whether there are blocks that scan, and beside them such convolutions."""
    return is_vmamba(shapes) and any(f".{BRANCH}." in name for name in shapes)
