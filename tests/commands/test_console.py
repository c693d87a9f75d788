"""What reaches the terminal: nothing that it would obey, or that would not show."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.support.commands import Command
from tests.support.micro import MICRO
from tests.support.random_weights import write_random
from vimnp.commands.console import printable, say
from vimnp.measure import timing
from vimnp.weights import WeightsFile, write_weights

HOSTILE = "a\x1b[2J b\n\u202ec  d\u200f\x9be"
SHOWN = r"a\x1b[2J b\n\u202ec  d\u200f\x9be"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (HOSTILE, SHOWN),
        ("two  blanks", "two  blanks"),
        ("été 猫 \N{COMBINING ACUTE ACCENT}", "été 猫 \N{COMBINING ACUTE ACCENT}"),
        ("\t\r\0\x7f", r"\t\r\x00\x7f"),
        ("\u2066\u2069\u202a\u200e\u2028", r"\u2066\u2069\u202a\u200e\u2028"),
        ("caf\udce9", r"caf\udce9"),
        ("\U000e0001", r"\U000e0001"),
        (r"C:\new", r"C:\new"),
        ("", ""),
    ],
)
def test_what_does_not_print_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_every_text_becomes_printable(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown


def test_what_is_said_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    say(ValueError(HOSTILE))
    assert capsys.readouterr() == ("", f"vimnp: {SHOWN}\n")


# ---- Each command --------------------------------------------------------------------------------


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A weights file of which the name, the labels and the source are hostile."""
    if sys.platform == "win32":
        pytest.skip("Windows has no such names")
    path = tmp_path / f"{HOSTILE}.npz"
    os.rename(write_random(tmp_path / "micro.npz", MICRO), path)
    with WeightsFile(path) as file:
        tensors = [(name, file.read(name)) for name in MICRO.parameter_shapes()]
        metadata = file.metadata
    labels = tuple(f"{index}{HOSTILE}" for index in range(MICRO.num_classes))
    metadata = dataclasses.replace(metadata, labels=labels, source=HOSTILE, source_sha256=HOSTILE)
    write_weights(path, metadata, tensors)
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / f"{HOSTILE}.png"
    Image.new("RGB", (32, 32)).save(path)
    return path


def assert_printable(*texts: str) -> None:
    for text in texts:
        assert all(line.isprintable() for line in text.split("\n"))


def test_predict_escapes_labels_and_names(command: Command, hostile: Path, picture: Path) -> None:
    bad = picture.with_name(f"bad{HOSTILE}")
    run = command("predict", picture, bad, "--weights", hostile)
    assert_printable(run.out, run.err)
    name, *answers = run.out.splitlines()
    assert name == f"{picture.parent}/{SHOWN}.png"
    assert len(answers) == 5
    assert all(answer.endswith(SHOWN) for answer in answers)
    assert f"bad{SHOWN}: " in run.err
    first, second = json.loads(command("predict", picture, bad, "--weights", hostile, "--json").out)
    assert first["predictions"][0]["label"].endswith(HOSTILE)
    assert (first["file"], second["file"]) == (str(picture), str(bad))


def test_info_escapes_the_name_and_the_source(command: Command, hostile: Path) -> None:
    run = command("info", hostile)
    assert_printable(run.out)
    assert run.out.splitlines()[0] == f"{hostile.parent}/{SHOWN}.npz"
    assert f"  source               {SHOWN}\n" in run.out
    assert f"  source_sha256        {SHOWN}\n" in run.out


def test_eval_escapes_the_folder_and_what_it_assumes(
    command: Command, hostile: Path, picture: Path, tmp_path: Path
) -> None:
    root = tmp_path / HOSTILE
    for index in range(MICRO.num_classes):
        (root / f"n{index}").mkdir(parents=True)
        os.link(picture, root / f"n{index}" / f"{HOSTILE}.png")
    (root / "n0" / "bad\x1b").touch()
    run = command("eval", root, "--weights", hostile)
    assert run.code == 0
    assert_printable(run.out, run.err)
    assert run.out.splitlines()[0] == f"{tmp_path}/{SHOWN}"


def test_convert_escapes_its_destination(command: Command, micro_pth: Path, tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows has no such names")
    run = command("convert", micro_pth, tmp_path / HOSTILE)
    assert run.code == 0
    assert_printable(run.out)
    assert run.out.splitlines()[-1].startswith(f"{tmp_path}/{SHOWN}: ")
    assert (tmp_path / HOSTILE).exists()


@pytest.mark.parametrize("name", ["bench", "profile"])
def test_measuring_commands_escape_the_weights(
    name: str, command: Command, hostile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing.time, "sleep", lambda _: None)
    option = "--json" if name == "bench" else "--trace"
    file = tmp_path / "x.json"
    run = command(name, "--weights", hostile, "--rounds", 1, "--threads", 1, option, file)
    assert run.code == 0
    assert_printable(run.out)
    assert f"network: {tmp_path}/{SHOWN}.npz; " in run.out
    content = json.loads(file.read_bytes())
    network = content["network"] if name == "bench" else content["otherData"]["network"]
    assert network["source"] == str(hostile)


def test_wrong_use_is_escaped(command: Command) -> None:
    for arguments in (["predict", "x", f"--{HOSTILE}"], ["predict", "x", "--scan", HOSTILE]):
        run = command(*arguments)
        assert run.code == 2
        assert_printable(run.err)
