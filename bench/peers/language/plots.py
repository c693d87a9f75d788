"""The record of the language models as pictures; peers/figures.py says in which style."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from peers.figures import bars_by_name, empty_figure, memory_by_network, save
from peers.language.networks import NETWORKS
from peers.language.record import tokens_per_second
from peers.language.workloads import DECODE, PROMPT_LONGEST, WORKLOADS
from peers.record import Results
from peers.units import per_second


def draw(results: Results, folder: Path) -> list[Path]:
    """Write all plots; returns their paths."""
    labels = {name: network.label for name, network in NETWORKS.items()}
    memory = f"Mamba {results['size']}, peak memory of a process"
    plots = {
        "decoding.png": partial(speed_by_network, workload=DECODE),
        "prompt.png": partial(speed_by_network, workload=PROMPT_LONGEST),
        "memory.png": partial(memory_by_network, title=memory, labels=labels),
    }
    return save(plots, results, folder)


def speed_by_network(results: Results, workload: str) -> Figure:
    """Bars of tokens in a second, sorted by those with the most threads."""
    speed = tokens_per_second(results)
    numbers = sorted({number for _, number, _ in speed})
    names = sorted(
        {network for network, _, _ in speed},
        key=lambda name: -speed[name, numbers[-1], workload],
    )
    title = f"Mamba {results['size']}, {WORKLOADS[workload].label}"
    figure, axes = empty_figure(results, title, height=1.2 + 0.34 * len(names))
    bars_by_name(
        axes,
        [NETWORKS[name].label for name in names],
        {number: [speed[name, number, workload] for name in names] for number in numbers},
        write=per_second,
    )
    axes.set_xlabel("tokens in a second (logarithmic)")
    return figure
