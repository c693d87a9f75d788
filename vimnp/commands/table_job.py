"""A job over many pictures whose rows become a table, and which can be interrupted."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from vimnp.commands.cluster_options import rows_source
from vimnp.commands.console import FAILURE, INTERRUPTED, say
from vimnp.commands.destination import check_destination, naming
from vimnp.commands.model_options import say_if_bundled, weights_settings
from vimnp.commands.progress import progress_bar
from vimnp.errors import VimnpError
from vimnp.jobs.merging import write_shard
from vimnp.jobs.operation import Row, Tabulated
from vimnp.jobs.pictures import find_pictures
from vimnp.jobs.rows import Rows
from vimnp.models.vision import VisionModel

BATCH = 8


class TableJob(NamedTuple):
    """What a command makes of pictures, and where the rows come from."""

    operation: Tabulated
    model: VisionModel
    rows_of: Callable[[Sequence[str]], Iterator[list[Row]]]
    """Gives the rows of pictures in this process, some at a time and in any order."""


def expect_output(options: argparse.Namespace, operation: type[Tabulated]) -> None:
    """Make sure that the table can be written, before a network is loaded.

    Raises
    ------
    VimnpError
        If it cannot: for its name, its folder, or a library that is missing.
    """
    operation.expect_table(options.output)
    check_destination(_file(options))


def run_job(options: argparse.Namespace, job: TableJob) -> int:
    """Make the table, or a shard of it; returns the command's exit code.

    The options are those of :func:`vimnp.commands.job_options.add_output` and ``images``. A row
    that is there is on the disk, and only this process writes.
    """
    output, files = _file(options), find_pictures(options.images, sys.stdin)
    settings = weights_settings(options, job.model)
    if options.shard is not None:
        settings |= options.shard.settings(files)
        files = list(options.shard.part(files))
    with naming(output):
        kept = Rows(output, job.operation, settings)
    if kept.path.exists() and not options.resume:
        raise VimnpError(
            f"{kept.path}: rows of a run that was interrupted; expected --resume, which goes on "
            "from them, or no such file"
        )
    left = [file for file in files if not kept.has_result(file)]
    say_if_bundled(options)
    try:
        with (
            kept,
            rows_source(
                options, job.operation, job.model, batch=options.batch or BATCH
            ) as elsewhere,
            progress_bar(len(files), "picture", len(files) - len(left)) as bar,
        ):
            kept.add([])  # a file that cannot be written is noticed now
            for rows in (elsewhere or job.rows_of)(left):
                kept.add(rows)
                bar.update(len(rows))
    except KeyboardInterrupt:
        say(f"interrupted: the same command with --resume goes on from {kept.path}")
        return INTERRUPTED
    found = kept.of(files)
    with naming(output):
        if options.shard is not None:
            write_shard(output, job.operation, found, settings)
            names = output
        else:
            job.operation.write(output, found, settings)
            names = job.operation.errors_in(output)
    kept.remove()
    unreadable = sum(not kept.has_result(file) for file in files)
    return say_errors(unreadable, len(files), job.operation.lacking, names)


def say_errors(unreadable: int, pictures: int, lacking: str, file: str) -> int:
    """Say how many pictures have an error, and in which file; returns the command's exit code."""
    if not unreadable:
        return 0
    say(
        f"{unreadable:,} of {pictures:,} pictures have no {lacking}: the column error of {file} "
        "says why"
    )
    return FAILURE


def _file(options: argparse.Namespace) -> str:
    """What is written: the table, or a shard of it."""
    output: str = options.output
    return output if options.shard is None else options.shard.path(output)
