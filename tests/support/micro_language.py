"""A small language model of random weights, which reads and writes bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vimnp.models.mamba.config import MambaConfig
from vimnp.models.random_weights import random_reader
from vimnp.weights import Metadata, write_weights

MICRO_LANGUAGE = MambaConfig(d_model=16, n_layer=2, vocab_size=256, d_state=4)


def write_language_model(
    path: Path, config: MambaConfig = MICRO_LANGUAGE, tokenizer: bytes | None = None, **values: Any
) -> Path:
    """Write what ``MambaLM.random(config)`` has, with bytes as tokens, or a tokenizer.json."""
    values = {"tokenizer": "bytes" if tokenizer is None else "tokenizer.json"} | values
    metadata = Metadata(config=config, preprocessing=None, **values)
    read = random_reader(config, seed=0)
    tensors = ((name, read(name)) for name in config.parameter_shapes())
    write_weights(path, metadata, tensors, tokenizer=tokenizer)
    return path
