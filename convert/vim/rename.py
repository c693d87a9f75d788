"""A Vision Mamba inside another network, or with parts of one: a detector's or segmenter's."""

from __future__ import annotations

import re
from collections.abc import Collection

from vimnp.convert.formats.naming import listing
from vimnp.errors import CheckpointError

# What stands before the names of a mixer's tensors: detectors have the network as ``backbone.net``,
# and it may be compiled or parallel alone.
_WITHIN = re.compile(
    r"((?:(?:backbone|net|module|_orig_mod)\.)*backbone\.(?:(?:net|module|_orig_mod)\.)*)"
    r"layers\.[0-9]+\.mixer\."
)

# Convolutions that a segmenter's backbone has of its own, for what comes out of its layers.
_OF_SEGMENTER = re.compile(r"fpn[0-9]+\.")


def without_prefix(names: Collection[str]) -> dict[str, str]:
    """The names in a state dict by the network's own, without what is no part of the network.

    Raises
    ------
    CheckpointError
        If there are several backbones.
    """
    prefixes = {match[1] for match in map(_WITHIN.match, names) if match}
    if len(prefixes) > 1:
        raise CheckpointError(
            f"it holds several backbones, before whose names stand {listing(sorted(prefixes))}; "
            "expected one: save its state dict alone"
        )
    (prefix,) = prefixes or [""]
    within = {name.removeprefix(prefix): name for name in names if name.startswith(prefix)}
    return {name: there for name, there in within.items() if not _OF_SEGMENTER.match(name)}
