"""The README's chart, drawn from the record of figures; with ``--check`` it compares."""

from __future__ import annotations

import sys
from typing import NamedTuple

from draw import HERE, Drawing
from drawn import write_or_check

sys.path.append(str(HERE.parents[1] / "bench"))

from peers.language.record import tokens_per_second
from recorded import Figures, Record, quoted

FILE = HERE / "chart.svg"
WIDTH, LEFT, BAR, GAP = 760, 190, 20, 8


class Panel(NamedTuple):
    """Bars of one measurement: the name of each, and how long it took, in seconds."""

    title: str
    bars: list[tuple[str, float]]
    words: str


def panels(record: Record) -> list[Panel]:
    vim = passes(record["vision_mamba"])
    vmamba = passes(record["vmamba"])
    tokens = next_tokens(record["language"])
    return [
        Panel(
            "Vim-tiny, a picture of 224 pixels",
            [
                ("vimnp", vim["vim-native"]),
                ("PyTorch, all states first", vim["vim-torch-two-stage"]),
                ("PyTorch, token by token", vim["vim-torch-loop"]),
            ],
            "{:,.0f} ms",
        ),
        Panel(
            "VMamba-T s1l8, a picture of 224 pixels",
            [
                ("vimnp", vmamba["s1l8-native"]),
                ("OpenVINO", fastest(vmamba, "s1l8-openvino")),
                ("ONNX Runtime", fastest(vmamba, "s1l8-onnx")),
                ("PyTorch, token by token", vmamba["s1l8-torch-loop"]),
            ],
            "{:,.0f} ms",
        ),
        Panel(
            "Mamba-130m, a token in int8",
            [
                ("vimnp", tokens["vimnp-int8"]),
                ("ONNX Runtime", tokens["onnxruntime-int8"]),
                ("llama.cpp, Q8_0", tokens["llama-Q8_0"]),
                ("OpenVINO, weights alone", tokens["openvino-int8"]),
                ("transformers, float32", tokens["transformers"]),
            ],
            "{:,.1f} ms",
        ),
    ]


def passes(figures: Figures) -> dict[str, float]:
    """Seconds of a pass at 224 pixels with two threads."""
    return {
        line["network"]: line["median"]
        for line in figures["latency"]
        if line["side"] == 224 and line["threads"] == 2
    }


def next_tokens(figures: Figures) -> dict[str, float]:
    """Seconds of a token after a prompt, with two threads."""
    return {
        network: 1 / rate
        for (network, threads, workload), rate in tokens_per_second(figures).items()
        if workload == "decode" and threads == 2
    }


def fastest(seconds: dict[str, float], beginning: str) -> float:
    return min(value for name, value in seconds.items() if name.startswith(beginning))


def chart(record: Record) -> Drawing:
    found = panels(record)
    height = sum(44 + (BAR + GAP) * len(panel.bars) for panel in found) + 26
    d = Drawing(WIDTH, height, "Milliseconds with two threads: vimnp and what else runs the same")
    y = 8
    for panel in found:
        d.words(LEFT, y + 12, panel.title, "left title")
        y += 30
        slowest = max(seconds for _, seconds in panel.bars)
        for name, seconds in panel.bars:
            length = round((WIDTH - LEFT - 90) * seconds / slowest, 1)
            d.words(LEFT - 10, y + BAR / 2, name, "right")
            d.box(LEFT, y, length, BAR, kind="scan" if name == "vimnp" else "plain")
            value = panel.words.format(1000 * seconds)
            d.words(LEFT + length + 8, y + BAR / 2, value, "left")
            y += BAR + GAP
        y += 14
    d.words(LEFT, y + 4, "two virtual CPUs; less is better; each panel is one run", "left note")
    return d


if __name__ == "__main__":
    sys.exit(write_or_check({FILE: chart(quoted()).svg()}))
