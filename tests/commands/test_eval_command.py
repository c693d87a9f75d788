"""``vimnp eval``: what it prints, and going on after an interruption."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from tests.support.commands import Command, Run, assert_refused, facts
from tests.support.digits import SCANS
from tests.support.labelled import (
    ALL_TOKENS,
    CLASSES,
    LABELLED,
    evaluated,
    write_folders,
    write_picture,
)
from tests.support.labelled import folder as folder
from tests.support.labelled import model as model
from tests.support.micro import MICRO
from tests.support.processes import run as run_python
from tests.support.random_weights import write_random
from vimnp.commands import eval as command_module
from vimnp.evaluate import accuracy as module
from vimnp.images.preprocessing import read_image
from vimnp.models.vim.model import VisionMamba
from vimnp.runtime import extension
from vimnp.storage.locked_file import LockedFile
from vimnp.weights import WeightsFile, write_weights


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """The repository's scans in a folder for each digit."""
    for digit, scan in enumerate(SCANS):
        (tmp_path / "digits" / str(digit)).mkdir(parents=True)
        shutil.copy(scan, tmp_path / "digits" / str(digit))
    return tmp_path / "digits"


BUNDLED = "vimnp: no --weights given: using the bundled model of handwritten digits, 0 to 9\n"
ASSUMED = "vimnp: assumed that the folders' names are the classes' indices\n"


def test_the_bundled_model_reads_the_scans(command: Command, digits: Path) -> None:
    run = command("eval", digits)
    assert (run.code, run.err) == (0, BUNDLED)
    assert run.out.splitlines()[0] == str(digits)
    found = facts(run.out)
    assert found["pictures"] == "10"
    right = "100.00% (10 right; Wilson's 95 % interval 72.25% to 100.00%)"
    assert (found["top-1"], found["top-5"], found["unreadable"]) == (right, right, "0")
    assert re.fullmatch(r"\d+\.\d ms a picture, reading it included", found["time"])


def test_a_file_that_another_process_writes_to_is_left_alone(
    command: Command, digits: Path, tmp_path: Path
) -> None:
    path = tmp_path / "results.jsonl"
    lock = LockedFile(path)
    run = command("eval", digits, "--resume", path)
    lock.close()
    assert (run.code, run.out) == (2, "")
    words = f"vimnp: {path}: another process is writing to it; expected one at a time"
    assert run.err.splitlines()[-1].startswith(words)
    assert path.read_bytes() == b""
    assert command("eval", digits, "--resume", path).code == 0


def test_pictures_in_the_wrong_folder_are_wrong(command: Command, digits: Path) -> None:
    (digits / "7").rename(digits / "x")
    (digits / "1").rename(digits / "7")
    (digits / "x").rename(digits / "1")
    run = command("eval", digits, "--json")
    answer = json.loads(run.out)
    assert (run.code, answer["pictures"]) == (0, 10)
    assert (answer["top1"]["right"], answer["top1"]["share"]) == (8, 0.8)
    assert answer["top1"]["interval_95"] == pytest.approx([0.4902, 0.9433], abs=5e-5)
    wrong = [c["folder"] for c in answer["classes"] if c["top1"]["right"] == 0]
    assert wrong == ["1", "7"]


def test_eval_answers_in_json(
    command: Command, model: VisionMamba, micro_npz: Path, folder: Path
) -> None:
    shutil.rmtree(folder / "6")
    (folder / "6").mkdir()
    run = command("eval", folder, "--weights", micro_npz, "--json")
    answer = json.loads(run.out)
    found = evaluated(model, folder)
    assert (run.code, run.err) == (0, ASSUMED)
    assert answer["folder"] == str(folder)
    assert answer["weights_sha256"] == hashlib.sha256(micro_npz.read_bytes()).hexdigest()
    found_by = (answer["img_size"], answer["scan"], answer["backend"])
    assert found_by == ([32, 32], "fused", model.backend)
    assert answer["pictures"] == 17
    for k in (1, 5):
        top = found.top(k)
        expected = {"k": k, "right": top.right, "pictures": 17, "share": top.share}
        assert answer[f"top{k}"] == expected | {"interval_95": [*top.interval]}
        by_class = {c["index"]: c[f"top{k}"] for c in answer["classes"]}
        assert by_class.pop(6) is None
        assert {i: c["right"] for i, c in by_class.items()} == {
            i: accuracy.right for i, accuracy in found.top_by_class(k).items()
        }
    assert [c["folder"] for c in answer["classes"]] == CLASSES
    assert {c["label"] for c in answer["classes"]} == {None}
    assert answer["unreadable"] == [{"file": s.path, "error": e} for s, e in found.unreadable]
    assert answer["seconds_per_picture"] > 0


def test_json_has_the_labels(command: Command, digits: Path) -> None:
    answer = json.loads(command("eval", digits, "--json").out)
    assert [c["label"] for c in answer["classes"]] == list("0123456789")


def test_unreadable_pictures_are_listed_at_the_end(
    command: Command, micro_npz: Path, folder: Path
) -> None:
    run = command("eval", folder, "--weights", micro_npz)
    assert run.code == 0
    *_, number, first, second = run.out.splitlines()
    assert number.split() == ["unreadable", "2"]
    assert first.startswith("    2/b.ppm: not a picture in a format that is read")
    assert second.startswith("    5/long.png: the picture is 3000x1 pixels")
    assert facts(run.out)["pictures"] == "20"


def test_names_that_are_not_printable_are_escaped(
    command: Command, micro_npz: Path, tmp_path: Path
) -> None:
    names = ["a\x1b[2J", "b\n", "caf\udce9", "ünü"]
    write_folders(tmp_path / "val", ["0"])
    for name in names:
        (tmp_path / "val" / "0" / name).touch()
    options = ("eval", tmp_path / "val", "--weights", micro_npz)
    lines = [line.split(":")[0].strip() for line in command(*options).out.splitlines()[-5:]]
    assert lines == [r"'0/a\x1b[2J'", "0/a.png", r"'0/b\n'", r"'0/caf\udce9'", "0/ünü"]
    answer = json.loads(command(*options, "--json").out)
    found = {entry["file"] for entry in answer["unreadable"]}
    assert found == {"0/a.png", *(f"0/{name}" for name in names)}


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_without_a_picture_that_can_be_read_the_exit_code_says_so(
    options: list[str], command: Command, micro_npz: Path, tmp_path: Path
) -> None:
    root = write_folders(tmp_path / "val", ["0", "4"])
    run = command("eval", root, "--weights", micro_npz, *options)
    assert run.code == 2
    assert run.err == f"{ASSUMED}vimnp: {root}: none of the pictures can be read\n"
    if options:
        answer = json.loads(run.out)
        assert (answer["pictures"], answer["top1"], len(answer["unreadable"])) == (0, None, 2)
    else:
        assert "top-1" not in run.out
        assert len(run.out.splitlines()) == 6


def test_of_three_classes_the_first_three_are_taken(command: Command, tmp_path: Path) -> None:
    weights = write_random(tmp_path / "few.npz", dataclasses.replace(MICRO, num_classes=3))
    write_picture(tmp_path / "val" / "2" / "a.png")
    found = facts(command("eval", tmp_path / "val", "--weights", weights).out)
    assert found["top-3"].startswith("100.00%")
    assert "top-5" not in found


def test_classes_come_from_a_file(command: Command, digits: Path, tmp_path: Path) -> None:
    file = tmp_path / "classes.txt"
    file.write_text("".join(f"w{index} {index}\n" for index in range(10)))
    for index in (0, 3, 4):
        (digits / str(index)).rename(tmp_path / f"w{index}")
    shutil.rmtree(digits)
    digits.mkdir()
    for index in (0, 3, 4):
        (tmp_path / f"w{index}").rename(digits / f"w{index}")
    run = command("eval", digits, "--classes", file)
    assert (run.code, run.err) == (0, BUNDLED)
    assert facts(run.out)["top-1"].startswith("100.00% (3 right")


def test_what_was_assumed_is_said(command: Command, digits: Path) -> None:
    for index in range(10):
        (digits / str(index)).rename(digits / f"n{index}")
    run = command("eval", digits)
    assert run.err == (
        f"{BUNDLED}vimnp: assumed that the folders are in the order of the classes: "
        "'n0' holds class 0 (0), 'n9' class 9 (9)\n"
    )
    assert facts(run.out)["top-1"].startswith("100.00%")


def test_a_limit_is_spread_over_the_classes(
    command: Command, micro_npz: Path, folder: Path
) -> None:
    run = command("eval", folder, "--weights", micro_npz, "--json", "--limit", 7, "--batch", 2)
    answer = json.loads(run.out)
    assert [c["top1"]["pictures"] for c in answer["classes"]] == [1] * 7


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_the_options_of_the_network_are_heeded(
    backend: str, command: Command, micro_npz: Path, folder: Path
) -> None:
    if backend == "native" and extension.loaded() is None:
        pytest.skip("the native backend needs the kernels")
    options = ("--img-size", "64", "--backend", backend, "--threads", 2, "--json")
    answer = json.loads(command("eval", folder, "--weights", micro_npz, *options).out)
    model = VisionMamba.from_npz(micro_npz, img_size=64, backend=backend)
    assert (answer["img_size"], answer["backend"]) == ([64, 64], backend)
    assert answer["top1"]["right"] == evaluated(model, folder).top(1).right


class Interruption:
    """Reads pictures until Ctrl-C comes, and counts them."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.read = 0

    def __call__(self, path: Path) -> Image.Image:
        if self.read == self.after:
            raise KeyboardInterrupt
        self.read += 1
        return read_image(path)


def without_time(run: Run) -> dict[str, object]:
    answer = json.loads(run.out)
    del answer["seconds_per_picture"]
    return dict(answer)


def test_an_interrupted_run_goes_on(
    command: Command,
    micro_npz: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "results.jsonl"
    options = ("eval", folder, "--weights", micro_npz, "--json", "--batch", 4)
    expected = without_time(command(*options))
    monkeypatch.setattr(module, "read_image", Interruption(after=14))
    interrupted = command(*options, "--resume", file)
    assert (interrupted.code, interrupted.out) == (130, "")
    assert interrupted.err == (
        f"{ASSUMED}vimnp: interrupted: the same command goes on from the results in {file}\n"
    )
    assert len(file.read_text().splitlines()) == 1 + 12  # the batch that was under way is lost
    reader = Interruption(after=100)
    monkeypatch.setattr(module, "read_image", reader)
    assert without_time(command(*options, "--resume", file)) == expected
    assert reader.read == 22 - 11  # one of the twelve could not be read
    last = json.loads(command(*options, "--resume", file).out)
    assert last["unreadable"] == expected["unreadable"]


def test_an_interrupted_run_without_a_file_says_how_to_keep_results(
    command: Command, micro_npz: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "read_image", Interruption(after=1))
    run = command("eval", folder, "--weights", micro_npz)
    assert (run.code, run.out) == (130, "")
    assert run.err == f"{ASSUMED}vimnp: interrupted: nothing is kept without --resume FILE\n"


def test_a_killed_process_loses_one_batch_at_most(
    command: Command, micro_npz: Path, folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "results.jsonl"
    options = ["eval", *map(str, (folder, "--weights", micro_npz, "--resume", file))]
    options += ["--batch", "4", "--json"]
    code = f"""
import os
from vimnp import cli
from vimnp.evaluate import accuracy as evaluate
read_image, left = evaluate.read_image, 11
def read(path):
    global left
    left -= 1
    return read_image(path) if left else os._exit(9)
evaluate.read_image = read
cli.main({options!r})
"""
    assert run_python(code).returncode == 9
    assert len(file.read_text().splitlines()) == 1 + 8
    resumed = command(*options)
    file.unlink()
    assert without_time(resumed) == without_time(command(*options))


def test_a_larger_limit_goes_on_from_a_smaller_one(
    command: Command, micro_npz: Path, folder: Path, tmp_path: Path
) -> None:
    options = ("eval", folder, "--weights", micro_npz, "--json")
    expected = without_time(command(*options))
    file = tmp_path / "results.jsonl"
    for limit, pictures in ((4, 4), (7, 7), (3, 3)):
        run = command(*options, "--resume", file, "--limit", limit)
        assert json.loads(run.out)["pictures"] == pictures
    assert len(file.read_text().splitlines()) == 1 + 7
    assert without_time(command(*options, "--resume", file)) == expected


def test_a_run_that_has_nothing_left_to_do_has_no_time(
    command: Command, digits: Path, tmp_path: Path
) -> None:
    options = ("eval", digits, "--resume", tmp_path / "results.jsonl")
    first, second = command(*options), command(*options)
    lines = [line for line in first.out.splitlines() if "ms a picture" not in line]
    assert second.out.splitlines() == lines
    assert json.loads(command(*options, "--json").out)["seconds_per_picture"] is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--img-size", "64"], "img_size was [32, 32] and is [64, 64] now"),
        (["--scan", "sequential"], 'scan was "fused" and is "sequential" now'),
        (["--backend", "numpy"], 'backend was "native" and is "numpy" now'),
        (["--weights", "{other}"], "weights_sha256 was "),
        (["--classes", "{classes}"], "classes['0'] was 0 and is 6 now"),
    ],
)
def test_results_are_not_mixed_with_others(
    options: list[str],
    words: str,
    command: Command,
    micro_npz: Path,
    folder: Path,
    tmp_path: Path,
) -> None:
    if "--backend" in options and extension.loaded() is None:
        pytest.skip("the native backend needs the kernels")
    other = write_random(tmp_path / "other.npz", MICRO, "float16")
    classes = tmp_path / "classes.txt"
    classes.write_text("\n".join(reversed(CLASSES)))
    file = tmp_path / "results.jsonl"
    common = ("eval", folder, "--resume", file)
    assert command(*common, "--weights", micro_npz).code == 0
    content = file.read_bytes()
    given = [text.format(other=other, classes=classes) for text in options]
    run = command(*common, "--weights", micro_npz, *given)
    assert_refused(run, str(file), words, "take another file")
    assert file.read_bytes() == content


def test_results_of_another_folder_are_refused(
    command: Command, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "results.jsonl"
    assert command("eval", digits, "--resume", file).code == 0
    monkeypatch.chdir(tmp_path)  # the same folder by another name
    assert command("eval", "digits/../digits/", "--resume", file).code == 0
    digits.rename(tmp_path / "moved")
    run = command("eval", "moved", "--resume", file)
    assert_refused(run, "folder was", "digits", "moved", "take another file")


def test_without_tqdm_there_is_no_bar_and_a_line_says_so(
    command: Command, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    run = command("eval", digits)
    assert run.code == 0
    assert (
        run.err == f"{BUNDLED}vimnp: no progress bar without tqdm: pip install 'vimnp[progress]'\n"
    )


def test_the_bar_begins_with_what_was_done_before(
    command: Command, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[int, str, int]] = []
    told: list[int] = []

    @contextlib.contextmanager
    def bar(total: int, unit: str, done: int) -> Iterator[SimpleNamespace]:
        begun.append((total, unit, done))
        yield SimpleNamespace(update=told.append)

    monkeypatch.setattr(command_module, "progress_bar", bar)
    options = ("eval", digits, "--resume", tmp_path / "results.jsonl", "--batch", 3)
    command(*options, "--limit", 4)
    command(*options)
    assert begun == [(4, "picture", 0), (10, "picture", 4)]
    assert told == [3, 1, 3, 3]


WRONG_USE: list[tuple[str, list[str], list[str]]] = [
    ("no folder", [], ["DIR", "vimnp eval --help"]),
    ("two folders", ["{val}", "{val}"], ["unrecognized"]),
    ("a missing folder", ["no"], ["no: No such file or directory", "expected a folder that holds"]),
    ("a file", ["{npz}"], ["Not a directory"]),
    ("no class's name", ["{dir}"], ["'val'", "no class", "--classes FILE"]),
    ("limit: 0", ["{val}", "--limit", "0"], ["--limit 0: expected a whole number from 1 up"]),
    ("limit: text", ["{val}", "--limit", "all"], ["--limit", "all"]),
    ("batch: 0", ["{val}", "--batch", "0", "--resume", "{new}"], ["--batch 0", "from 1 up"]),
    ("batch: text", ["{val}", "--batch", "all"], ["--batch", "all"]),
    ("no name: folder", [""], ["DIR", "it is empty"]),
    ("no name: classes", ["{val}", "--classes", ""], ["--classes", "it is empty"]),
    ("no name: results", ["{val}", "--resume", ""], ["--resume", "it is empty"]),
    ("classes: missing", ["{val}", "--classes", "no.txt"], ["no.txt", "No such file"]),
    ("classes: weights", ["{val}", "--classes", "{npz}"], ["micro.npz", "cannot be read"]),
    ("classes: a folder", ["{val}", "--classes", "{dir}"], ["a folder"]),
    ("resume: no results", ["{val}", "--resume", "{npz}"], ["micro.npz", "not results"]),
    ("resume: a folder", ["{val}", "--resume", "{dir}"], ["a folder"]),
    ("missing weights", ["{val}", "--weights", "no.npz"], ["no.npz", "No such file"]),
    ("threads: 0", ["{val}", "--threads", "0"], ["threads", "0"]),
    ("size: text", ["{val}", "--img-size", "big"], ["--img-size big"]),
    (
        "logits for every token",
        ["{val}", "--weights", "{all}", "--resume", "{new}"],
        ["final_pool_type is 'all'"],
    ),
    (
        "no head",
        ["{val}", "--weights", "{headless}", "--resume", "{new}"],
        ["no head", "call model.features"],
    ),
    (
        "four channels",
        ["{val}", "--weights", "{four}", "--resume", "{new}"],
        ["1 or 3 channels, and the network takes 4"],
    ),
]


@pytest.mark.parametrize(
    ("arguments", "words"), [pytest.param(*row[1:], id=row[0]) for row in WRONG_USE]
)
def test_wrong_use_is_one_line_on_stderr(
    arguments: list[str], words: list[str], command: Command, micro_npz: Path, tmp_path: Path
) -> None:
    write_picture(tmp_path / "val" / "ant" / "a.png")
    with WeightsFile(micro_npz) as file:
        tensors = [(name, file.read(name)) for name in MICRO.parameter_shapes()]
    write_weights(micro_npz, LABELLED, tensors)
    every = write_random(tmp_path / "all.npz", ALL_TOKENS)
    names = {"npz": micro_npz, "val": tmp_path / "val", "dir": tmp_path, "all": every}
    for name, change in (("headless", {"num_classes": 0}), ("four", {"channels": 4})):
        config = dataclasses.replace(MICRO, **change)
        names[name] = write_random(tmp_path / f"{name}.npz", config)
    names["new"] = tmp_path / "new.jsonl"
    given = [text.format(**names) for text in arguments]
    if "--weights" not in given:
        given += ["--weights", str(micro_npz)]
    if "{all}" in arguments:
        (tmp_path / "val" / "ant").rename(tmp_path / "val" / "0")
    files = sorted(tmp_path.iterdir())
    run = command("eval", *given)
    run = run._replace(err=run.err.removeprefix(ASSUMED))
    assert_refused(run, *words)
    assert sorted(tmp_path.iterdir()) == files
