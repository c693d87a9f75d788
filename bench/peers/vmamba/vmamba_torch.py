"""VMamba in plain PyTorch: the original's arithmetic, without its kernels for a GPU.

Liu et al. 2024, https://arxiv.org/abs/2401.10166. Names of tensors are those of the original,
MzeroMiko/VMamba, so that its state dict loads. As in its reference for CPUs, each of the four
directions has a copy of the input in its own order, and its output is put back in place.

Shapes: B pictures, H rows and W columns of tokens, L = H W, C channels between blocks, D inside
one, K = 4 directions, N states, R rank of the step size's projection.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from vimnp.models.vmamba.config import DIRECTIONS, STAGES, VMambaConfig

Scan: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""One of ``scans_torch.py``."""


class Permute(nn.Module):
    """Axes in another order."""

    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.axes)


def channels_last() -> Permute:
    return Permute(0, 2, 3, 1)


def channels_first() -> Permute:
    return Permute(0, 3, 1, 2)


def stem(config: VMambaConfig) -> nn.Sequential:
    """(B, 3, H, W) -> (B, H / 4, W / 4, C)."""
    width, epsilon = config.dims[0], config.norm_epsilon
    if config.patch_embed == "v1":
        first = nn.Conv2d(config.channels, width, 4, stride=4)
        return nn.Sequential(first, channels_last(), nn.LayerNorm(width, epsilon))
    half = width // 2
    return nn.Sequential(
        nn.Conv2d(config.channels, half, 3, stride=2, padding=1),
        channels_last(),
        nn.LayerNorm(half, epsilon),
        channels_first(),
        nn.GELU(),
        nn.Conv2d(half, width, 3, stride=2, padding=1),
        channels_last(),
        nn.LayerNorm(width, epsilon),
    )


class PatchMerging(nn.Module):
    """Four neighbours become one token; an odd row or column has zeros beside it."""

    def __init__(self, inputs: int, outputs: int, epsilon: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * inputs, epsilon)
        self.reduction = nn.Linear(4 * inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H / 2, W / 2, 2 C)."""
        height, width = x.shape[1:3]
        if height % 2 or width % 2:
            x = functional.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        parts = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(parts, dim=-1)))


def downsample(config: VMambaConfig, stage: int) -> nn.Module:
    """(B, H, W, C) -> (B, H / 2, W / 2, 2 C)."""
    inputs, outputs = config.dims[stage : stage + 2]
    if config.downsample == "v1":
        return PatchMerging(inputs, outputs, config.norm_epsilon)
    return nn.Sequential(
        channels_first(),
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1),
        channels_last(),
        nn.LayerNorm(outputs, config.norm_epsilon),
    )


class CrossScan(nn.Module):
    """The block's operation, the original's ``SS2D``."""

    def __init__(self, config: VMambaConfig, stage: int, scan: Scan) -> None:
        super().__init__()
        dim, d_inner, dt_rank = config.dims[stage], config.d_inner[stage], config.dt_rank[stage]
        self.sizes = dt_rank, config.d_state, config.d_state
        self.gated = config.gated
        self.scan = scan
        self.in_proj = nn.Linear(dim, (1 + config.gated) * d_inner, bias=False)
        self.conv2d = nn.Conv2d(
            d_inner, d_inner, 3, padding=1, groups=d_inner, bias=config.conv_bias
        )
        self.x_proj_weight = nn.Parameter(torch.empty(DIRECTIONS, sum(self.sizes), d_inner))
        self.dt_projs_weight = nn.Parameter(torch.empty(DIRECTIONS, d_inner, dt_rank))
        self.dt_projs_bias = nn.Parameter(torch.empty(DIRECTIONS, d_inner))
        self.A_logs = nn.Parameter(torch.empty(DIRECTIONS * d_inner, config.d_state))
        self.Ds = nn.Parameter(torch.empty(DIRECTIONS * d_inner))
        self.out_norm = nn.LayerNorm(d_inner, config.norm_epsilon)
        self.out_proj = nn.Linear(d_inner, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        u = self.in_proj(x)  # (B, H, W, D), or twice as many channels
        if self.gated:
            u, z = u.chunk(2, dim=-1)
        u = functional.silu(self.conv2d(u.permute(0, 3, 1, 2)))  # (B, D, H, W)
        y = self.directions(u).transpose(1, 2).unflatten(1, u.shape[2:])  # (B, H, W, D)
        y = self.out_norm(y)
        if self.gated:
            y = y * functional.silu(z)
        return self.out_proj(y)

    def directions(self, u: Tensor) -> Tensor:
        """Sum of the four scans: (B, D, H, W) -> (B, D, L)."""
        us = cross_scan(u)  # (B, K, D, L)
        projected = torch.einsum("bkdl,kcd->bkcl", us, self.x_proj_weight)
        dt, B, C = projected.split(self.sizes, dim=2)
        delta = torch.einsum("bkrl,kdr->bkdl", dt, self.dt_projs_weight)
        delta = functional.softplus(delta + self.dt_projs_bias[..., None])
        A = -torch.exp(self.A_logs).unflatten(0, (DIRECTIONS, -1))  # (K, D, N)
        D = self.Ds.unflatten(0, (DIRECTIONS, -1))[..., None]  # (K, D, 1)
        return cross_merge(self.scan(us, delta, A, B, C) + D * us, u.shape[3])


def cross_scan(x: Tensor) -> Tensor:
    """Rows, columns, and both from the end: (B, D, H, W) -> (B, K, D, L)."""
    forward = torch.stack((x.flatten(2), x.transpose(2, 3).flatten(2)), dim=1)
    return torch.cat((forward, forward.flip(-1)), dim=1)


def cross_merge(ys: Tensor, width: int) -> Tensor:
    """The sum of four directions, in the order of rows: (B, K, D, L) -> (B, D, L)."""
    forward = ys[:, :2] + ys[:, 2:].flip(-1)
    columns = forward[:, 1].unflatten(-1, (width, -1)).transpose(2, 3).flatten(2)
    return forward[:, 0] + columns


class Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        return self.fc2(functional.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, config: VMambaConfig, stage: int, scan: Scan) -> None:
        super().__init__()
        dim, hidden = config.dims[stage], config.mlp_channels[stage]
        self.norm = nn.LayerNorm(dim, config.norm_epsilon)
        self.op = CrossScan(config, stage, scan)
        if hidden:
            self.norm2 = nn.LayerNorm(dim, config.norm_epsilon)
            self.mlp = Mlp(dim, hidden)
        self.has_mlp = bool(hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x = x + self.op(self.norm(x))
        return x + self.mlp(self.norm2(x)) if self.has_mlp else x


class VMamba(nn.Module):
    """A classifier.

    Parameters
    ----------
    config : VMambaConfig
        With patch merging or downsampling "v3".
    scan : callable
    """

    def __init__(self, config: VMambaConfig, scan: Scan) -> None:
        super().__init__()
        self.patch_embed = stem(config)
        self.layers = nn.ModuleList()
        for stage in range(STAGES):
            blocks = (Block(config, stage, scan) for _ in range(config.depths[stage]))
            parts: OrderedDict[str, nn.Module] = OrderedDict(blocks=nn.Sequential(*blocks))
            if stage < STAGES - 1:
                parts["downsample"] = downsample(config, stage)
            self.layers.append(nn.Sequential(parts))
        features = config.num_features
        self.classifier = nn.ModuleDict(
            {
                "norm": nn.LayerNorm(features, config.norm_epsilon),
                "head": nn.Linear(features, config.num_classes),
            }
        )

    def forward(self, images: Tensor) -> Tensor:
        """Normalised pictures (B, 3, height, width) -> logits (B, classes)."""
        x = self.patch_embed(images)
        for layer in self.layers:
            x = layer(x)
        x = self.classifier["norm"](x).mean(dim=(1, 2))
        return self.classifier["head"](x)
