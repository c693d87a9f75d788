"""The record of the language models as pictures; peers/figures.py says in which style."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from peers.figures import bars_by_name, empty_figure, save
from peers.language.networks import NETWORKS
from peers.language.record import tokens_per_second
from peers.language.workloads import DECODE, PROMPT_LONGEST, WORKLOADS
from peers.record import Results
from peers.units import megabytes, per_second


def draw(results: Results, folder: Path) -> list[Path]:
    """Write all plots; returns their paths."""
    plots = {
        "decoding.png": partial(speed_by_network, workload=DECODE),
        "prompt.png": partial(speed_by_network, workload=PROMPT_LONGEST),
        "memory.png": memory_by_network,
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


def memory_by_network(results: Results) -> Figure:
    """Bars of the highest resident memory, sorted."""
    rows = [row for row in results["start"] if row["peak_memory"] is not None]
    rows.sort(key=lambda row: row["peak_memory"])
    title = f"Mamba {results['size']}, peak memory of a process"
    figure, axes = empty_figure(results, title, height=1.2 + 0.3 * len(rows))
    bars_by_name(
        axes,
        [NETWORKS[row["network"]].label for row in rows],
        {rows[0]["threads"]: [row["peak_memory"] / 1e6 for row in rows]},
        write=lambda value: megabytes(value * 1e6),
    )
    axes.set_xlabel("MB (logarithmic)")
    return figure
