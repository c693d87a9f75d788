"""The Mamba language model in PyTorch, with a scan that trains on a CPU.

Gu & Dao 2023, https://arxiv.org/abs/2312.00752. Names of modules and tensors are those of the
original, state-spaces/mamba, so that what is saved converts as its checkpoints do. Only what the
bundled model needs is here: RMSNorm, a tied head, no biases in the projections.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from selective_scan_gradient import selective_scan
from torch import Tensor, nn
from torch.nn import functional

DT_MIN, DT_MAX = 1e-3, 1e-1  # initial step sizes, section 3.6 of the paper


@dataclass(frozen=True)
class Sizes:
    """The network's sizes, named as the original's configuration names them."""

    d_model: int
    n_layer: int
    vocab_size: int = 256
    d_state: int = 16
    d_conv: int = 4
    expand: int = 2

    @property
    def d_inner(self) -> int:
        return self.expand * self.d_model

    @property
    def dt_rank(self) -> int:
        return math.ceil(self.d_model / 16)

    def original(self) -> dict[str, Any]:
        """Return what the original writes to ``config.json``."""
        return {
            "d_model": self.d_model,
            "n_layer": self.n_layer,
            "vocab_size": self.vocab_size,
            "ssm_cfg": {"d_state": self.d_state, "d_conv": self.d_conv, "expand": self.expand},
            "rms_norm": True,
            "residual_in_fp32": True,
            "fused_add_norm": True,
            "pad_vocab_size_multiple": 8,
            "tie_embeddings": True,
        }


class Mixer(nn.Module):
    """One Mamba mixer: (batch, length, d_model) to the same shape."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        d_inner, rank, states = sizes.d_inner, sizes.dt_rank, sizes.d_state
        self.in_proj = nn.Linear(sizes.d_model, 2 * d_inner, bias=False)
        self.conv1d = nn.Conv1d(d_inner, d_inner, sizes.d_conv, groups=d_inner)
        self.x_proj = nn.Linear(d_inner, rank + 2 * states, bias=False)
        self.dt_proj = nn.Linear(rank, d_inner)
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, states + 1)).repeat(d_inner, 1))
        self.D = nn.Parameter(torch.ones(d_inner))
        self.out_proj = nn.Linear(d_inner, sizes.d_model, bias=False)
        self._init_step_sizes(rank)
        # n_layer branches add up on the residual stream, which should begin no larger for that.
        with torch.no_grad():
            self.out_proj.weight /= math.sqrt(sizes.n_layer)

    def _init_step_sizes(self, rank: int) -> None:
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        low, high = math.log(DT_MIN), math.log(DT_MAX)
        steps = torch.exp(low + torch.rand(self.dt_proj.out_features) * (high - low))
        with torch.no_grad():
            self.dt_proj.bias.copy_(steps + torch.log(-torch.expm1(-steps)))  # softplus^-1

    def convolve(self, x: Tensor) -> Tensor:
        """Convolve every channel over time, as shifted products: nn.Conv1d is slow at that."""
        weight = self.conv1d.weight[:, 0]  # (d_inner, d_conv), the last tap on the present
        length, taps = x.shape[1], weight.shape[1]
        padded = functional.pad(x, (0, 0, taps - 1, 0))
        out = self.conv1d.bias + padded[:, :length] * weight[:, 0]
        for tap in range(1, taps):
            out = torch.addcmul(out, padded[:, tap : tap + length], weight[:, tap])
        return out

    def forward(self, x: Tensor) -> Tensor:
        u, z = self.in_proj(x).chunk(2, -1)  # (batch, length, d_inner) each
        u = functional.silu(self.convolve(u))
        states = self.A_log.shape[1]
        parts = [self.dt_proj.in_features, states, states]
        delta, B, C = self.x_proj(u).split(parts, -1)
        delta = functional.softplus(self.dt_proj(delta))
        y = selective_scan(u, delta, -torch.exp(self.A_log), B, C)
        return self.out_proj(torch.addcmul(y, u, self.D) * functional.silu(z))


class Block(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(sizes.d_model, eps=1e-5)
        self.mixer = Mixer(sizes)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mixer(self.norm(x))


class Backbone(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sizes.vocab_size, sizes.d_model)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.layers = nn.ModuleList(Block(sizes) for _ in range(sizes.n_layer))
        self.norm_f = nn.RMSNorm(sizes.d_model, eps=1e-5)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)  # (batch, length, d_model)
        for layer in self.layers:
            x = layer(x)
        return self.norm_f(x)


class MambaLM(nn.Module):
    """The language model: ids (batch, length) to logits (batch, length, vocab_size)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.backbone = Backbone(sizes)
        self.lm_head = nn.Linear(sizes.d_model, sizes.vocab_size, bias=False)
        self.lm_head.weight = self.backbone.embedding.weight  # tied, under two names

    def forward(self, ids: Tensor) -> Tensor:
        return self.lm_head(self.backbone(ids))
