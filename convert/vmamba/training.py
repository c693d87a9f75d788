"""What the training's configuration says of a network, where a dump has it beside the weights.

The original saves it as a ``yacs.config.CfgNode``, a nest of dicts, which anybody may have written:
a value of another type than the original's tells nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vimnp.convert.family import Training
from vimnp.convert.formats.naming import quoted
from vimnp.errors import CheckpointError
from vimnp.models.vmamba.config import STAGES

# The forward_type of the published networks and of what computes the same, by the day of the code:
# the gate may be left out (noz), and precision or kernels may differ. Others scan in other
# directions or have other activations, which no tensor tells.
_FORWARD_TYPES = re.compile(r"v[0-9]{1,2}(_?(seq|noz|no32))*", re.ASCII)

_MOST = 1 << 24  # far beyond any size: a longer number would have more digits than can be said
_ACTIVATIONS = {"SSM_ACT_LAYER": "silu", "MLP_ACT_LAYER": "gelu"}


def read_training(configuration: Mapping[object, object]) -> Training:
    """What a training's configuration tells.

    Parameters
    ----------
    configuration : mapping
        The whole of it: the network's is under ``MODEL.VSSM``.

    Returns
    -------
    Training

    Raises
    ------
    CheckpointError
        If it is of a network that has a VMamba's tensors and computes something else.
    """
    model = _node(configuration, "MODEL")
    network = _node(model, "VSSM")
    _refuse_others(network)
    claims = {
        "depths": _stages(network.get("DEPTHS")),
        "dims": _widths(network.get("EMBED_DIM")),
        "d_state": _count(network.get("SSM_D_STATE")),
        "num_classes": _count(model.get("NUM_CLASSES")),
    }
    settings = {"img_size": _img_size(_node(configuration, "DATA").get("IMG_SIZE"))}
    return Training(_told(settings) if network else {}, _told(claims) if network else {})


def _refuse_others(network: Mapping[object, object]) -> None:
    forward_type = network.get("SSM_FORWARDTYPE")
    if isinstance(forward_type, str) and not _FORWARD_TYPES.fullmatch(forward_type):
        raise CheckpointError(
            f"its training's configuration has SSM_FORWARDTYPE {quoted(forward_type)}, one of the "
            "original's ablations; expected a published network's, such as v0, v2 or v05_noz"
        )
    for name, expected in _ACTIVATIONS.items():
        found = network.get(name)
        if isinstance(found, str) and found.lower() != expected:
            raise CheckpointError(
                f"its training's configuration has {name} {quoted(found)}; expected {expected}, as "
                "every published VMamba has"
            )


def _node(parent: Mapping[object, object], name: str) -> Mapping[object, object]:
    child = parent.get(name)
    return child if isinstance(child, dict) else {}


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < _MOST else None


def _counts(value: object) -> tuple[int, ...] | None:
    if isinstance(value, list | tuple) and all(_count(number) is not None for number in value):
        return tuple(value)
    return None


def _stages(value: object) -> tuple[int, ...] | None:
    counts = _counts(value)
    return counts if counts is not None and len(counts) == STAGES else None


def _widths(value: object) -> tuple[int, ...] | None:
    """One width is the first stage's, and each stage is twice as wide as the one before it."""
    first = _count(value)
    return _stages(value) if first is None else tuple(first << stage for stage in range(STAGES))


def _img_size(value: object) -> tuple[int, int] | None:
    side = _count(value)
    if side is not None:
        return side, side
    counts = _counts(value)
    return (counts[0], counts[1]) if counts is not None and len(counts) == 2 else None
