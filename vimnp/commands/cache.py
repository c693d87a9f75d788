"""``vimnp cache``: what was fetched by name, listed or removed."""

from __future__ import annotations

import argparse

from vimnp.commands.console import printable, say
from vimnp.commands.options import file_name
from vimnp.commands.table import print_table
from vimnp.hub import cache
from vimnp.hub.address import parse_address

DESCRIPTION = (
    "List the weights that were fetched by name, or remove them. They are in the folder "
    f"{cache.VARIABLE}, or in the system's usual folder for caches. The checkpoints that "
    "huggingface_hub has fetched stay in its own cache: see `hf cache --help`."
)
EXAMPLE = "vimnp cache clear vim-tiny"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        choices=("list", "clear"),
        help="list prints each file; clear removes them",
    )
    parser.add_argument(
        "name",
        nargs="?",
        type=file_name,
        metavar="NAME",
        help="only the weights of this repository: a name as for `vimnp fetch`",
    )


def run(options: argparse.Namespace) -> int:
    repository = None if options.name is None else parse_address(options.name).repository
    if options.action == "clear":
        removed = cache.clear(repository, say)
        size = sum(entry.size for entry in removed)
        print(f"removed {len(removed):,} files, {size / 1e6:,.1f} MB")
        return 0
    print(printable(cache.folder()))
    entries = cache.entries(repository)
    rows = [
        (*map(printable, (e.repository, e.version[:12], e.file)), f"{e.size / 1e6:,.1f}")
        for e in entries
    ]
    if rows:
        print_table(("repository", "version", "file", "MB"), rows)
    return 0
