"""ConvNeXt in plain PyTorch; ``classifier_sizes.py`` says which.

Shapes: B pictures, H rows and W columns, C channels, which stand last but in convolutions.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from peers.vmamba.classifier_sizes import NUM_CLASSES, ConvNeXtSizes


class Block(nn.Module):
    def __init__(self, dim: int, sizes: ConvNeXtSizes) -> None:
        super().__init__()
        kernel, hidden = sizes.kernel_size, sizes.mlp_ratio * dim
        self.dwconv = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.norm = nn.LayerNorm(dim, sizes.norm_epsilon)
        self.pwconv1 = nn.Linear(dim, hidden)
        self.pwconv2 = nn.Linear(hidden, dim)
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        y = self.dwconv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        y = self.pwconv2(functional.gelu(self.pwconv1(self.norm(y))))
        return x + self.gamma * y


class ConvNeXt(nn.Module):
    """The whole network.

    Parameters
    ----------
    sizes : ConvNeXtSizes
    """

    def __init__(self, sizes: ConvNeXtSizes) -> None:
        super().__init__()
        dims, epsilon = sizes.dims, sizes.norm_epsilon
        patch = nn.Conv2d(3, dims[0], sizes.patch_size, stride=sizes.patch_size)
        first = nn.ModuleList([patch, nn.LayerNorm(dims[0], epsilon)])
        self.downsample_layers = nn.ModuleList([first])
        for inputs, outputs in pairwise(dims):
            halves = nn.Conv2d(inputs, outputs, 2, stride=2)
            self.downsample_layers.append(nn.ModuleList([nn.LayerNorm(inputs, epsilon), halves]))
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(dim, sizes) for _ in range(depth)))
            for dim, depth in zip(dims, sizes.depths, strict=True)
        )
        self.norm = nn.LayerNorm(dims[-1], epsilon)
        self.head = nn.Linear(dims[-1], NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised pictures (B, 3, H, W) -> logits (B, classes)."""
        (patch, norm), *others = self.downsample_layers
        x = self.stages[0](norm(patch(images).permute(0, 2, 3, 1)))
        for (norm, halves), stage in zip(others, self.stages[1:], strict=True):
            x = stage(halves(norm(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return self.head(self.norm(x.mean(dim=(1, 2))))
