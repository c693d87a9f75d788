"""``vimnp merge``: the table of a job that ran in shards."""

from __future__ import annotations

import argparse

from vimnp.commands.destination import check_destination, naming
from vimnp.commands.options import file_name
from vimnp.commands.table_job import say_errors
from vimnp.jobs.merging import merge
from vimnp.jobs.shard import find_shards

DESCRIPTION = (
    "Make one table of the shards that `vimnp predict` or `vimnp embed` wrote with --shard 1/N to "
    "N/N. All shards must be there, and belong to one job: the same network, run in the same way, "
    "and the same list of pictures. The table has the same bytes as that of a single run. The "
    "shards stay where they are."
)
EXAMPLE = "vimnp merge classes.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "output",
        type=file_name,
        metavar="FILE",
        help="the table to write: its name ends as that of --output can",
    )
    parser.add_argument(
        "shards",
        nargs="*",
        type=file_name,
        metavar="SHARD",
        help="the shards' files, in any order (FILE.shard-1-of-N and so on, beside FILE)",
    )


def run(options: argparse.Namespace) -> int:
    merged = merge(options.shards or find_shards(options.output))
    merged.operation.expect_table(options.output)
    check_destination(options.output)
    with naming(options.output):
        merged.operation.write(options.output, merged.rows, merged.settings)
    unreadable = sum(row["error"] is not None for row in merged.rows)
    names = merged.operation.errors_in(options.output)
    return say_errors(unreadable, len(merged.rows), merged.operation.lacking, names)
