"""Vision Mamba on a CPU with NumPy and compiled kernels, without PyTorch.

>>> model = vimnp.VimTiny.from_npz("vim_tiny.npz")
>>> logits = model(PIL.Image.open("cat.jpg"))
"""

__version__ = "0.1.0"

from vimnp.config import VimConfig
from vimnp.errors import CheckpointError, ConfigError, ImageError, VimnpError, WeightsError
from vimnp.model import Prediction, VimBase, VimSmall, VimTiny, VisionMamba
from vimnp.ops import causal_conv1d, selective_scan, selective_scan_bidirectional
from vimnp.reference import Direction

__all__ = [
    "CheckpointError",
    "ConfigError",
    "Direction",
    "ImageError",
    "Prediction",
    "VimBase",
    "VimConfig",
    "VimSmall",
    "VimTiny",
    "VimnpError",
    "VisionMamba",
    "WeightsError",
    "causal_conv1d",
    "selective_scan",
    "selective_scan_bidirectional",
]
