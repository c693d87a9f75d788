"""``vimnp similar``: which pictures look most like one."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from vimnp.commands.console import FAILURE, printable, say
from vimnp.commands.model_options import (
    add_way,
    add_weights,
    load_model,
    say_if_bundled,
    weights_settings,
)
from vimnp.commands.options import add_count, file_name
from vimnp.errors import ImageError, VimnpError
from vimnp.jobs.embedding import Embed, unpacked
from vimnp.jobs.embeddings import Embeddings, read_embeddings
from vimnp.jobs.similarity import most_similar
from vimnp.storage.journal import difference, is_same

DESCRIPTION = (
    "Say which pictures in a table of `vimnp embed` look most like yours. It compares features by "
    "the cosine of the angle between them. If the table has the name QUERY, its features are taken "
    "from there, and it is not among its own answers. Otherwise QUERY is the file of a picture, "
    "and the network computes its features: it must be the network of the table."
)
EXAMPLE = "vimnp similar cat.jpg --table features.npy --weights vim_tiny.npz"

_COMPARED = ("weights_sha256", "img_size", "precision", "dim")
"""Settings without which features are not comparable. Scan modes and backends round differently,
and no more."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "queries",
        nargs="+",
        type=file_name,
        metavar="QUERY",
        help="a name in the table, or a picture's file",
    )
    parser.add_argument(
        "--table",
        type=file_name,
        required=True,
        metavar="FILE",
        help="features that `vimnp embed` wrote: .npy or .parquet",
    )
    add_weights(parser)
    add_way(parser)
    add_count(parser, "--top-k", "pictures shown (5)", default=5)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    table = read_embeddings(options.table)
    answers = []
    for answer in _answers(options, table):
        answers.append(answer)
        if "error" in answer:
            say(f"{answer['query']}: {answer['error']}")
        elif not options.json:
            _print_similar(answer)
    if options.json:
        print(json.dumps(answers, indent=1))
    return FAILURE if any("error" in answer for answer in answers) else 0


def _answers(options: argparse.Namespace, table: Embeddings) -> Iterator[dict[str, Any]]:
    rows = {file: row for row, file in enumerate(table.files)}
    embed = None
    for query in options.queries:
        row = rows.get(query)
        try:
            if row is not None:
                vector = _from_table(table, row)
            else:
                embed = embed or _Embedder(options, table)
                vector = embed(query)
        except ImageError as error:  # the other pictures still get their answer
            yield {"query": query, "error": str(error).removeprefix(f"{query}: ")}
            continue
        best = most_similar(table.features, vector, options.top_k, row)
        yield {
            "query": query,
            "similar": [{"file": table.files[each], "score": score} for each, score in best],
        }


def _from_table(table: Embeddings, row: int) -> np.ndarray:
    error = table.errors[row]
    if error is not None:
        raise ImageError(f"has no features in the table: {error}")
    vector: np.ndarray = table.features[row]
    return vector


class _Embedder:
    """The network of a table, loaded when the first picture is no name in it."""

    def __init__(self, options: argparse.Namespace, table: Embeddings) -> None:
        self._model = load_model(options)
        self._operation = Embed.of(self._model)
        settings = weights_settings(options, self._model) | self._operation.settings()
        of_table = table.settings | {"dim": table.features.shape[1]}
        for name in _COMPARED:
            if not is_same(of_table.get(name), settings.get(name)):
                name, there, here = difference(name, of_table.get(name), settings.get(name))
                raise VimnpError(
                    f"{options.table}: {name} is {there} there, and {here} of this network; "
                    "expected the network, --img-size and --precision that `vimnp embed` had"
                )
        say_if_bundled(options)

    def __call__(self, file: str) -> np.ndarray:
        (row,) = self._operation.rows(self._model, [file])
        if row["error"] is not None:
            raise ImageError(row["error"])
        return unpacked(row["features"])


def _print_similar(answer: dict[str, Any]) -> None:
    print(printable(answer["query"]))
    for similar in answer["similar"]:
        print(f"  {similar['score']:7.4f}  {printable(similar['file'])}")
