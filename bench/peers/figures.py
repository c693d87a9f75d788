"""What all plots share: for a column of a printed page, in colour or without.

Colours are Okabe and Ito's (Color Universal Design, 2008), which every kind of colour vision tells
apart; hatches, line styles and markers say the same without colours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from peers.record import Results
from peers.units import megabytes, threads

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


def save(
    plots: Mapping[str, Callable[[Results], Figure]], results: Results, folder: Path
) -> list[Path]:
    """Draw each into the file of its name; returns their paths."""
    paths = []
    with mpl.rc_context(STYLE):
        for name, plot in plots.items():
            paths.append(folder / name)
            plot(results).savefig(paths[-1], dpi=DOTS_PER_INCH)
    return paths


def bars_by_name(
    axes: Axes,
    labels: Sequence[str],
    values: Mapping[int, Sequence[float]],
    write: Callable[[float], str],
) -> None:
    """Horizontal bars on a logarithmic axis, the first name on top.

    Parameters
    ----------
    axes : Axes
    labels : sequence of str
        Of a network and its run-time, which a comma parts.
    values : mapping
        By number of threads, those of each label.
    write : callable
        Makes of a value the text beside its bar.
    """
    thickness = 0.8 / len(values)
    for index, (number, of_names) in enumerate(values.items()):
        bars = axes.barh(
            places(len(labels), index, len(values), thickness),
            of_names,
            thickness,
            **bar_style(index, number),
        )
        axes.bar_label(bars, [write(value) for value in of_names], padding=2, fontsize=6)
    in_two_lines = [label.replace(", ", "\n", 1) for label in labels]
    axes.set_yticks(range(len(labels)), in_two_lines)
    axes.tick_params(axis="y", length=0)
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xscale("log")
    all_values = [value for of_names in values.values() for value in of_names]
    axes.set_xlim(min(all_values) / 2, max(all_values) * 4)
    ticks(axes.xaxis, (1.0, 3.0))
    legend(axes, columns=len(values))


def memory_by_network(results: Results, title: str, labels: Mapping[str, str]) -> Figure:
    """Bars of the highest resident memory of each process, sorted.

    Parameters
    ----------
    results : dict
    title : str
    labels : mapping
        By the names that the record has.
    """
    rows = [row for row in results["start"] if row["peak_memory"] is not None]
    rows.sort(key=lambda row: row["peak_memory"])
    figure, axes = empty_figure(results, title, height=1.2 + 0.3 * len(rows))
    bars_by_name(
        axes,
        [labels[row["network"]] for row in rows],
        {rows[0]["threads"]: [row["peak_memory"] / 1e6 for row in rows]},
        write=lambda value: megabytes(value * 1e6),
    )
    axes.set_xlabel("MB (logarithmic)")
    return figure


def empty_figure(results: Results, title: str, height: float) -> tuple[Figure, Axes]:
    """An empty one, `height` inches high, with the machine in small type beneath."""
    figure = Figure((WIDTH, height), layout="constrained")
    figure.suptitle(title)
    machine = results["machine"][0].removeprefix("machine: ")
    figure.supxlabel(f"{machine}; {results['date']}", fontsize=5, color="0.3")
    return figure, figure.subplots()


def legend(axes: Axes, columns: int) -> None:
    """Above the data."""
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns)


def places(groups: int, index: int, of: int, thickness: float) -> list[float]:
    """Where the bars of one of `of` kinds stand, which touch each other in each group."""
    return [group + (index - (of - 1) / 2) * thickness for group in range(groups)]


def bar_style(index: int, num_threads: int) -> dict[str, Any]:
    colour, hatch = BARS[index % len(BARS)]
    edge = {"edgecolor": BLACK, "linewidth": 0.5}
    return {"color": colour, "hatch": hatch, "label": threads(num_threads), **edge}


def ticks(axis: Axis, digits: Sequence[float]) -> None:
    """Of a logarithmic axis: these digits of every power of ten, written out."""
    axis.set_major_locator(LogLocator(10.0, digits))
    axis.set_major_formatter(FuncFormatter(plain))
    axis.set_minor_formatter(NullFormatter())


def plain(value: float, position: int | None = None) -> str:
    return f"{value:,g}"
