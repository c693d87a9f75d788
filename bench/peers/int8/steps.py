"""Where int8 gains in a pass of vimnp's native backend with one thread, by instruction set."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from breakdown import peak_rate, step
from limits import VECTOR_SETS, instruction_set

import vimnp
from peers.conversation import Conversation
from peers.int8.networks import NETWORKS
from peers.one import PIXELS
from peers.processes import BENCH
from vimnp.measure.profiling import Profile, median_seconds, profile

CODE = (
    "import sys; sys.path[0] = sys.argv[1]; from peers.int8.steps import main; main(*sys.argv[2:])"
)
FILES = {"float32": NETWORKS["vim-native"].weights, "int8": NETWORKS["vim-native-int8"].weights}
WARM = 3  # passes before one that counts

log = logging.getLogger(__name__)


def steps(folder: Path, rounds: int, sets: Sequence[str] = VECTOR_SETS) -> list[dict[str, Any]]:
    """Profile passes in both precisions, in turn, in a process for each instruction set.

    Parameters
    ----------
    folder : Path
        With the weights and the picture.
    rounds : int
        Passes that count.
    sets : sequence of str, optional
        By default those that the machine has.

    Returns
    -------
    list of dict
        isa : name of the instruction set.
        float32, int8 : seconds of a pass.
        scans : seconds of one layer's scan, by precision.
        in_proj : share of the core's int8 multiply-adds at which in_proj is multiplied in int8,
            with the rounding of its rows.
    """
    found = []
    for isa in sets:
        log.info("  steps with %s", isa)
        name = f"steps with {isa}"
        with (
            instruction_set(isa),
            Conversation(CODE, [BENCH, folder, rounds], name) as process,
        ):
            found.append({"isa": isa} | process.answer())
    return found


def main(folder: str, rounds: str) -> None:
    """Print what :func:`steps` has of the instruction set in use, as JSON."""
    image = np.load(Path(folder, PIXELS))
    models = {
        precision: vimnp.VisionMamba.from_npz(
            Path(folder, file), num_threads=1, backend="native", precision=precision
        )
        for precision, file in FILES.items()
    }
    passes: dict[str, list[Profile]] = {precision: [] for precision in models}
    peaks = []
    for _ in range(int(rounds)):
        peaks.append(peak_rate())
        for precision, model in models.items():
            for _ in range(WARM):
                model(image)
            passes[precision].append(profile(model, image))
    by_step = {precision: median_seconds(some, step) for precision, some in passes.items()}
    layers = models["int8"].config.depth
    in_proj = models["int8"].costs()["in_proj"].flops / 2 / by_step["int8"]["in_proj"]
    peak = float(np.median(peaks)) * _int8_over_float32(models["int8"].way.instruction_set)
    print(
        json.dumps(
            {
                precision: float(np.median([one.seconds for one in some]))
                for precision, some in passes.items()
            }
            | {
                "scans": {name: seconds["scan"] / layers for name, seconds in by_step.items()},
                "in_proj": in_proj / peak,
            }
        ),
        flush=True,
    )


def _int8_over_float32(isa: str | None) -> int:
    """How many multiply-adds of 8 bits a core does in the time of one in float32.

    An instruction that adds up four products has as many lanes as one in float32; otherwise there
    are those of 16 bits, which add up two.
    """
    return 4 if isa in ("avx512vnni", "avxvnni", "neondotprod") else 2
