"""What storing the weights as float16 changes in the logits.

    python bench/float16_storage.py [CHECKPOINT.pth ...]

Networks of random weights of the published sizes, and checkpoints of your own, are stored in both
dtypes and given the same pictures: noise with the mean and variance of normalised pixels.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import checkout  # noqa: F401  (finds tests.support)
import numpy as np
from surroundings import begin, print_table

from tests.support.random_weights import write_random
from vimnp import VisionMamba
from vimnp.config import PUBLISHED
from vimnp.convert import convert_checkpoint
from vimnp.weights import DTYPES

PICTURES = 8


def random_files(folder: Path, name: str) -> dict[str, Path]:
    """Weights files of random weights, by dtype."""
    return {
        dtype: write_random(folder / f"{name}.{dtype}.npz", PUBLISHED[name], dtype)
        for dtype in DTYPES
    }


def converted_files(folder: Path, checkpoint: Path) -> dict[str, Path]:
    files = {dtype: folder / f"{checkpoint.stem}.{dtype}.npz" for dtype in DTYPES}
    for dtype, path in files.items():
        convert_checkpoint(checkpoint, path, dtype=dtype)
    return files


def compare(files: dict[str, Path]) -> Iterator[str]:
    """Sizes in MB, the largest logit, its largest change, and the share of the same best class."""
    logits = {}
    for dtype, path in files.items():
        model = VisionMamba.from_npz(path)
        shape = (PICTURES, 3, *model.config.img_size)
        logits[dtype] = model(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))
        yield f"{path.stat().st_size / 1e6:.1f}"
    whole, half = logits["float32"], logits["float16"]
    yield f"{np.abs(whole).max():.2f}"
    yield f"{np.abs(whole - half).max():.1e}"
    yield f"{np.mean(whole.argmax(axis=-1) == half.argmax(axis=-1)):.0%}"


def rows(folder: Path) -> Iterator[tuple[str, ...]]:
    for name in PUBLISHED:
        yield f"{name}, random", *compare(random_files(folder, name))
    for path in map(Path, sys.argv[1:]):
        yield path.stem, *compare(converted_files(folder, path))


def main() -> None:
    begin()
    columns = ("network", "float32, MB", "float16, MB", "largest logit", "change", "same class")
    with tempfile.TemporaryDirectory() as folder:
        print_table(columns, rows(Path(folder)))


if __name__ == "__main__":
    main()
