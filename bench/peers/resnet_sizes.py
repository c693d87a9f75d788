"""Sizes of the CNN: ResNet-50 with half of its channels, 6.9 million parameters.

He et al. 2015, https://arxiv.org/abs/1512.03385 (table 1, "50-layer"); a block's stride is in its
3x3 convolution, as in every framework's ResNet-50 today. Half the channels: the 0.5x of Yu et al.
2018, https://arxiv.org/abs/1812.08928. Names are torchvision's.

Batch normalisation is folded into the convolutions, as every deployment does: what is left of it
is their bias.
"""

from __future__ import annotations

CHANNELS, NUM_CLASSES = 3, 1000
STEM_WIDTH = 32
STAGES = ((3, 32), (4, 64), (6, 128), (3, 256))  # blocks, and their 3x3 convolution's channels
EXPANSION = 4  # of a block's output over these
OUT_FEATURES = EXPANSION * STAGES[-1][1]


def stride_of(stage: int, index: int) -> int:
    """Of a block's 3x3 convolution: all stages but the first begin by halving height and width."""
    return 2 if stage > 1 and index == 0 else 1
