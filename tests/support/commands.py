"""Calls of the ``vimnp`` command, for the tests of what it prints."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from vimnp.cli import main
from vimnp.runtime import extension

SLOWING = (
    "VIMNP_ISA",
    "VIMNP_BACKEND",
    "OPENBLAS_CORETYPE",
    "OMP_WAIT_POLICY",
    *extension.FORCE_FALLBACK.values(),
)


class Run(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


def assert_refused(run: Run, *words: str) -> None:
    """One line on stderr with these words, nothing on stdout, exit code 2."""
    assert (run.code, run.out) == (2, "")
    assert run.err.endswith("\n")
    assert len(run.err.splitlines()) == 1
    assert run.err.startswith("vimnp")
    assert "Traceback" not in run.err
    for word in words:
        assert word in run.err


def facts(out: str) -> dict[str, str]:
    """What stands in indented lines: a name, and the rest."""
    lines = (line.split(maxsplit=1) for line in out.splitlines() if line.startswith("  "))
    return {line[0]: line[1] for line in lines if len(line) == 2}


class Command:
    """Calls ``vimnp`` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: object) -> Run:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as ended:  # argparse's way out
            code = int(ended.code or 0)
        return Run(code, *self.capsys.readouterr())


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    for name in (*SLOWING, "VIMNP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    return Command(capsys)
