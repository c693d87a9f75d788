"""Tables of what single scripts measure: each takes a section of the record, and gives Markdown.

They stand here because the scripts import what only a measurement needs.
"""

from __future__ import annotations

from typing import NamedTuple

from peers.units import threads
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
    """``limits.py``, ``footprint.py`` and others; bold is what is missed."""
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


def layer_tables(figures: Figures) -> str:
    return f"{layer(figures)}\n{bounds(figures)}"


def layer(figures: Figures) -> str:
    """``bench_layer.py``: a row for each operation and instruction set."""
    medians = {
        (row["operation"], row["isa"], row["tokens"], row["threads"]): row["median"]
        for row in figures["times"]
    }
    columns = [(t, n) for t in dict.fromkeys(k[2] for k in medians) for n in (1, 2)]
    names = dict.fromkeys(row["operation"] for row in figures["times"])
    sets = dict.fromkeys(row["isa"] for row in figures["times"])

    def cell(key: tuple[str, str, int, int]) -> str:
        return _microseconds(medians[key]) if key in medians else ""

    return table(
        ("", *(f"{tokens} tokens, {threads(number)}" for tokens, number in columns)),
        (
            (f"{name}, `{isa}`", *(cell((name, isa, *column)) for column in columns))
            for name in names
            for isa in sets
            if any(key[:2] == (name, isa) for key in medians)
        ),
    )


def _microseconds(seconds: float) -> str:
    return f"{1e6 * seconds:,.0f} us" if seconds < 1e-3 else f"{1e3 * seconds:,.2f} ms"


def thresholds(figures: Figures) -> str:
    """``thresholds.py``: a row for each operation and instruction set, and the passes."""
    ratios: dict[tuple[str, str], list[str]] = {}
    for row in figures["over_one"]:
        cell = f"{row['tokens']}: {row['ratio']:.2f}"
        ratios.setdefault((row["operation"], row["isa"]), []).append(cell)
    rows = [(f"`{name}`, `{isa}`", ", ".join(cells)) for (name, isa), cells in ratios.items()]
    for row in figures["passes"]:
        split = " and ".join(f"`{name}`" for name in row["split"])
        what = f"a pass that splits {split}, over one that splits the scan"
        rows.append((what, f"{row['ratio']:.2f}"))
    return table(("operation", "2 threads over 1, by tokens"), rows)


def blas_threads(figures: Figures) -> str:
    """``blas_threads.py``."""
    return table(
        ("OpenBLAS's core", "threads", "logits that differ from one thread's", "by at most"),
        (
            (
                row["core"],
                f"{row['threads']}{'' if row['runs_agree'] else ' (runs DIFFER)'}",
                f"{row['different']:,} of {row['logits']:,}",
                f"{row['distance']:.1e}",
            )
            for row in figures["cores"]
        ),
    )


def vector_accuracy(figures: Figures) -> str:
    """``vector_accuracy.py``: errors in units in the last place."""

    def cells(row: Figures) -> tuple[str, ...]:
        infinite = "-" if row["infinite_from"] is None else f"{row['infinite_from']:.5g}"
        special = " ".join("yes" if row[name] else "NO" for name in ("keeps_nan", "has_limits"))
        errors = (f"{error:.1f}" for error in row["errors"])
        what = f"{row['function']}, `{row['isa']}`"
        return what, *errors, f"{row['absolute']:.0e}", infinite, special

    columns = ("abs(x) <= 1", "abs(x) <= 10", "all x", "absolute", "infinite from", "NaN, limits")
    return table(("", *columns), map(cells, figures["functions"]))


def compilers(figures: Figures) -> str:
    """``compilers.py``: the largest difference of each instruction set, and the times."""
    largest: dict[str, float] = {}
    for row in figures["logits"]:
        largest[row["isa"]] = max(largest.get(row["isa"], 0.0), row["difference"])
    what = "logits with `{}`, the largest difference over the largest logit"
    rows = [(what.format(isa), f"{number:.1e}") for isa, number in largest.items()]
    for row in figures["times"]:
        what = f"a pass of Vim-tiny, {threads(row['threads'])}, of the first"
        rows.append((what, f"{row['ratio']:.3f}x"))
    return table(("the second wheel, over the first", "measured"), rows)


def windows(figures: Figures) -> str:
    """``windows_times.py``: a row for each number of threads."""
    rows = [
        (str(row["threads"]), f"{row['windows'] / row['linux']:.2f}x") for row in figures["times"]
    ]
    return table(("threads", "Windows, by wine, over Linux"), rows)


def arm_instructions(figures: Figures) -> str:
    """``arm_instructions.py``: a column for each core, and a row for the kernels of all layers."""
    counts: dict[str, dict[str, float]] = {}
    boards = {row["core"]: f"{row['core']} ({row['board']})" for row in figures["counts"]}
    for row in figures["counts"]:
        counts.setdefault(row["call"], {})[row["core"]] = row["instructions"] / 1e6
    kernels, layers = figures["kernels"], figures["layers"]
    every = {core: layers * sum(counts[name][core] for name in kernels) for core in boards}

    def row_of(what: str, millions: dict[str, float], digits: int) -> tuple[str, ...]:
        return what, *(f"{millions[core]:,.{digits}f}" for core in boards)

    rows = [row_of(f"{name} of one layer", counts[name], 2) for name in kernels]
    rows.append(row_of(f"all of them, {layers} layers", every, 0))
    passes = [name for name in counts if name not in kernels]
    rows += [row_of(f"a pass, {name}", counts[name], 0) for name in passes]
    return table(("millions of instructions", *boards.values()), rows)


def raspberry_pi_tables(figures: Figures) -> str:
    return f"{raspberry_pi(figures, 'float32')}\n{raspberry_pi(figures, 'int8')}"


def raspberry_pi(figures: Figures, precision: str) -> str:
    """``raspberry_pi.py``: cycles of a part and milliseconds of an image, for each board."""
    parts = [row for row in figures["parts"] if row["precision"] == precision]
    sums = [row for row in figures["sums"] if row["precision"] == precision]
    boards = [row["board"] for row in sums]
    cells: dict[str, list[str]] = {}
    for row in parts:
        number = f"{row['cycles']:.0f}", f"{1e3 * row['seconds']:.1f}"
        cells.setdefault(row["part"], []).extend(number)
    for name in ("sum", "expected") if precision == "int8" else ("sum",):
        cells[name] = [text for row in sums for text in ("", f"{1e3 * row[name]:.1f}")]
    columns = (text for board in boards for text in (f"{board}: cycles", "ms"))
    return table((precision, *columns), ((name, *texts) for name, texts in cells.items()))


def serve_load_tables(figures: Figures) -> str:
    outcomes = ((what, str(number)) for what, number in figures["outcomes"].items())
    came = table(("what came of requests", "times"), outcomes)
    return f"{came}\n{serve_load(figures)}\n{bounds(figures)}"


def serve_load(figures: Figures) -> str:
    """``serve_load.py``: a row for each round."""
    rows = [("before", "", "", "", _megabytes(figures["memory_before"]))]
    for number, row in enumerate(figures["load"], 1):
        times = (f"{1e3 * row[name]:.0f} ms" for name in ("p50", "p99"))
        rows.append((str(number), *times, f"{row['rate']:.0f}", _megabytes(row["memory"])))
    return table(("round", "p50", "p99", "good requests a second", "memory after it"), rows)


def _megabytes(number: float) -> str:
    return f"{number / 1e6:.1f} MB"


def cluster_deaths(figures: Figures) -> str:
    """``cluster_deaths.py``."""
    processes = f"{figures['workers']} processes, {figures['killed']} times one was killed"
    rows = (
        ("one process", f"{figures['alone']:.1f} s"),
        (processes, f"{figures['cluster']:.1f} s"),
    )
    return table((f"{figures['pictures']:,} pictures", "time"), rows)


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
    """``neighbours.py``: each pass over the same way's alone."""
    seconds = {(row["surroundings"], row["way"]): row["median"] for row in figures["passes"]}
    ways = list(dict.fromkeys(way for _, way in seconds))
    alone, *others = dict.fromkeys(where for where, _ in seconds)
    return table(
        (f"a pass, over one {alone}", *ways),
        (
            (where, *(f"{seconds[where, way] / seconds[alone, way]:.2f}x" for way in ways))
            for where in others
        ),
    )


def steps_of_speed(figures: Figures) -> str:
    """``bench_steps.py``: shares of the first step's pass, so that plain NumPy takes 100."""
    parts = ("products", "conv1d", "scan", "norm")
    steps = figures["steps"]
    of_all = steps[0]["whole"] / 100
    cells = []
    for index, step in enumerate(steps):
        before = steps[index - 1]["whole"]
        ratio = f"{step['whole'] / before:.2f}x" if step["is_compared"] else ""
        seconds = (step["whole"], *(step["parts"].get(name, 0.0) for name in (*parts, "wait")))
        cells.append((step["what"], *(f"{each / of_all:.1f}" for each in seconds), ratio))
    return table(("step", "a pass", *parts, "waiting", "over the step before"), cells)


def operations_of_a_pass(figures: Figures) -> str:
    """``bench_steps.py``: each operation's share of its pass."""
    ways = figures["operations"]
    wholes = {name: sum(seconds.values()) for name, seconds in ways.items()}
    names = dict.fromkeys(name for seconds in ways.values() for name in seconds)

    def share(way: str, name: str) -> str:
        return f"{ways[way][name] / wholes[way]:.1%}" if name in ways[way] else ""

    def of_peak(name: str) -> str:
        return f"{figures['of_peak'][name]:.0%}" if name in figures["of_peak"] else ""

    peak = f"of {2e-9 * figures['peak']:.0f} GFLOP/s, native, 1 thread"
    return table(
        ("operation", *ways, peak),
        ((name, *(share(way, name) for way in ways), of_peak(name)) for name in names),
    )
