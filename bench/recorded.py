"""The record of figures: a file of ``bench/results`` for each machine, a section for each script.

A section says where and with what it was measured, so that sections of several days may stand in
one file:

    date, machine, versions    of the measurement; ``machine`` has CPU, kernels, threads and BLAS
    rounds                     of measurements, where the script has them
    ...                        the figures, as the script's documentation says; seconds and bytes

``record.py`` writes it, ``render.py`` makes the pages' tables of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from vimnp.storage.files import whole_file

RESULTS = Path(__file__).with_name("results")

QUOTED = (
    "intel_r_xeon_r_processor_2_cpus_avx512vnni",
    "amd_epyc_2_cpus_avx2",
    "amd_epyc_2_cpus_avx512",
)
"""The machines whose figures the pages have: of each section the first that has measured it."""

Figures: TypeAlias = dict[str, Any]
Record: TypeAlias = dict[str, Figures]
"""Sections by name."""


def quoted() -> Record:
    """Every section as the pages quote it."""
    record: Record = {}
    for name in reversed(QUOTED):
        record |= read(RESULTS / f"{name}.json")
    return record


def origin(figures: Figures) -> str:
    """In a line: when, on which machine, and with what a section was measured."""
    cpu, kernels, blas, *_ = _described(figures["machine"])
    of_blas = blas.split("; ")  # what stands between is for those who set threads
    others = figures["versions"].items()
    more = (f"{name} {number}" for name, number in others if name not in ("vimnp", "numpy"))
    words = (cpu, f"kernels {kernels.partition(',')[0]}", of_blas[0], of_blas[-1], *more)
    return "; ".join((*dict.fromkeys(words), figures["date"]))


def cpu_of(figures: Figures) -> str:
    """The name of the processor that a section was measured on."""
    return _described(figures["machine"])[0].partition(",")[0]


def _described(machine: Sequence[str]) -> list[str]:
    """What a machine's lines say, without the words that they begin with."""
    return [line.partition(": ")[2] for line in machine]


def file_of(machine: Sequence[str]) -> Path:
    """Where a machine's record is.

    Parameters
    ----------
    machine : sequence of str
        The lines of :func:`vimnp.measure.machine.describe_machine`. CPU, number of CPUs and
        instruction set make the name.
    """
    cpu, kernels, *_ = _described(machine)
    words = f"{cpu} {kernels.partition(',')[0]}".lower()
    return RESULTS / f"{re.sub(r'[^a-z0-9]+', '_', words).strip('_')}.json"


def read(path: Path) -> Record:
    """The sections of a file; none if there is no such file."""
    if not path.exists():
        return {}
    record: Record = json.loads(path.read_text(encoding="utf-8"))
    return record


def put(path: Path, section: str, figures: Figures) -> None:
    """Write a section in place of an older one of its name; the others stay as they are."""
    record = read(path) | {section: figures}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(_written(record).encode())


def _written(record: Record) -> str:
    """JSON with a row on a line, so that a comparison of two versions can be read."""
    sections = []
    for name, figures in sorted(record.items()):
        lines = ",\n".join(
            f"  {json.dumps(key)}: {_value(value)}" for key, value in figures.items()
        )
        sections.append(f" {json.dumps(name)}: {{\n{lines}\n }}")
    return "{\n" + ",\n".join(sections) + "\n}\n"


def _value(value: object) -> str:
    if not (isinstance(value, list) and value and isinstance(value[0], dict)):
        return json.dumps(value)
    return "[\n" + ",\n".join(f"   {json.dumps(row)}" for row in value) + "\n  ]"
