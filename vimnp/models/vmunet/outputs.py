"""What can be asked for of a picture, and where each pixel of it stands.

"logits" and "features" are of every pixel. The network makes those of a token of the first stage
one after the other, line by line.
"""

from __future__ import annotations

import numpy as np

from vimnp.models.vmamba import outputs
from vimnp.models.vmamba.outputs import Output, Stages
from vimnp.models.vmunet.config import SCALE, VMUNetConfig


def shape_of(config: VMUNetConfig, output: Output) -> tuple[int, ...]:
    """The shape of it: (pixels, classes or channels), or for the tokens of stages VMamba's."""
    if isinstance(output, Stages):
        return outputs.shape_of(config, output)
    channels = config.num_classes if output == "logits" else config.num_features
    return SCALE**2 * config.num_tokens, channels


def as_maps(config: VMUNetConfig, pixels: np.ndarray) -> np.ndarray:
    """Pixels as they are made (..., H * W, channels) -> maps (..., channels, H, W)."""
    rows, columns = config.grids[0]
    *batch, _, channels = pixels.shape
    squares = pixels.reshape(-1, rows, columns, SCALE, SCALE, channels)
    maps = squares.transpose(0, 5, 1, 3, 2, 4)
    return np.ascontiguousarray(maps).reshape(*batch, channels, SCALE * rows, SCALE * columns)
