"""What docstrings show runs, and gives what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import vimnp
from tests.support.vmamba_networks import block_tensors
from vimnp.models.vmamba.config import VMambaConfig

DATA = Path(__file__).parent / "data"

NEEDS = {"vimnp.text.tokenizer": "tokenizers"}
"""Packages that the examples of a module take."""


def modules_with_examples() -> Iterator[str]:
    for folder in (vimnp, *pkgutil.walk_packages(vimnp.__path__, "vimnp.")):
        name = folder.__name__ if folder is vimnp else folder.name
        origin = importlib.util.find_spec(name).origin
        if origin.endswith(".py") and ">>> " in Path(origin).read_text(encoding="utf-8"):
            yield name


class Tensor(np.ndarray):
    """What the example asks of PyTorch's tensors."""

    def numpy(self) -> np.ndarray:
        return self.view(np.ndarray)


def torch_block() -> SimpleNamespace:
    """A block of 4 channels with a gate, as PyTorch has it."""
    config = VMambaConfig(
        dims=(4,) * 4, d_inner=(8,) * 4, dt_rank=(1,) * 4, depths=(1,) * 4, d_state=2, gated=True
    )
    tensors = {name: values.view(Tensor) for name, values in block_tensors(config).items()}
    return SimpleNamespace(state_dict=lambda: tensors)


@pytest.fixture
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What examples may name: NumPy, vimnp, the scans of digits, and a block of PyTorch's."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(DATA, tmp_path / "tests" / "data")
    for scan in DATA.glob("digit_*.png"):
        folder = tmp_path / "scans" / scan.name.split("_")[1]
        folder.mkdir(parents=True)
        shutil.copy(scan, folder)
    return {"np": np, "vimnp": vimnp, "torch_block": torch_block()}


@pytest.mark.parametrize("name", [*modules_with_examples()])
def test_examples_of_docstrings_give_what_they_say(name: str, surroundings: dict[str, Any]) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    module = importlib.import_module(name)
    failed, tried = doctest.testmod(module, extraglobs=surroundings)
    assert tried
    assert not failed
