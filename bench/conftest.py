"""What every benchmark shares: the machine named above the table, and a fair environment."""

from __future__ import annotations

import os

import pytest

from vimnp import extension
from vimnp.machine import describe_machine


def pytest_configure() -> None:
    if "OPENBLAS_CORETYPE" in os.environ:
        pytest.exit(
            "OPENBLAS_CORETYPE fixes the kernels of NumPy's matrix products: unset it", returncode=2
        )


def pytest_report_header() -> list[str]:
    machine = describe_machine()
    return [
        f"machine: {machine.cpu}, {os.cpu_count()} CPUs, kernels {machine.instruction_set}",
        f"BLAS: {machine.blas}; numpy {machine.numpy}, python {machine.python}",
        *(f"slow: {sentence}" for sentence in machine.slowdowns),
    ]


@pytest.fixture(params=[*extension.usable_instruction_sets(), "numpy"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the operations on this instruction set, or in plain NumPy."""
    if request.param == "numpy":
        monkeypatch.setattr(extension, "_scan", None)
    else:
        monkeypatch.setenv("VIMNP_ISA", request.param)
    return str(request.param)
