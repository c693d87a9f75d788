"""What every benchmark shares: the machine named above the table, and a fair environment."""

from __future__ import annotations

import os

import pytest
from implementations import implementation as implementation

from vimnp.machine import describe_machine


def pytest_configure() -> None:
    if "OPENBLAS_CORETYPE" in os.environ:
        pytest.exit(
            "OPENBLAS_CORETYPE fixes the kernels of NumPy's matrix products: unset it", returncode=2
        )


def pytest_report_header() -> list[str]:
    machine = describe_machine()
    return [
        f"machine: {machine.cpu}, {os.cpu_count()} CPUs",
        f"kernels: {machine.instruction_set}, {machine.num_threads} threads if not set otherwise",
        f"BLAS: {machine.blas}; numpy {machine.numpy}, python {machine.python}",
        *(f"slow: {sentence}" for sentence in machine.slowdowns),
    ]
