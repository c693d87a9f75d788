"""A pass on Windows, by wine, over one on Linux, both on the same processors.

    WINDOWS_OUT=FOLDER .ci/windows/run time
    python bench/windows_times.py FOLDER

The first command lets both systems measure Vim-tiny in turn (``vimnp bench``), and leaves the
figures of each round in FOLDER. Of every system the best of its rounds' medians counts, as a spell
of noise may meet one alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from script_tables import windows
from surroundings import run


def best_medians(folder: Path, system: str) -> dict[int, float]:
    """By number of threads, in seconds.

    Raises
    ------
    SystemExit
        If the folder has no figures of the system.
    """
    best: dict[int, float] = {}
    for file in sorted(folder.glob(f"{system}-*.json")):
        for found in json.loads(file.read_text(encoding="utf-8"))["results"]:
            threads, seconds = found["threads"], found["median"]
            best[threads] = min(seconds, best.get(threads, seconds))
    if not best:
        raise SystemExit(f"{folder} has no {system}-1.json; expected the WINDOWS_OUT of a run")
    return best


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures: a row for each number of threads, in seconds."""
    systems = {name: best_medians(options.folder, name) for name in ("linux", "windows")}
    return {
        "times": [
            {"threads": threads, "linux": seconds, "windows": systems["windows"][threads]}
            for threads, seconds in systems["linux"].items()
        ]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="WINDOWS_OUT of the run")
    run(parser, measure, windows)


if __name__ == "__main__":
    main()
