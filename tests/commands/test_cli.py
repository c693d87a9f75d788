"""The ``vimnp`` command: what it prints where, its exit codes, and one line for every error."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

import vimnp
from tests.support.commands import SLOWING, Command, Run, assert_refused, facts
from tests.support.digits import SCANS
from tests.support.micro import MICRO
from tests.support.random_weights import random_weights, write_random
from tests.support.reasons import NO_FILE, NO_FOLDER
from tests.support.torch_format import save
from vimnp.cli import COMMANDS
from vimnp.commands import info
from vimnp.config import VIM_TINY_ROPE
from vimnp.images.preprocessing import FORMATS, read_image
from vimnp.models.vim.model import VisionMamba
from vimnp.runtime import extension
from vimnp.weights import BUNDLED_DIGITS, Metadata, WeightsFile, write_weights


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "noise.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.png"
    path.write_text("no picture")
    return path


def in_subprocess(*arguments: object, **environment: str) -> Run:
    clean = {name: value for name, value in os.environ.items() if name not in SLOWING}
    done = subprocess.run(
        [sys.executable, "-m", "vimnp", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=clean | environment,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr)


# ---- predict -------------------------------------------------------------------------------------


def test_predict_prints_each_picture_and_its_best_classes(
    command: Command, micro_npz: Path, picture: Path
) -> None:
    run = command("predict", picture, picture, "--weights", micro_npz, "--top-k", 3)
    best = VisionMamba.from_npz(micro_npz).predict(read_image(picture), top_k=3)
    answer = [str(picture), *(f"  {p.score:7.2%}  class {p.index}" for p in best)]
    assert run == (0, "\n".join(answer * 2) + "\n", "")


def test_predict_prints_labels_where_the_weights_have_them(
    command: Command, micro_npz: Path, picture: Path
) -> None:
    labels = ("cat", "dog", "été", "猫", "a b", "tab", "")
    with WeightsFile(micro_npz) as file:
        metadata = dataclasses.replace(file.metadata, labels=labels)
        tensors = [(name, file.read(name)) for name in metadata.config.parameter_shapes()]
    write_weights(micro_npz, metadata, tensors)
    run = command("predict", picture, "--weights", micro_npz, "--top-k", 7)
    assert run.code == 0
    assert {line[11:] for line in run.out.splitlines()[1:]} == set(labels)
    answers = json.loads(command("predict", picture, "--weights", micro_npz, "--json").out)
    assert all(labels[p["index"]] == p["label"] for p in answers[0]["predictions"])


def test_predict_answers_in_json(command: Command, micro_npz: Path, picture: Path) -> None:
    run = command("predict", picture, "--weights", micro_npz, "--json", "--top-k", 2)
    model = VisionMamba.from_npz(micro_npz)
    best = [dataclasses.asdict(p) for p in model.predict(read_image(picture), top_k=2)]
    expected = [{"file": str(picture), "predictions": best, **model.way._asdict()}]
    assert (run.code, run.err) == (0, "")
    assert json.loads(run.out) == expected


@pytest.mark.parametrize(("asked", "img_size"), [("64", 64), ("40x72", (40, 72))])
def test_predict_looks_at_pictures_in_another_size(
    command: Command, micro_npz: Path, picture: Path, asked: str, img_size: int | tuple[int, int]
) -> None:
    run = command("predict", picture, "--weights", micro_npz, "--json", "--img-size", asked)
    model = VisionMamba.from_npz(micro_npz, img_size=img_size)
    best = [dataclasses.asdict(p) for p in model.predict(read_image(picture))]
    assert (run.code, run.err) == (0, "")
    assert json.loads(run.out)[0]["predictions"] == best


@pytest.mark.parametrize(("asked", "given"), [((), 5), ((1,), 1), ((7,), 7), ((1000,), 7)])
def test_predict_shows_as_many_classes_as_asked_for(
    asked: tuple[int, ...], given: int, command: Command, micro_npz: Path, picture: Path
) -> None:
    options = [text for number in asked for text in ("--top-k", number)]
    run = command("predict", picture, "--weights", micro_npz, "--json", *options)
    predictions = json.loads(run.out)[0]["predictions"]
    assert len(predictions) == given
    scores = [p["score"] for p in predictions]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) <= 1 + 1e-6


@pytest.mark.parametrize("scan", ["fused", "sequential", "fixlen", "fused_fixlen"])
@pytest.mark.parametrize("threads", [1, 3])
def test_predict_gives_the_same_classes_by_every_way(
    scan: str, threads: int, command: Command, micro_npz: Path, picture: Path
) -> None:
    options = ("predict", picture, "--weights", micro_npz, "--json", "--top-k", 7)
    expected = json.loads(command(*options).out)[0]["predictions"]
    run = command(*options, "--scan", scan, "--threads", threads)
    found = json.loads(run.out)[0]["predictions"]
    assert run.code == 0
    assert [p["index"] for p in found] == [p["index"] for p in expected]
    assert [p["score"] for p in found] == pytest.approx([p["score"] for p in expected], abs=1e-5)


def test_predict_gives_the_same_classes_by_every_backend(
    command: Command, micro_npz: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("predict", picture, "--weights", micro_npz, "--json", "--top-k", 7)
    expected = json.loads(command(*options, "--backend", "numpy").out)[0]["predictions"]
    run = command(*options, "--backend", "native")
    found = json.loads(run.out)[0]["predictions"]
    assert (run.code, run.err) == (0, "")
    assert [p["index"] for p in found] == [p["index"] for p in expected]
    assert [p["score"] for p in found] == pytest.approx([p["score"] for p in expected], abs=1e-6)
    monkeypatch.setenv("VIMNP_BACKEND", "native")
    assert command(*options) == run


def test_the_option_for_the_backend_comes_before_the_variable(
    command: Command, micro_npz: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("predict", picture, "--weights", micro_npz, "--scan", "fixlen")
    expected = command(*options)
    monkeypatch.setenv("VIMNP_BACKEND", "native")
    assert_refused(command(*options), "VIMNP_BACKEND is 'native'", "'fused' only")
    assert command(*options, "--backend", "numpy") == expected


def test_the_native_backend_without_its_kernels_is_one_line_on_stderr(
    command: Command, micro_npz: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extension, "_scan", None)
    run = command("predict", picture, "--weights", micro_npz, "--backend", "native")
    assert_refused(run, "'native' needs the compiled kernels", "`pip install .`")


def test_a_bad_picture_does_not_keep_the_others_from_their_answers(
    command: Command, micro_npz: Path, picture: Path, bad: Path
) -> None:
    run = command("predict", picture, bad, picture, "--weights", micro_npz, "--top-k", 1)
    assert run.code == 2
    assert [line for line in run.out.splitlines() if not line[0].isspace()] == [str(picture)] * 2
    assert len(run.out.splitlines()) == 4
    assert_refused(run._replace(out=""), str(bad), "not a picture")


def test_a_bad_picture_has_its_error_in_the_json(
    command: Command, micro_npz: Path, picture: Path, bad: Path
) -> None:
    run = command("predict", bad, picture, "--weights", micro_npz, "--json")
    first, second = json.loads(run.out)
    assert first.keys() == {"file", "error"}
    assert first["file"] == str(bad)
    assert "not a picture" in first["error"]
    way = {"backend", "scan", "threads", "instruction_set"}
    assert second.keys() == ANSWER | way
    assert_refused(run._replace(out=""), str(bad))


# What `predict --json` has of a picture: how the network ran, too.
ANSWER = {"file", "predictions", "backend", "scan", "threads", "instruction_set"}


def test_a_picture_that_does_not_fit_is_named(
    command: Command, micro_npz: Path, picture: Path, tmp_path: Path
) -> None:
    long = tmp_path / "long.png"
    Image.new("RGB", (3000, 1)).save(long)
    run = command("predict", long, picture, "--weights", micro_npz, "--json")
    error = f"{long}: the picture is 3000x1 pixels; expected "
    assert run.code == 2
    assert run.err.startswith(f"vimnp: {error}")
    first, second = json.loads(run.out)
    assert first["error"].startswith(error)
    assert second.keys() == ANSWER


def test_every_bad_picture_has_a_line(command: Command, micro_npz: Path, bad: Path) -> None:
    run = command("predict", bad, bad.parent / "missing.png", "--weights", micro_npz)
    assert (run.code, run.out) == (2, "")
    assert len(run.err.splitlines()) == 2
    assert "missing.png" in run.err


def test_a_picture_without_finite_logits_has_its_error_and_the_others_their_answers(
    command: Command, micro_npz: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = VisionMamba.__call__
    spoilt = iter([False, True, False])

    def spoiling(self: VisionMamba, images: object) -> np.ndarray:
        return calls(self, images) + (math.nan if next(spoilt) else 0)

    monkeypatch.setattr(VisionMamba, "__call__", spoiling)
    run = command("predict", picture, picture, picture, "--weights", micro_npz, "--json")

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is not JSON")

    first, second, third = json.loads(run.out, parse_constant=refuse)
    assert first == third
    assert first.keys() == ANSWER
    assert "logits are not finite" in second["error"]
    assert_refused(run._replace(out=""), "logits are not finite")


def test_the_bundled_model_says_that_it_is_used_and_reads_digits(command: Command) -> None:
    run = command("predict", *SCANS, "--top-k", 1)
    assert run.code == 0
    assert run.err.splitlines() == [
        "vimnp: no --weights given: using the bundled model of handwritten digits, 0 to 9"
    ]
    labels = [line.split()[-1] for line in run.out.splitlines() if line.startswith(" ")]
    assert labels == list("0123456789")


def test_that_the_bundled_model_answers_is_said_before_its_answers() -> None:
    for options in ([], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "vimnp", "predict", str(SCANS[3]), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
            env={name: value for name, value in os.environ.items() if name not in SLOWING},
        )
        assert done.stdout.startswith("vimnp: no --weights given: using the bundled model of")
        assert done.stdout.count("bundled model") == 1


def test_a_failure_without_weights_is_one_line_too(command: Command) -> None:
    run = command("predict", "nowhere.png")
    assert run.code == 2
    assert run.out == ""
    assert run.err.splitlines() == [
        "vimnp: nowhere.png: cannot be read as a picture: No such file or directory"
    ]


def test_the_bundled_model_answers_in_json_on_stdout_alone(command: Command) -> None:
    run = command("predict", SCANS[7], "--json")
    assert json.loads(run.out)[0]["predictions"][0]["label"] == "7"
    assert "bundled model" in run.err


# ---- Wrong use -----------------------------------------------------------------------------------

WRONG_USE: list[tuple[str, list[str], list[str]]] = [
    ("no command", [], ["COMMAND", "vimnp --help"]),
    ("an unknown command", ["train"], ["train", "predict", "info", "convert"]),
    ("an unknown option", ["info", "--gpu"], ["--gpu", "see vimnp info --help"]),
    ("two unknown options", ["predict", "{png}", "-x", "--gpu"], ["-x --gpu", "predict --help"]),
    ("too much", ["convert", "a.pth", "b.npz", "c.npz"], ["c.npz", "see vimnp convert --help"]),
    ("an unknown option of the program", ["--gpu", "info"], ["--gpu", "see vimnp"]),
    ("no picture", ["predict"], ["IMAGE", "vimnp predict --help"]),
    ("an unknown scan", ["predict", "{png}", "--scan", "fast"], ["fast", "fused_fixlen"]),
    ("an unknown backend", ["predict", "{png}", "--backend", "torch"], ["torch", "native"]),
    (
        "a scan that the backend lacks",
        ["predict", "{png}", "--weights", "{npz}", "--backend", "native", "--scan", "fixlen"],
        ["'fixlen'", "'native'", "'fused' only"],
    ),
    ("threads: 0", ["predict", "{png}", "--weights", "{npz}", "--threads", "0"], ["threads", "0"]),
    ("threads: -1", ["predict", "{png}", "--weights", "{npz}", "--threads=-1"], ["threads", "-1"]),
    ("threads: text", ["predict", "{png}", "--threads", "two"], ["--threads", "two"]),
    (
        "top-k: 0",
        ["predict", "{png}", "{png}", "--weights", "{npz}", "--top-k", "0"],
        ["--top-k 0: expected a whole number from 1 up", "vimnp predict --help"],
    ),
    ("top-k: text", ["predict", "{png}", "--top-k", "all"], ["--top-k all: expected a whole"]),
    ("top-k: empty", ["predict", "{png}", "--top-k", ""], ["--top-k '': expected a whole"]),
    ("top-k: half", ["predict", "{png}", "--top-k", "1.5"], ["--top-k 1.5: expected a whole"]),
    ("top-k: endless", ["predict", "{png}", "--top-k", "9" * 5000], ["--top-k 999", "whole"]),
    ("threads: too many", ["predict", "{png}", "--threads", "1025"], ["1025", "1 to 1024"]),
    ("no name: picture", ["predict", ""], ["IMAGE", "the name of a file or folder; it is empty"]),
    ("no name: weights", ["predict", "{png}", "--weights", ""], ["--weights", "it is empty"]),
    ("no name: info", ["info", ""], ["W.npz", "it is empty", "vimnp info --help"]),
    ("no name: checkpoint", ["convert", "", "{new}"], ["IN.pth", "it is empty"]),
    ("no name: destination", ["convert", "a.pth", ""], ["OUT.npz", "it is empty"]),
    ("no name: labels", ["convert", "{pth}", "{new}", "--labels", ""], ["--labels", "it is empty"]),
    ("size: empty", ["predict", "{png}", "--img-size", ""], ["--img-size '': expected"]),
    ("size: text", ["predict", "{png}", "--img-size", "big"], ["--img-size big", "HEIGHTxWIDTH"]),
    ("size: three", ["predict", "{png}", "--img-size", "3x4x5"], ["--img-size 3x4x5"]),
    (
        "size: too small",
        ["predict", "{png}", "--weights", "{npz}", "--img-size", "7"],
        ["img_size is 7x7", "patch_size 8"],
    ),
    ("missing weights", ["predict", "{png}", "--weights", "no.npz"], ["no.npz", "No such file"]),
    ("weights: a picture", ["predict", "{png}", "--weights", "{png}"], ["noise.png", ".npz"]),
    ("weights: a folder", ["predict", "{png}", "--weights", "{dir}"], ["a folder"]),
    ("info: missing weights", ["info", "no.npz"], ["no.npz", "No such file"]),
    ("info: a picture", ["info", "{png}"], ["noise.png", ".npz"]),
    ("convert: no destination", ["convert", "a.pth"], ["OUT.npz", "vimnp convert --help"]),
    ("convert: missing input", ["convert", "no.pth", "{new}"], ["no.pth", "No such file"]),
    ("convert: a picture", ["convert", "{png}", "{new}"], ["noise.png"]),
    ("convert: weights", ["convert", "{npz}", "{new}"], ["micro.npz"]),
    ("convert: dtype", ["convert", "a.pth", "{new}", "--dtype", "int3"], ["int3", "float16"]),
    ("set: no value", ["convert", "a.pth", "{new}", "--set", "stride"], ["stride", "KEY=VALUE"]),
    ("set: empty", ["convert", "a.pth", "{new}", "--set", "stride="], ["stride=", "KEY=VALUE"]),
    ("set: no key", ["convert", "a.pth", "{new}", "--set", "=8"], ["=8", "KEY=VALUE"]),
    (
        "set: twice",
        ["convert", "a.pth", "{new}", "--set", "stride=8", "--set", "stride=16"],
        ["stride", "twice"],
    ),
    ("set: unknown", ["convert", "{pth}", "{new}", "--set", "strides=8"], ["strides"]),
    ("set: no number", ["convert", "{pth}", "{new}", "--set", "stride=two"], ["stride", "two"]),
    ("set: out of range", ["convert", "{pth}", "{new}", "--set", "stride=0"], ["stride"]),
    (
        "model: unknown",
        ["convert", "{pth}", "{new}", "--model", "large"],
        ["--model", "large", "tiny-rope"],
    ),
    (
        "model: another",
        ["convert", "{pth}", "{new}", "--model", "tiny"],
        ["embed_dim 24", "tiny has 192", "leave --model out"],
    ),
    ("set: contradiction", ["convert", "{pth}", "{new}", "--set", "bimamba_type=v1"], ["v1", "v2"]),
    ("ema: none there", ["convert", "{pth}", "{new}", "--ema"], ["model_ema"]),
    ("labels: missing", ["convert", "{pth}", "{new}", "--labels", "no.txt"], ["no.txt"]),
    ("into a missing folder", ["convert", "{pth}", "{dir}/no/x.npz"], ["x.npz", NO_FOLDER]),
]


@pytest.mark.parametrize(
    ("arguments", "words"), [pytest.param(*row[1:], id=row[0]) for row in WRONG_USE]
)
def test_wrong_use_is_one_line_on_stderr(
    arguments: list[str],
    words: list[str],
    command: Command,
    micro_npz: Path,
    picture: Path,
    micro_pth: Path,
    tmp_path: Path,
) -> None:
    files = sorted(tmp_path.iterdir())
    names = {"npz": micro_npz, "png": picture, "pth": micro_pth}
    names |= {"dir": tmp_path, "new": tmp_path / "new.npz"}
    assert_refused(command(*(text.format(**names) for text in arguments)), *words)
    assert sorted(tmp_path.iterdir()) == files


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("VIMNP_ISA", "mmx"),
        ("VIMNP_BACKEND", "torch"),
        ("VIMNP_NUM_THREADS", "many"),
        ("VIMNP_NUM_THREADS", "0"),
    ],
)
@pytest.mark.parametrize("name", ["predict", "info"])
def test_a_wrong_environment_variable_is_one_line_on_stderr(
    variable: str,
    value: str,
    name: str,
    command: Command,
    micro_npz: Path,
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if variable == "VIMNP_ISA" and extension.loaded() is None:
        pytest.skip("there are no compiled kernels to choose from")
    monkeypatch.setenv(variable, value)
    arguments = [micro_npz] if name == "info" else [picture, "--weights", micro_npz]
    assert_refused(command(name, *arguments), variable, value)


def test_a_lack_of_memory_is_one_line_on_stderr(
    command: Command, micro_npz: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 99 GiB")

    monkeypatch.setattr(VisionMamba, "predict", fail)
    run = command("predict", picture, "--weights", micro_npz)
    assert_refused(run, "memory", "99 GiB")


def test_a_lack_of_memory_without_a_reason_is_a_whole_sentence(
    command: Command, micro_npz: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(VisionMamba, "predict", fail)
    run = command("predict", picture, "--weights", micro_npz)
    assert run == (2, "", "vimnp: not enough memory\n")


def test_an_error_of_the_system_is_the_file_and_the_reason(
    command: Command, micro_npz: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        os.replace("nowhere", "elsewhere")

    monkeypatch.setattr(info, "describe_machine", fail)
    run = command("info", micro_npz)
    assert run == (2, "", f"vimnp: elsewhere: {NO_FILE}\n")


def test_predict_with_a_network_without_a_head_is_one_line_on_stderr(
    command: Command, picture: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(MICRO, num_classes=0)
    weights = write_random(tmp_path / "headless.npz", config)
    for options in ([], ["--json"]):
        run = command("predict", picture, picture, "--weights", weights, *options)
        assert_refused(run, "this network has no head", "call model.features(...)")


def test_predict_turns_pictures_grey_for_a_network_of_one_channel(
    command: Command, picture: Path, tmp_path: Path
) -> None:
    weights = write_random(tmp_path / "grey.npz", dataclasses.replace(MICRO, channels=1))
    run = command("predict", picture, "--weights", weights, "--top-k", 1)
    (best,) = VisionMamba.from_npz(weights).predict(Image.open(picture).convert("L"), top_k=1)
    assert run == (0, f"{picture}\n  {best.score:7.2%}  class {best.index}\n", "")


def test_predict_says_of_each_picture_that_a_network_of_four_channels_takes_none(
    command: Command, picture: Path, tmp_path: Path
) -> None:
    weights = write_random(tmp_path / "four.npz", dataclasses.replace(MICRO, channels=4))
    run = command("predict", picture, "--weights", weights)
    assert_refused(run, f"{picture}: a picture has 1 or 3 channels, and the network takes 4")


@pytest.mark.parametrize("change", [{"channels": 1}, {"channels": 4}, {"num_classes": 0}])
def test_a_network_of_any_kind_is_measured(
    change: dict[str, int], command: Command, tmp_path: Path
) -> None:
    weights = write_random(tmp_path / "micro.npz", dataclasses.replace(MICRO, **change))
    for name in ("bench", "profile"):
        run = command(name, "--weights", weights, "--rounds", 1, "--batch", 2)
        assert run.code == 0


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_bench_puts_all_precisions_side_by_side(
    dtype: str, command: Command, tmp_path: Path
) -> None:
    weights = write_random(tmp_path / "micro.npz", MICRO, dtype=dtype)
    record = tmp_path / "times.json"
    options = ("--precision", "all", "--backend", "numpy", "--threads", 1, "--json", record)
    run = command("bench", "--weights", weights, "--rounds", 1, *options)
    assert run.code == 0
    header, _, *rows = run.out[run.out.index("| backend") :].splitlines()
    columns = [cell.strip() for cell in header.strip("| ").split("|")]
    cells = [[cell.strip() for cell in row.strip("| ").split("|")] for row in rows]
    assert [row[columns.index("precision")] for row in cells] == ["float32", "int8"]
    over_float32, over_first = columns.index("over float32"), columns.index("over the first")
    assert [row[over_float32] for row in cells] == [row[over_first] for row in cells]
    found = json.loads(record.read_bytes())["results"]
    assert [one["precision"] for one in found] == ["float32", "int8"]


def test_a_language_model_has_no_precisions(command: Command) -> None:
    run = command("bench", "--random", "mamba-130m", "--precision", "all")
    assert_refused(run, "--precision all: the network is a language model")


# ---- info ----------------------------------------------------------------------------------------


def test_info_describes_a_backbone_of_four_channels(command: Command, tmp_path: Path) -> None:
    config = dataclasses.replace(
        MICRO, channels=4, num_classes=0, patch_size=(8, 4), stride=4, expand=1.5
    )
    run = command("info", write_random(tmp_path / "backbone.npz", config))
    assert (run.code, run.err) == (0, "")
    found = facts(run.out)
    names = ("channels", "num_classes", "patch_size", "expand", "labels", "mean")
    values = ("4", "0", "8x4", "1.5", "none", "(0.0, 0.0, 0.0, 0.0)")
    assert tuple(found[name] for name in names) == values


def test_info_describes_the_weights(command: Command, micro_npz: Path) -> None:
    run = command("info", micro_npz)
    with WeightsFile(micro_npz) as file:
        config = file.metadata.config
    assert (run.code, run.err) == (0, "")
    assert run.out.splitlines()[0] == str(micro_npz)
    found = facts(run.out)
    parameters = sum(math.prod(shape) for shape in config.parameter_shapes().values())
    assert found["parameters"] == f"{parameters:,}"
    assert (found["family"], found["dtype"]) == ("vim", "float32")
    assert found["size"] == f"{micro_npz.stat().st_size:,} bytes"
    assert (found["source"], found["source_sha256"], found["labels"]) == (
        "unknown",
        "unknown",
        "none",
    )
    for name, value in config.to_dict().items():
        assert found[name] == ("32x32" if name == "img_size" else str(value))
    assert found["crop_pct"] == "0.875"
    assert found["mean"] == "(0.485, 0.456, 0.406)"


def test_info_tells_where_weights_come_from(command: Command, micro_npz: Path) -> None:
    with WeightsFile(micro_npz) as file:
        config = dataclasses.replace(file.metadata.config, img_size=(32, 40), dt_rank=3)
    metadata = Metadata(
        config=config,
        dtype="float16",
        labels=tuple("abcdefg"),
        source="vim.pth",
        source_sha256="12" * 32,
    )
    write_weights(micro_npz, metadata, random_weights(config).items())
    found = facts(command("info", micro_npz).out)
    assert (found["dtype"], found["labels"], found["img_size"]) == ("float16", "7", "32x40")
    assert (found["source"], found["source_sha256"]) == ("vim.pth", "12" * 32)


def test_info_describes_the_bundled_model_by_default(command: Command) -> None:
    run = command("info")
    assert run.out.splitlines()[0] == str(BUNDLED_DIGITS)
    assert facts(run.out)["num_classes"] == "10"
    assert (run.code, run.err) == (0, "")


def test_info_describes_the_machine(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIMNP_NUM_THREADS", "3")
    found = facts(command("info").out.split("\nmachine\n")[1])
    compiled = extension.loaded()
    assert found["instruction_set"] == (extension.instruction_set() or "none")
    assert found["openmp"] == str(compiled is not None and compiled.OPENMP)
    assert (found["threads"] == "OpenMP's") == (found["openmp"] == "True")
    assert (found["threads"] == "the kernels' own") == extension.has_pool()
    assert found["backend"] == ("numpy" if compiled is None else "native")
    assert found["num_threads"] == "3"
    assert found["numpy"] == np.__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"cpu", "blas"} <= found.keys()


def slowdowns(run: Run) -> list[str]:
    assert (run.code, run.err) == (0, "")
    return re.findall(r"^  slow: (.*)$", run.out, re.MULTILINE)


def is_fast() -> bool:
    compiled = extension.loaded()
    return compiled is not None and bool(compiled.OPENMP or compiled.POOL) and not compiled.IMITATED


def test_info_finds_nothing_slow_where_nothing_is(command: Command) -> None:
    if not is_fast():
        pytest.skip("this build is slow by itself")
    assert slowdowns(command("info")) == []


@pytest.mark.skipif(extension.loaded() is None, reason="needs the compiled kernels")
def test_info_says_that_instructions_are_imitated(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extension.loaded(), "IMITATED", True)
    sentences = slowdowns(command("info"))
    assert "The kernels imitate AVX-512 with AVX2: this build is for tests." in sentences


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("VIMNP_ISA", "scalar", "VIMNP_ISA keeps the kernels from"),
        ("OPENBLAS_CORETYPE", "Haswell", "OPENBLAS_CORETYPE=Haswell"),
        ("OMP_WAIT_POLICY", "Active", "OMP_WAIT_POLICY=active"),
        ("CAUSAL_CONV1D_FORCE_FALLBACK", "TRUE", "runs causal_conv1d in plain NumPy"),
        ("FUSED_ADD_NORM_FORCE_FALLBACK", "TRUE", "runs fused_add_norm in plain NumPy"),
        ("SELECTIVE_SCAN_FORCE_FALLBACK", "true", "runs selective_scan in plain NumPy"),
    ],
)
def test_info_says_what_slows_this_process_down(
    variable: str, value: str, words: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_fast():
        pytest.skip("this build is slow by itself")
    if variable == "VIMNP_ISA" and extension.instruction_set() == value:
        pytest.skip("this machine has no faster instruction set")
    monkeypatch.setenv(variable, value)
    (sentence,) = slowdowns(command("info"))
    assert words in sentence
    if variable == "VIMNP_ISA":
        assert facts(command("info").out)["instruction_set"] == value


def test_info_says_that_the_kernels_are_missing(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extension, "_scan", None)
    run = command("info")
    assert slowdowns(run) == ["The compiled kernels are missing: everything runs in plain NumPy."]
    found = facts(run.out)
    assert (found["instruction_set"], found["openmp"]) == ("none", "False")


# ---- convert -------------------------------------------------------------------------------------


def test_a_converted_checkpoint_predicts(command: Command, picture: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(MICRO, img_size=(32, 48), num_classes=3, if_divide_out=False)
    checkpoint = tmp_path / "wide.pth"
    save(checkpoint, {"model": random_weights(config)})
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\nelk\n")
    out = tmp_path / "micro.npz"
    options = ["--labels", labels, "--dtype", "float16", "--set", "img_size=32x48"]
    run = command("convert", checkpoint, out, *options, "--set", "if_divide_out=false")
    parameters = sum(math.prod(shape) for shape in config.parameter_shapes().values())
    assert (run.code, run.err) == (0, "")
    assert run.out.splitlines()[-1] == (
        f"{out}: {parameters:,} parameters, float16, {out.stat().st_size:,} bytes"
    )
    with WeightsFile(out) as file:
        assert file.metadata.config == config
    answers = json.loads(command("predict", picture, "--weights", out, "--json").out)
    assert {p["label"] for p in answers[0]["predictions"]} == {"cat", "dog", "elk"}


def test_convert_says_what_it_assumed(command: Command, micro_pth: Path, tmp_path: Path) -> None:
    run = command("convert", micro_pth, tmp_path / "micro.npz")
    assert run.code == 0
    assumed = [line for line in run.out.splitlines() if line.startswith("assumed ")]
    assert assumed == run.out.splitlines()[:-1]
    assert any("if_divide_out" in line for line in assumed)


def test_convert_takes_options_from_a_model(command: Command, tmp_path: Path) -> None:
    config = dataclasses.replace(VIM_TINY_ROPE, num_classes=7)
    shapes = config.parameter_shapes()
    source, out = tmp_path / "rope.pth", tmp_path / "rope.npz"
    save(source, {"model": {name: np.zeros(shape, np.float16) for name, shape in shapes.items()}})
    run = command("convert", source, out, "--model", "tiny-rope", "--set", "if_divide_out=true")
    assert (run.code, run.err) == (0, "")
    assert run.out.splitlines()[0].startswith("assumed crop_pct=")
    assert len(run.out.splitlines()) == 2
    with WeightsFile(out) as file:
        assert file.metadata.config == dataclasses.replace(config, if_divide_out=True)


def test_convert_reads_safetensors(command: Command, tmp_path: Path) -> None:
    weights = random_weights(MICRO)
    save_file(weights, tmp_path / "micro.safetensors")
    out = tmp_path / "micro.npz"
    run = command("convert", tmp_path / "micro.safetensors", out)
    assert (run.code, run.err) == (0, "")
    with WeightsFile(out) as file:
        assert file.metadata.config == MICRO
        assert all((file.read(name) == array).all() for name, array in weights.items())
    refused = command("convert", tmp_path / "micro.safetensors", out, "--ema")
    assert_refused(refused, "micro.safetensors", "without --ema")


def test_a_missing_converter_says_how_to_get_it(
    command: Command, micro_pth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vimnp.convert", None)  # importing it then fails by name
    run = command("convert", micro_pth, tmp_path / "out.npz")
    assert_refused(run, "converter is not installed", "pip install -e .")


def test_another_missing_module_is_not_taken_for_the_converter(
    command: Command, micro_pth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "vimnp.convert", raising=False)
    monkeypatch.setitem(sys.modules, "vimnp.convert.formats.checkpoint", None)
    with pytest.raises(ModuleNotFoundError, match=r"vimnp\.convert\.formats\.checkpoint"):
        command("convert", micro_pth, tmp_path / "out.npz")


# ---- As a program --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_shows_an_example(name: str, command: Command) -> None:
    run = command(*name.split(), "--help")
    assert (run.code, run.err) == (0, "")
    assert re.search(rf"^example: vimnp {name or 'predict'} ", run.out, re.MULTILINE)


def test_help_of_predict_names_the_formats(command: Command) -> None:
    words = command("predict", "--help").out.split()
    assert {name.rstrip(",") for name in words} >= {*FORMATS}


def test_help_of_the_program_names_every_command(command: Command) -> None:
    run = command("--help")
    assert all(f"{name} " in run.out and what in run.out for name, what in COMMANDS.items())


def test_version(command: Command) -> None:
    assert command("--version") == (0, f"vimnp {vimnp.__version__}\n", "")


def test_python_m_vimnp_predicts(micro_npz: Path, picture: Path) -> None:
    run = in_subprocess("predict", picture, "--weights", micro_npz, "--json", "--threads", 1)
    assert (run.code, run.err) == (0, "")
    assert json.loads(run.out)[0]["file"] == str(picture)


def test_python_m_vimnp_gives_the_exit_code(bad: Path) -> None:
    assert_refused(in_subprocess("predict", bad, "--weights", "no.npz"), "no.npz", "No such file")
    assert_refused(in_subprocess("--gpu"), "vimnp")


def test_neither_predict_nor_info_loads_torch_or_scipy(picture: Path) -> None:
    code = (
        "import sys; from vimnp.cli import main; "
        "main(['predict', sys.argv[1]]); main(['info']); "
        "print(sorted({'torch', 'scipy', 'vimnp.convert'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows' names are texts and no bytes")
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_names_that_the_terminal_cannot_show_are_escaped(
    encoding: str, picture: Path, micro_npz: Path
) -> None:
    name = b"caf\xe9 \xc3\xa9.png".decode(errors="surrogateescape")
    odd = picture.rename(picture.with_name(name))
    for options in ([], ["--json"]):
        run = in_subprocess(
            "predict", odd, "--weights", micro_npz, *options, PYTHONIOENCODING=encoding
        )
        assert (run.code, run.err) == (0, "")
        assert r"caf\udce9" in run.out
    assert json.loads(run.out)[0]["file"] == str(odd)
