"""What a network that looks at pictures is measured at: noise of the size that it takes."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from vimnp.commands.passes import Passes
from vimnp.models.vision import VisionModel

if TYPE_CHECKING:
    from vimnp.engine.costs import Cost
    from vimnp.measure.profiling import Profile

_WARM_UP = 2
_BURST = 2


class PicturePass:
    """The logits of some pictures.

    Parameters
    ----------
    images : ndarray of float32, shape (batch, channels, H, W)
    """

    name = "pictures"

    def __init__(self, images: np.ndarray) -> None:
        self.units = len(images)
        self._images = images

    def prepare(self, model: VisionModel) -> Callable[[], object]:
        """See :class:`vimnp.commands.passes.Pass`."""
        return functools.partial(model, self._images)

    def bytes(self, model: VisionModel) -> int | None:
        """None: arithmetic is the limit."""
        return None

    def profile(self, model: VisionModel) -> Profile:
        """See :class:`vimnp.commands.passes.Pass`."""
        from vimnp.measure.profiling import profile

        return profile(model, self._images)

    def costs(self, model: VisionModel) -> dict[str, Cost]:
        """See :class:`vimnp.commands.passes.Pass`."""
        return {name: cost.times(self.units) for name, cost in model.costs().items()}


def passes(options: argparse.Namespace, model: VisionModel) -> Passes:
    """Those of a network, as the options say."""
    config = model.config
    height, width = config.img_size
    shape = (options.batch, config.channels, height, width)
    images = np.random.default_rng(0).standard_normal(shape, np.float32)
    return Passes(
        passes=[PicturePass(images)],
        unit="pictures",
        warm_up=_WARM_UP,
        burst=_BURST,
        sizes=f"{height}x{width}, {config.num_tokens} tokens, {options.batch} a pass",
        facts={},
    )
