"""Peak memory of converting a checkpoint, over the checkpoint's size; on Linux.

python bench/convert_memory.py [NETWORK ...]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import checkout  # noqa: F401  (finds tests.support)
import numpy as np
from safetensors.numpy import save_file
from surroundings import print_table

from tests.support.processes import peak_memory
from tests.support.random_weights import random_weights
from tests.support.torch_format import save
from vimnp.config import PUBLISHED, VimConfig

CONVERT = """
import sys
from vimnp.convert import convert_checkpoint
convert_checkpoint(sys.argv[1], sys.argv[2])
"""


def write_checkpoint(config: VimConfig, path: Path) -> None:
    """Write random weights as a ``.pth`` or a ``.safetensors`` file."""
    weights: dict[str, np.ndarray] = random_weights(config)
    if path.suffix == ".pth":
        save(path, {"model": weights})
    else:
        save_file(weights, path)


def rows(networks: list[str]) -> Iterator[tuple[str, ...]]:
    for network in networks:
        for suffix in (".pth", ".safetensors"):
            with tempfile.TemporaryDirectory() as folder:
                source = Path(folder, "random").with_suffix(suffix)
                write_checkpoint(PUBLISHED[network], source)
                size = source.stat().st_size
                peak = peak_memory(CONVERT, source, Path(folder, "random.npz"))
            ratio = f"{peak / size:.2f}"
            yield network, suffix, f"{size / 1e6:.0f} MB", f"{peak / 1e6:.0f} MB", ratio


def main() -> None:
    networks = sys.argv[1:] or ["small", "base"]
    print_table(("network", "file", "its size", "peak memory", "peak / size"), rows(networks))


if __name__ == "__main__":
    main()
