"""The CNN in plain PyTorch; ``resnet_sizes.py`` says which.

Shapes: B pictures, C channels.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from peers.resnet_sizes import (
    CHANNELS,
    EXPANSION,
    NUM_CLASSES,
    OUT_FEATURES,
    STAGES,
    STEM_WIDTH,
    stride_of,
)


class Bottleneck(nn.Module):
    """1x1 to fewer channels, 3x3, 1x1 to more, added to the input.

    Parameters
    ----------
    inputs : int
        Channels.
    width : int
        Channels of the 3x3 convolution.
    stride : int
        Of it.
    """

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = EXPANSION * width
        self.conv1 = nn.Conv2d(inputs, width, 1)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1)
        self.conv3 = nn.Conv2d(width, outputs, 1)
        same = inputs == outputs and stride == 1
        self.downsample = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, EXPANSION * width, H / stride, W / stride)."""
        hidden = functional.relu(self.conv1(x), inplace=True)
        hidden = functional.relu(self.conv2(hidden), inplace=True)
        hidden = self.conv3(hidden).add_(self.downsample(x))
        return functional.relu(hidden, inplace=True)


class ResNet(nn.Module):
    """The whole network."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(CHANNELS, STEM_WIDTH, 7, stride=2, padding=3)
        inputs = STEM_WIDTH
        for stage, (depth, width) in enumerate(STAGES, 1):
            blocks = []
            for index in range(depth):
                blocks.append(Bottleneck(inputs, width, stride_of(stage, index)))
                inputs = EXPANSION * width
            self.register_module(f"layer{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(OUT_FEATURES, NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised pictures (B, 3, H, W) -> logits (B, classes)."""
        x = functional.relu(self.conv1(images), inplace=True)
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        for stage in range(1, len(STAGES) + 1):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(x.mean(dim=(2, 3)))
