"""DeiT-tiny in plain PyTorch: the same network as bench/deit_tiny.py writes for ONNX Runtime.

Touvron et al. 2021, https://arxiv.org/abs/2012.12877 (table 1), without distillation. Names are
timm's; attention is PyTorch's own operator. bench/deit_tiny.py has the sizes too, but is not
imported here: it would bring onnx and ONNX Runtime into this network's memory and cold start.

Shapes: B pictures, L tokens, M patches, E embed_dim.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Sizes(NamedTuple):
    """As in bench/deit_tiny.py; num_patches, M, is what the position embedding is for."""

    num_patches: int
    patch_size: int
    embed_dim: int
    depth: int
    num_heads: int
    mlp_ratio: int
    num_classes: int
    norm_epsilon: float


class Attention(nn.Module):
    """Every token looks at all; one product for q, k and v, as in timm."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.num_heads = sizes.num_heads
        self.qkv = nn.Linear(sizes.embed_dim, 3 * sizes.embed_dim)
        self.proj = nn.Linear(sizes.embed_dim, sizes.embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, E) -> (B, L, E)."""
        parts = self.qkv(tokens).unflatten(-1, (3, self.num_heads, -1))  # (B, L, 3, heads, E/heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)  # (B, heads, L, E/heads) each
        mixed = functional.scaled_dot_product_attention(q, k, v)  # (B, heads, L, E/heads)
        return self.proj(mixed.transpose(1, 2).flatten(-2))


class Mlp(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.fc1 = nn.Linear(sizes.embed_dim, sizes.mlp_ratio * sizes.embed_dim)
        self.fc2 = nn.Linear(sizes.mlp_ratio * sizes.embed_dim, sizes.embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, E) -> (B, L, E)."""
        return self.fc2(functional.gelu(self.fc1(tokens)))


class Block(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(sizes.embed_dim, eps=sizes.norm_epsilon)
        self.attn = Attention(sizes)
        self.norm2 = nn.LayerNorm(sizes.embed_dim, eps=sizes.norm_epsilon)
        self.mlp = Mlp(sizes)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, E) -> (B, L, E)."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class PatchEmbed(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, sizes.embed_dim, sizes.patch_size, sizes.patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, M, E)."""
        return self.proj(images).flatten(2).transpose(1, 2)


class VisionTransformer(nn.Module):
    """The whole network.

    Parameters
    ----------
    sizes : Sizes
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(sizes)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, sizes.embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, sizes.num_patches + 1, sizes.embed_dim))
        self.blocks = nn.Sequential(*(Block(sizes) for _ in range(sizes.depth)))
        self.norm = nn.LayerNorm(sizes.embed_dim, eps=sizes.norm_epsilon)
        self.head = nn.Linear(sizes.embed_dim, sizes.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised pictures (B, 3, H, W) -> logits (B, classes)."""
        patches = self.patch_embed(images)  # (B, M, E)
        cls_token = self.cls_token.expand(len(patches), -1, -1)  # (B, 1, E)
        tokens = torch.cat((cls_token, patches), dim=1) + self.pos_embed  # (B, L, E)
        return self.head(self.norm(self.blocks(tokens)[:, 0]))
