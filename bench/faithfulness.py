"""Do explanations name the patches that the answer rests on? Deletion and insertion, on the digits.

    python bench/faithfulness.py [--scans 150]

Of held-out scans the patches are taken away one by one, those first that an explanation ranks
highest (deletion), or shown one by one on black (insertion). The figure is the mean score of the
class that the whole scan gets, over all steps: the lower the better where patches go, the higher
where they come. A random order stands beside them. Needs scikit-learn.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkout  # noqa: F401  (finds tests.support)
import numpy as np
from surroundings import run, table

import vimnp
from tests.support.digits import all_scans

HELD_OUT = Path(__file__).with_name("digits_held_out.json")
PATCHES = 16

Ranking = Callable[[np.ndarray], np.ndarray]
"""A picture's pixels -> its patches, the highest first."""


def rankings(model: vimnp.VisionMamba) -> dict[str, Ranking]:
    rng = np.random.default_rng(0)

    def of(values: np.ndarray) -> np.ndarray:
        return np.argsort(-values, axis=None)

    return {
        "contributions, all layers": lambda x: of(model.explain(x).map),
        "contributions, last layer": lambda x: of(model.explain(x).contributions[-1]),
        "hidden attention": lambda x: of(model.hidden_attention(x).mean(axis=0)),
        "mean step size": lambda x: of(model.step_sizes(x).mean(axis=0)),
        "random order": lambda x: rng.permutation(PATCHES),
    }


def shown(pixels: np.ndarray, patches: np.ndarray, black: np.ndarray) -> np.ndarray:
    """The picture with these patches, and black elsewhere."""
    mask = np.zeros(PATCHES, bool)
    mask[patches] = True
    mask = mask.reshape(4, 4).repeat(8, axis=0).repeat(8, axis=1)
    return np.where(mask, pixels, black)


def mean_scores(
    model: vimnp.VisionMamba, pixels: np.ndarray, order: np.ndarray
) -> tuple[float, float]:
    """The mean score of a scan's class while patches go, and while they come."""
    preprocessing = model.metadata.preprocessing
    assert preprocessing is not None
    black = (-np.array(preprocessing.mean) / preprocessing.std).astype(np.float32)[:, None, None]
    steps = range(PATCHES + 1)
    masked = [shown(pixels, order[n:], black) for n in steps]
    masked += [shown(pixels, order[:n], black) for n in steps]
    index = model.predict(pixels)[0].index
    scores = [next(p.score for p in best if p.index == index) for best in model.predict(masked, 10)]
    return float(np.mean(scores[: len(steps)])), float(np.mean(scores[len(steps) :]))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures: ``scans``, and in ``rankings`` the mean scores of each."""
    model = vimnp.load("digits")
    chosen = json.loads(HELD_OUT.read_text())["indices"][: options.scans]
    pictures, _ = all_scans()
    scans = [model.preprocess(pictures[i]) for i in chosen]
    rows = []
    for name, ranking in rankings(model).items():
        found = np.mean([mean_scores(model, x, ranking(x)) for x in scans], axis=0)
        rows.append({"ranked_by": name, "deletion": found[0], "insertion": found[1]})
    return {"scans": len(scans), "rankings": rows}


def markdown(figures: dict[str, Any]) -> str:
    columns = ("ranked by", "deletion (lower is better)", "insertion (higher)")
    return table(
        columns,
        (
            (row["ranked_by"], f"{row['deletion']:.2f}", f"{row['insertion']:.2f}")
            for row in figures["rankings"]
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scans", type=int, default=150, help="how many (%(default)s)")
    run(parser, measure, markdown)


if __name__ == "__main__":
    main()
