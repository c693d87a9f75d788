"""``vimnp fetch``: published weights by name, into the cache."""

from __future__ import annotations

import argparse

from vimnp.commands.console import printable, say
from vimnp.commands.options import file_name
from vimnp.commands.table import print_table
from vimnp.hub.names import origins
from vimnp.weights.metadata import DTYPES

DESCRIPTION = (
    "Fetch published weights, convert them, and keep them in the cache, where --model NAME finds "
    "them without a connection. Prints the path of the weights file. Without a NAME, lists the "
    "names that vimnp knows. Needs the package huggingface_hub."
)
EXAMPLE = "vimnp fetch vim-tiny"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name",
        nargs="?",
        type=file_name,
        metavar="NAME",
        help="a name in that list, owner/repository on the Hugging Face Hub, or "
        "hf://owner/repository/file",
    )
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        help="how the weights are stored; the cache keeps each dtype beside the others (float32, "
        "or as published); picture networks have no bfloat16 and no int4",
    )
    parser.add_argument(
        "--revision", type=file_name, metavar="R", help="a branch, a tag or a commit (main)"
    )
    parser.add_argument(
        "--file",
        type=file_name,
        metavar="FILE",
        help="which of several checkpoints in the repository",
    )
    parser.add_argument(
        "--refresh", action="store_true", help="ask for newer weights than those in the cache"
    )


def run(options: argparse.Namespace) -> int:
    if options.name is None:
        _print_names()
        return 0
    from vimnp.hub import find_weights

    path = find_weights(
        options.name,
        dtype=options.dtype,
        revision=options.revision,
        file=options.file,
        refresh=options.refresh,
        notice=say,
    )
    print(printable(path))
    return 0


def _print_names() -> None:
    columns = ("name", "parameters", "repository", "licence, as its page states it")
    rows = []
    for name, origin in origins().items():
        config = origin.config
        count = "" if config is None else f"{config.num_parameters / 1e6:,.1f} M"
        rows.append((name, count, origin.repository, origin.licence))
    print_table(columns, rows)
