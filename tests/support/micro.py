"""The network of most tests."""

from __future__ import annotations

from typing import Any

from vimnp.config import VimConfig
from vimnp.models.vim.model import VisionMamba

MICRO = VimConfig(
    img_size=(32, 32), patch_size=8, stride=8, depth=2, embed_dim=24, d_state=5, num_classes=7
)
"""Runs in a moment; 5 states and 48 channels make tails in every vector width."""


def micro(**settings: Any) -> VisionMamba:
    """A model of it with random weights."""
    return VisionMamba.random(config=MICRO, **settings)
