"""``vimnp eval``: top-1 and top-5 accuracy over a folder of labelled pictures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vimnp.commands.cluster_options import add_cluster, cluster_option, rows_source
from vimnp.commands.console import FAILURE, INTERRUPTED, printable, say
from vimnp.commands.model_options import (
    add_way,
    add_weights,
    load_model,
    say_if_bundled,
    weights_settings,
)
from vimnp.commands.options import add_count, file_name
from vimnp.commands.progress import progress_bar
from vimnp.errors import VimnpError
from vimnp.evaluate.accuracy import Accuracy, Evaluation, Rank, evaluate, expect_logits
from vimnp.evaluate.image_folder import ImageFolder, Sample, find_pictures, spread
from vimnp.evaluate.results import ResultsFile
from vimnp.models.precision import PRECISIONS
from vimnp.models.vision import VisionModel

if TYPE_CHECKING:
    from vimnp.evaluate.comparison import Comparison

DESCRIPTION = (
    "Say how often a network is right about the pictures in DIR. DIR has a folder for each class, "
    "as ImageNet's validation set does: DIR/n01440764/*.JPEG. All files in these folders and below "
    "them count as pictures, except hidden ones; links are followed. The command lists pictures "
    "that it cannot read, or whose logits are not finite, and counts them neither as right nor as "
    "wrong."
)
EXAMPLE = "vimnp eval val --weights vim_tiny.npz --resume results.jsonl"

TOP = (1, 5)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=file_name, metavar="DIR", help="has a folder of pictures for each class"
    )
    add_weights(parser)
    add_way(parser)
    parser.add_argument(
        "--classes",
        type=file_name,
        metavar="FILE",
        help="the class of each folder: a text with a folder in each line, in the order of the "
        "classes (the first word counts), or JSON, from folder to index or as "
        "imagenet_class_index.json; without it, folders are named as the weights' labels or by "
        "indices, or there is one for every class, in the order of the classes",
    )
    add_count(parser, "--limit", "only N pictures, spread evenly over the classes")
    add_count(parser, "--batch", "pictures that the network is given at once (8)", default=8)
    parser.add_argument(
        "--resume",
        type=file_name,
        metavar="FILE",
        help="keep each picture's result in FILE, and skip the pictures that FILE has already",
    )
    parser.add_argument(
        "--compare",
        type=file_name,
        metavar="float32|W.npz",
        help="also say how often the class differs, and how far the logits move, from the same "
        "weights in another precision (float32 or int8), or from other weights, for example those "
        "that an int8 file was made from",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with every class")
    add_cluster(parser)


def run(options: argparse.Namespace) -> int:
    try:
        return _run(options)
    except KeyboardInterrupt:
        say(
            f"interrupted: the same command goes on from the results in {options.resume}"
            if options.resume
            else "interrupted: nothing is kept without --resume FILE"
        )
        return INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    model = load_model(options)
    expect_logits(model)  # before folders are held against classes that it may not have
    folder = find_pictures(options.folder, model.metadata, options.classes)
    samples = folder.samples
    if options.limit is not None:
        samples = spread(samples, options.limit)
    settings = _settings(options, model) if options.json or options.resume is not None else {}
    if options.compare is not None:
        return _compare(options, model, folder, samples, settings)
    evaluation = _evaluate(options, model, folder, samples, settings)
    if options.json:
        print(json.dumps(settings | _as_json(evaluation, folder, model), indent=1))
    else:
        _print_evaluation(evaluation, options.folder)
    if not evaluation.ranks:
        say(f"{options.folder}: none of the pictures can be read")
        return FAILURE
    return 0


def _settings(options: argparse.Namespace, model: VisionModel) -> dict[str, Any]:
    """What the results depend on, beside the classes."""
    return {
        **weights_settings(options, model),
        "folder": str(Path(options.folder).resolve()),
    }


def _compare(
    options: argparse.Namespace,
    model: VisionModel,
    folder: ImageFolder,
    samples: Sequence[Sample],
    settings: dict[str, Any],
) -> int:
    """Two networks on the same pictures, neither of which is resumed."""
    from vimnp.evaluate.comparison import compare

    others = cluster_option(options)
    if others is not None:
        raise VimnpError(f"--compare with {others}: both networks run in this process; take one")
    if options.resume is not None:
        raise VimnpError("--compare with --resume: results of two networks are not kept; take one")
    if options.compare in PRECISIONS:
        changes = {"precision": options.compare}
    else:
        changes = {"weights": options.compare, "precision": None}
    reference = load_model(argparse.Namespace(**{**vars(options), **changes}))
    say_if_bundled(options)
    if folder.assumption is not None:
        say(f"assumed {folder.assumption}")
    with progress_bar(len(samples), "picture") as bar:
        comparison = compare(
            model,
            reference,
            folder.path,
            samples,
            batch=options.batch,
            on_progress=bar.update,
        )
    if options.json:
        against = {"compared_with": options.compare, "reference_precision": reference.precision}
        print(json.dumps(settings | against | _comparison_as_json(comparison), indent=1))
    else:
        _print_comparison(comparison, options, model, reference)
    if not comparison.ranks:
        say(f"{options.folder}: none of the pictures can be read")
        return FAILURE
    return 0


def _evaluate(
    options: argparse.Namespace,
    model: VisionModel,
    folder: ImageFolder,
    samples: Sequence[Sample],
    settings: dict[str, Any],
) -> Evaluation:
    results, done = None, 0
    if options.resume is not None:
        results = ResultsFile(options.resume, settings, folder.classes)
        done = sum(sample.path in results.ranks for sample in samples)
    say_if_bundled(options)
    if folder.assumption is not None:
        say(f"assumed {folder.assumption}")
    rank = Rank(str(folder.path), dict(samples))
    with (
        rows_source(options, rank, model, batch=options.batch) as elsewhere,
        progress_bar(len(samples), "picture", done) as bar,
    ):
        return evaluate(
            model,
            folder.path,
            samples,
            batch=options.batch,
            results=results,
            on_progress=bar.update,
            rows_of=elsewhere,
        )


def _print_evaluation(evaluation: Evaluation, folder: str) -> None:
    print(printable(folder))
    _print_fact("pictures", f"{len(evaluation.ranks):,}")
    for accuracy in map(evaluation.top, TOP) if evaluation.ranks else ():
        low, high = accuracy.interval
        _print_fact(
            f"top-{accuracy.k}",
            f"{accuracy.share:.2%} ({accuracy.right:,} right; Wilson's 95 % interval {low:.2%} to "
            f"{high:.2%})",
        )
    if evaluation.new:
        milliseconds = 1000 * evaluation.seconds / evaluation.new
        _print_fact("time", f"{milliseconds:.1f} ms a picture, reading it included")
    _print_unreadable(evaluation.unreadable)


def _print_unreadable(unreadable: Sequence[tuple[Sample, str]]) -> None:
    _print_fact("unreadable", f"{len(unreadable):,}")
    for (path, _), error in unreadable:
        print(f"    {path if path.isprintable() else repr(path)}: {printable(error)}")


def _print_comparison(
    comparison: Comparison, options: argparse.Namespace, model: VisionModel, reference: VisionModel
) -> None:
    print(printable(options.folder))
    _print_fact("pictures", f"{len(comparison.ranks):,}")
    _print_fact("way", model.runs)
    _print_fact("compared", f"with {printable(options.compare)}: {reference.runs}")
    if comparison.ranks:
        share = comparison.same / len(comparison.ranks)
        _print_fact("same class", f"{share:.2%} ({comparison.same:,})")
        _print_fact(
            "logits",
            f"off by {comparison.rms:.4g} (root mean square; at most {comparison.largest:.4g}), "
            f"{comparison.relative:.1%} of what they vary by",
        )
        for k in TOP:
            found, expected = comparison.top(k)
            _print_fact(f"top-{k}", f"{found.share:.2%}, compared with {expected.share:.2%}")
    _print_unreadable(comparison.unreadable)


def _comparison_as_json(comparison: Comparison) -> dict[str, Any]:
    tops = {f"top{k}": comparison.top(k) for k in TOP}
    return {
        "pictures": len(comparison.ranks),
        "same_class": comparison.same,
        "logits_rms": comparison.rms,
        "logits_largest": comparison.largest,
        "logits_spread": comparison.spread,
        **{name: _accuracy(found) for name, (found, _) in tops.items()},
        **{f"reference_{name}": _accuracy(expected) for name, (_, expected) in tops.items()},
        "changed": [
            {"file": sample.path, "class": found, "reference_class": expected}
            for sample, found, expected in comparison.changed
        ],
        "unreadable": [{"file": s.path, "error": error} for s, error in comparison.unreadable],
    }


def _print_fact(name: str, value: object) -> None:
    print(f"  {name:<12} {value}")


def _as_json(evaluation: Evaluation, folder: ImageFolder, model: VisionModel) -> dict[str, Any]:
    labels = model.metadata.labels
    top = {f"top{k}": (evaluation.top(k), evaluation.top_by_class(k)) for k in TOP}
    return {
        "pictures": len(evaluation.ranks),
        **{name: _accuracy(whole) for name, (whole, _) in top.items()},
        "classes": [
            {
                "folder": name,
                "index": index,
                "label": labels[index] if labels else None,
                **{key: _accuracy(by_class.get(index)) for key, (_, by_class) in top.items()},
            }
            for name, index in folder.classes.items()
        ],
        "unreadable": [{"file": s.path, "error": error} for s, error in evaluation.unreadable],
        "seconds_per_picture": evaluation.seconds / evaluation.new if evaluation.new else None,
    }


def _accuracy(accuracy: Accuracy | None) -> dict[str, Any] | None:
    """None where there are no pictures."""
    if accuracy is None or not accuracy.pictures:
        return None
    return accuracy._asdict() | {"share": accuracy.share, "interval_95": accuracy.interval}
