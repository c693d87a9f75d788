"""Whether two builds of vimnp give the same bits: logits, features and tokens of many networks.

    python bench/same_bits.py --other PYTHON [--quick]

PYTHON is one that has the other build, which is asked for the same digests. The networks: Vim-tiny,
Vim-small and small ones with every option, of random weights, and the bundled one; on both
backends, every instruction set of this machine, with 1, 2, 3 and 8 threads, and the NumPy backend
in each scan mode. Prints what differs, and how many digests there were.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

import vimnp
from vimnp.config import VIM_SMALL, VIM_TINY, VimConfig

Options: TypeAlias = Mapping[str, Mapping[str, Any]]

SMALL = VimConfig(
    img_size=(48, 40), patch_size=8, stride=8, depth=4, embed_dim=60, d_state=16, num_classes=13
)
THREADS = (1, 2, 3, 8)
SCANS = ("fused", "sequential", "fixlen", "fused_fixlen")


def networks(options: Options, quick: bool) -> Iterator[tuple[str, VimConfig | None]]:
    yield "digits", None
    for name, changes in options.items():
        try:
            config = replace(SMALL, **changes)
        except (TypeError, vimnp.ConfigError):  # an older build may lack the option
            print(f"{sys.executable}: its vimnp has no {name}", file=sys.stderr)
            continue
        yield name, config
    yield "tiny", VIM_TINY
    if not quick:
        yield "small", VIM_SMALL


def ways() -> Iterator[tuple[str, str]]:
    yield "native", "fused"
    yield from (("numpy", scan) for scan in SCANS)


def digests(options: Options, quick: bool) -> dict[str, str]:
    """Of each output, by network, backend, scan, instruction set, threads and output."""
    found = {}
    sets = os.environ["INSTRUCTION_SETS"].split()
    for (name, config), isa in itertools.product(networks(options, quick), sets):
        os.environ["VIMNP_ISA"] = isa
        for backend, scan in ways():
            if config is None:
                model = vimnp.load("digits", scan=scan, backend=backend, num_threads=8)
            else:
                model = vimnp.VisionMamba.random(
                    3, config=config, scan=scan, backend=backend, num_threads=8
                )
            channels = getattr(model.config, "channels", 3)  # which older builds do not have
            shape = (2, channels, *model.config.img_size)
            pixels = np.random.default_rng(7).standard_normal(shape)
            large = model.config.embed_dim > 100
            for number in THREADS:
                if large and backend == "numpy" and (number not in (1, 3) or isa == "scalar"):
                    continue
                threaded = model.with_settings(num_threads=number)
                images = pixels.astype(np.float32)[: 1 if large else 2]
                for output in ("__call__", "features", "forward_features"):
                    values = getattr(threaded, output)(images)
                    key = f"{name}, {backend}, {scan}, {isa}, {number} threads, {output}"
                    found[key] = hashlib.sha256(values.tobytes()).hexdigest()
    return found


def ask(python: str, options: Options, quick: bool, sets: str) -> dict[str, str]:
    """The digests of another interpreter's build."""
    command = [python, __file__, "--digests", *(["--quick"] if quick else [])]
    environment = {**os.environ, "INSTRUCTION_SETS": sets}
    answer = subprocess.run(
        command,
        input=json.dumps(options),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd="/",
    )
    parsed: dict[str, str] = json.loads(answer.stdout)
    return parsed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--other", metavar="PYTHON")
    parser.add_argument("--quick", action="store_true", help="leave Vim-small out")
    parser.add_argument("--digests", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.digests:
        print(json.dumps(digests(json.load(sys.stdin), options.quick)))
        return
    if options.other is None:
        parser.error("--other PYTHON: the Python that has the other build")
    # Here alone: the checkout that this finds would hide the other build's vimnp.
    import checkout  # noqa: F401

    from tests.support.options import OPTIONS
    from vimnp.runtime import extension

    sets = " ".join(extension.usable_instruction_sets())
    ours = ask(sys.executable, OPTIONS, options.quick, sets)
    theirs = ask(options.other, OPTIONS, options.quick, sets)
    both = ours.keys() & theirs.keys()
    different = sorted(key for key in both if theirs[key] != ours[key])
    print("\n".join(different))
    alone = len(ours.keys() ^ theirs.keys())
    print(f"{len(both)} digests of both builds on {sets}, {len(different)} of them differ")
    print(f"{alone} digests of one build alone")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
