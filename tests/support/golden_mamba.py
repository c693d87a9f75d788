"""The recorded language models of the original: which there are, and their weights as it has them.

The configurations are written out here, so that neither the converter nor what it infers decides
what is compared.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from vimnp.convert.formats.checkpoint import Checkpoint
from vimnp.convert.formats.safetensors_file import SafetensorsFile
from vimnp.models.mamba.config import MambaConfig

CASES = {
    "base": MambaConfig(d_model=64, n_layer=4, vocab_size=122, padded_vocab_size=128),
    "untied_n8": MambaConfig(
        d_model=64,
        n_layer=4,
        vocab_size=500,
        padded_vocab_size=504,
        d_state=8,
        tie_embeddings=False,
    ),
    "layernorm": MambaConfig(
        d_model=64, n_layer=4, vocab_size=130, padded_vocab_size=136, rms_norm=False
    ),
    "options": MambaConfig(
        d_model=48,
        n_layer=3,
        vocab_size=120,
        d_state=8,
        d_conv=3,
        d_inner=144,
        dt_rank=5,
        bias=True,
        conv_bias=False,
    ),
    "bf16": MambaConfig(d_model=64, n_layer=3, vocab_size=250, padded_vocab_size=256),
    "fp16_sharded": MambaConfig(d_model=64, n_layer=3, vocab_size=250, padded_vocab_size=256),
    "falcon": MambaConfig(
        d_model=64,
        n_layer=4,
        vocab_size=256,
        tie_embeddings=False,
        mixer_rms_eps=1e-6,
        eos_ids=(0,),
    ),
}
"""The recorded networks, by the names of their files."""

LENGTHS = (1, 7, 64, 257)
"""Tokens of the recorded prompts."""


@contextlib.contextmanager
def weights(golden: Path, case: str) -> Iterator[Callable[[str], np.ndarray]]:
    """Gives each tensor by the original's name for it."""
    if case == "falcon":  # which the original does not have
        with SafetensorsFile(golden / "mamba" / case / "model.safetensors") as file:
            yield lambda name: file.read(
                name.replace("backbone.embedding.", "backbone.embeddings.")
            )
    else:
        with Checkpoint(golden / "mamba" / f"{case}.pth") as checkpoint:
            yield checkpoint.read


@contextlib.contextmanager
def recorded(golden: Path, case: str) -> Iterator[np.lib.npyio.NpzFile]:
    """What the original has made of it."""
    with np.load(golden / "mamba" / f"{case}.npz") as file:
        yield file
