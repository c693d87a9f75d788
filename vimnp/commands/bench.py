"""``vimnp bench``: how long forward passes take, in every way that they can be run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar, cast

import numpy as np

from vimnp.commands.console import say
from vimnp.commands.destination import check_destination, naming
from vimnp.commands.measured import Measured, add_measured, describe
from vimnp.commands.measured_model import Load, add_measured_model, find_model
from vimnp.commands.options import as_given, file_name, parse_count
from vimnp.commands.passes import Pass, Passes
from vimnp.commands.progress import progress_bar
from vimnp.commands.table import print_table
from vimnp.engine.settings import BACKENDS, CHOICES, Scan, resolve_backend
from vimnp.errors import ConfigError, VimnpError
from vimnp.measure.timing import time_in_turn
from vimnp.models.precision import PRECISIONS
from vimnp.models.vision import VisionModel
from vimnp.ops.modes import SCAN_MODES
from vimnp.runtime.threads import MOST, resolve_num_threads
from vimnp.storage.files import whole_file

if TYPE_CHECKING:
    from vimnp.commands.measured_model import AnyModel

DESCRIPTION = (
    "Time forward passes of a network, in every way to run it in turn: backends, scan modes, "
    "numbers of threads, precisions. A picture network gets normalised pixels; a language model "
    "gets a prompt, and writes tokens after it. Prints medians and quartiles, and the ratio of "
    "each median to the first one, and of int8 to float32."
)
EXAMPLE = "vimnp bench --random tiny --scan all --threads 1,2,4"

Item = TypeVar("Item")

_PAUSE = 0.1  # seconds before each turn; the threads of OpenBLAS spin for a fifth of it


class Way(NamedTuple):
    """A way to run a network."""

    backend: str
    scan: Scan
    threads: int
    precision: str | None = None  # None where it is not asked for, or asked for alone


Models: TypeAlias = "dict[tuple[str, str | None], AnyModel]"
"""By backend and precision."""

Times: TypeAlias = "dict[tuple[Way, Pass], np.ndarray]"
"""Seconds of each way's calls."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_measured_model(parser, all_precisions=True)
    parser.add_argument(
        "--backend",
        choices=("all", *CHOICES),
        default="all",
        help="all that have the scan mode (all); auto is the one that a model takes by default",
    )
    parser.add_argument(
        "--scan",
        default="fused",
        metavar="MODE,...",
        help=f"all, or some of {', '.join(SCAN_MODES)} (fused)",
    )
    parser.add_argument(
        "--threads",
        metavar="N,...",
        help="numbers of threads of the kernels (1, and the default number)",
    )
    add_measured(parser, tokens="as many as go through the network together")
    parser.add_argument(
        "--json", type=file_name, metavar="FILE", help="write every time to a file, too"
    )


def run(options: argparse.Namespace) -> int:
    if options.json is not None:
        check_destination(options.json)
    ways = _ways(options)
    models = _models(options, find_model(options), ways)
    ways = _unique(_as_run(_of(models, way), way) for way in ways if _key(way) in models)
    measured = describe(options, next(iter(models.values())))
    print("\n".join([*measured.lines, ""]))
    seconds = _measure(models, ways, measured.passes, options.rounds)
    if measured.passes.unit == "pictures":
        _print_times_of_pictures(seconds)
    else:
        _print_times_of_tokens(models, seconds)
    if options.json is not None:
        _write_json(options.json, measured, seconds)
    return 0


def _ways(options: argparse.Namespace) -> list[Way]:
    scans = SCAN_MODES if options.scan == "all" else _unique(options.scan.split(","))
    for scan in scans:
        if scan not in SCAN_MODES:
            expected = ", ".join(SCAN_MODES)
            raise VimnpError(
                f"{as_given('--scan', options.scan)}: expected all, or some of {expected}"
            )
    threads = _numbers_of_threads(options.threads)
    backends = {scan: _backends(options.backend, scan, options.scan == "all") for scan in scans}
    precisions = PRECISIONS if options.precision == "all" else (None,)
    return [
        Way(backend, cast("Scan", scan), number, precision)  # it is one of the modes by now
        for backend in BACKENDS
        for scan in scans
        if backend in backends[scan]
        for number in threads
        for precision in precisions
    ]


def _backends(asked: str, scan: str, is_one_of_all: bool) -> tuple[str, ...]:
    """Those that are to run this mode. Raises ConfigError if the one that is asked for cannot."""
    having = BACKENDS if scan == "fused" else ("numpy",)
    if asked == "all":
        return having
    if is_one_of_all and asked in BACKENDS:
        return (asked,) if asked in having else ()
    return (resolve_backend(asked, scan),)


def _unique(items: Iterable[Item]) -> list[Item]:
    return list(dict.fromkeys(items))


def _numbers_of_threads(text: str | None) -> list[int]:
    if text is None:
        return sorted({1, resolve_num_threads()})
    try:
        return _unique(resolve_num_threads(parse_count(number)) for number in text.split(","))
    except (ValueError, ConfigError):
        raise VimnpError(
            f"{as_given('--threads', text)}: expected whole numbers from 1 up to {MOST}, as in "
            "--threads 1,2,4"
        ) from None


def _models(options: argparse.Namespace, load: Load, ways: list[Way]) -> Models:
    """One for each backend and precision, so that the weights are in memory once for each."""
    models: Models = {}
    lacking: set[str] = set()
    for backend, precision in _unique(map(_key, ways)):
        if backend in lacking:
            continue
        scan = next(way.scan for way in ways if way.backend == backend)
        asked = {} if precision is None else {"precision": precision}
        try:
            models[backend, precision] = load(backend=backend, scan=scan, **asked)
        except ConfigError as error:
            if options.backend != "all" or backend != "native":
                raise
            say(f"without the native backend: {error}")
            lacking.add(backend)
    return models


def _key(way: Way) -> tuple[str, str | None]:
    return way.backend, way.precision


def _of(models: Models, way: Way) -> AnyModel:
    return models[_key(way)]


def _run_as(model: AnyModel, way: Way) -> AnyModel:
    if isinstance(model, VisionModel):
        return model.with_settings(scan=way.scan, num_threads=way.threads)
    return model.with_settings(num_threads=way.threads)


def _as_run(model: AnyModel, way: Way) -> Way:
    """With as many threads as it uses, where the network has no work for more."""
    return way._replace(threads=_run_as(model, way._replace(scan=model.scan)).num_threads)


def _measure(models: Models, ways: list[Way], passes: Passes, rounds: int) -> Times:
    calls = {
        (way, one): one.prepare(_run_as(_of(models, way), way))
        for one in passes.passes
        for way in ways
    }
    with progress_bar(rounds * len(calls), "turn") as bar:
        return time_in_turn(
            calls,
            rounds,
            burst=passes.burst,
            warm_up=passes.warm_up,
            pause=_PAUSE,
            after_each=bar.update,
        )


def _print_times_of_pictures(seconds: Times) -> None:
    """Precisions have columns of their own where there are several."""
    first = float(np.median(next(iter(seconds.values()))))
    rows = []
    for (way, one), times in seconds.items():
        median = float(np.median(times))
        rate = f"{one.units / median:.1f}"
        row = [way.backend, way.scan, str(way.threads), *_milliseconds(times), rate]
        row.append(f"{median / first:.2f}x")
        if way.precision is not None:
            exact = seconds[way._replace(precision=PRECISIONS[0]), one]
            row.insert(3, way.precision)
            row.append(f"{median / float(np.median(exact)):.2f}x")
        rows.append(row)
    columns = ["backend", "scan", "threads", "ms", "quartiles", "pictures/s", "over the first"]
    if len(rows[0]) > len(columns):
        columns.insert(3, "precision")
        columns.append(f"over {PRECISIONS[0]}")
    print_table(columns, rows)


def _print_times_of_tokens(models: Models, seconds: Times) -> None:
    """Each pass over its own first way."""
    firsts: dict[Pass, float] = {}
    rows = []
    for (way, one), times in seconds.items():
        median = float(np.median(times))
        first = firsts.setdefault(one, median)
        read = one.bytes(_of(models, way))
        rates = (f"{one.units / median:.1f}", "" if read is None else f"{read / median / 1e9:.1f}")
        row = (one.name, way.backend, str(way.threads), *_milliseconds(times), *rates)
        rows.append((*row, f"{median / first:.2f}x"))
    columns = (
        "pass",
        "backend",
        "threads",
        "ms",
        "quartiles",
        "tokens/s",
        "GB/s",
        "over the first",
    )
    print_table(columns, rows)


def _milliseconds(times: np.ndarray) -> tuple[str, str]:
    """The median, and the quartiles."""
    lower, median, upper = np.percentile(times, (25, 50, 75)) * 1e3
    return f"{median:.2f}", f"{lower:.2f} to {upper:.2f}"


def _write_json(path: str, measured: Measured, seconds: Times) -> None:
    has_several = measured.passes.unit == "tokens"
    results = []
    for (way, one), times in seconds.items():
        told = {"pass": one.name, "tokens": one.units} if has_several else {}
        median = float(np.median(times))
        run = {name: value for name, value in way._asdict().items() if value is not None}
        results.append({**run, **told, "median": median, "seconds": list(times)})
    with naming(path), whole_file(path) as file:
        file.write(json.dumps({**measured.facts, "results": results}, indent=1).encode())
