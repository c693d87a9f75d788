"""Weights files of random weights, for benchmarks and tests."""

from __future__ import annotations

from pathlib import Path

from vimnp.config import VimConfig
from vimnp.models.random_weights import random_reader
from vimnp.weights import Metadata, write_weights


def write_random(path: Path, config: VimConfig, dtype: str = "float32") -> Path:
    """Write those that ``VisionMamba.random(config=config)`` has; returns the path."""
    read = random_reader(config, seed=0)
    tensors = ((name, read(name)) for name in config.parameter_shapes())
    write_weights(path, Metadata(config=config, dtype=dtype), tensors)
    return path
