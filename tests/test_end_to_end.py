"""A checkpoint that PyTorch wrote, converted and run by the command: float64 is the truth.

Each option and each published network, on both backends, as a user would go about it.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import vimnp
from tests.support.digits import SCANS
from tests.support.implementations import WAYS
from tests.support.options import OPTIONS
from vimnp import cli
from vimnp.config import PUBLISHED, VimConfig
from vimnp.convert.settings import to_text
from vimnp.images.preprocessing import Preprocessing, preprocess, read_image

torch = pytest.importorskip("torch", reason="the checkpoints are written by PyTorch")

from tests.support import torch_vim  # noqa: E402  (it imports torch)

SMALL = VimConfig(img_size=(48, 48), patch_size=8, stride=8, depth=2, embed_dim=24, num_classes=5)
TOLERANCE = 5e-6  # of logits and scores; PyTorch's own float32 is within 1.2e-6 of its float64
PICTURE = SCANS[3]


def network(config: VimConfig) -> torch_vim.VisionMamba:
    """Random weights, of which every one matters: many initial values are all ones or zeros."""
    torch.manual_seed(0)
    model = torch_vim.VisionMamba(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += (
                0.1 * parameter.std(correction=0).clamp(min=0.1) * torch.randn_like(parameter)
            )
    return model


def convert(source: Path, destination: Path, *options: str) -> None:
    assert cli.main(["convert", str(source), str(destination), *options]) == 0


def save(model: torch_vim.VisionMamba, path: Path) -> Path:
    torch.save({"model": model.state_dict()}, path)
    return path


def logits64(model: torch_vim.VisionMamba, pixels: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model.double()(torch.from_numpy(pixels).double()).numpy()


def assert_runs(weights: Path, model: torch_vim.VisionMamba) -> None:
    """On both backends, where the kernels are built."""
    pixels = np.random.default_rng(0).standard_normal((1, 3, *model.config.img_size), np.float32)
    truth = logits64(model, pixels)
    for way in WAYS[:2]:
        found = vimnp.VisionMamba.from_npz(weights, backend=way.backend)
        assert found.config == model.config
        assert np.abs(found(pixels) - truth).max() <= TOLERANCE


def assert_predicts(
    weights: Path, model: torch_vim.VisionMamba, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command gives every class the score that the truth gives it."""
    capsys.readouterr()
    command = ["predict", str(PICTURE), "--weights", str(weights), "--json", "--top-k", "5"]
    assert cli.main(command) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    pixels = preprocess(read_image(PICTURE), model.config.img_size, Preprocessing())
    scores = np.exp(logits64(model, pixels[None])[0])
    scores /= scores.sum()
    assert [p["index"] for p in answer["predictions"]] == list(np.argsort(-scores)[:5])
    for prediction in answer["predictions"]:
        assert abs(prediction["score"] - scores[prediction["index"]]) <= TOLERANCE


@pytest.mark.parametrize("option", OPTIONS)
def test_each_option(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = {"img_size": SMALL.img_size} | OPTIONS[option]
    model = network(dataclasses.replace(SMALL, **changes))
    settings = [f"--set={name}={to_text(value)}" for name, value in changes.items()]
    weights = tmp_path / "vim.npz"
    convert(save(model, tmp_path / "vim.pth"), weights, *settings)
    assert_runs(weights, model)
    if model.config.final_pool_type == "all":
        assert cli.main(["predict", str(PICTURE), "--weights", str(weights)]) != 0
        assert "final_pool_type is 'all'" in capsys.readouterr().err
    else:
        assert_predicts(weights, model, capsys)


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_published_network(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = network(PUBLISHED[name])
    weights = tmp_path / "vim.npz"
    source = save(model, tmp_path / "vim.pth")
    convert(source, weights, "--model", name)
    recognised = weights.read_bytes()[:4096]  # the configuration stands at the beginning
    convert(source, weights)
    assert weights.read_bytes()[:4096] == recognised
    assert_runs(weights, model)
    assert_predicts(weights, model, capsys)


def test_a_safetensors_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file
    model = network(SMALL)
    save_file(model.state_dict(), tmp_path / "vim.safetensors")
    convert(tmp_path / "vim.safetensors", tmp_path / "vim.npz")
    assert_runs(tmp_path / "vim.npz", model)
    assert_predicts(tmp_path / "vim.npz", model, capsys)
