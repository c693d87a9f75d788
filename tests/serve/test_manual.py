"""What docs/serving.md asks a server for is answered."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.served_process import serving

pytest.importorskip("starlette", reason="needs the extra serve: starlette")
pytest.importorskip("uvicorn", reason="needs the extra serve: uvicorn")
pytest.importorskip("python_multipart", reason="needs the extra serve: python-multipart")

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")


def blocks_of(language: str) -> list[str]:
    """What the page asks a server for."""
    block = rf"^<!-- not run: it asks a server -->\n\n```{language}\n(.*?)^```$"
    return re.findall(block, PAGE, re.DOTALL | re.M)


BLOCKS = blocks_of("sh")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    if not (shutil.which("curl") and shutil.which("bash")):
        pytest.skip("the page's commands are for bash and curl")
    with serving("--model", "digits", "--model", "pydoc") as server:
        yield server.url


@pytest.mark.parametrize("block", BLOCKS)
def test_an_example_is_answered(url: str, block: str) -> None:
    asked = block.replace("http://127.0.0.1:8000/", url)
    assert url in asked
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", asked], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    events = done.stdout.split("data: ")
    assert json.loads(events[0].splitlines()[0])
    assert events[1:] == [] or events[-1].strip() == "[DONE]"


@pytest.mark.parametrize("block", blocks_of("python"))
def test_a_client_is_answered(url: str, block: str) -> None:
    client = re.findall(r"^from (\w+) import", block, re.M)[0]
    pytest.importorskip(client, reason="the example is for this client")
    asked = block.replace("http://127.0.0.1:8000/", url)
    done = subprocess.run(
        [sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_there_are_examples() -> None:
    assert len(BLOCKS) >= 6
    assert len(blocks_of("python")) >= 2


def test_the_page_shows_what_is_answered(url: str) -> None:
    shown = json.loads(re.findall(r"^```json\n(.*?)^```$", PAGE, re.DOTALL | re.M)[0])
    asked = BLOCKS[0].replace("http://127.0.0.1:8000/", url)
    done = subprocess.run(["bash", "-ec", asked], cwd=ROOT, capture_output=True, check=True)
    answered = json.loads(done.stdout)
    assert [each["label"] for each in answered] == [each["label"] for each in shown]
    for one, other in zip(answered, shown, strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)
