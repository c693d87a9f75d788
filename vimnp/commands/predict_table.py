"""``vimnp predict --output``: the classes of many pictures in a table."""

from __future__ import annotations

import argparse

from vimnp.commands.model_options import load_model
from vimnp.commands.table_job import BATCH, TableJob, expect_output, run_job
from vimnp.errors import VimnpError
from vimnp.evaluate.accuracy import expect_logits
from vimnp.jobs.prediction import Predict, predict_rows


def run_to_table(options: argparse.Namespace) -> int:
    if options.json:
        raise VimnpError("--json with --output: a table is written, and nothing printed; take one")
    expect_output(options, Predict)
    model = load_model(options)
    expect_logits(model)
    top_k = min(options.top_k, model.config.num_classes)
    job = TableJob(
        operation=Predict(top_k),
        model=model,
        rows_of=lambda files: predict_rows(model, files, top_k=top_k, batch=options.batch or BATCH),
    )
    return run_job(options, job)
