"""Random weights, in memory and in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vimnp.config import VimConfig
from vimnp.models.random_weights import random_reader
from vimnp.weights import Metadata, write_weights


def random_weights(config: VimConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """A state dict of random float32 arrays."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.standard_normal(shape, dtype=np.float32)
        for name, shape in config.parameter_shapes().items()
    }


def write_random(path: Path, config: VimConfig, dtype: str = "float32") -> Path:
    """Write those that ``VisionMamba.random(config=config)`` has; returns the path."""
    read = random_reader(config, seed=0)
    tensors = ((name, read(name)) for name in config.parameter_shapes())
    write_weights(path, Metadata(config=config, dtype=dtype), tensors)
    return path
