"""Vision Mamba on a CPU with NumPy and compiled kernels, without PyTorch.

>>> model = vimnp.load("vim_tiny.npz")
>>> logits = model("cat.jpg")

The modules are there as attributes, such as ``vimnp.profiling``, and load when they are used.
"""

__version__ = "0.1.0"

import importlib
from typing import TYPE_CHECKING

from vimnp.config import VimConfig
from vimnp.errors import CheckpointError, ConfigError, ImageError, VimnpError, WeightsError
from vimnp.loading import load
from vimnp.model import Prediction, VimBase, VimSmall, VimTiny, VisionMamba
from vimnp.reference import Direction

if TYPE_CHECKING:
    from vimnp import config as config
    from vimnp import costs as costs
    from vimnp import errors as errors
    from vimnp import evaluate as evaluate
    from vimnp import image as image
    from vimnp import image_folder as image_folder
    from vimnp import ops as ops
    from vimnp import profiling as profiling
    from vimnp import reference as reference
    from vimnp import results as results
    from vimnp import threads as threads
    from vimnp import trace as trace
    from vimnp import weights as weights
    from vimnp.ops import causal_conv1d, selective_scan, selective_scan_bidirectional

_MODULES = (
    "config",
    "costs",
    "errors",
    "evaluate",
    "image",
    "image_folder",
    "ops",
    "profiling",
    "reference",
    "results",
    "threads",
    "trace",
    "weights",
)

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
    "load",
    "selective_scan",
    "selective_scan_bidirectional",
]


def __getattr__(name: str) -> object:
    """Operations and modules load when they are used: no network needs all of them."""
    if name in _MODULES:
        return importlib.import_module(f"vimnp.{name}")
    if name not in __all__:  # what else is public is there already
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vimnp import ops

    return getattr(ops, name)


def __dir__() -> list[str]:
    return [*globals(), *__all__, *_MODULES]
