"""Pictures through a local cluster whose workers are killed at random: is each row there, once?

    python bench/cluster_deaths.py
    python bench/cluster_deaths.py --pictures 1000 --workers 4 --every 2

Two processes of the bundled network look at copies of the repository's scans, some of which are
damaged, while every second or so one is killed. It prints what a process by itself takes, what the
cluster takes, and how many workers died; it fails if a path is missing or there twice, or if a row
is another than one process has for it.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from script_tables import cluster_deaths
from surroundings import run

import vimnp
from vimnp.jobs import cluster
from vimnp.jobs.operation import Row
from vimnp.jobs.pictures import find_pictures
from vimnp.jobs.prediction import Predict
from vimnp.weights.file import BUNDLED_DIGITS

SCANS = sorted((Path(__file__).parents[1] / "tests" / "data").glob("digit_*.png"))
DAMAGED = 97  # every so many pictures one is cut short


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures: seconds of one process and of the cluster, and how many of its workers died.

    Ends the program where a row is missing, repeated or wrong.
    """
    with tempfile.TemporaryDirectory(prefix="vimnp-") as folder:
        make_pictures(Path(folder), options.pictures)
        files = find_pictures([folder])
        start = time.perf_counter()
        expected = rows_here(files)
        alone = time.perf_counter() - start
        start = time.perf_counter()
        with (
            cluster.local_cluster(options.workers) as client,
            killing(client, options.every, random.Random(options.seed)) as killed,
        ):
            rows = rows_there(client, files)
        together = time.perf_counter() - start
    check(files, rows, expected)
    return {
        "pictures": options.pictures,
        "workers": options.workers,
        "every": options.every,
        "killed": len(killed),
        "alone": alone,
        "cluster": together,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=int, default=10_000, metavar="N")
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    parser.add_argument("--every", type=float, default=0.8, metavar="SECONDS", help="on average")
    parser.add_argument("--seed", type=int, default=0)
    run(parser, measure, cluster_deaths, ("vimnp", "numpy", "distributed"))


def make_pictures(folder: Path, number: int) -> None:
    for index in range(number):
        path = folder / f"{index:06}.png"
        shutil.copyfile(SCANS[index % len(SCANS)], path)
        if index % DAMAGED == 0:
            os.truncate(path, 60)


def rows_here(files: list[str]) -> list[Row]:
    model = vimnp.load(BUNDLED_DIGITS)
    return [row for rows in Predict().batches(model, files) for row in rows]


def rows_there(client: Any, files: list[str]) -> list[Row]:
    chunks = cluster.rows_by(
        client,
        Predict(),
        files,
        weights=str(BUNDLED_DIGITS),
        weights_sha256=hashlib.sha256(BUNDLED_DIGITS.read_bytes()).hexdigest(),
        way={"num_threads": 1},
        batch=8,
        share_weights=True,
    )
    return [row for rows in chunks for row in rows]


@contextlib.contextmanager
def killing(client: Any, every: float, chance: random.Random) -> Iterator[list[int]]:
    """Kill workers in a thread, those as well that have just begun; gives their processes' ids."""
    killed: list[int] = []
    end = threading.Event()

    def kill() -> None:
        while not end.wait(chance.expovariate(1 / every)):
            pids = [worker.pid for worker in client.cluster.workers.values() if worker.pid]
            if pids:
                killed.append(chance.choice(pids))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(killed[-1], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        end.set()
        thread.join()


def check(files: list[str], rows: list[Row], expected: list[Row]) -> None:
    times = collections.Counter(row["file"] for row in rows)
    missing = [file for file in files if not times[file]]
    repeated = [file for file, number in times.items() if number > 1]
    right = {row["file"]: row for row in expected}
    wrong = [row for row in rows if row != right.get(row["file"])]
    if missing or repeated or wrong:
        raise SystemExit(
            f"{len(missing)} of {len(files)} rows are missing, {len(repeated)} repeated, "
            f"{len(wrong)} wrong; for one: {[*missing, *repeated, *wrong][0]}"
        )


if __name__ == "__main__":
    main()
