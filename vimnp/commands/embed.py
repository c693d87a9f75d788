"""``vimnp embed``: what a network's head would read of each picture, in a table."""

from __future__ import annotations

import argparse

from vimnp.commands.job_options import PICTURES, add_output, add_pictures
from vimnp.commands.model_options import add_way, add_weights, load_model

DESCRIPTION = (
    "Write the features of each picture, which are the input of the network's head. Pictures that "
    f"look alike have similar features, and `vimnp similar` finds them. {PICTURES}"
)
EXAMPLE = "vimnp embed pictures --weights vim_tiny.npz --output features.npy"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_pictures(parser)
    add_weights(parser)
    add_way(parser)
    add_output(
        parser,
        "the table: .npy, a float32 matrix with a row for each picture, and the pictures' names "
        "in FILE.jsonl beside it; or .parquet, which takes pyarrow",
        required=True,
    )


def run(options: argparse.Namespace) -> int:
    from vimnp.commands.table_job import BATCH, TableJob, expect_output, run_job
    from vimnp.jobs.embedding import Embed

    expect_output(options, Embed)
    model = load_model(options)
    operation = Embed.of(model)
    job = TableJob(
        operation=operation,
        model=model,
        rows_of=lambda files: operation.batches(model, files, batch=options.batch or BATCH),
    )
    return run_job(options, job)
