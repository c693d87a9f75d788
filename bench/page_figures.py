"""What stands between the pages' markers: Markdown of the record, by the name in the marker.

A table that a script prints is the script's own function; the pages' extracts are made here.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import faithfulness
import nearest
import script_tables
from peers import report as vision_mamba
from peers.int8.networks import DEITS
from peers.int8.targets import targets as int8_targets
from peers.language import report as language
from peers.language.record import bytes_per_second, tokens_per_second
from peers.language.targets import targets as language_targets
from peers.language.workloads import DECODE, PROMPT_LONGEST
from peers.record import Results, fastest
from peers.target import target_table
from peers.units import megabytes, milliseconds, per_second
from peers.vmamba.targets import targets as vmamba_targets
from recorded import Record
from surroundings import table

WIDTH = 120  # of a paragraph
USUAL_SIDE = 224

Figure: TypeAlias = Callable[[Results], str]
"""Makes Markdown of a section of the record."""


# ---- Networks of pictures ------------------------------------------------------------------------


def front_page(record: Record) -> str:
    """How fast a picture and a text are, in two sentences."""
    vim, language_models = record["vision_mamba"], record["language"]
    pass_seconds = [
        fastest(vim, networks, 2, USUAL_SIDE) or 0
        for networks in (("vim-native",), ("vim-torch-two-stage", "vim-torch-loop"))
    ]
    speed = tokens_per_second(language_models)
    tokens = [per_second(speed[name, 2, DECODE]) for name in ("vimnp-int8", "llama-Q8_0")]
    machine = vim["machine"][0].removeprefix("machine: ").partition(",")[0]
    text = (
        "On two threads of an {}, Vim-tiny classifies a picture of 224x224 pixels in {:.0f} ms; "
        "PyTorch takes {:.0f} ms. Mamba-130m writes {} tokens a second in int8; llama.cpp writes "
        "{}."
    )
    values = (machine, *(1e3 * value for value in pass_seconds), *tokens)
    return textwrap.fill(text.format(*values), WIDTH)


def beside_other_networks(record: Record) -> str:
    """The front page's sentence about other networks of the same size."""
    vim, vmamba = record["vision_mamba"], record["vmamba"]
    deit = tuple(DEITS)
    seconds = {
        "convnext": fastest(vmamba, ("convnext-onnx", "convnext-openvino"), 2, USUAL_SIDE),
        "vmamba": fastest(vmamba, ("s1l8-native",), 2, USUAL_SIDE),
        "deit": fastest(vim, deit, 2, USUAL_SIDE),
        "vim": fastest(vim, ("vim-native",), 2, USUAL_SIDE),
        "large_vim": fastest(vim, ("vim-native",), 2, 672),
        "large_deit": fastest(vim, deit, 2, 672),
    }
    words = {name: f"{1e3 * (value or 0):.0f} ms" for name, value in seconds.items()}
    text = (
        "With two threads and a picture of 224x224 pixels, VMamba-T takes {vmamba} and ConvNeXt-T "
        "{convnext}. Vim-tiny takes {vim} and DeiT-tiny {deit}. At 672x672 pixels Vim-tiny takes "
        "{large_vim}, and DeiT-tiny {large_deit}."
    )
    return textwrap.fill(text.format(**words), WIDTH)


INT8 = (
    ("Vim-tiny, vimnp native, float32", ("vim-native",)),
    ("Vim-tiny, vimnp native, int8", ("vim-native-int8",)),
    ("DeiT-tiny, ONNX Runtime, float32, the faster form", tuple(DEITS)),
    (
        "DeiT-tiny, ONNX Runtime, int8, the faster form",
        tuple(f"{name}-int8" for name in DEITS),
    ),
)


def int8(results: Results) -> str:
    """Both precisions of both networks."""
    sides = vision_mamba.sides(results)
    columns = ("network", "threads", *(f"{side} px" for side in sides))
    return table((*columns, "file, 224 px", "peak memory, 224 px"), _int8_rows(results, sides))


def _int8_rows(results: Results, sides: Sequence[int]) -> Iterator[tuple[str, ...]]:
    for label, networks in INT8:
        for number in sorted({row["threads"] for row in results["latency"]}):
            cells = (_latency(results, networks, number, side) for side in sides)
            is_first = number == 1
            size = f"{_file_size(results, networks) / 1e6:.1f} MB" if is_first else ""
            memory = megabytes(_peak_memory(results, networks)) if is_first else ""
            yield label if is_first else "the same", str(number), *cells, size, memory


def int8_of_float32(results: Results) -> str:
    """What int8 brings."""
    usual, rounded = ("vim-native",), ("vim-native-int8",)
    ours, theirs = (fastest(results, names, 1, USUAL_SIDE) for names in (rounded, usual))
    ratio = (ours or 0) / (theirs or 1)
    rows = (
        ("the file", *(f"{_file_size(results, n) / 1e6:.1f} MB" for n in (usual, rounded))),
        (
            "memory of a process that loads and runs it",
            *(megabytes(_peak_memory(results, n)) for n in (usual, rounded)),
        ),
        ("time of a pass over float32's, one thread", "1", f"{ratio:.2f}"),
    )
    what = "Vim-tiny, 224 pixels (`python bench/peers/int8`)"
    return table((what, "float32", "int8"), rows)


VMAMBA = (
    ("VMamba-T s1l8 (82.6 % top-1, published), vimnp native", ("s1l8-native",)),
    (
        "the same in OpenVINO, the faster unrolled scan",
        ("s1l8-openvino-associative", "s1l8-openvino-doubling"),
    ),
    (
        "the same in ONNX Runtime, the faster form",
        ("s1l8-onnx-scans", "s1l8-onnx-associative", "s1l8-onnx-doubling"),
    ),
    ("the same in PyTorch, loop", ("s1l8-torch-loop",)),
    ("VMamba v0 tiny, vimnp native", ("v0-native",)),
    ("the same in OpenVINO, Scans", ("v0-openvino-scans",)),
    (
        "ConvNeXt-T (82.1 %), the faster of ONNX Runtime and OpenVINO",
        ("convnext-onnx", "convnext-openvino"),
    ),
    ("Swin-T (81.3 %), the faster of both", ("swin-onnx", "swin-openvino")),
)


def vmamba(results: Results) -> str:
    """An extract: of several forms of a network the fastest with two threads."""
    rows = (
        (
            label,
            *(_latency(results, networks, number, USUAL_SIDE) for number in (1, 2)),
            megabytes(_peak_memory(results, networks)),
        )
        for label, networks in VMAMBA
    )
    return table(("network", "1 thread", "2 threads", "peak memory"), rows)


def _latency(results: Results, networks: Sequence[str], num_threads: int, side: int) -> str:
    seconds = fastest(results, networks, num_threads, side)
    return "" if seconds is None else milliseconds(seconds)


def _peak_memory(results: Results, networks: Sequence[str]) -> float:
    """Of the network of the least, in bytes."""
    return min(
        row["peak_memory"]
        for row in results["start"]
        if row["network"] in networks and row["side"] == USUAL_SIDE
    )


def _file_size(results: Results, networks: Sequence[str]) -> float:
    return min(
        row["file_size"]
        for row in results["files"]
        if row["network"] in networks and row["side"] == USUAL_SIDE
    )


# ---- Language models -----------------------------------------------------------------------------


def language_in_short(results: Results) -> str:
    """A row for each run-time, 2 threads."""
    speed = tokens_per_second(results)
    memory = {row["network"]: row["peak_memory"] for row in results["start"]}

    def row(label: str, *networks: str) -> tuple[str, ...]:
        return (
            label,
            " / ".join(per_second(speed[name, 2, DECODE]) for name in networks),
            " / ".join(per_second(speed[name, 2, PROMPT_LONGEST]) for name in networks),
            f"{' / '.join(f'{memory[name] / 1e6:,.0f}' for name in networks)} MB",
        )

    columns = ("", "next tokens, a second", "prompt of 512, tokens a second", "peak memory")
    return table(
        columns,
        (
            row(
                "vimnp, float32 / int8 / int4", *(f"vimnp-{d}" for d in ("float32", "int8", "int4"))
            ),
            row("llama.cpp, F32 / Q8_0 / Q4_0", *(f"llama-{d}" for d in ("F32", "Q8_0", "Q4_0"))),
            row("OpenVINO, float32 / int8 weights", "openvino-float32", "openvino-int8"),
            row("transformers, float32", "transformers"),
        ),
    )


def memory_rate(results: Results) -> str:
    rates = bytes_per_second(results)
    return (
        f"Memory was read at {rates[1] / 1e9:.1f} GB/s with one thread and {rates[2] / 1e9:.1f} "
        "GB/s with two in the same run."
    )


# ---- All of them ---------------------------------------------------------------------------------


def _of(section: str, figure: Figure) -> Callable[[Record], str | None]:
    return lambda record: figure(record[section]) if section in record else None


FIGURES: dict[str, Callable[[Record], str | None]] = {
    "front_page": front_page,
    "beside_other_networks": beside_other_networks,
    "vision_mamba_latency": _of("vision_mamba", vision_mamba.latency_table),
    "vision_mamba_start": _of("vision_mamba", vision_mamba.start_table),
    "int8": _of("int8", int8),
    "int8_of_float32": _of("int8", int8_of_float32),
    "int8_targets": _of("int8", lambda r: target_table(int8_targets(r))),
    "vmamba": _of("vmamba", vmamba),
    "vmamba_targets": _of("vmamba", lambda r: target_table(vmamba_targets(r))),
    "language_speed": _of("language", language.speed_table),
    "language_start": _of("language", language.start_table),
    "language_targets": _of("language", lambda r: target_table(language_targets(r))),
    "language_in_short": _of("language", language_in_short),
    "memory_rate": _of("language", memory_rate),
    **{
        name: _of(name, table_of)
        for name, table_of in (
            ("limits", script_tables.bounds),
            ("footprint", script_tables.bounds),
            ("steps", script_tables.steps_of_speed),
            ("neighbours", script_tables.neighbours),
            ("profiling", script_tables.profiling),
            ("float16_storage", script_tables.float16_storage),
            ("convert_memory", script_tables.convert_memory),
        )
    },
    "faithfulness": _of("faithfulness", faithfulness.markdown),
    "nearest": _of("nearest", nearest.markdown),
}
"""By the names in the markers; None of a section that no record has yet."""
