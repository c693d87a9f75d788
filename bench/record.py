"""Measure what the pages quote, and keep it in ``bench/results/<machine>.json``.

    python bench/record.py [SECTION...]

Every section is a script in a process of its own, which gives its figures with ``--json FILE``. A
section that is not asked for keeps what it had, and so does one whose script fails. Afterwards
``python bench/render.py`` writes the pages; ``recorded.QUOTED`` says whose figures they have.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import checkout  # noqa: F401  (finds vimnp's clone)
from recorded import file_of, put
from surroundings import refusal

BENCH = Path(__file__).parent

SECTIONS: dict[str, tuple[str, ...]] = {
    "vision_mamba": ("peers", "--rounds", "16"),
    "int8": ("peers/int8", "--rounds", "8"),
    "vmamba": ("peers/vmamba", "--rounds", "8"),
    "language": ("peers/language", "--rounds", "8"),
    "limits": ("limits.py",),
    "footprint": ("footprint.py",),
    "steps": ("bench_steps.py",),
    "neighbours": ("neighbours.py", "--rounds", "2"),
    "profiling": ("bench_profile.py",),
    "float16_storage": ("float16_storage.py",),
    "convert_memory": ("convert_memory.py",),
    "faithfulness": ("faithfulness.py",),
    "nearest": ("nearest.py",),
}
"""The script of each section, in this folder, and its options."""


def measure(section: str, script: str, *options: str) -> bool:
    """Run a section's script and keep its figures; whether it came to its end."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "figures.json")
        command = [sys.executable, str(BENCH / script), *options, "--json", str(file)]
        begin = time.monotonic()
        done = subprocess.run(command, stdout=subprocess.DEVNULL)
        seconds = round(time.monotonic() - begin)
        if done.returncode != 0:
            print(f"{section}: failed after {seconds} s", file=sys.stderr, flush=True)
            return False
        figures = json.loads(file.read_text(encoding="utf-8"))
    path = file_of(figures["machine"])
    put(path, section, figures)
    print(f"{section}: {seconds} s, into {path.name}", flush=True)
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status, 1 if a section failed and 2 if it refuses."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    options = parser.parse_args(arguments)
    unknown = [name for name in options.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"{', '.join(unknown)}; expected of {', '.join(SECTIONS)}")
    if reason := refusal():
        print(reason, file=sys.stderr)
        return 2
    chosen = options.sections or list(SECTIONS)
    outcomes = [measure(name, *SECTIONS[name]) for name in chosen]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
