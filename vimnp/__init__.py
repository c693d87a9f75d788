"""Vision Mamba, VMamba and Mamba on a CPU with NumPy and compiled kernels, without PyTorch.

>>> model = vimnp.load("digits")
>>> model("tests/data/digit_3_45.png").shape
(10,)
>>> model.predict("tests/data/digit_3_45.png")[0].label
'3'

The modules are there as attributes, such as ``vimnp.profiling``, and load when they are used.
"""

import importlib
from typing import TYPE_CHECKING

from vimnp.errors import (
    CheckpointError,
    ConfigError,
    HubError,
    ImageError,
    StateError,
    TextError,
    VimnpError,
    WeightsError,
)
from vimnp.models import load
from vimnp.models.vim.config import VimConfig
from vimnp.models.vim.model import VimBase, VimSmall, VimTiny, VisionMamba
from vimnp.models.vision import Prediction
from vimnp.version import __version__ as __version__
from vimnp.weights.by_name import register_finder as _register_finder

if TYPE_CHECKING:
    from vimnp import config as config
    from vimnp import errors as errors
    from vimnp import evaluate as evaluate
    from vimnp import ops as ops
    from vimnp import weights as weights
    from vimnp.engine import costs as costs
    from vimnp.engine.state import State
    from vimnp.evaluate import image_folder as image_folder
    from vimnp.evaluate import results as results
    from vimnp.images import preprocessing as _preprocessing
    from vimnp.measure import profiling as profiling
    from vimnp.measure import trace as trace
    from vimnp.models.generation import Generation
    from vimnp.models.mamba.config import MambaConfig
    from vimnp.models.mamba.model import MambaLM
    from vimnp.models.medmamba.config import MedMambaConfig
    from vimnp.models.medmamba.model import MedMamba
    from vimnp.models.vmamba.config import VMambaConfig
    from vimnp.models.vmamba.model import VMamba
    from vimnp.models.vmamba.ss2d import SS2D
    from vimnp.models.vmunet.config import VMUNetConfig
    from vimnp.models.vmunet.model import VMUNet
    from vimnp.ops import reference as reference
    from vimnp.ops.checked import (
        causal_conv1d,
        causal_conv1d_update,
        conv2d,
        gelu,
        layer_norm,
        selective_scan,
        selective_scan_bidirectional,
        selective_state_update,
    )
    from vimnp.ops.cross_scans import cross_merge, cross_scan, selective_scan_2d
    from vimnp.ops.reference import Direction
    from vimnp.runtime import threads as threads
    from vimnp.text.tokenizer import Tokenizer

    image = _preprocessing  # a module imported by another name is no public one to pyright

_register_finder("vimnp.hub")  # which knows the networks: they cannot know it

_MODULES = {
    "config": "vimnp.config",
    "costs": "vimnp.engine.costs",
    "errors": "vimnp.errors",
    "evaluate": "vimnp.evaluate",
    "image": "vimnp.images.preprocessing",
    "image_folder": "vimnp.evaluate.image_folder",
    "ops": "vimnp.ops",
    "profiling": "vimnp.measure.profiling",
    "reference": "vimnp.reference",
    "results": "vimnp.evaluate.results",
    "threads": "vimnp.runtime.threads",
    "trace": "vimnp.measure.trace",
    "weights": "vimnp.weights",
}

_LATE = {
    "Generation": "vimnp.models.generation",
    "MambaConfig": "vimnp.models.mamba.config",
    "MedMamba": "vimnp.models.medmamba.model",
    "MedMambaConfig": "vimnp.models.medmamba.config",
    "MambaLM": "vimnp.models.mamba.model",
    "State": "vimnp.engine.state",
    "Tokenizer": "vimnp.text.tokenizer",
    "SS2D": "vimnp.models.vmamba.ss2d",
    "VMamba": "vimnp.models.vmamba.model",
    "VMambaConfig": "vimnp.models.vmamba.config",
    "VMUNet": "vimnp.models.vmunet.model",
    "VMUNetConfig": "vimnp.models.vmunet.config",
}
"""Where names are that load when they are used: no Vision Mamba needs them."""

__all__ = [
    "SS2D",
    "CheckpointError",
    "ConfigError",
    "Direction",
    "Generation",
    "HubError",
    "ImageError",
    "MambaConfig",
    "MambaLM",
    "MedMamba",
    "MedMambaConfig",
    "Prediction",
    "State",
    "StateError",
    "TextError",
    "Tokenizer",
    "VMUNet",
    "VMUNetConfig",
    "VMamba",
    "VMambaConfig",
    "VimBase",
    "VimConfig",
    "VimSmall",
    "VimTiny",
    "VimnpError",
    "VisionMamba",
    "WeightsError",
    "causal_conv1d",
    "causal_conv1d_update",
    "conv2d",
    "cross_merge",
    "cross_scan",
    "gelu",
    "layer_norm",
    "load",
    "selective_scan",
    "selective_scan_2d",
    "selective_scan_bidirectional",
    "selective_state_update",
]


def __getattr__(name: str) -> object:
    """What not every network needs loads when it is used: operations, modules, other families."""
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name in _LATE:
        return getattr(importlib.import_module(_LATE[name]), name)
    if name not in __all__:  # what else is public is there already
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vimnp import ops

    return getattr(ops, name)


def __dir__() -> list[str]:
    return [*globals(), *__all__, *_MODULES]
