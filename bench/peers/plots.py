"""The record as pictures; figures.py says in which style."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from peers.figures import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY_BLUE,
    VERMILLION,
    bar_style,
    bars_by_name,
    empty_figure,
    legend,
    places,
    plain,
    save,
    ticks,
)
from peers.record import Results
from peers.registry import ALL_NETWORKS
from peers.report import sides
from peers.units import milliseconds, threads

# Colour, line and marker of each network that has tokens.
LINES = {
    "vim-native": (BLUE, "-", "o"),
    "vim-numpy": (SKY_BLUE, "--", "s"),
    "vim-torch-loop": (BLACK, "-.", "v"),
    "vim-torch-two-stage": (PURPLE, ":", "^"),
    "deit-torch": (GREEN, (0, (5, 1, 1, 1, 1, 1)), "P"),
    "deit-onnx": (VERMILLION, "-", "D"),
    "deit-onnx-blockwise": (ORANGE, "--", "X"),
}


def draw(results: Results, folder: Path) -> list[Path]:
    """Write all plots, but tokens.png only if a network has tokens; returns their paths."""
    plots: dict[str, Callable[[Results], Figure]] = {
        "latency.png": partial(latency_by_network, side=min(sides(results))),
        "scan_modes.png": scan_modes,
    }
    if any("tokens" in row for row in results["latency"]):
        plots["tokens.png"] = latency_by_tokens
    return save(plots, results, folder)


def latency_by_network(results: Results, side: int) -> Figure:
    """Bars for pictures of one size, sorted by the time with the most threads."""
    rows = [row for row in results["latency"] if row["side"] == side]
    numbers = sorted({row["threads"] for row in rows})
    medians = {(row["network"], row["threads"]): row["median"] for row in rows}
    names = sorted({row["network"] for row in rows}, key=lambda name: medians[name, numbers[-1]])

    title = f"Latency, {side}x{side} pixels"
    figure, axes = empty_figure(results, title, height=1.2 + 0.34 * len(names))
    bars_by_name(
        axes,
        [ALL_NETWORKS[name].label for name in names],
        {number: [medians[name, number] * 1e3 for name in names] for number in numbers},
        write=lambda value: milliseconds(value / 1e3),
    )
    axes.set_xlabel("milliseconds a picture (logarithmic)")
    return figure


def latency_by_tokens(results: Results) -> Figure:
    """Lines over the number of tokens, with the fewest threads."""
    number = min(row["threads"] for row in results["latency"])
    rows = [row for row in results["latency"] if row["threads"] == number and "tokens" in row]

    figure, axes = empty_figure(
        results, f"Latency by number of tokens, {threads(number)}", height=4.2
    )
    for name in dict.fromkeys(row["network"] for row in rows):
        of_network = sorted((r["tokens"], r["median"] * 1e3) for r in rows if r["network"] == name)
        colour, line, marker = LINES[name]
        axes.plot(
            *zip(*of_network, strict=True),
            color=colour,
            linestyle=line,
            marker=marker,
            label=ALL_NETWORKS[name].label,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sorted({row["tokens"] for row in rows})))
    axes.xaxis.set_major_formatter(FuncFormatter(plain))
    axes.xaxis.set_minor_locator(NullLocator())
    ticks(axes.yaxis, (1.0, 2.0, 5.0))
    axes.grid(axis="y", linewidth=0.3, color="0.8")
    axes.set_xlabel("tokens (logarithmic)")
    axes.set_ylabel("milliseconds a picture (logarithmic)")
    legend(axes, columns=1)
    return figure


def scan_modes(results: Results) -> Figure:
    """Bars of each mode for each number of threads."""
    rows = results["scan_modes"]
    medians = {(row["scan"], row["threads"]): row["median"] for row in rows}
    modes = list(dict.fromkeys(row["scan"] for row in rows))
    numbers = sorted({row["threads"] for row in rows})

    side = rows[0]["side"]
    title = f"Scan modes, vimnp's numpy backend, {side}x{side} pixels"
    figure, axes = empty_figure(results, title, height=2.6)
    thickness = 0.87 / len(numbers)
    for index, number in enumerate(numbers):
        values = [medians[mode, number] for mode in modes]
        bars = axes.bar(
            places(len(modes), index, len(numbers), thickness),
            [value * 1e3 for value in values],
            thickness,
            **bar_style(index, number),
        )
        texts = [milliseconds(value).removesuffix(" ms") for value in values]
        axes.bar_label(bars, texts, padding=1, fontsize=5.5)
    axes.set_xticks(range(len(modes)), modes)
    axes.tick_params(axis="x", length=0)
    axes.margins(y=0.1)
    axes.set_ylabel("milliseconds a picture")
    legend(axes, columns=len(numbers))
    return figure
