"""What a prediction takes from the start of its process: memory, time, and space on the disk.

    python bench/footprint.py [--rounds 20]

Each process classifies one photograph of noise, 640x480 pixels. The peer is DeiT-tiny, the
transformer of Vim-tiny's size, in ONNX Runtime (bench/deit_tiny.py), whose process imports, loads
and runs it on an array. Linux only.
"""

from __future__ import annotations

import importlib.metadata
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import checkout  # noqa: F401  (finds tests.support)
import numpy as np
from children import seconds_of
from deit_tiny import deit_tiny
from limits import forward_pass, medians, network
from PIL import Image
from surroundings import print_table, rounds_asked_for

from tests.support.processes import peak_memory
from tests.support.random_weights import write_random
from vimnp.config import PUBLISHED
from vimnp.engine.settings import BACKENDS

PREDICT = "import sys; from vimnp.cli import main; assert main(sys.argv[1:]) == 0"
TRANSFORMER = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
pixels = numpy.zeros((1, 3, 224, 224), numpy.float32)
print(session.run(["logits"], {"pixels": pixels})[0].argmax())
"""


def prepare(folder: Path) -> None:
    for name in ("tiny", "tiny-stride8"):
        write_random(folder / f"{name}.npz", PUBLISHED[name])
    write_photograph(folder)
    (folder / "deit.onnx").write_bytes(deit_tiny())


def write_photograph(folder: Path) -> None:
    """What :func:`arguments` have ``vimnp predict`` classify."""
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    Image.fromarray(noise).save(folder / "photograph.jpg")


def arguments(folder: Path, name: str, backend: str) -> list[object]:
    photograph, weights = folder / "photograph.jpg", folder / f"{name}.npz"
    return ["predict", photograph, "--weights", weights, "--backend", backend]


def memory(folder: Path) -> Iterator[tuple[str, str, str]]:
    for name, most in (("tiny", "80 MB"), ("tiny-stride8", "100 MB")):
        for backend in BACKENDS:
            peak = peak_memory(PREDICT, *arguments(folder, name, backend))
            tokens = PUBLISHED[name].num_tokens
            what = f"peak memory of `vimnp predict`, {tokens} tokens, {backend}"
            yield what, most, f"{peak / 1e6:.0f} MB"
    for what, peak in (
        ("peak memory of `import numpy`", peak_memory("import numpy")),
        ("peak memory of DeiT-tiny", peak_memory(TRANSFORMER, folder / "deit.onnx")),
    ):
        yield what, "-", f"{peak / 1e6:.0f} MB"


def cold_start(folder: Path, rounds: int) -> Iterator[tuple[str, str, str]]:
    python = [sys.executable]
    commands = {
        "import": [*python, "-c", "import numpy"],
        "DeiT": [*python, "-c", TRANSFORMER, folder / "deit.onnx"],
        **{
            backend: [*python, "-m", "vimnp", *arguments(folder, "tiny", backend)]
            for backend in BACKENDS
        },
    }
    seconds = seconds_of(commands, rounds)
    yield "time of `import numpy`", "-", f"{seconds['import'] * 1e3:.0f} ms"
    yield "time of DeiT-tiny", "-", f"{seconds['DeiT'] * 1e3:.0f} ms"
    for backend in BACKENDS:
        forward = medians({"": forward_pass(*network(224, 2, backend))}, rounds, pause=0.1)[""]
        yield f"a forward pass, {backend}, 2 threads", "-", f"{forward * 1e3:.0f} ms"
        start = seconds[backend]
        yield f"time of `vimnp predict`, {backend}", "-", f"{start * 1e3:.0f} ms"
        ratio = f"{start / (seconds['import'] + forward):.2f}x"
        yield f"`vimnp predict` over `import numpy` and a pass, {backend}", "1.6x", ratio
        ratio = f"{start / seconds['DeiT']:.2f}x"
        yield f"`vimnp predict` over DeiT-tiny, {backend}", "0.9x", ratio


def disk() -> Iterator[tuple[str, str, str]]:
    total = 0.0
    for package in ("vimnp", "numpy", "pillow"):
        files = importlib.metadata.files(package) or []
        paths = {path.resolve() for file in files if (path := Path(str(file.locate()))).is_file()}
        size = sum(path.stat().st_size for path in paths) / 1e6
        total += size
        yield f"on disk: {package} {importlib.metadata.version(package)}", "-", f"{size:.1f} MB"
    yield "on disk: all three", "-", f"{total:.1f} MB"


def main() -> None:
    rounds = rounds_asked_for(__doc__, 20)

    def rows() -> Iterator[tuple[str, str, str]]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            prepare(folder)
            yield from memory(folder)
            yield from cold_start(folder, rounds)
        yield from disk()

    print_table(("what", "at most", "measured"), rows())


if __name__ == "__main__":
    main()
