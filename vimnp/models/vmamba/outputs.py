"""What can be asked for of a picture.

"logits", of each class, and of a network without a head what it would read; "features", what the
head reads; or the maps of some :class:`Stages`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

from vimnp.models.vmamba.config import VMambaConfig


class Stages(NamedTuple):
    """Every token after the blocks of some stages, before the downsampling.

    Of a backbone each has gone through its stage's norm.

    Parameters
    ----------
    stages : tuple of int
        Their indices, in ascending order.
    """

    stages: tuple[int, ...]


Output: TypeAlias = Literal["logits", "features"] | Stages


def shape_of(config: VMambaConfig, output: Output) -> tuple[int, ...]:
    """The shape of it. The tokens of some stages stand one stage after another."""
    if isinstance(output, Stages):
        return (sum(math.prod(shape_of_stage(config, stage)) for stage in output.stages),)
    if output == "logits" and config.num_classes:
        return (config.num_classes,)
    return (config.num_features,)


def shape_of_stage(config: VMambaConfig, stage: int) -> tuple[int, int]:
    """Tokens and channels of a stage."""
    return math.prod(config.grids[stage]), config.dims[stage]


def places(config: VMambaConfig, asked: Stages) -> Iterator[tuple[int, int, int]]:
    """Of each stage that is asked for: its index, and where its numbers begin and end."""
    end = 0
    for stage in asked.stages:
        begin, end = end, end + math.prod(shape_of_stage(config, stage))
        yield stage, begin, end


def last_stage(config: VMambaConfig, output: Output) -> int:
    """The last stage that is needed for it."""
    return output.stages[-1] if isinstance(output, Stages) else config.num_stages - 1
