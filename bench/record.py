"""Measure what the pages quote, and keep it in ``bench/results/<machine>.json``.

    python bench/record.py [SECTION...]
    python bench/record.py SECTION -- OPTION...

Every section is a script in a process of its own, which gives its figures with ``--json FILE``. A
section that is not asked for keeps what it had, and so does one whose script fails. Those that need
what few machines have (``BY_NAME``) run only if they are asked for. What stands after ``--`` is for
the script. Afterwards ``python bench/render.py`` writes the pages; ``recorded.QUOTED`` says whose
figures they have.
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
    "layer": ("bench_layer.py",),
    "steps": ("bench_steps.py",),
    "neighbours": ("neighbours.py", "--rounds", "2"),
    "profiling": ("bench_profile.py",),
    "float16_storage": ("float16_storage.py",),
    "convert_memory": ("convert_memory.py",),
    "faithfulness": ("faithfulness.py",),
    "nearest": ("nearest.py",),
    "thresholds": ("thresholds.py",),
    "vector_accuracy": ("vector_accuracy.py", "--every", "11"),
    "blas_threads": ("blas_threads.py",),
    "serve_load": ("serve_load.py",),
    "cluster_deaths": ("cluster_deaths.py",),
    "footprint": ("footprint.py",),
    "raspberry_pi": ("raspberry_pi.py",),
    "arm_instructions": ("arm_instructions.py",),
    "compilers": ("compilers.py",),
    "windows": ("windows_times.py",),
}
"""The script of each section, in this folder, and its options."""

BY_NAME = {
    "footprint": "vimnp, installed from a wheel",
    "raspberry_pi": "a compiler for AArch64, and llvm-mca",
    "arm_instructions": "-- PYTHON, an emulated one that has vimnp",
    "compilers": "-- FIRST.whl SECOND.whl",
    "windows": "-- FOLDER, what `.ci/windows/run time` left in WINDOWS_OUT",
}
"""Sections that run only if they are asked for, and what they need."""


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
    asked = sys.argv[1:] if arguments is None else list(arguments)
    end = asked.index("--") if "--" in asked else len(asked)
    needs = "; ".join(f"{name} (needs {what})" for name, what in BY_NAME.items())
    usual = [name for name in SECTIONS if name not in BY_NAME]
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog=f"Sections: {', '.join(usual)}. Only if asked for: {needs}.",
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help="default: the usual ones")
    options = parser.parse_args(asked[:end])
    of_script = asked[end + 1 :]
    unknown = [name for name in options.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"{', '.join(unknown)}; expected of {', '.join(SECTIONS)}")
    if of_script and len(options.sections) != 1:
        parser.error("what stands after -- is for one section")
    if reason := refusal():
        print(reason, file=sys.stderr)
        return 2
    chosen = options.sections or usual
    outcomes = [measure(name, *SECTIONS[name], *of_script) for name in chosen]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
