"""The recorded language models of the original: which there are, and their weights.

The folder ``mamba/`` has each of them in the original's layout and in transformers', where that has
such a network. The configurations are written out here, so that neither the converter nor what it
infers decides what is compared.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from vimnp.convert import convert_checkpoint
from vimnp.convert.formats.checkpoint import Checkpoint
from vimnp.convert.formats.safetensors_file import SafetensorsFile
from vimnp.models.mamba.config import MambaConfig

ORIGINAL, TRANSFORMERS = "original", "transformers"

_SMALL = {"d_model": 64, "n_layer": 4}
_SHORT = {"d_model": 64, "n_layer": 3, "vocab_size": 250, "padded_vocab_size": 256}
CASES = {
    "base": MambaConfig(**_SMALL, vocab_size=122, padded_vocab_size=128),
    "untied_n8": MambaConfig(
        **_SMALL, vocab_size=500, padded_vocab_size=504, d_state=8, tie_embeddings=False
    ),
    "layernorm": MambaConfig(**_SMALL, vocab_size=130, padded_vocab_size=136, rms_norm=False),
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
    "bf16": MambaConfig(**_SHORT),
    "fp16_sharded": MambaConfig(**_SHORT),
    "falcon": MambaConfig(
        **_SMALL, vocab_size=256, tie_embeddings=False, mixer_rms_eps=1e-6, eos_ids=(0,)
    ),
}
"""The configuration of each case, as its first layout tells it."""

LAYOUTS = {
    name: (TRANSFORMERS,) if name == "falcon" else (ORIGINAL, TRANSFORMERS) for name in CASES
} | {"layernorm": (ORIGINAL,)}

ERRORS = {
    "base": 9.8e-5,
    "untied_n8": 5.1e-5,
    "layernorm": 2.5e-4,
    "options": 4.9e-5,
    "bf16": 4.0e-5,
    "fp16_sharded": 4.4e-5,
    "falcon": 2.4e-5,
}
"""The largest error of the original's own logits in float32, of all tokens; of FalconMamba HF's."""

LENGTHS = (1, 7, 64, 257)
"""Tokens of the recorded prompts."""


class Case(NamedTuple):
    """A recorded language model.

    Parameters
    ----------
    name : str
    recorded : Path
        The ``.npz`` of prompts, logits, states and the like.
    weights : Path
        The weights file.
    """

    name: str
    recorded: Path
    weights: Path


def convert_case(
    golden: Path, name: str, folder: Path, *, layout: str | None = None, dtype: str = "float32"
) -> Case:
    """Convert a case into a weights file, by default from its first layout.

    Parameters
    ----------
    golden : Path
        The fixture of that name.
    name : str
        One of :data:`CASES`.
    folder : Path
        For the weights file.
    layout : {"original", "transformers"}, optional
        One of :data:`LAYOUTS`.
    dtype : str
        Of the weights file.
    """
    layout = layout or LAYOUTS[name][0]
    weights = folder / f"{name}-{layout}-{dtype}.npz"
    convert_checkpoint(layout_folder(golden, name, folder, layout), weights, dtype=dtype)
    return Case(name, recorded_in(golden) / f"{name}.npz", weights)


def layout_folder(golden: Path, name: str, folder: Path, layout: str) -> Path:
    """The folder of a case's checkpoint, with the names that it has on the hub."""
    recorded = recorded_in(golden)
    if layout == TRANSFORMERS:
        return recorded / name
    found = folder / f"{name}-{layout}"
    if not found.exists():
        found.mkdir()
        shutil.copy(recorded / f"{name}.pth", found / "pytorch_model.bin")
        shutil.copy(recorded / f"{name}.config.json", found / "config.json")
    return found


def recorded_in(golden: Path) -> Path:
    """The folder of the recorded language models; skips the test if it is not there."""
    folder = golden / "mamba"
    if not folder.is_dir():
        pytest.skip(f"needs the golden outputs of the language models, in {folder}")
    return folder


@contextlib.contextmanager
def weights(golden: Path, case: str) -> Iterator[Callable[[str], np.ndarray]]:
    """Gives each tensor by the original's name for it, without the converter."""
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
