"""One network in a process: import, load, a first pass, and then passes in turn if asked for.

Prints JSON, a line each: the logits of the first pass, and for every line read from the standard
input the seconds of the passes that count.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from peers.loaders import Run
from peers.registry import ALL_NETWORKS

PIXELS = "pixels.npy"

MOST_WARM = 3  # passes before those that count, in each turn: they wake threads and fill the cache
LONG_WARM = 0.5  # seconds of them that are enough
COUNTED = 2  # passes of a turn


def main(name: str, folder: str, num_threads: str, scan: str, turns: str = "") -> None:
    """Run a network.

    Parameters
    ----------
    name : str
        Of ``ALL_NETWORKS``.
    folder : str
        Where ``weights_files.py`` wrote the weights and the picture.
    num_threads : str
        A whole number.
    scan : str
        Mode of vimnp's scans.
    turns : str
        Whether more passes are to follow the first one; "" for no.
    """
    network = ALL_NETWORKS[name]
    pixels = np.load(Path(folder, PIXELS))
    run = network.load(Path(folder, network.weights), int(num_threads), scan)
    print(json.dumps(run(pixels).tolist()), flush=True)
    if turns:
        for _ in sys.stdin:
            print(json.dumps(turn(run, pixels)), flush=True)


def turn(run: Run, pixels: np.ndarray) -> list[float]:
    """Seconds of each pass that counts, after the warm ones."""
    start = time.perf_counter()
    for _ in range(MOST_WARM):
        run(pixels)
        if time.perf_counter() - start > LONG_WARM:
            break
    seconds = []
    for _ in range(COUNTED):
        start = time.perf_counter()
        run(pixels)
        seconds.append(time.perf_counter() - start)
    return seconds
