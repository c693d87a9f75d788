"""The record of int8 and float32 as pictures; peers/figures.py says in which style."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from peers.figures import memory_by_network, save
from peers.int8.networks import NETWORKS
from peers.plots import latency_by_network
from peers.record import Results
from peers.report import sides


def draw(results: Results, folder: Path) -> list[Path]:
    """Write a plot of latencies for each size of pictures, and one of memory; their paths."""
    latencies = {
        f"latency_{side}.png": partial(latency_by_network, side=side) for side in sides(results)
    }
    labels = {name: network.label for name, network in NETWORKS.items()}
    memory = partial(memory_by_network, title="Peak memory of a process", labels=labels)
    least = min(row["side"] for row in results["start"])
    of_least = [row for row in results["start"] if row["side"] == least]
    plots = save({**latencies}, results, folder)
    return plots + save({"memory.png": memory}, results | {"start": of_least}, folder)
