"""``vimnp predict --output``: a table of many pictures, which can be interrupted."""

from __future__ import annotations

import argparse
import sys

from vimnp.commands.console import FAILURE, INTERRUPTED, say
from vimnp.commands.destination import check_destination, naming
from vimnp.commands.model_options import load_model, say_if_bundled, weights_settings
from vimnp.commands.progress import progress_bar
from vimnp.errors import VimnpError
from vimnp.evaluate.accuracy import expect_logits
from vimnp.jobs.pictures import find_pictures
from vimnp.jobs.prediction import predict_rows
from vimnp.jobs.rows import Rows
from vimnp.jobs.tables import write_table, writer_of

_BATCH = 8


def run_to_table(options: argparse.Namespace) -> int:
    if options.json:
        raise VimnpError("--json with --output: a table is written, and nothing printed; take one")
    writer_of(options.output)
    check_destination(options.output)
    model = load_model(options)
    expect_logits(model)
    files = find_pictures(options.images, sys.stdin)
    top_k = min(options.top_k, model.config.num_classes)
    with naming(options.output):
        kept = Rows(options.output, {**weights_settings(options, model), "top_k": top_k})
    if kept.path.exists() and not options.resume:
        raise VimnpError(
            f"{kept.path}: rows of a run that was interrupted; expected --resume, which goes on "
            "from them, or no such file"
        )
    done = {file for file in files if kept.rows.get(file, {}).get("predictions") is not None}
    say_if_bundled(options)
    left = [file for file in files if file not in done]
    try:
        with kept, progress_bar(len(files), "picture", len(done)) as bar:
            kept.add([])  # a file that cannot be written is noticed now
            for rows in predict_rows(model, left, top_k=top_k, batch=options.batch or _BATCH):
                kept.add(rows)
                bar.update(len(rows))
    except KeyboardInterrupt:
        say(f"interrupted: the same command with --resume goes on from {kept.path}")
        return INTERRUPTED
    with naming(options.output):
        write_table(options.output, [kept.rows[file] for file in files], top_k)
    kept.remove()
    unreadable = sum(kept.rows[file]["error"] is not None for file in files)
    if unreadable:
        say(
            f"{unreadable:,} of {len(files):,} pictures have no classes: the column error of "
            f"{options.output} says why"
        )
        return FAILURE
    return 0
