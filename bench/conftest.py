"""What every benchmark shares: the machine named above the table, and a fair environment."""

from __future__ import annotations

import os

import pytest

from vimnp import kernels
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


def implementations() -> list[str]:
    """Usable instruction sets, and plain NumPy."""
    extension = kernels.extension()
    sets = {} if extension is None else extension.instruction_sets()
    return [*(name for name, usable in sets.items() if usable), "numpy"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "implementation" in metafunc.fixturenames:
        metafunc.parametrize("implementation", implementations(), indirect=True)


@pytest.fixture
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the operations on this instruction set, or in plain NumPy."""
    if request.param == "numpy":
        monkeypatch.setattr(kernels, "_scan", None)
    else:
        monkeypatch.setenv("VIMNP_ISA", request.param)
    return str(request.param)
