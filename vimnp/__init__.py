"""Vision Mamba on a CPU with NumPy and compiled kernels, without PyTorch.

>>> model = vimnp.VimTiny.from_npz("vim_tiny.npz")
>>> logits = model(PIL.Image.open("cat.jpg"))
"""

__version__ = "0.1.0"

from typing import TYPE_CHECKING

from vimnp.config import VimConfig
from vimnp.errors import CheckpointError, ConfigError, ImageError, VimnpError, WeightsError
from vimnp.model import Prediction, VimBase, VimSmall, VimTiny, VisionMamba
from vimnp.reference import Direction

if TYPE_CHECKING:
    from vimnp.ops import causal_conv1d, selective_scan, selective_scan_bidirectional

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


def __getattr__(name: str) -> object:
    """The operations load when they are used: no network needs them."""
    if name not in __all__:  # what else is public is there already
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vimnp import ops

    return getattr(ops, name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
