"""Fixtures for tests and benchmarks: what an operation, and what a network can run on here."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from vimnp.engine.settings import BACKENDS
from vimnp.ops.modes import SCAN_MODES
from vimnp.runtime import extension


@pytest.fixture(params=[*extension.usable_instruction_sets(), "numpy"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every compiled instruction set of this machine, and plain NumPy, in turn."""
    if request.param == "numpy":
        monkeypatch.setattr(extension, "_scan", None)
    else:
        monkeypatch.setenv("VIMNP_ISA", request.param)
    return str(request.param)


class Way(NamedTuple):
    """How a network runs: its instruction set, None without compiled kernels, and its backend."""

    isa: str | None
    backend: str

    def __str__(self) -> str:
        return "plain" if self.isa is None else f"{self.isa}-{self.backend}"

    @property
    def scans(self) -> tuple[str, ...]:
        """The modes that it has."""
        return ("fused",) if self.backend == "native" else SCAN_MODES


COMPILED_WAYS = [
    Way(isa, backend) for isa in extension.usable_instruction_sets() for backend in BACKENDS
]
WAYS = [*COMPILED_WAYS, Way(None, "numpy")]
NUMPY_WAYS = [way for way in WAYS if way.backend == "numpy"]
NATIVE_WAYS = [way for way in WAYS if way.backend == "native"]


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Way:
    """Every way in turn, as the default of the models that a test makes."""
    chosen: Way = request.param
    monkeypatch.setenv("VIMNP_BACKEND", chosen.backend)
    if chosen.isa is None:
        monkeypatch.setattr(extension, "_scan", None)
    else:
        monkeypatch.setenv("VIMNP_ISA", chosen.isa)
    return chosen


def only(ways: list[Way]) -> pytest.MarkDecorator:
    """A test of the network on these ways, where it would run on all of them."""
    return pytest.mark.parametrize("way", ways, indirect=True, ids=str)


every_scan_of_every_way = pytest.mark.parametrize(
    ("way", "scan"),
    [pytest.param(way, scan, id=f"{way}-{scan}") for way in WAYS for scan in way.scans],
    indirect=["way"],
)
