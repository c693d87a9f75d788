"""In a clone's own folder, where Python finds the package as it lies there, built or not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.commands import Run
from tests.support.processes import is_ours

ROOT = Path(__file__).parents[1]
PACKAGES = Path(np.__file__).parents[1]

pytestmark = pytest.mark.skipif(
    not (ROOT / "vimnp" / "cli.py").exists(), reason="the tests lie beside no checkout"
)


def in_folder(folder: Path, *arguments: object) -> Run:
    """A command in a folder, by a Python that has NumPy and no installed vimnp."""
    # -S leaves out the hooks by which an editable install would be found.
    command = [sys.executable, "-S", "-W", "ignore", "-m", "vimnp", *map(str, arguments)]
    clean = {name: value for name, value in os.environ.items() if not is_ours(name)}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=folder,
        env=clean | {"PYTHONPATH": str(PACKAGES)},
        check=False,
        timeout=120,
    )
    return Run(done.returncode, done.stdout, done.stderr)


def test_a_clone_converts_without_an_install(micro_pth: Path, tmp_path: Path) -> None:
    assert in_folder(ROOT, "convert", "--help").code == 0
    out = tmp_path / "micro.npz"
    run = in_folder(ROOT, "convert", micro_pth, out)
    assert (run.code, run.err) == (0, "")
    assert run.out.splitlines()[-1].startswith(f"{out}: ")
    assert in_folder(ROOT, "info", out).out.splitlines()[0] == str(out)


def test_a_refused_checkpoint_is_refused_there_too(tmp_path: Path) -> None:
    run = in_folder(ROOT, "convert", "no.pth", tmp_path / "x.npz")
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith("vimnp: no.pth: ")
    assert len(run.err.splitlines()) == 1


def test_another_package_of_that_name_is_not_taken_for_the_converter(
    micro_pth: Path, tmp_path: Path
) -> None:
    """Beside an installed vimnp lies whatever else is installed."""
    site = tmp_path / "site"
    (site / "convert").mkdir(parents=True)
    (site / "convert" / "__init__.py").write_text("print('taken')\n")
    (site / "vimnp").symlink_to(ROOT / "vimnp")
    run = in_folder(site, "convert", micro_pth, tmp_path / "x.npz")
    assert (run.code, run.out) == (2, "")
    assert "the converter is not installed beside this copy of vimnp" in run.err
    assert "pip install -e ." in run.err
