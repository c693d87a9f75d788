"""``vimnp profile``: where the time of a forward pass goes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np

from vimnp.commands.destination import check_destination, naming
from vimnp.commands.measured import add_measured, describe
from vimnp.commands.measured_model import add_measured_model, find_model
from vimnp.commands.model_options import add_way
from vimnp.commands.options import file_name
from vimnp.commands.passes import Pass
from vimnp.commands.progress import progress_bar
from vimnp.commands.table import print_table
from vimnp.engine.costs import Cost
from vimnp.measure.machine import Rates
from vimnp.measure.profiling import Profile, median_seconds, rates_in_reach
from vimnp.measure.trace import write_trace

if TYPE_CHECKING:
    from vimnp.commands.measured_model import AnyModel

DESCRIPTION = (
    "Show where the time of a forward pass goes, or of a language model's next token. Lists the "
    "operations, with the arithmetic and the bytes of each, and the layers. Times are medians of "
    "the passes, and with the native backend means over its threads; 'wait' is the time that a "
    "thread waits for the others."
)
EXAMPLE = "vimnp profile --random tiny --backend native --threads 2 --trace pass.json"

_WARM_UP = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_measured_model(parser)
    add_way(parser)
    add_measured(parser, tokens="1")
    parser.add_argument(
        "--trace",
        type=file_name,
        metavar="FILE.json",
        help="write the pass with the median time as trace events, for Perfetto, chrome://tracing "
        "or viztracer's viewer",
    )


def run(options: argparse.Namespace) -> int:
    if options.trace is not None:
        check_destination(options.trace)
    load = find_model(options)
    model = load(scan=options.scan, num_threads=options.threads, backend=options.backend)
    measured = describe(options, model, tokens=1)
    (one, *_) = measured.passes.passes
    way = model.runs
    print("\n".join([*measured.lines, f"way: {way}"]))
    rates = rates_in_reach(model)
    profiles = _profiles(model, one, options.rounds)
    print(
        f"in reach: {rates.flops / 1e9:.0f} GFLOP/s ({rates.arithmetic}), "
        f"{rates.bytes / 1e9:.1f} GB/s (a copy in memory)\n"
    )
    _print_operations(profiles, one.costs(model), rates)
    print(
        "\nbeyond 100 %: caches give more than memory does; exponentials are no arithmetic here\n"
    )
    _print_layers(profiles)
    if options.trace is not None:
        middle = sorted(profiles, key=lambda p: p.seconds)[len(profiles) // 2]
        with naming(options.trace):
            write_trace(options.trace, middle, measured.facts | {"way": way})
    return 0


def _profiles(model: AnyModel, one: Pass, rounds: int) -> list[Profile]:
    found = []
    with progress_bar(_WARM_UP + rounds, "pass") as bar:
        for _ in range(_WARM_UP + rounds):
            found.append(one.profile(model))
            bar.update()
    return found[_WARM_UP:]


def _print_operations(profiles: list[Profile], costs: dict[str, Cost], rates: Rates) -> None:
    seconds = median_seconds(profiles, lambda span: span.operation)
    rest = [p.seconds - sum(p.seconds_by(lambda span: None).values()) for p in profiles]
    whole = float(np.median([p.seconds for p in profiles]))
    total = Cost(*(sum(numbers) for numbers in zip(*costs.values(), strict=True)))
    rows = []
    for name, value in [*seconds.items(), ("between", np.median(rest)), ("whole", whole)]:
        cells = _rate_cells((costs | {"whole": total}).get(name), value, rates)
        rows.append((name, f"{value * 1e3:.2f}", f"{value / whole:.1%}", *cells))
    columns = (
        "operation",
        "ms",
        "share",
        "MFLOP",
        "M exp",
        "MB",
        "GFLOP/s",
        "GB/s",
        "nearest limit",
    )
    print_table(columns, rows)


def _rate_cells(cost: Cost | None, seconds: float, rates: Rates) -> tuple[str, ...]:
    """Arithmetic, exponentials and bytes; the rates, and which is nearer to what is in reach."""
    if cost is None or seconds <= 0:
        return ("",) * 6
    flops, moved = cost.flops / seconds, cost.bytes / seconds
    shares = {"arithmetic": flops / rates.flops, "memory": moved / rates.bytes}
    nearest = max(shares, key=lambda name: shares[name])
    return (
        f"{cost.flops / 1e6:.1f}",
        f"{cost.exponentials / 1e6:.1f}",
        f"{cost.bytes / 1e6:.1f}",
        f"{flops / 1e9:.1f}",
        f"{moved / 1e9:.1f}",
        f"{nearest}, {shares[nearest]:.0%} of it",
    )


def _print_layers(profiles: list[Profile]) -> None:
    """Milliseconds of each layer's operations."""
    seconds = median_seconds(profiles, lambda span: (span.layer, span.operation))
    layers = sorted({layer for layer, _ in seconds if layer is not None})
    operations = list(dict.fromkeys(name for layer, name in seconds if layer is not None))
    rows = []
    for layer in layers:
        times = [seconds.get((layer, name), 0.0) for name in operations]
        rows.append((str(layer), f"{sum(times) * 1e3:.2f}", *(f"{t * 1e3:.3f}" for t in times)))
    print_table(("layer", "ms", *operations), rows)
