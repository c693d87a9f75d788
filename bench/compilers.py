"""Two wheels by two compilers: whether they give the same logits and take the same time.

    python bench/compilers.py FIRST.whl SECOND.whl [--rounds 10] [--logits-only]

Each is installed into an environment of its own. Vim-tiny of random weights at 224x224, the bundled
network and a VMamba give logits with every instruction set and with 1 and 2
threads; those of the two wheels may differ by LOGITS of the largest one, since a compiler chooses
which products and sums it fuses. Then passes take turns, as in builds.py: the second wheel's may
take TIME more. The program fails if one of both does not hold.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from builds import ELSEWHERE, measured_pair, pass_in_turn
from script_tables import compilers
from surroundings import rounds_parser, run

LOGITS = 2e-5
"""The largest difference that two compilers may make, of the largest logit."""

TIME = 0.08
"""How much longer a pass of the second wheel may take."""

GIVE_LOGITS = """
import sys, numpy, vimnp
random = numpy.random.default_rng(5)
threads = int(sys.argv[1])
pictures = {
    "Vim-tiny": vimnp.VimTiny.random(num_threads=threads),
    "digits": vimnp.load("digits", num_threads=threads),
    "VMamba-tiny": vimnp.VMamba.random(num_threads=threads),
}
logits = {}
for name, model in pictures.items():
    shape = getattr(model.config, "channels", 3), *model.config.img_size
    logits[name] = model(random.standard_normal(shape).astype(numpy.float32))
numpy.savez(sys.stdout.buffer, **logits)
"""


def install(wheel: Path, folder: Path) -> str:
    """A Python that has the wheel."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel)], check=True)
    return python


def instruction_sets(python: str) -> list[str]:
    """Those of a wheel that this machine can use."""
    code = (
        "from vimnp.runtime import extension as e;"
        "print(*(name for name, usable in e.loaded().instruction_sets().items() if usable))"
    )
    command = [python, "-c", code]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=ELSEWHERE
    ).stdout.split()


def logits(python: str, isa: str, threads: int) -> dict[str, np.ndarray]:
    """Of each network, by its name."""
    written = subprocess.run(
        [python, "-c", GIVE_LOGITS, str(threads)],
        check=True,
        stdout=subprocess.PIPE,
        cwd=ELSEWHERE,
        env={**os.environ, "VIMNP_ISA": isa},
    ).stdout
    return dict(np.load(BytesIO(written)))


def differences(first: str, second: str) -> Iterator[dict[str, Any]]:
    """Of each instruction set, number of threads and network that of the largest logit."""
    for isa in instruction_sets(first):
        for threads in (1, 2):
            ours, theirs = logits(first, isa, threads), logits(second, isa, threads)
            for name, values in ours.items():
                largest = np.abs(values).max()
                difference = float(np.abs(values - theirs[name]).max() / largest)
                row = {"isa": isa, "threads": threads, "network": name}
                yield row | {"difference": difference}


def times(first: str, second: str, rounds: int) -> Iterator[dict[str, Any]]:
    """Of each number of threads a pass of the second over one of the first, median of pairs."""
    for threads in (1, 2):
        measure = partial(pass_in_turn, backend="native", threads=threads, side=224)
        pairs = [measured_pair(measure, first, second, turn % 2 == 0) for turn in range(rounds)]
        yield {"threads": threads, "ratio": statistics.median(b / a for a, b in pairs)}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures: rows of logits, and of times."""
    with tempfile.TemporaryDirectory() as folder:
        first = install(options.first.resolve(), Path(folder, "first"))
        second = install(options.second.resolve(), Path(folder, "second"))
        found = {"rounds": options.rounds, "logits": list(differences(first, second)), "times": []}
        if not options.logits_only:
            found["times"] = list(times(first, second, options.rounds))
    return found


def main() -> None:
    parser = rounds_parser(__doc__, 10)
    parser.add_argument("first", type=Path, metavar="FIRST.whl")
    parser.add_argument("second", type=Path, metavar="SECOND.whl")
    parser.add_argument("--logits-only", action="store_true")
    found = run(parser, measure, compilers)
    failed = []
    if max(row["difference"] for row in found["logits"]) > LOGITS:
        failed.append(f"logits differ by more than {LOGITS:g} of the largest")
    if any(row["ratio"] > 1 + TIME for row in found["times"]):
        failed.append(f"the second wheel's pass takes over {TIME:.0%} longer")
    if failed:
        sys.exit("; ".join(failed))
    print("within the bounds")


if __name__ == "__main__":
    main()
