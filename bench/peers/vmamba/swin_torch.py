"""Swin in plain PyTorch; ``classifier_sizes.py`` says which.

Attention is PyTorch's own operator. Shapes: B pictures, G rows and columns of tokens, C channels,
w rows and columns of a window.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from peers.vmamba.classifier_sizes import NUM_CLASSES, SwinSizes
from peers.vmamba.vmamba_torch import Mlp, PatchMerging
from peers.vmamba.windows import relative_positions, shift_mask


class WindowAttention(nn.Module):
    """Every token looks at those of its window."""

    def __init__(self, dim: int, heads: int, window: int, mask: Tensor | None) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        self.positions, self.mask = torch.from_numpy(relative_positions(window)), mask

    def forward(self, x: Tensor) -> Tensor:
        """(windows, w^2, C) -> (windows, w^2, C)."""
        parts = self.qkv(x).unflatten(-1, (3, self.heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4)  # (windows, heads, w^2, C / heads) each
        bias = self.relative_position_bias_table[self.positions].permute(2, 0, 1)[None]
        if self.mask is not None:
            bias = bias + self.mask.repeat(len(x) // len(self.mask), 1, 1)[:, None]
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(mixed.transpose(1, 2).flatten(-2))


class Block(nn.Module):
    def __init__(self, sizes: SwinSizes, stage: int, grid: int, index: int) -> None:
        super().__init__()
        dim, epsilon = sizes.dim(stage), sizes.norm_epsilon
        self.window, self.shift = sizes.window, sizes.shift(grid, index)
        masks = shift_mask(grid, self.window, self.shift) if self.shift else None
        mask = None if masks is None else torch.from_numpy(masks)
        self.norm1 = nn.LayerNorm(dim, epsilon)
        self.attn = WindowAttention(dim, sizes.num_heads[stage], self.window, mask)
        self.norm2 = nn.LayerNorm(dim, epsilon)
        self.mlp = Mlp(dim, sizes.mlp_ratio * dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, G, G, C) -> (B, G, G, C)."""
        y = self.norm1(x)
        if self.shift:
            y = y.roll((-self.shift, -self.shift), (1, 2))
        y = y.unflatten(2, (-1, self.window)).unflatten(1, (-1, self.window))
        y = y.transpose(2, 3)  # (B, G / w, G / w, w, w, C)
        windows = self.attn(y.flatten(0, 2).flatten(1, 2))
        y = windows.view(y.shape).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        if self.shift:
            y = y.roll((self.shift, self.shift), (1, 2))
        x = x + y
        return x + self.mlp(self.norm2(x))


class Swin(nn.Module):
    """The whole network.

    Parameters
    ----------
    sizes : SwinSizes
    side : int
        Height and width of the pictures.
    """

    def __init__(self, sizes: SwinSizes, side: int) -> None:
        super().__init__()
        epsilon, last = sizes.norm_epsilon, len(sizes.depths) - 1
        patch = nn.Conv2d(3, sizes.embed_dim, sizes.patch_size, stride=sizes.patch_size)
        norm = nn.LayerNorm(sizes.embed_dim, epsilon)
        self.patch_embed = nn.ModuleDict({"proj": patch, "norm": norm})
        self.layers = nn.Sequential()
        for stage, depth in enumerate(sizes.depths):
            grid = side // sizes.patch_size >> stage
            blocks = (Block(sizes, stage, grid, index) for index in range(depth))
            parts: OrderedDict[str, nn.Module] = OrderedDict(blocks=nn.Sequential(*blocks))
            if stage < last:
                inputs, outputs = sizes.dim(stage), sizes.dim(stage + 1)
                parts["downsample"] = PatchMerging(inputs, outputs, epsilon)
            self.layers.append(nn.Sequential(parts))
        self.norm = nn.LayerNorm(sizes.dim(last), epsilon)
        self.head = nn.Linear(sizes.dim(last), NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised pictures (B, 3, side, side) -> logits (B, classes)."""
        x = self.patch_embed["proj"](images).permute(0, 2, 3, 1)
        x = self.layers(self.patch_embed["norm"](x))
        return self.head(self.norm(x).mean(dim=(1, 2)))
