"""``vimnp bench``: how long forward passes take, in every way that they can be run."""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

import numpy as np

from vimnp.backends import BACKENDS
from vimnp.blas import BlasLimit
from vimnp.commands.console import say
from vimnp.commands.destination import check_destination, naming
from vimnp.commands.measured import Measured, add_measured, describe, limit_of_blas
from vimnp.commands.model_options import add_weights_or_random, load_network
from vimnp.commands.options import as_given, file_name, parse_count
from vimnp.commands.progress import progress_bar
from vimnp.commands.table import print_table
from vimnp.errors import ConfigError, VimnpError
from vimnp.files import whole_file
from vimnp.model import VisionMamba
from vimnp.reference import BIDIRECTIONAL_METHODS
from vimnp.threads import MOST, resolve_num_threads
from vimnp.timing import time_in_turn

DESCRIPTION = (
    "Time forward passes of normalised pixels, every way in turn: backends, scan modes, numbers of "
    "threads. Medians, quartiles, and each median over the first one's."
)
EXAMPLE = "vimnp bench --random tiny --scan all --threads 1,2,4"

Item = TypeVar("Item")

_PAUSE = 0.1  # seconds before each turn; the threads of OpenBLAS spin for a fifth of it
_WARM_UP = 2
_BURST = 2


class Way(NamedTuple):
    """A way to run a network."""

    backend: str
    scan: str
    threads: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_weights_or_random(parser)
    parser.add_argument(
        "--backend", choices=("all", *BACKENDS), default="all", help="all that have the mode"
    )
    parser.add_argument(
        "--scan",
        default="fused",
        metavar="MODE,...",
        help=f"all, or some of {', '.join(BIDIRECTIONAL_METHODS)} (fused)",
    )
    parser.add_argument(
        "--threads",
        metavar="N,...",
        help="of the kernels and of NumPy's BLAS (1, and as many as there are by default)",
    )
    add_measured(parser)
    parser.add_argument(
        "--json", type=file_name, metavar="FILE", help="write every time to a file, too"
    )


def run(options: argparse.Namespace) -> int:
    if options.json is not None:
        check_destination(options.json)
    ways = _ways(options)
    models = _models(options, ways)
    ways = [way for way in ways if way.backend in models]
    measured = describe(options, next(iter(models.values())).config)
    print("\n".join([*measured.lines, ""]))
    seconds = _measure(models, ways, measured.images, options.rounds)
    _print_times(ways, seconds, options.batch)
    if options.json is not None:
        _write_json(options.json, measured, ways, seconds)
    return 0


def _ways(options: argparse.Namespace) -> list[Way]:
    backends = BACKENDS if options.backend == "all" else (options.backend,)
    scans = BIDIRECTIONAL_METHODS if options.scan == "all" else _unique(options.scan.split(","))
    for scan in scans:
        if scan not in BIDIRECTIONAL_METHODS:
            expected = ", ".join(BIDIRECTIONAL_METHODS)
            raise VimnpError(
                f"{as_given('--scan', options.scan)}: expected all, or some of {expected}"
            )
    threads = _numbers_of_threads(options.threads)
    only_native = options.backend == "native" and options.scan != "all"
    return [
        Way(backend, scan, number)
        for backend in backends
        for scan in scans
        if backend == "numpy" or scan == "fused" or only_native
        for number in threads
    ]


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


def _models(options: argparse.Namespace, ways: list[Way]) -> dict[str, VisionMamba]:
    """One for each backend, so that the weights are in memory once for each."""
    models = {}
    for backend in _unique(way.backend for way in ways):
        scan = next(way.scan for way in ways if way.backend == backend)
        try:
            models[backend] = load_network(options, backend=backend, scan=scan)
        except ConfigError as error:
            if options.backend != "all" or backend != "native":
                raise
            say(f"without the native backend: {error}")
    return models


def _measure(
    models: dict[str, VisionMamba], ways: list[Way], images: np.ndarray, rounds: int
) -> dict[Way, np.ndarray]:
    limit = limit_of_blas() if "numpy" in models else None
    calls = {way: _call(models[way.backend], way, images, limit) for way in ways}
    with progress_bar(rounds * len(calls), "turn") as bar:
        return time_in_turn(
            calls, rounds, burst=_BURST, warm_up=_WARM_UP, pause=_PAUSE, after_each=bar.update
        )


def _call(
    model: VisionMamba, way: Way, images: np.ndarray, limit: BlasLimit | None
) -> Callable[[], object]:
    call = functools.partial(model.with_settings(scan=way.scan, num_threads=way.threads), images)
    if limit is None or way.backend == "native":
        return call

    def limited() -> None:
        with limit(way.threads):
            call()

    return limited


def _print_times(ways: list[Way], seconds: dict[Way, np.ndarray], batch: int) -> None:
    rows = []
    first = float(np.median(seconds[ways[0]]))
    for way in ways:
        lower, median, upper = np.percentile(seconds[way], (25, 50, 75))
        rows.append(
            (
                way.backend,
                way.scan,
                str(way.threads),
                f"{median * 1e3:.2f}",
                f"{lower * 1e3:.2f} to {upper * 1e3:.2f}",
                f"{batch / median:.1f}",
                f"{median / first:.2f}x",
            )
        )
    columns = ("backend", "scan", "threads", "ms", "quartiles", "pictures/s", "over the first")
    print_table(columns, rows)


def _write_json(
    path: str, measured: Measured, ways: list[Way], seconds: dict[Way, np.ndarray]
) -> None:
    results = [
        {**way._asdict(), "median": float(np.median(seconds[way])), "seconds": list(seconds[way])}
        for way in ways
    ]
    with naming(path), whole_file(path) as file:
        file.write(json.dumps({**measured.facts, "results": results}, indent=1).encode())
