"""The pictures that lie in the repository: handwritten digits, which the bundled model reads."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCANS = sorted((Path(__file__).parents[1] / "data").glob("digit_*.png"))
"""A 0, a 1, and so on up to 9."""


def all_scans() -> tuple[list[Image.Image], np.ndarray]:
    """The 1,797 scans of the data set that those are of, and their labels; skips without it."""
    datasets = pytest.importorskip("sklearn.datasets", reason="the scans come with scikit-learn")
    digits = datasets.load_digits()  # values 0..16: how many of 4x4 finer pixels were inked
    grey = np.round(digits.images * 255 / 16).astype(np.uint8)
    return [Image.fromarray(scan) for scan in grey], digits.target


def write_scans(folder: Path) -> Path:
    """All scans in a folder and one below it, with a picture that is damaged and a text."""
    (folder / "more").mkdir(parents=True)
    for index, scan in enumerate(SCANS):
        shutil.copy(scan, folder / ("more" if index % 3 else ""))
    (folder / "damaged.png").write_bytes(SCANS[0].read_bytes()[:60])
    (folder / "notes.txt").touch()
    return folder
