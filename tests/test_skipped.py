"""What CI makes of the tests that one of its lanes has skipped."""

import subprocess
import sys
from pathlib import Path

import pytest

SKIPPED = Path(__file__).parents[1] / ".ci" / "skipped"
pytestmark = pytest.mark.skipif(not SKIPPED.exists(), reason="the tests lie beside no checkout")

TESTS = """
import pytest

def test_it_runs(): pass

@pytest.mark.parametrize("number", [1, 2])
def test_it_cannot(number): pytest.skip("needs more")

class TestGroup:
    def test_neither(self): pytest.skip("needs more")
"""
MODULE = "import pytest\npytest.importorskip('no_such')"


def test_functions_and_whole_files_are_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)  # CI's own report
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_some.py").write_text(TESTS)
    (tmp_path / "tests" / "test_none.py").write_text(MODULE)
    report = ["-o", "junit_family=xunit1", "--junit-xml=report.xml"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *report, "tests"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    printed = subprocess.check_output([sys.executable, SKIPPED, tmp_path / "report.xml"], text=True)
    assert printed.split() == [
        "tests/test_none.py",
        "tests/test_some.py::test_it_cannot",
        "tests/test_some.py::TestGroup::test_neither",
    ]
