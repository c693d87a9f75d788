"""The network of most tests."""

from vimnp.config import VimConfig

MICRO = VimConfig(
    img_size=(32, 32), patch_size=8, stride=8, depth=2, embed_dim=24, d_state=5, num_classes=7
)
"""Runs in a moment; 5 states and 48 channels make tails in every vector width."""
