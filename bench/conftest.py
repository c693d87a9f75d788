"""What every benchmark shares: the machine named above the table, and a fair environment."""

from __future__ import annotations

import checkout  # noqa: F401  (finds tests.support)
import pytest
from surroundings import refusal

from tests.support.implementations import implementation as implementation
from vimnp.measure.machine import describe_machine


def pytest_configure() -> None:
    reason = refusal()
    if reason is not None:
        pytest.exit(reason, returncode=2)


def pytest_report_header() -> list[str]:
    return describe_machine().lines
