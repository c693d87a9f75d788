"""A job over many pictures whose rows become a table, and which can be interrupted."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from vimnp.commands.console import FAILURE, INTERRUPTED, say
from vimnp.commands.destination import naming
from vimnp.commands.model_options import say_if_bundled, weights_settings
from vimnp.commands.progress import progress_bar
from vimnp.errors import VimnpError
from vimnp.jobs.operation import Operation, Row
from vimnp.jobs.pictures import find_pictures
from vimnp.jobs.rows import Rows
from vimnp.models.vision import VisionModel

BATCH = 8


class TableJob(NamedTuple):
    """What a command makes of pictures, and where the rows come from and go to."""

    operation: Operation
    model: VisionModel
    rows_of: Callable[[Sequence[str]], Iterator[list[Row]]]
    """Gives the rows of pictures, some at a time and in any order: here, or on other machines."""
    write: Callable[[Sequence[Row]], object]
    """Writes the table ``options.output`` of all rows."""
    lacking: str
    """What pictures with an error have none of."""


def run_job(options: argparse.Namespace, job: TableJob) -> int:
    """Make the table; returns the command's exit code.

    ``options`` has ``images``, ``output`` and ``resume``. A row that is there is on the disk,
    and only this process writes.
    """
    files = find_pictures(options.images, sys.stdin)
    with naming(options.output):
        kept = Rows(options.output, job.operation, weights_settings(options, job.model))
    if kept.path.exists() and not options.resume:
        raise VimnpError(
            f"{kept.path}: rows of a run that was interrupted; expected --resume, which goes on "
            "from them, or no such file"
        )
    left = [file for file in files if not kept.has_result(file)]
    say_if_bundled(options)
    try:
        with kept, progress_bar(len(files), "picture", len(files) - len(left)) as bar:
            kept.add([])  # a file that cannot be written is noticed now
            for rows in job.rows_of(left):
                kept.add(rows)
                bar.update(len(rows))
    except KeyboardInterrupt:
        say(f"interrupted: the same command with --resume goes on from {kept.path}")
        return INTERRUPTED
    found = [kept.rows[file] for file in files]
    with naming(options.output):
        job.write(found)
    kept.remove()
    return say_errors(found, job.lacking, options.output)


def say_errors(rows: Sequence[Row], lacking: str, table: str) -> int:
    """Say how many pictures have an error; returns the command's exit code."""
    unreadable = sum(row["error"] is not None for row in rows)
    if not unreadable:
        return 0
    say(
        f"{unreadable:,} of {len(rows):,} pictures have no {lacking}: the column error of "
        f"{table} says why"
    )
    return FAILURE
