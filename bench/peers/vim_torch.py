"""Vision Mamba in PyTorch with the scan that a user without a GPU has today, token by token.

tests/support/torch_vim.py with another scan. There all states come first and then all outputs, in
two stages, and time is the first axis, so that what a step reads is contiguous. Here a step has its
output at once, and the layout is that of ``selective_scan_ref`` in
``mamba_ssm/ops/selective_scan_interface.py`` of the original, which runs where there is no CUDA.

The letters of the shapes are those of tests/support/torch_vim.py.
"""

from __future__ import annotations

import checkout  # noqa: F401  (finds tests.support)
import torch
from torch import Tensor
from torch.nn import functional

from tests.support import torch_vim
from vimnp.config import VimConfig


def step_by_step_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """State and output of one token after the other; algorithm 2 of Mamba (Gu & Dao 2023).

    Parameters
    ----------
    u, delta : Tensor, shape (B, D, L)
        Input and step size, the latter after its softplus.
    A : Tensor, shape (D, N)
    B, C : Tensor, shape (B, N, L)

    Returns
    -------
    Tensor, shape (B, D, L)
        What the states give, without the input's way around them.
    """
    A_bar = torch.exp(delta[..., None] * A[:, None])  # (B, D, L, N)
    B_bar_u = (delta * u)[..., None] * B.transpose(1, 2)[:, None]  # (B, D, L, N)
    h = torch.zeros_like(A_bar[:, :, 0])  # (B, D, N)
    outputs = []
    for t in range(u.shape[-1]):
        h = A_bar[:, :, t] * h + B_bar_u[:, :, t]  # (B, D, N)
        outputs.append(torch.einsum("bdn,bn->bd", h, C[:, :, t]))
    return torch.stack(outputs, dim=-1)


class StepByStepMamba(torch_vim.Mamba):
    """The mixer with the scan above."""

    def _scan(self, inputs: list[Tensor], A_log: Tensor, z: Tensor, suffix: str) -> Tensor:
        """As in the class that it derives from."""
        u, delta, B, C = inputs
        delta = functional.softplus(delta + getattr(self, f"dt_proj{suffix}").bias[:, None])
        y = step_by_step_scan(u, delta, -torch.exp(A_log), B, C)  # (B, D, L)
        return (y + u * getattr(self, f"D{suffix}")[:, None]) * functional.silu(z)


class StepByStepVisionMamba(torch_vim.VisionMamba):
    """The network with such mixers.

    Parameters
    ----------
    config : VimConfig
    """

    def __init__(self, config: VimConfig) -> None:
        super().__init__(config)
        for layer in self.layers:
            layer.mixer = StepByStepMamba(config)
