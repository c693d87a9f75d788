"""A fixture for tests and benchmarks: the operations on every instruction set, and in NumPy."""

from __future__ import annotations

import pytest

from vimnp import extension


@pytest.fixture(params=[*extension.usable_instruction_sets(), "numpy"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every compiled instruction set of this machine, and plain NumPy, in turn."""
    if request.param == "numpy":
        monkeypatch.setattr(extension, "_scan", None)
    else:
        monkeypatch.setenv("VIMNP_ISA", request.param)
    return str(request.param)
