"""The options of a command that goes through many pictures."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from vimnp.commands.cluster_options import add_cluster
from vimnp.commands.options import add_count, as_given, file_name
from vimnp.images import preprocessing as image

if TYPE_CHECKING:
    from vimnp.jobs.shard import Shard

PICTURES = (
    "Give files, folders, for the pictures in them and below, patterns such as "
    "'pictures/**/*.jpg', or -, which reads names from the standard input, one in each line."
)


def add_pictures(parser: argparse.ArgumentParser) -> None:
    """Which pictures."""
    images = parser.add_argument(
        "images",
        nargs="+",
        type=file_name,
        metavar="IMAGE",
        help="a file, a folder, a pattern, or -: %(formats)s",
    )
    vars(images)["formats"] = _Formats()


def add_output(parser: argparse.ArgumentParser, help: str, *, required: bool = False) -> None:
    """The table that is written, and how the work on it is cut up."""
    parser.add_argument(
        "--output",
        type=file_name,
        required=required,
        metavar="FILE",
        help=f"{help}; until all is done, the rows are in FILE.part",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue where FILE.part ends, and try unreadable pictures again",
    )
    add_count(parser, "--batch", "how many pictures the network takes at once, for a table (8)")
    parser.add_argument(
        "--shard",
        type=_shard,
        metavar="K/N",
        help="take only every N-th picture, from the K-th on, and write FILE.shard-K-of-N; the N "
        "shards may run at once, on one machine or on many; `vimnp merge FILE` makes the table",
    )
    add_cluster(parser)


def _shard(text: str) -> Shard:
    from vimnp.jobs.shard import Shard  # most jobs are whole

    try:
        return Shard.parse(text)
    except ValueError as error:
        # argparse would put "argument --shard:" before any other error.
        raise argparse.ArgumentError(None, f"{as_given('--shard', text)}: {error}") from None


class _Formats:
    """The names of the formats, for which pillow's plugins load: when the help is printed."""

    def __str__(self) -> str:
        return ", ".join(image.FORMATS)
