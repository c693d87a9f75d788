"""Accuracy: what counts."""

from __future__ import annotations

import dataclasses
import math
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.labelled import (
    ALL_TOKENS,
    CLASSES,
    UNREADABLE,
    evaluated,
    write_folders,
)
from tests.support.labelled import folder as folder
from tests.support.labelled import model as model
from tests.support.micro import MICRO
from vimnp.errors import ConfigError, ImageError
from vimnp.evaluate import accuracy as module
from vimnp.evaluate.accuracy import Accuracy, Evaluation, evaluate, rank_of
from vimnp.evaluate.image_folder import Sample, find_pictures
from vimnp.evaluate.results import ResultsFile
from vimnp.images.preprocessing import read_image
from vimnp.models.vim.model import VisionMamba
from vimnp.runtime import extension


@given(values=st.lists(st.sampled_from([-1.0, 0.0, -0.0, 2.5]), min_size=1))
@settings(deadline=None)
def test_a_rank_is_the_place_in_the_order_of_predict(values: list[float]) -> None:
    logits = np.array(values, np.float32)
    order = np.argsort(-logits, kind="stable")
    assert [rank_of(logits, int(target)) for target in order] == list(range(len(values)))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_give_no_rank(value: float) -> None:
    for target in range(3):
        with pytest.raises(ImageError, match="1 of the network's 3 logits are not finite"):
            rank_of(np.array([1, value, 3], np.float32), target)


def test_a_picture_whose_logits_are_not_finite_is_listed_with_its_reason(
    model: VisionMamba, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = evaluated(model, folder)
    calls = VisionMamba.__call__

    def spoilt(self: VisionMamba, images: list[np.ndarray]) -> np.ndarray:
        logits = calls(self, images)
        logits[:1] = math.nan
        return logits

    monkeypatch.setattr(VisionMamba, "__call__", spoilt)
    results = ResultsFile(tmp_path / "results.jsonl", {}, {name: int(name) for name in CLASSES})
    found = evaluated(model, folder, batch=1000, results=results)
    assert found.ranks == expected.ranks[1:]
    (sample, _), *others = expected.ranks
    (error,) = (error for listed, error in found.unreadable if listed == sample)
    assert error.startswith("7 of the network's 7 logits are not finite")
    monkeypatch.undo()
    assert evaluated(model, folder, results=results).ranks == expected.ranks  # it is tried again
    assert len(others) == len(found.ranks)


def test_ranks_are_those_of_predict(model: VisionMamba, folder: Path) -> None:
    found = evaluated(model, folder)
    assert [sample.path for sample, _ in found.unreadable] == UNREADABLE
    assert len(found.ranks) == 20
    for sample, rank in found.ranks:
        best = model.predict(read_image(folder / sample.path), top_k=7)
        assert best[rank].index == sample.target
    assert len({rank for _, rank in found.ranks}) > 3


def test_accuracy_is_over_the_pictures_that_can_be_read(model: VisionMamba, folder: Path) -> None:
    found = evaluated(model, folder)
    ranks = [rank for _, rank in found.ranks]
    for k in (1, 5, 7):
        assert found.top(k) == Accuracy(k, sum(rank < k for rank in ranks), 20)
        by_class = found.top_by_class(k)
        assert {target: accuracy.pictures for target, accuracy in by_class.items()} == {
            target: 2 if target == 2 else 3 for target in range(7)
        }
        assert sum(accuracy.right for accuracy in by_class.values()) == found.top(k).right
    assert found.top(7).share == 1
    assert found.new == 22
    assert found.seconds > 0


def test_errors_do_not_repeat_the_path(model: VisionMamba, folder: Path) -> None:
    first, second = (error for _, error in evaluated(model, folder).unreadable)
    assert first.startswith("not a picture in a format that is read")
    assert second.startswith("the picture is 3000x1 pixels")


def test_of_fewer_classes_all_are_taken() -> None:
    wrong = ((Sample("0/a", 0), 3), (Sample("0/b", 0), 2))
    found = Evaluation(num_classes=3, ranks=wrong, unreadable=(), new=2, seconds=1.0)
    assert found.top(5) == Accuracy(k=3, right=1, pictures=2)


@given(data=st.data(), pictures=st.integers(1, 60_000))
@settings(deadline=None)
def test_the_interval_ends_where_wilson_says(data: st.DataObject, pictures: int) -> None:
    """At either end, the share seen is 1.96 standard deviations away from the share assumed."""
    accuracy = Accuracy(1, data.draw(st.integers(0, pictures)), pictures)
    low, high = accuracy.interval
    assert 0 <= low <= accuracy.share <= high <= 1
    for end, is_bound in ((low, accuracy.right > 0), (high, accuracy.right < pictures)):
        deviation = math.sqrt(end * (1 - end) / pictures)
        if is_bound:
            assert abs(accuracy.share - end) == pytest.approx(1.959964 * deviation, rel=1e-5)
        else:
            assert end == pytest.approx(accuracy.share, abs=1e-12)


def test_an_interval_from_the_literature() -> None:
    """R. G. Newcombe, Statistics in Medicine 17 (1998), 857-872, table I: 81 of 263."""
    assert Accuracy(1, 81, 263).interval == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize("batch", [1, 2, 3, 8, 1000])
@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_the_batch_changes_nothing(backend: str, batch: int, folder: Path) -> None:
    if backend == "native" and extension.loaded() is None:
        pytest.skip("the native backend needs the kernels")
    model = VisionMamba.random(config=MICRO, num_threads=1, backend=backend)
    expected = evaluated(model, folder)
    told: list[int] = []
    assert evaluated(model, folder, batch=batch, on_progress=told.append) == expected
    assert sum(told) == 22
    assert max(told) <= batch


def test_no_more_than_a_batch_of_pictures_is_in_memory(
    model: VisionMamba, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[int] = []
    pictures: list[weakref.ref[Image.Image]] = []

    def watched(path: Path) -> Image.Image:
        image = read_image(path)
        pictures.append(weakref.ref(image))
        alive.append(sum(picture() is not None for picture in pictures))
        return image

    monkeypatch.setattr(module, "read_image", watched)
    evaluated(model, folder, batch=4)
    assert max(alive) <= 2  # the network's inputs take their place at once


def test_a_folder_of_unreadable_pictures_is_evaluated(model: VisionMamba, tmp_path: Path) -> None:
    found = evaluated(model, write_folders(tmp_path / "val", ["0", "1"]))
    assert (found.ranks, len(found.unreadable), found.top_by_class(1)) == ((), 2, {})


@pytest.mark.parametrize("batch", [0, -8])
def test_a_wrong_batch_is_refused(batch: int, model: VisionMamba, folder: Path) -> None:
    with pytest.raises(ConfigError, match=f"batch is {batch}; expected a whole number"):
        evaluated(model, folder, batch=batch)


def test_a_network_with_logits_for_every_token_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="final_pool_type is 'all'"):
        evaluated(VisionMamba.random(config=ALL_TOKENS), folder)


def test_a_network_without_a_head_is_refused(model: VisionMamba, folder: Path) -> None:
    found = find_pictures(folder, model.metadata)
    headless = VisionMamba.random(config=dataclasses.replace(MICRO, num_classes=0))
    with pytest.raises(ConfigError, match="no head"):
        evaluate(headless, found.path, found.samples)


def test_a_network_that_takes_no_pictures_is_refused(folder: Path) -> None:
    four = VisionMamba.random(config=dataclasses.replace(MICRO, channels=4))
    with pytest.raises(ImageError, match="1 or 3 channels, and the network takes 4"):
        evaluated(four, folder)


def test_a_network_of_one_channel_is_evaluated(model: VisionMamba, folder: Path) -> None:
    found = evaluated(VisionMamba.random(config=dataclasses.replace(MICRO, channels=1)), folder)
    assert len(found.ranks) == len(evaluated(model, folder).ranks)
