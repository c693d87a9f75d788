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

import checkout  # noqa: F401  (finds tests.support)
import numpy as np
from surroundings import begin, print_table

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


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    begin()
    model = vimnp.load("digits")
    queries = json.loads(HELD_OUT.read_text())["indices"]
    scans, labels = all_scans()
    inputs = np.array([model.preprocess(scan) for scan in scans])
    vectors = {
        "features": model.features(inputs),
        "pixels": inputs.reshape(len(inputs), -1),
    }
    print(f"{len(queries)} held-out scans, looked for among {len(scans) - len(queries):,}\n")
    print_table(
        ("compared by", "the nearest shows the same digit", "of the ten nearest"),
        (
            (name, *(f"{share:.1%}" for share in shares(each, labels, queries)))
            for name, each in vectors.items()
        ),
    )


if __name__ == "__main__":
    main()
