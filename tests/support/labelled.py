"""A folder of labelled pictures, and a network that they are shown to."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.micro import MICRO
from vimnp.evaluate.accuracy import Evaluation, evaluate
from vimnp.evaluate.image_folder import Sample, find_pictures
from vimnp.models.vim.model import VisionMamba
from vimnp.weights import Metadata

CLASSES = [str(index) for index in range(MICRO.num_classes)]
LABELS = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu")
METADATA = Metadata(config=MICRO)
LABELLED = Metadata(config=MICRO, labels=LABELS)
ALL_TOKENS = dataclasses.replace(MICRO, if_cls_token=False, final_pool_type="all")
WNIDS = [f"n0144{index:04}" for index in range(MICRO.num_classes)]


def write_picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_folders(root: Path, names: list[str]) -> Path:
    """A folder with an empty picture for each of these classes: for what nobody opens."""
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "a.png").touch()
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures in each of the classes' folders, one of them deeper, and what goes wrong."""
    root = tmp_path / "val"
    for index, name in enumerate(CLASSES):
        write_picture(root / name / "a.png", 3 * index)
        write_picture(root / name / "b.ppm", 3 * index + 1)
        write_picture(root / name / "more" / "c.png", 3 * index + 2)
    (root / "2" / "b.ppm").write_text("no picture")
    Image.new("RGB", (3000, 1)).save(root / "5" / "long.png")
    return root


UNREADABLE = ["2/b.ppm", "5/long.png"]


@pytest.fixture(scope="module")
def model() -> VisionMamba:
    return VisionMamba.random(config=MICRO, num_threads=1)


def evaluated(model: VisionMamba, folder: Path, **options) -> Evaluation:
    found = find_pictures(folder, model.metadata)
    return evaluate(model, found.path, found.samples, **options)


def samples_of(sizes: list[int]) -> list[Sample]:
    """So many of each class."""
    return [Sample(f"{c}/{i:03}", c) for c, size in enumerate(sizes) for i in range(size)]
