"""What storing the weights as float16 changes in the logits.

    python bench/float16_storage.py [CHECKPOINT.pth ...]

Networks of random weights of the published sizes, and checkpoints of your own, are stored in both
dtypes and given the same pictures: noise with the mean and variance of normalised pixels.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import checkout  # noqa: F401  (finds tests.support)
import numpy as np
from script_tables import float16_storage
from surroundings import run

from tests.support.random_weights import write_random
from vimnp import VisionMamba
from vimnp.config import PUBLISHED
from vimnp.convert import convert_checkpoint

PICTURES = 8
DTYPES = ("float32", "float16")


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


def compare(files: dict[str, Path]) -> dict[str, float]:
    """Bytes of the files, the largest logit, its change, and the share of the same best class."""
    logits, sizes = {}, {}
    for dtype, path in files.items():
        model = VisionMamba.from_npz(path)
        shape = (PICTURES, 3, *model.config.img_size)
        logits[dtype] = model(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))
        sizes[dtype] = path.stat().st_size
    whole, half = logits["float32"], logits["float16"]
    return {
        **sizes,
        "largest_logit": np.abs(whole).max(),
        "change": np.abs(whole - half).max(),
        "same_class": np.mean(whole.argmax(axis=-1) == half.argmax(axis=-1)),
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures: a row for each network."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [
            *(
                {"network": f"{name}, random"} | compare(random_files(folder, name))
                for name in PUBLISHED
            ),
            *(
                {"network": path.stem} | compare(converted_files(folder, path))
                for path in options.checkpoints
            ),
        ]
    return {"networks": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoints", nargs="*", type=Path, metavar="CHECKPOINT.pth")
    run(parser, measure, float16_storage)


if __name__ == "__main__":
    main()
