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
from collections.abc import Iterable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from builds import ELSEWHERE, measured_pair, pass_in_turn
from surroundings import begin, print_table

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


def differences(first: str, second: str) -> Iterator[tuple[str, str, str, float]]:
    """Instruction set, threads, network, and the difference of the largest logit."""
    for isa in instruction_sets(first):
        for threads in (1, 2):
            ours, theirs = logits(first, isa, threads), logits(second, isa, threads)
            for name, values in ours.items():
                largest = np.abs(values).max()
                difference = np.abs(values - theirs[name]).max() / largest
                yield isa, str(threads), name, float(difference)


def times(first: str, second: str, rounds: int) -> Iterator[tuple[str, str, str, float]]:
    """What, milliseconds of the first and of the second, and by how much that is longer."""
    for threads in (1, 2):
        measure = partial(pass_in_turn, backend="native", threads=threads, side=224)
        pairs = [measured_pair(measure, first, second, turn % 2 == 0) for turn in range(rounds)]
        one, other = (statistics.median(values) for values in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        yield f"Vim-tiny, {threads} threads", f"{one:.1f}", f"{other:.1f}", ratio - 1


def printed_and_largest(
    columns: tuple[str, str, str, str], rows: Iterable[tuple[str, str, str, float]], form: str
) -> float:
    """Prints each row as soon as it is there; gives the largest of their numbers."""
    numbers = []

    def noted() -> Iterator[tuple[str, ...]]:
        for *what, number in rows:
            numbers.append(number)
            yield *what, form.format(number)

    print_table(columns, noted())
    return max(numbers)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("first", type=Path, metavar="FIRST.whl")
    parser.add_argument("second", type=Path, metavar="SECOND.whl")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--logits-only", action="store_true")
    options = parser.parse_args()
    begin()
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        first = install(options.first.resolve(), Path(folder, "first"))
        second = install(options.second.resolve(), Path(folder, "second"))
        columns = ("instruction set", "threads", "network", "difference of the largest logit")
        if printed_and_largest(columns, differences(first, second), "{:.1e}") > LOGITS:
            failed.append(f"logits differ by more than {LOGITS:g} of the largest")
        if not options.logits_only:
            columns = ("what", "first, ms", "second, ms", "the second takes longer by")
            taken = times(first, second, options.rounds)
            if printed_and_largest(columns, taken, "{:+.1%}") > TIME:
                failed.append(f"the second wheel's pass takes over {TIME:.0%} longer")
    if failed:
        sys.exit("; ".join(failed))
    print("within the bounds")


if __name__ == "__main__":
    main()
