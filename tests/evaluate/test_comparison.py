"""Two networks on the same pictures: how often the class stays, how far the logits are off."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.commands import Command, assert_refused, facts
from tests.support.labelled import METADATA, UNREADABLE
from tests.support.labelled import folder as folder
from tests.support.labelled import model as model
from tests.support.micro import MICRO, micro
from tests.support.random_weights import write_random
from vimnp.errors import ConfigError
from vimnp.evaluate.comparison import Comparison, compare
from vimnp.evaluate.image_folder import find_pictures
from vimnp.images.preprocessing import read_image
from vimnp.models.vim.model import VisionMamba
from vimnp.weights import WeightsFile, write_weights


def compared(
    model: VisionMamba, reference: VisionMamba, folder: Path, batch: int = 4
) -> Comparison:
    found = find_pictures(folder, METADATA)
    return compare(model, reference, found.path, found.samples, batch=batch)


def other_model() -> VisionMamba:
    return VisionMamba.random(1, config=MICRO, num_threads=1)


def test_a_network_is_like_itself(model: VisionMamba, folder: Path) -> None:
    found = compared(model, model, folder)
    assert (found.same, found.changed, len(found.ranks)) == (20, (), 20)
    assert (found.rms, found.largest, found.relative) == (0, 0, 0)
    assert found.spread > 0
    first, second = found.top(1)
    assert first == second
    assert [sample.path for sample, _ in found.unreadable] == UNREADABLE


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_numbers_are_those_of_all_logits_together(
    batch: int, model: VisionMamba, folder: Path
) -> None:
    other = other_model()
    found = compared(model, other, folder, batch)
    samples = [sample for sample, *_ in found.ranks]
    pictures = [read_image(folder / sample.path) for sample in samples]
    of_model, of_other = model(pictures).astype(np.float64), other(pictures).astype(np.float64)
    difference = of_model - of_other
    spread = np.sqrt(of_other.var(axis=0).mean())
    np.testing.assert_allclose(found.rms, np.sqrt(np.square(difference).mean()))
    np.testing.assert_allclose(found.largest, np.abs(difference).max())
    np.testing.assert_allclose(found.spread, spread, rtol=1e-6)
    np.testing.assert_allclose(found.relative, found.rms / found.spread)
    classes = of_model.argmax(1), of_other.argmax(1)
    changed = {
        sample: (first, second)
        for sample, first, second in zip(samples, *classes, strict=True)
        if first != second
    }
    assert {sample: seen for sample, *seen in found.changed} == {
        sample: [*seen] for sample, seen in changed.items()
    }
    assert 0 < len(changed) == len(samples) - found.same
    targets = np.array([sample.target for sample in samples])
    assert [top.right for top in found.top(1)] == [(c == targets).sum() for c in classes]


def test_networks_of_other_classes_are_refused(model: VisionMamba, folder: Path) -> None:
    other = VisionMamba.random(config=dataclasses.replace(MICRO, num_classes=6))
    with pytest.raises(ConfigError, match="have 7 and 6 classes"):
        compared(model, other, folder)


def test_without_pictures_there_are_no_numbers(model: VisionMamba, folder: Path) -> None:
    found = compare(model, model, folder, [])
    assert (found.same, found.rms, found.spread, found.relative) == (0, 0, 0, 0)
    assert [top.pictures for top in found.top(5)] == [0, 0]


def test_a_damaged_network_is_no_picture_of_a_class(model: VisionMamba, folder: Path) -> None:
    broken = micro(num_threads=1)
    broken._network._parameters.head_bias[0] = np.nan  # type: ignore[attr-defined]
    found = compared(broken, model, folder)
    assert found.ranks == ()
    assert len(found.unreadable) == 22


# ---- The command ---------------------------------------------------------------------------------


def test_int8_is_compared_with_float32(command: Command, folder: Path, tmp_path: Path) -> None:
    weights = write_random(tmp_path / "w.npz", MICRO)
    arguments = ("eval", folder, "--weights", weights, "--precision", "int8", "--backend", "numpy")
    run = command(*arguments, "--compare", "float32")
    assert run.code == 0, run.err
    found = facts(run.out)
    assert found["pictures"] == "20"
    assert found["way"].endswith(", int8")
    assert found["compared"].startswith("with float32: numpy backend")
    assert "of what they vary by" in found["logits"]
    assert run.out.splitlines()[-3] == "  unreadable   2"
    run = command(*arguments, "--compare", "float32", "--json")
    answer = json.loads(run.out)
    assert (answer["precision"], answer["reference_precision"]) == ("int8", "float32")
    assert answer["compared_with"] == "float32"
    assert answer["pictures"] == 20 == answer["same_class"] + len(answer["changed"])
    assert 0 < answer["logits_rms"] < 0.1 * answer["logits_spread"]
    assert answer["top1"]["pictures"] == answer["reference_top1"]["pictures"] == 20


def test_a_file_is_compared_with_another(command: Command, folder: Path, tmp_path: Path) -> None:
    weights = write_random(tmp_path / "w.npz", MICRO)
    with WeightsFile(weights) as file:
        whole = dataclasses.replace(file.metadata, dtype="int8")
        tensors = ((name, file.read(name)) for name in MICRO.tensors())
        write_weights(tmp_path / "int8.npz", whole, tensors)
    run = command(
        "eval", folder, "--weights", tmp_path / "int8.npz", "--compare", weights, "--json"
    )
    answer = json.loads(run.out)
    assert (answer["precision"], answer["reference_precision"]) == ("int8", "float32")
    assert 0 < answer["logits_rms"] < 0.1 * answer["logits_spread"]


def test_what_cannot_be_compared_is_refused(command: Command, folder: Path, tmp_path: Path) -> None:
    weights = write_random(tmp_path / "w.npz", MICRO)
    start = ("eval", folder, "--weights", weights, "--compare")
    assert_refused(command(*start, "float32", "--resume", tmp_path / "r.jsonl"), "--resume")
    assert_refused(command(*start, "float64"), "float64")
    assert_refused(command(*start, ""), "it is empty")


def test_precision_is_an_option_of_all_commands_of_pictures(
    command: Command, folder: Path, tmp_path: Path
) -> None:
    weights = write_random(tmp_path / "w.npz", MICRO)
    given = ("--weights", weights, "--precision", "int8", "--backend", "numpy")
    picture = folder / "0" / "a.png"
    run = command("predict", picture, *given, "--json")
    assert json.loads(run.out)[0]["precision"] == "int8"
    run = command("eval", folder, *given, "--json")
    assert json.loads(run.out)["precision"] == "int8"
    for name in ("bench", "profile"):
        run = command(name, *given, "--rounds", "1")
        assert run.code == 0, run.err
        assert f"{MICRO.num_parameters:,} parameters, int8" in run.out
    run = command("bench", "--random", "mamba-130m", "--precision", "int8")
    assert_refused(run, "--precision int8: the network is a language model")
