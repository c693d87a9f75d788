"""What every benchmark shares: the machine named above the table, and a fair environment."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# Benchmarks import each other as they do when they run as scripts.
sys.path.insert(0, str(Path(__file__).parent))

import checkout  # noqa: F401  (finds tests.support)
from surroundings import refusal

from vimnp.measure.machine import describe_machine


def pytest_configure() -> None:
    reason = refusal()
    if reason is not None:
        pytest.exit(reason, returncode=2)


def pytest_report_header() -> list[str]:
    return describe_machine().lines
