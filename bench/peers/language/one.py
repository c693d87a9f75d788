"""One language model in a process: import, load, a first token, and then what is asked for.

Prints JSON, a line each: the first token, and for every line read from the standard input what it
asks for: the logits to compare, or the seconds of a workload.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from peers.language.networks import NETWORKS
from peers.language.runner import Runner
from peers.language.workloads import BATCH, DECODE, FIRST_PROMPT, PROMPT_LONGEST, WORKLOADS

IDS = "ids.npy"
CHECK = "check"

CHECKED_PROMPT, CHECKED_STEPS = 150, 3  # tokens: more than vimnp reads at once


def main(name: str, folder: str, num_threads: str, what: str = "first") -> None:
    """Run a network.

    Parameters
    ----------
    name : str
        Of ``NETWORKS``.
    folder : str
        Where ``weights_files.py`` wrote the weights and the ids.
    num_threads : str
        A whole number.
    what : {"first", "text", "turns"}
        After the first token: nothing, the longest prompt and decoding, or what is asked for.
    """
    network = NETWORKS[name]
    ids = np.load(Path(folder, IDS))
    runner = network.load(Path(folder, network.weights), int(num_threads))
    first = runner.read(ids[0, :FIRST_PROMPT]).argmax()
    print(json.dumps(int(first)), flush=True)
    if what == "text":
        for workload in (PROMPT_LONGEST, DECODE):
            WORKLOADS[workload].prepare(runner, ids)
            WORKLOADS[workload].run(runner, ids)
    if what == "turns":
        for line in sys.stdin:
            asked = line.strip()
            answer = check(runner, ids).tolist() if asked == CHECK else turn(runner, ids, asked)
            print(json.dumps(answer), flush=True)


def check(runner: Runner, ids: np.ndarray) -> np.ndarray:
    """Logits after a prompt, after some more tokens, and of a batch: (2 + BATCH, vocabulary)."""
    prompt = runner.read(ids[0, :CHECKED_PROMPT])
    for index in range(CHECKED_PROMPT, CHECKED_PROMPT + CHECKED_STEPS):
        (after,) = runner.step(ids[:1, index])
    runner.begin(BATCH)
    for index in range(CHECKED_STEPS):
        batch = runner.step(ids[:, index])
    return np.stack([prompt, after, *batch])


def turn(runner: Runner, ids: np.ndarray, name: str) -> float:
    """Seconds of a workload."""
    workload = WORKLOADS[name]
    workload.prepare(runner, ids)
    start = time.perf_counter()
    workload.run(runner, ids)
    return time.perf_counter() - start
