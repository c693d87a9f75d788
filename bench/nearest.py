"""Are pictures with similar features of one class? The nearest digits, by what finds them.

    python bench/nearest.py

For every held-out scan the most similar of the other scans are found as ``vimnp similar`` finds
them, and whether they show the same digit is counted. The cosine of the pixels themselves stands
beside that of the features. Needs scikit-learn.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import checkout  # noqa: F401  (finds tests.support)
import numpy as np
from surroundings import run, table

import vimnp
from tests.support.digits import all_scans
from vimnp.jobs.similarity import most_similar

HELD_OUT = Path(__file__).with_name("digits_held_out.json")


def shares(vectors: np.ndarray, labels: np.ndarray, queries: list[int]) -> Iterator[float]:
    """Of how many queries the first, and of how many of the first ten, show the same digit."""
    others = np.setdiff1d(np.arange(len(labels)), queries)
    found = [most_similar(vectors[others], vectors[query], 10) for query in queries]
    rows = np.array([[others[row] for row, _ in best] for best in found])
    is_same = labels[rows] == labels[queries][:, None]
    yield is_same[:, 0].mean()
    yield is_same.mean()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures: numbers of scans, and in ``compared_by`` the shares of each."""
    model = vimnp.load("digits")
    queries = json.loads(HELD_OUT.read_text())["indices"]
    scans, labels = all_scans()
    inputs = np.array([model.preprocess(scan) for scan in scans])
    vectors = {
        "features": model.features(inputs),
        "pixels": inputs.reshape(len(inputs), -1),
    }
    rows = []
    for name, each in vectors.items():
        nearest, of_ten = shares(each, labels, queries)
        rows.append({"vectors": name, "nearest": nearest, "of_ten": of_ten})
    return {"queries": len(queries), "among": len(scans) - len(queries), "compared_by": rows}


def markdown(figures: dict[str, Any]) -> str:
    columns = ("compared by", "the nearest shows the same digit", "of the ten nearest")
    return table(
        columns,
        (
            (row["vectors"], f"{row['nearest']:.1%}", f"{row['of_ten']:.1%}")
            for row in figures["compared_by"]
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    run(parser, measure, markdown)


if __name__ == "__main__":
    main()
