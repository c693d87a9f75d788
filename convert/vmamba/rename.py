"""The names that a VMamba's tensors have had, by the day of the code, and within other networks.

The original's own loader renames old files in the same way (``VSSM._load_from_state_dict``).
"""

from __future__ import annotations

import re
from collections.abc import Collection

from vimnp.convert.formats.naming import listing, quoted
from vimnp.errors import CheckpointError
from vimnp.models.vmamba.spellings import ONE_FILE

# What stands before the names of the blocks' tensors: detectors and segmenters have the network as
# their ``backbone``, and others by another name.
_WITHIN = re.compile(
    r"((?:[A-Za-z_]\w*\.){0,16}?)layers\.[0-9]+\.blocks\.[0-9]+\.(?:op|self_attention)\.", re.ASCII
)

# Of a decoder as well, where there is one.
_BLOCK = re.compile(r"layers(?:_up)?\.[0-9]+\.blocks\.[0-9]+\.")

# The beginnings of names from before 2024-01-28.
_OLD = {
    "patch_embed.proj.": "patch_embed.0.",
    "patch_embed.norm.": "patch_embed.2.",
    "norm.": "classifier.norm.",
    "head.": "classifier.head.",
}
_OLD_IN_BLOCK = {"ln_1.": "norm.", "self_attention.": "op."}

_IN_BLOCK = {f"op.{old}": f"op.{new}" for old, new in ONE_FILE.items()}


def new_names(names: Collection[str]) -> dict[str, str]:
    """The names in a state dict by today's, without what is no part of the network.

    Raises
    ------
    CheckpointError
        If there are several such networks, or two names of one tensor.
    """
    prefixes = {match[1] for match in map(_WITHIN.match, names) if match}
    if len(prefixes) > 1:
        raise CheckpointError(
            f"it holds several VMambas, before whose names stand {listing(sorted(prefixes))}; "
            "expected one: save its state dict alone"
        )
    found: dict[str, str] = {}
    for prefix in prefixes:
        for there in names:
            if there.startswith(prefix):
                name = _new_name(there.removeprefix(prefix))
                if name in found:
                    raise CheckpointError(
                        f"it holds {quoted(found[name])} and {quoted(there)}, which are two names "
                        "of one tensor; expected one of them"
                    )
                found[name] = there
    return found


def _new_name(name: str) -> str:
    block = _BLOCK.match(name)
    if block is None:
        return _begun_anew(name, _OLD)
    within = _begun_anew(name[block.end() :], _OLD_IN_BLOCK)
    return block[0] + _IN_BLOCK.get(within, within)


def _begun_anew(name: str, beginnings: dict[str, str]) -> str:
    for old, new in beginnings.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name
