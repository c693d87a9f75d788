"""The record as pictures, for a column of a printed page, in colour or without.

Colours are Okabe and Ito's (Color Universal Design, 2008), which every kind of colour vision tells
apart; hatches, line styles and markers say the same without colours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from peers.networks import NETWORKS
from peers.record import Results
from peers.units import milliseconds, threads

BLACK, ORANGE, SKY_BLUE, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"

WIDTH = 3.5  # inches, of a column
DOTS_PER_INCH = 200
STYLE = {
    "font.size": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.titlesize": 8,
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
}

# Of the bars for each number of threads: light, hatched, dark.
BARS = ((YELLOW, ""), (SKY_BLUE, "////"), (BLUE, ""))

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
        "latency.png": latency_by_network,
        "scan_modes.png": scan_modes,
    }
    if any("tokens" in row for row in results["latency"]):
        plots["tokens.png"] = latency_by_tokens
    paths = []
    with mpl.rc_context(STYLE):
        for name, plot in plots.items():
            paths.append(folder / name)
            plot(results).savefig(paths[-1], dpi=DOTS_PER_INCH)
    return paths


def latency_by_network(results: Results) -> Figure:
    """Bars for the smallest picture, sorted by the time with the most threads."""
    side = min(row["side"] for row in results["latency"])
    rows = [row for row in results["latency"] if row["side"] == side]
    numbers = sorted({row["threads"] for row in rows})
    medians = {(row["network"], row["threads"]): row["median"] for row in rows}
    names = sorted({row["network"] for row in rows}, key=lambda name: medians[name, numbers[-1]])

    title = f"Latency, {side}x{side} pixels"
    figure, axes = _figure(results, title, height=1.2 + 0.34 * len(names))
    thickness = 0.8 / len(numbers)
    for index, number in enumerate(numbers):
        values = [medians[name, number] for name in names]
        bars = axes.barh(
            _places(len(names), index, len(numbers), thickness),
            [value * 1e3 for value in values],
            thickness,
            **_bar_style(index, number),
        )
        axes.bar_label(bars, [milliseconds(value) for value in values], padding=2, fontsize=6)
    axes.set_yticks(range(len(names)), [_in_two_lines(name) for name in names])
    axes.tick_params(axis="y", length=0)
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(min(medians.values()) * 1e3 / 2, max(medians.values()) * 1e3 * 4)
    _ticks(axes.xaxis, (1.0, 3.0))
    axes.set_xlabel("milliseconds a picture (logarithmic)")
    _legend(axes, columns=len(numbers))
    return figure


def latency_by_tokens(results: Results) -> Figure:
    """Lines over the number of tokens, with the fewest threads."""
    number = min(row["threads"] for row in results["latency"])
    rows = [row for row in results["latency"] if row["threads"] == number and "tokens" in row]

    figure, axes = _figure(results, f"Latency by number of tokens, {threads(number)}", height=4.2)
    for name in dict.fromkeys(row["network"] for row in rows):
        of_network = sorted((r["tokens"], r["median"] * 1e3) for r in rows if r["network"] == name)
        colour, line, marker = LINES[name]
        axes.plot(
            *zip(*of_network, strict=True),
            color=colour,
            linestyle=line,
            marker=marker,
            label=NETWORKS[name].label,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sorted({row["tokens"] for row in rows})))
    axes.xaxis.set_major_formatter(FuncFormatter(_plain))
    axes.xaxis.set_minor_locator(NullLocator())
    _ticks(axes.yaxis, (1.0, 2.0, 5.0))
    axes.grid(axis="y", linewidth=0.3, color="0.8")
    axes.set_xlabel("tokens (logarithmic)")
    axes.set_ylabel("milliseconds a picture (logarithmic)")
    _legend(axes, columns=1)
    return figure


def scan_modes(results: Results) -> Figure:
    """Bars of each mode for each number of threads."""
    rows = results["scan_modes"]
    medians = {(row["scan"], row["threads"]): row["median"] for row in rows}
    modes = list(dict.fromkeys(row["scan"] for row in rows))
    numbers = sorted({row["threads"] for row in rows})

    side = rows[0]["side"]
    title = f"Scan modes, vimnp's numpy backend, {side}x{side} pixels"
    figure, axes = _figure(results, title, height=2.6)
    thickness = 0.87 / len(numbers)
    for index, number in enumerate(numbers):
        values = [medians[mode, number] for mode in modes]
        bars = axes.bar(
            _places(len(modes), index, len(numbers), thickness),
            [value * 1e3 for value in values],
            thickness,
            **_bar_style(index, number),
        )
        texts = [milliseconds(value).removesuffix(" ms") for value in values]
        axes.bar_label(bars, texts, padding=1, fontsize=5.5)
    axes.set_xticks(range(len(modes)), modes)
    axes.tick_params(axis="x", length=0)
    axes.margins(y=0.1)
    axes.set_ylabel("milliseconds a picture")
    _legend(axes, columns=len(numbers))
    return figure


def _figure(results: Results, title: str, height: float) -> tuple[Figure, Axes]:
    """An empty one, `height` inches high, with the machine in small type beneath."""
    figure = Figure((WIDTH, height), layout="constrained")
    figure.suptitle(title)
    machine = results["machine"][0].removeprefix("machine: ")
    figure.supxlabel(f"{machine}; {results['date']}", fontsize=5, color="0.3")
    return figure, figure.subplots()


def _legend(axes: Axes, columns: int) -> None:
    """Above the data."""
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns)


def _places(groups: int, index: int, of: int, thickness: float) -> list[float]:
    """Where the bars of one of `of` kinds stand, which touch each other in each group."""
    return [group + (index - (of - 1) / 2) * thickness for group in range(groups)]


def _bar_style(index: int, num_threads: int) -> dict[str, Any]:
    colour, hatch = BARS[index % len(BARS)]
    edge = {"edgecolor": BLACK, "linewidth": 0.5}
    return {"color": colour, "hatch": hatch, "label": threads(num_threads), **edge}


def _in_two_lines(name: str) -> str:
    """The network above its run-time."""
    return NETWORKS[name].label.replace(", ", "\n", 1)


def _ticks(axis: Axis, digits: Sequence[float]) -> None:
    """Of a logarithmic axis: these digits of every power of ten, written out."""
    axis.set_major_locator(LogLocator(10.0, digits))
    axis.set_major_formatter(FuncFormatter(_plain))
    axis.set_minor_formatter(NullFormatter())


def _plain(value: float, position: int | None = None) -> str:
    return f"{value:,g}"
