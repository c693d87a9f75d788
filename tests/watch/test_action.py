"""The program that is run: which words it gets, and that nothing of a picture becomes a command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from vimnp.errors import ConfigError
from vimnp.watch.action import Action

WRITING = """
import json, os, sys
name, *rest = sys.argv[1:]
facts = {"words": rest, "label": os.environ["VIMNP_LABEL"], "picture": len(sys.stdin.buffer.read())}
with open(name, "a") as file:
    print(json.dumps(facts), file=file)
"""


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def program(tmp_path: Path) -> str:
    """A command that writes down what it got, into ``out``."""
    script = tmp_path / "a script.py"
    script.write_text(WRITING)
    return f'"{sys.executable}" "{script}" "{tmp_path / "out"}"'


def written(tmp_path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]


def test_it_gets_its_words_the_facts_and_the_picture(
    program: str, tmp_path: Path, said: list[str]
) -> None:
    action = Action(program + ' "two words" $HOME ;', waits=True, tell=said.append)
    action.run({"VIMNP_LABEL": "seven"}, b"12345")
    action.finish()
    (found,) = written(tmp_path)
    assert found == {"words": ["two words", "$HOME", ";"], "label": "seven", "picture": 5}
    assert said == []


@pytest.mark.parametrize(
    "label", ["$(touch hacked)", "`touch hacked`", "'; touch hacked; '", "%x%"]
)
def test_a_label_is_never_a_command(
    label: str, program: str, tmp_path: Path, said: list[str]
) -> None:
    action = Action(program, waits=True, tell=said.append)
    action.run({"VIMNP_LABEL": label}, b"")
    action.finish()
    assert written(tmp_path)[0]["label"] == label
    assert not Path("hacked").exists()


def test_a_picture_that_nobody_reads_keeps_nobody_waiting(said: list[str]) -> None:
    action = Action(f'"{sys.executable}" -c pass', waits=True, tell=said.append)
    action.run({}, bytes(1 << 22))
    action.finish()
    assert said == []


def test_of_a_recording_each_waits_for_the_one_before(
    program: str, tmp_path: Path, said: list[str]
) -> None:
    action = Action(program, waits=True, tell=said.append)
    for label in "abc":
        action.run({"VIMNP_LABEL": label}, b"")
    action.finish()
    assert [found["label"] for found in written(tmp_path)] == ["a", "b", "c"]


def test_a_camera_does_not_wait_and_says_so(tmp_path: Path, said: list[str]) -> None:
    waiting = f"import time, pathlib\nwhile not pathlib.Path({str(tmp_path / 'go')!r}).exists(): "
    script = tmp_path / "wait.py"
    script.write_text(waiting + "time.sleep(0.01)\n")
    action = Action(f'"{sys.executable}" "{script}"', waits=False, tell=said.append)
    action.run({}, b"")
    action.run({}, b"")
    assert len(said) == 1
    assert "still runs, and is not run for this once more" in said[0]
    (tmp_path / "go").touch()
    action.finish()
    assert len(said) == 1


def test_how_it_failed_is_said(said: list[str]) -> None:
    action = Action(f'"{sys.executable}" -c "raise SystemExit(3)"', waits=False, tell=said.append)
    action.run({}, b"")
    action.finish()
    assert len(said) == 1
    assert said[0].endswith("has ended with exit code 3")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such programs")
def test_a_program_that_goes_away_is_said(tmp_path: Path, said: list[str]) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    action = Action(str(program), waits=False, tell=said.append)
    program.unlink()
    action.run({}, b"")
    assert "cannot be run" in said[0]


@pytest.mark.parametrize(
    ("command", "words"),
    [("", "it is empty"), ("/no/such program", "no program '/no/such'"), ("'open", "No closing")],
)
def test_what_cannot_be_run_is_refused_before_any_picture(
    command: str, words: str, said: list[str]
) -> None:
    with pytest.raises(ConfigError, match=words):
        Action(command, waits=True, tell=said.append)
