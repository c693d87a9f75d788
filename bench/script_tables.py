"""Tables of what single scripts measure: each takes a section of the record, and gives Markdown.

They stand here because the scripts import what only a measurement needs.
"""

from __future__ import annotations

from typing import NamedTuple

from recorded import Figures
from surroundings import table

UNITS = {
    "us": (1e6, "{:,.0f} us"),
    "ms": (1e3, "{:,.0f} ms"),
    "MB": (1e-6, "{:,.0f} MB"),
    "MB on disk": (1e-6, "{:,.1f} MB"),
    "x": (1, "{:.2f}x"),
    "%": (100, "{:.1f} %"),
}
"""What a number of seconds, bytes or times is multiplied by, and how it is written."""


class Bound(NamedTuple):
    """A figure, and what it may be at most.

    Parameters
    ----------
    what : str
    measured : float or None
        In seconds, in bytes, or a ratio; None if this machine cannot tell.
    unit : str
        Of ``UNITS``.
    at_most : float or None
        In the same; None if nothing is asked for.
    note : str
        Stands behind the figure.
    """

    what: str
    measured: float | None
    unit: str
    at_most: float | None = None
    note: str = ""


def bounds(figures: Figures) -> str:
    """``limits.py`` and ``footprint.py``; bold is what is missed."""
    rows = (_bound_cells(Bound(**row)) for row in figures["bounds"])
    return table(("what", "at most", "measured"), rows)


def _bound_cells(bound: Bound) -> tuple[str, str, str]:
    factor, form = UNITS[bound.unit]
    at_most = "-" if bound.at_most is None else form.format(factor * bound.at_most)
    if bound.measured is None:
        return bound.what, at_most, "not on this machine"
    measured = form.format(factor * bound.measured)
    if bound.note:
        measured += f" ({bound.note})"
    is_missed = bound.at_most is not None and bound.measured > bound.at_most
    return bound.what, at_most, f"**{measured}**" if is_missed else measured


def profiling(figures: Figures) -> str:
    """``bench_profile.py``."""
    return table(
        ("backend, 1 thread", "off, over off", "on, over off"),
        ((row["backend"], f"{row['off']:.3f}", f"{row['on']:.3f}") for row in figures["over_off"]),
    )


def convert_memory(figures: Figures) -> str:
    """``convert_memory.py``."""
    return table(
        ("network", "file", "its size", "peak memory", "peak / size"),
        (
            (
                row["network"],
                row["suffix"],
                f"{row['file_size'] / 1e6:.0f} MB",
                f"{row['peak_memory'] / 1e6:.0f} MB",
                f"{row['peak_memory'] / row['file_size']:.2f}",
            )
            for row in figures["converted"]
        ),
    )


def float16_storage(figures: Figures) -> str:
    """``float16_storage.py``."""
    return table(
        ("network", "float32, MB", "float16, MB", "largest logit", "change", "same class"),
        (
            (
                row["network"],
                f"{row['float32'] / 1e6:.1f}",
                f"{row['float16'] / 1e6:.1f}",
                f"{row['largest_logit']:.2f}",
                f"{row['change']:.1e}",
                f"{row['same_class']:.0%}",
            )
            for row in figures["networks"]
        ),
    )


def neighbours(figures: Figures) -> str:
    """``neighbours.py``."""
    seconds = {(row["surroundings"], row["way"]): row["median"] for row in figures["passes"]}
    ways = list(dict.fromkeys(way for _, way in seconds))

    def cell(where: str, way: str) -> str:
        ratio = seconds[where, way] / seconds["alone", way]
        return f"{1e3 * seconds[where, way]:.1f} ({ratio:.2f}x)"

    return table(
        ("milliseconds of a pass", *ways),
        (
            (where, *(cell(where, way) for way in ways))
            for where in dict.fromkeys(where for where, _ in seconds)
        ),
    )


def steps_of_speed(figures: Figures) -> str:
    """``bench_steps.py``."""
    parts = ("products", "conv1d", "scan", "norm")
    steps = figures["steps"]
    cells = []
    for index, step in enumerate(steps):
        before = steps[index - 1]["whole"]
        ratio = f"{step['whole'] / before:.2f}x" if step["is_compared"] else ""
        of_parts = (f"{1e3 * step['parts'].get(name, 0.0):.2f}" for name in (*parts, "wait"))
        cells.append((step["what"], f"{1e3 * step['whole']:.1f}", *of_parts, ratio))
    return table(("step", "a pass", *parts, "waiting", "over the step before"), cells)
