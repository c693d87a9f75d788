"""What a prediction takes from the start of its process: memory, time, and space on the disk.

    python bench/footprint.py [--rounds 20]

Each process classifies one photograph of noise, 640x480 pixels. Space on the disk is that of the
packages as they are installed, so that vimnp is to come from a wheel. Linux only. Other networks'
processes are for bench/peers.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import checkout  # noqa: F401  (finds tests.support)
import numpy as np
from children import seconds_of
from limits import forward_pass, medians, network
from PIL import Image
from script_tables import Bound, bounds
from surroundings import rounds_parser, run

from tests.support.processes import peak_memory
from tests.support.random_weights import write_random
from vimnp.config import PUBLISHED
from vimnp.engine.settings import BACKENDS

PREDICT = "import sys; from vimnp.cli import main; assert main(sys.argv[1:]) == 0"


def prepare(folder: Path) -> None:
    for name in ("tiny", "tiny-stride8"):
        write_random(folder / f"{name}.npz", PUBLISHED[name])
    write_photograph(folder)


def write_photograph(folder: Path) -> None:
    """What :func:`arguments` have ``vimnp predict`` classify."""
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    Image.fromarray(noise).save(folder / "photograph.jpg")


def arguments(folder: Path, name: str, backend: str) -> list[object]:
    photograph, weights = folder / "photograph.jpg", folder / f"{name}.npz"
    return ["predict", photograph, "--weights", weights, "--backend", backend]


def memory(folder: Path) -> Iterator[Bound]:
    for name, most in (("tiny", 80e6), ("tiny-stride8", 100e6)):
        for backend in BACKENDS:
            peak = peak_memory(PREDICT, *arguments(folder, name, backend))
            tokens = PUBLISHED[name].num_tokens
            what = f"peak memory of `vimnp predict`, {tokens} tokens, {backend}"
            yield Bound(what, peak, "MB", most)
    yield Bound("peak memory of `import numpy`", peak_memory("import numpy"), "MB")


def cold_start(folder: Path, rounds: int) -> Iterator[Bound]:
    python = [sys.executable]
    commands = {
        "import": [*python, "-c", "import numpy"],
        **{
            backend: [*python, "-m", "vimnp", *arguments(folder, "tiny", backend)]
            for backend in BACKENDS
        },
    }
    seconds = seconds_of(commands, rounds)
    yield Bound("time of `import numpy`", seconds["import"], "ms")
    for backend in BACKENDS:
        forward = medians({"": forward_pass(*network(224, 2, backend))}, rounds, pause=0.1)[""]
        start = seconds[backend]
        yield Bound(f"time of `vimnp predict`, {backend}", start, "ms")
        ratio = start / (seconds["import"] + forward)
        yield Bound(f"`vimnp predict` over `import numpy` and a pass, {backend}", ratio, "x", 1.6)


def disk() -> Iterator[Bound]:
    total = 0
    for package in ("vimnp", "numpy", "pillow"):
        files = importlib.metadata.files(package) or []
        paths = {path.resolve() for file in files if (path := Path(str(file.locate()))).is_file()}
        size = sum(path.stat().st_size for path in paths)
        total += size
        what = f"on disk: {package} {importlib.metadata.version(package)}"
        yield Bound(what, size, "MB on disk")
    yield Bound("on disk: all three", total, "MB on disk")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures: a row for each :class:`script_tables.Bound`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        found = [*memory(folder), *cold_start(folder, options.rounds), *disk()]
    return {"rounds": options.rounds, "bounds": [bound._asdict() for bound in found]}


def main() -> None:
    run(rounds_parser(__doc__, 20), measure, bounds, ("vimnp", "numpy", "pillow"))


if __name__ == "__main__":
    main()
