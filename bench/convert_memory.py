"""Peak memory of converting a checkpoint, over the checkpoint's size; on Linux.

python bench/convert_memory.py [NETWORK ...]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import checkout  # noqa: F401  (finds tests.support)
import numpy as np
from safetensors.numpy import save_file
from script_tables import convert_memory
from surroundings import run

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


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures: of each network and kind of file the bytes of the file and of the memory."""
    rows = []
    for network in options.networks:
        for suffix in (".pth", ".safetensors"):
            with tempfile.TemporaryDirectory() as folder:
                source = Path(folder, "random").with_suffix(suffix)
                write_checkpoint(PUBLISHED[network], source)
                size = source.stat().st_size
                peak = peak_memory(CONVERT, source, Path(folder, "random.npz"))
            rows.append(
                {"network": network, "suffix": suffix, "file_size": size, "peak_memory": peak}
            )
    return {"converted": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", metavar="NETWORK", default=["small", "base"])
    run(parser, measure, convert_memory)


if __name__ == "__main__":
    main()
