"""The names of transformers' layout and of the original's: one tensor has two."""

from __future__ import annotations

from collections.abc import Collection

from vimnp.models.mamba.tensors import EMBEDDING

_EMBEDDINGS = "backbone.embeddings.weight"  # as transformers calls it


def original_names(names: Collection[str]) -> dict[str, str]:
    """The names in a state dict by the original's."""
    return {
        EMBEDDING if name == _EMBEDDINGS and EMBEDDING not in names else name: name
        for name in names
    }
