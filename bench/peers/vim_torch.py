"""Vision Mamba in PyTorch with the scan that a user without a GPU has today, token by token.

tests/support/torch_vim.py with another scan. There all states come first and then all outputs, in
two stages, and time is the first axis, so that what a step reads is contiguous. Here a step has its
output at once (``scans_torch.py``), and the layout is that of ``selective_scan_ref`` in
``mamba_ssm/ops/selective_scan_interface.py`` of the original, which runs where there is no CUDA.

The letters of the shapes are those of tests/support/torch_vim.py.
"""

from __future__ import annotations

import checkout  # noqa: F401  (finds tests.support)
import torch
from torch import Tensor
from torch.nn import functional

from peers.scans_torch import step_by_step_scan
from tests.support import torch_vim
from vimnp.config import VimConfig


class StepByStepMamba(torch_vim.Mamba):
    """The mixer with that scan."""

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
