"""The record of VMamba and its peers as pictures; peers/figures.py says in which style."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from peers.figures import memory_by_network, save
from peers.plots import latency_by_network
from peers.record import Results
from peers.report import sides
from peers.vmamba.networks import NETWORKS


def draw(results: Results, folder: Path) -> list[Path]:
    """Write a plot of latencies for each size of pictures, and one of memory; their paths."""
    latencies = {
        f"latency_{side}.png": partial(latency_by_network, side=side) for side in sides(results)
    }
    labels = {name: network.label for name, network in NETWORKS.items()}
    title = "Peak memory of a process"
    memory = partial(memory_by_network, title=title, labels=labels)
    return save({**latencies, "memory.png": memory}, results, folder)
