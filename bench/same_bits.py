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
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

import vimnp
from vimnp.config import VIM_SMALL, VIM_TINY, VimConfig

SMALL = VimConfig(
    img_size=(48, 40), patch_size=8, stride=8, depth=4, embed_dim=60, d_state=16, num_classes=13
)
OPTIONS: dict[str, dict[str, object]] = {
    "default": {},
    "layernorm": {"rms_norm": False},
    "no position": {"if_abs_pos_embed": False},
    "first token": {"use_middle_cls_token": False},
    "double": {"use_double_cls_token": True},
    "mean": {"if_cls_token": False},
    "last": {"if_cls_token": False, "final_pool_type": "none"},
    "max": {"if_cls_token": False, "final_pool_type": "max"},
    "all": {"if_cls_token": False, "final_pool_type": "all"},
    "forward": {"bimamba_type": "none"},
    "v1": {"bimamba_type": "v1"},
    "undivided": {"if_divide_out": False},
    "pairs": {"if_bidirectional": True},
    "pairs v1 rope": {"if_bidirectional": True, "bimamba_type": "v1", "if_rope": True},
    "pairs rope residual": {"if_bidirectional": True, "if_rope": True, "if_rope_residual": True},
    "rope": {"if_rope": True},
    "rope residual": {"if_rope": True, "if_rope_residual": True},
    "scale": {"if_layer_scale": True},
    "slow path": {"use_fast_path": False},
    "flip": {"flip_img_sequences_ratio": 1.0},
    "flip rope pairs": {
        "flip_img_sequences_ratio": 1.0,
        "if_rope": True,
        "if_bidirectional": True,
    },
    "odd sizes": {"embed_dim": 20, "d_state": 5, "d_conv": 3, "dt_rank": 3, "stride": 4},
}
THREADS = (1, 2, 3, 8)
SCANS = ("fused", "sequential", "fixlen", "fused_fixlen")


def networks(quick: bool) -> Iterator[tuple[str, VimConfig | None]]:
    yield "digits", None
    for name, options in OPTIONS.items():
        yield name, replace(SMALL, **options)  # type: ignore[arg-type]
    yield "tiny", VIM_TINY
    if not quick:
        yield "small", VIM_SMALL


def ways() -> Iterator[tuple[str, str]]:
    yield "native", "fused"
    yield from (("numpy", scan) for scan in SCANS)


def digests(quick: bool) -> dict[str, str]:
    """Of each output, by network, backend, scan, instruction set, threads and output."""
    found = {}
    sets = os.environ["INSTRUCTION_SETS"].split()
    for (name, config), isa in itertools.product(networks(quick), sets):
        os.environ["VIMNP_ISA"] = isa
        for backend, scan in ways():
            if config is None:
                model = vimnp.load("digits", scan=scan, backend=backend, num_threads=8)
            else:
                model = vimnp.VisionMamba.random(
                    3, config=config, scan=scan, backend=backend, num_threads=8
                )
            pixels = np.random.default_rng(7).standard_normal((2, 3, *model.config.img_size))
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


def ask(python: str, quick: bool, sets: str) -> dict[str, str]:
    """The digests of another interpreter's build."""
    command = [python, __file__, "--digests", *(["--quick"] if quick else [])]
    environment = {**os.environ, "INSTRUCTION_SETS": sets}
    answer = subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment, cwd="/"
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
        print(json.dumps(digests(options.quick)))
        return
    if options.other is None:
        parser.error("--other PYTHON: the Python that has the other build")
    from vimnp.runtime import extension

    sets = " ".join(extension.usable_instruction_sets())
    ours = ask(sys.executable, options.quick, sets)
    theirs = ask(options.other, options.quick, sets)
    different = [key for key in ours if theirs.get(key) != ours[key]]
    print("\n".join(different))
    print(f"{len(ours)} digests on {sets}, {len(different)} of them differ")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
