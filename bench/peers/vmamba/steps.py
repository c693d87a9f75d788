"""Where the time of a pass of VMamba goes in vimnp's native backend, with one thread."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from breakdown import peak_rate, step

import vimnp
from peers.one import PIXELS
from vimnp.engine.trace import Span
from vimnp.measure.profiling import median_seconds, profile
from vimnp.models.vmamba.config import DIRECTIONS, STAGES, VMambaConfig

WARM = 3  # passes before one that counts
PRODUCTS = ("in_proj", "x_proj", "out_proj", "fc1", "fc2")
DENSE = ("embed", "downsample", "head")  # products, too, or convolutions that are ones

log = logging.getLogger(__name__)


def steps(path: Path, rounds: int) -> dict[str, Any]:
    """Profile some passes.

    Parameters
    ----------
    path : Path
        A weights file; the picture lies beside it.
    rounds : int
        Passes that count.

    Returns
    -------
    dict
        seconds : of a pass.
        products : share of the core's peak at which the matrices of each stage are multiplied.
        scans : seconds of each stage's scan of the four directions in one block.
        rest : share of a pass that is neither a product nor a scan.
    """
    model = vimnp.VMamba.from_npz(path, num_threads=1, backend="native")
    image = np.load(path.with_name(PIXELS))
    passes, peaks = [], []
    for _ in range(rounds):
        peaks.append(peak_rate())
        for _ in range(WARM):
            model(image)
        passes.append(profile(model, image))
    config: VMambaConfig = model.config
    stages = [stage for stage in range(STAGES) for _ in range(config.depths[stage])]

    def of_stage(span: Span) -> tuple[str, int | None]:
        return step(span), None if span.layer is None else stages[span.layer]

    seconds = median_seconds(passes, of_stage)
    whole = float(np.median([one.seconds for one in passes]))
    peak = float(np.median(peaks))
    work = [sum(seconds.get((name, stage), 0.0) for name in PRODUCTS) for stage in range(STAGES)]
    useful = sum(time for (name, _), time in seconds.items() if name in (*PRODUCTS, *DENSE, "scan"))
    return {
        "seconds": whole,
        "products": [
            number / time / peak for number, time in zip(multiply_adds(config), work, strict=True)
        ],
        "scans": [
            seconds.get(("scan", stage), 0.0) / config.depths[stage] for stage in range(STAGES)
        ],
        "rest": 1 - useful / whole,
    }


def multiply_adds(config: VMambaConfig) -> Iterator[int]:
    """Of the matrices ``PRODUCTS`` of each stage's blocks."""
    for stage, (height, width) in enumerate(config.grids):
        dim, d_inner = config.dims[stage], config.d_inner[stage]
        inner = (2 + config.gated) * dim + DIRECTIONS * config.dbc_channels(stage)
        weights = d_inner * inner + 2 * dim * config.mlp_channels[stage]
        yield height * width * weights * config.depths[stage]
