"""What stands between the pages' markers: Markdown of the record, by the name in the marker.

A table that a script prints is the script's own function; the pages' extracts are made here.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import partial
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
from peers.record import Results, fastest, quotient
from peers.target import target_table
from peers.units import megabytes, milliseconds, per_second, times
from peers.vmamba.targets import targets as vmamba_targets
from recorded import Record, cpu_of, origin
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
    machine, other = cpu_of(vim), cpu_of(language_models)
    elsewhere = "" if other == machine else f"On an {other}, "
    text = (
        "On two threads of an {}, Vim-tiny classifies a picture of 224x224 pixels in {:.0f} ms; "
        "PyTorch takes {:.0f} ms. {}Mamba-130m writes {} tokens a second in int8; llama.cpp writes "
        "{}."
    )
    values = (machine, *(1e3 * value for value in pass_seconds), elsewhere, *tokens)
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
    ("itself in float32, vimnp native", ("vim-native",)),
    ("DeiT-tiny in float32, ONNX Runtime, the faster form", tuple(DEITS)),
    ("DeiT-tiny in int8, the same", tuple(f"{name}-int8" for name in DEITS)),
)
VIM_INT8 = ("vim-native-int8",)


def int8(results: Results) -> str:
    """A pass of Vim-tiny in int8 over those of the networks beside it, in the same run."""
    sides = vision_mamba.sides(results)
    columns = ("a pass of Vim-tiny in int8, over", "threads", *(f"{side} px" for side in sides))
    return table(columns, _int8_rows(results, sides))


def _int8_rows(results: Results, sides: Sequence[int]) -> Iterator[tuple[str, ...]]:
    for label, networks in INT8:
        for number in sorted({row["threads"] for row in results["latency"]}):
            ratios = (
                quotient(
                    fastest(results, VIM_INT8, number, side),
                    fastest(results, networks, number, side),
                )
                for side in sides
            )
            cells = ("" if ratio is None else times(ratio) for ratio in ratios)
            yield label if number == 1 else "the same", str(number), *cells


def int8_of_float32(results: Results) -> str:
    """What int8 brings."""
    usual = ("vim-native",)
    size, memory = _file_size(results, VIM_INT8), _peak_memory(results, VIM_INT8)
    ours, theirs = (fastest(results, names, 1, USUAL_SIDE) or 0 for names in (VIM_INT8, usual))
    rows = (
        ("the file", f"{size / 1e6:.1f} MB", times(size / _file_size(results, usual))),
        (
            "memory of a process that loads and runs it",
            megabytes(memory),
            times(memory / _peak_memory(results, usual)),
        ),
        ("a pass, one thread", milliseconds(ours), times(ours / theirs)),
    )
    what = "Vim-tiny, 224 pixels (`python bench/peers/int8`)"
    return table((what, "int8", "over float32"), rows)


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


# ---- A Raspberry Pi ------------------------------------------------------------------------------


def board_seconds(board: str) -> Figure:
    """Of a picture in float32, as it is estimated: stands in a sentence."""

    def seconds(figures: Results) -> str:
        rows = {(row["board"], row["precision"]): row for row in figures["sums"]}
        return f"{rows[board, 'float32']['sum']:.2f} s"

    return seconds


def board_table(figures: Results) -> str:
    """With the compiler and the analyser that made it; the machine does not matter."""
    made_by = f"*{figures['compiler']}; {figures['llvm_mca']}; {figures['date']}*"
    return f"{script_tables.raspberry_pi(figures, 'float32')}\n{made_by}"


def predict_memory(figures: Results) -> str:
    """Of ``vimnp predict``, the larger of both backends': stands in a sentence."""
    what = "peak memory of `vimnp predict`, 197 tokens"
    return megabytes(
        max(row["measured"] for row in figures["bounds"] if row["what"].startswith(what))
    )


# ---- All of them ---------------------------------------------------------------------------------


def _of(section: str, figure: Figure) -> Callable[[Record], str | None]:
    return lambda record: figure(record[section]) if section in record else None


def _with_origin(section: str, figure: Figure) -> Callable[[Record], str | None]:
    """A table, and where it comes from."""
    return _of(section, lambda figures: f"{figure(figures).strip()}\n\n*{origin(figures)}*")


FIGURES: dict[str, Callable[[Record], str | None]] = {
    "front_page": front_page,
    "beside_other_networks": beside_other_networks,
    "vision_mamba_latency": _with_origin("vision_mamba", vision_mamba.latency_table),
    "vision_mamba_start": _of("vision_mamba", vision_mamba.start_table),
    "int8": _with_origin("int8", int8),
    "int8_of_float32": _with_origin("int8", int8_of_float32),
    "int8_targets": _of("int8", lambda r: target_table(int8_targets(r))),
    "vmamba": _with_origin("vmamba", vmamba),
    "vmamba_targets": _of("vmamba", lambda r: target_table(vmamba_targets(r))),
    "language_speed": _with_origin("language", language.speed_table),
    "language_start": _of("language", language.start_table),
    "language_targets": _of("language", lambda r: target_table(language_targets(r))),
    "language_in_short": _with_origin("language", language_in_short),
    "memory_rate": _of("language", memory_rate),
    **{
        name: _with_origin(name, table_of)
        for name, table_of in (
            ("limits", script_tables.bounds),
            ("layer", script_tables.layer),
            ("steps", script_tables.steps_of_speed),
            ("neighbours", script_tables.neighbours),
            ("profiling", script_tables.profiling),
            ("float16_storage", script_tables.float16_storage),
            ("convert_memory", script_tables.convert_memory),
            ("faithfulness", faithfulness.markdown),
            ("nearest", nearest.markdown),
            ("thresholds", script_tables.thresholds),
            ("vector_accuracy", script_tables.vector_accuracy),
            ("blas_threads", script_tables.blas_threads),
            ("serve_load", script_tables.serve_load),
            ("cluster_deaths", script_tables.cluster_deaths),
            ("footprint", script_tables.bounds),
            ("arm_instructions", script_tables.arm_instructions),
            ("compilers", script_tables.compilers),
            ("windows", script_tables.windows),
        )
    },
    "scan_limits": _of("layer", script_tables.bounds),
    "operations": _of("steps", script_tables.operations_of_a_pass),
    "raspberry_pi": _of("raspberry_pi", board_table),
    "raspberry_pi_int8": _of("raspberry_pi", partial(script_tables.raspberry_pi, precision="int8")),
    "serve_memory": _of("serve_load", script_tables.bounds),
    "pi4_seconds": _of("raspberry_pi", board_seconds("Pi 4")),
    "pi5_seconds": _of("raspberry_pi", board_seconds("Pi 5")),
    "predict_memory": _of("footprint", predict_memory),
}
"""By the names in the markers; None of a section that no record has yet."""
