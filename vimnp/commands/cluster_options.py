"""The options that have other processes and machines look at pictures."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from vimnp.commands.console import say
from vimnp.commands.model_options import weights_settings
from vimnp.commands.options import add_count
from vimnp.commands.weights_option import weights_of
from vimnp.errors import VimnpError
from vimnp.weights.file import BUNDLED_DIGITS

if TYPE_CHECKING:
    from vimnp.jobs.operation import Operation, Row
    from vimnp.models.vision import VisionModel

RowsOf: TypeAlias = "Callable[[Sequence[str]], Iterator[list[Row]]]"
"""Gives the rows of pictures, some at a time and in any order."""


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Who looks at the pictures, if not this process."""
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="share the pictures among the workers of a Dask cluster: give the address of its "
        "scheduler, as tcp://HOST:8786, or its scheduler file, which ends in .json",
    )
    add_count(parser, "--workers", "share the pictures among N processes of this machine")


def cluster_option(options: argparse.Namespace) -> str | None:
    """The option by which others look at the pictures; None if this process does.

    Raises
    ------
    VimnpError
        If there are both.
    """
    given = [name for name in ("scheduler", "workers") if getattr(options, name) is not None]
    if len(given) == 2:
        raise VimnpError("--workers with --scheduler: the scheduler has its workers; take one")
    return f"--{given[0]}" if given else None


@contextlib.contextmanager
def rows_source(
    options: argparse.Namespace, operation: Operation, model: VisionModel, *, batch: int
) -> Iterator[RowsOf | None]:
    """What gives the rows of pictures within the block, if others look at them; None if not.

    Parameters
    ----------
    options
        Of :func:`add_cluster`, and those that say which network runs, and how.
    operation : Operation
    model : VisionMamba or VMamba
        The network, which the workers make once more.
    batch : int
        How many pictures are given to the network at once.
    """
    if cluster_option(options) is None:
        yield None
        return
    from vimnp.jobs.cluster import local_cluster, rows_by, scheduler_at

    is_local = options.scheduler is None
    connection = local_cluster(options.workers) if is_local else scheduler_at(options.scheduler)
    with connection as client:

        def elsewhere(files: Sequence[str]) -> Iterator[list[Row]]:
            return rows_by(
                client,
                operation,
                files,
                weights=str(weights_of(options) or BUNDLED_DIGITS),
                weights_sha256=weights_settings(options, model)["weights_sha256"],
                way=_way(options, model),
                batch=batch,
                share_weights=is_local,
                on_waiting=lambda: say(
                    f"the scheduler {options.scheduler} has no workers yet: this waits for them"
                ),
            )

        yield elsewhere


def _way(options: argparse.Namespace, model: VisionModel) -> dict[str, object]:
    """How the workers run the network: as it would run here, which decides of every bit."""
    threads = options.threads
    if threads is None and options.scheduler is None:  # together they take what one would take
        threads = max(1, model.num_threads // options.workers)
    return {
        "img_size": None if options.img_size is None else model.config.img_size,
        "scan": model.scan,
        "backend": model.backend,
        "precision": options.precision,
        "num_threads": threads,
    }
