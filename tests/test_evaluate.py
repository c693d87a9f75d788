"""Accuracy over a folder: which pictures, which classes, what counts, and going on later."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import re
import shutil
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from commands import Command, Run, assert_refused, facts
from hypothesis import given, settings
from hypothesis import strategies as st
from micro import MICRO
from PIL import Image
from processes import run as run_python
from random_weights import write_random

from vimnp import evaluate as module
from vimnp import extension
from vimnp.commands import eval as command_module
from vimnp.errors import ConfigError
from vimnp.evaluate import Accuracy, Evaluation, evaluate, rank_of
from vimnp.image import read_image
from vimnp.image_folder import Sample, find_pictures, read_classes, spread
from vimnp.model import VisionMamba
from vimnp.results import ResultsFile
from vimnp.weights import Metadata, WeightsFile, write_weights

CLASSES = [str(index) for index in range(MICRO.num_classes)]
LABELS = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu")
METADATA = Metadata(config=MICRO)
LABELLED = Metadata(config=MICRO, labels=LABELS)
WNIDS = [f"n0144{index:04}" for index in range(MICRO.num_classes)]


def write_picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_folders(root: Path, names: list[str]) -> Path:
    """A folder with an empty picture for each of these classes: for what nobody opens."""
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "a.png").touch()
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures in each of the classes' folders, one of them deeper, and what goes wrong."""
    root = tmp_path / "val"
    for index, name in enumerate(CLASSES):
        write_picture(root / name / "a.png", 3 * index)
        write_picture(root / name / "b.ppm", 3 * index + 1)
        write_picture(root / name / "more" / "c.png", 3 * index + 2)
    (root / "2" / "b.ppm").write_text("no picture")
    Image.new("RGB", (3000, 1)).save(root / "5" / "long.png")
    return root


UNREADABLE = ["2/b.ppm", "5/long.png"]


@pytest.fixture(scope="module")
def model() -> VisionMamba:
    return VisionMamba.random(config=MICRO, num_threads=1)


def evaluated(model: VisionMamba, folder: Path, **options) -> Evaluation:
    found = find_pictures(folder, model.metadata)
    return evaluate(model, found.path, found.samples, **options)


# ---- Which pictures ------------------------------------------------------------------------------


def test_pictures_are_found_in_the_order_of_their_names(folder: Path) -> None:
    found = find_pictures(folder, METADATA)
    expected = [
        Sample(f"{index}/{name}", index)
        for index in range(7)
        for name in ("a.png", "b.ppm", "long.png" if index == 5 else "", "more/c.png")
        if name
    ]
    assert list(found.samples) == expected
    assert found.classes == {name: int(name) for name in CLASSES}
    assert found.path == folder


def test_hidden_and_stray_files_are_left_out_and_others_are_pictures_whatever_their_name(
    tmp_path: Path,
) -> None:
    root = write_folders(tmp_path / "val", ["1"])
    for name in (".hidden.png", "1/.hidden.png", ".cache/a.png", "1/.cache/a.png", "stray.png"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    (root / "1" / "notes.txt").touch()
    (root / "1" / "no_extension").touch()
    (root / "3").mkdir()  # a class without pictures
    if hasattr(os, "mkfifo"):
        os.mkfifo(root / "1" / "pipe.png")  # reading it would take for ever
    found = find_pictures(root, METADATA)
    assert [path for path, _ in found.samples] == ["1/a.png", "1/no_extension", "1/notes.txt"]
    assert found.classes == {"1": 1, "3": 3}


def test_links_are_followed_and_a_broken_one_is_a_picture_that_cannot_be_read(
    model: VisionMamba, tmp_path: Path
) -> None:
    elsewhere = write_picture(tmp_path / "elsewhere" / "a.png").parent
    root = tmp_path / "val"
    root.mkdir()
    (root / "4").symlink_to(elsewhere)
    (elsewhere / "b.png").symlink_to(elsewhere / "a.png")
    (elsewhere / "c.png").symlink_to(elsewhere / "nothing.png")
    found = evaluated(model, root)
    assert [sample.path for sample, _ in found.ranks] == ["4/a.png", "4/b.png"]
    ((sample, error),) = found.unreadable
    assert (sample.path, error) == (
        "4/c.png",
        "cannot be read as a picture: No such file or directory",
    )


def test_a_link_to_a_folder_above_it_is_refused(tmp_path: Path) -> None:
    root = write_folders(tmp_path / "val", ["4"])
    (root / "4" / "again").symlink_to(root / "4")
    with pytest.raises(ConfigError, match=r"4/again: leads back to a folder above it.*remove it"):
        find_pictures(root, METADATA)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        pytest.param(None, "val: No such file or directory; expected", id="missing"),
        pytest.param([], "val: there is no folder in it; expected", id="empty"),
        pytest.param(["a.png"], "val: there is no folder in it; expected", id="pictures alone"),
        pytest.param(["1/", "2/"], "val: there is no picture in its folders", id="empty folders"),
        pytest.param(["1/.a.png"], "val: there is no picture in its folders", id="hidden"),
        pytest.param([".1/a.png"], "val: there is no folder in it", id="a hidden folder"),
    ],
)
def test_a_folder_without_labelled_pictures_is_refused(
    names: list[str] | None, words: str, tmp_path: Path
) -> None:
    root = tmp_path / "val"
    if names is not None:
        root.mkdir()
    for name in names or ():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).mkdir() if name.endswith("/") else (root / name).touch()
    with pytest.raises(ConfigError, match=words):
        find_pictures(root, METADATA)


@pytest.mark.parametrize("name", ["val\0", "file"])
def test_what_is_no_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="expected a folder that holds a folder of pictures"):
        find_pictures(tmp_path / name, METADATA)


# ---- Which class ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "classes", "assumed"),
    [
        pytest.param(LABELLED, {"ant": 0, "bee": 1}, None, id="labels"),
        pytest.param(LABELLED, {"gnu": 6}, None, id="one label"),
        pytest.param(METADATA, {"0": 0, "06": 6, "3": 3}, "indices", id="indices"),
        pytest.param(LABELLED, {"0": 0, "3": 3}, "indices", id="indices and not labels"),
        pytest.param(
            Metadata(config=MICRO, labels=tuple("6543210")),
            {"0": 6, "2": 4},
            None,
            id="labels that are numbers",
        ),
        pytest.param(
            LABELLED,
            {name: index for index, name in enumerate(WNIDS)},
            r"the order of the classes: 'n01440000' holds class 0 \(ant\), "
            r"'n01440006' class 6 \(gnu\)",
            id="all, in order",
        ),
        pytest.param(
            METADATA,
            {name: index for index, name in enumerate("ABCDabc")},
            "'A' holds class 0, 'c' class 6$",
            id="all, without labels",
        ),
    ],
)
def test_folders_are_classes_by_their_names(
    metadata: Metadata, classes: dict[str, int], assumed: str | None, tmp_path: Path
) -> None:
    found = find_pictures(write_folders(tmp_path / "val", [*classes]), metadata)
    assert found.classes == classes
    assert (found.assumption is None) == (assumed is None)
    assert re.search(assumed or "", found.assumption or "")


@pytest.mark.parametrize(
    ("metadata", "names", "words"),
    [
        pytest.param(METADATA, ["0", "7"], "'7' has class 7, and the classes are 0 to 6", id="7"),
        pytest.param(  # in the order of their names they would be 1, 2, 3, ...
            METADATA, list("1234567"), "'7' has class 7", id="counted from 1"
        ),
        pytest.param(METADATA, ["1", "01"], "'01' and '1' both have class 1", id="an index twice"),
        pytest.param(METADATA, ["1", "bee"], "'bee' is named after no class", id="partly indices"),
        pytest.param(METADATA, [*"012345", "six"], "'six' is named after no class", id="all but 6"),
        pytest.param(LABELLED, ["ant", "1"], "'1' is named after no class", id="label and index"),
        pytest.param(METADATA, ["\u0661"], "is named after no class", id="another digit"),
        pytest.param(METADATA, WNIDS[:6], "'n01440000' is named .* not 6: say with", id="too few"),
        pytest.param(METADATA, [*WNIDS, "x"], "7 folders in the order .* not 8", id="too many"),
        pytest.param(LABELLED, ["ant", "Bee"], "'Bee' is named after no class", id="partly labels"),
        pytest.param(  # as many as classes, but in the order of the names they would be others
            LABELLED, [*LABELS[:6], "GNU"], "'GNU' is named after no class", id="all but one"
        ),
        pytest.param(
            Metadata(config=MICRO, labels=("crane", "crane", *LABELS[2:])),
            ["cat", "crane"],
            "'crane' is the label of several classes",
            id="a label twice",
        ),
    ],
)
def test_folders_without_a_class_are_refused(
    metadata: Metadata, names: list[str], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=words) as refusal:
        find_pictures(write_folders(tmp_path / "val", names), metadata)
    assert "--classes FILE" in str(refusal.value)


FOLDERS = {name: index for index, name in enumerate(WNIDS[:3])}
CLASS_FILES = {
    "lines": "n01440000\nn01440001\nn01440002\n",
    "Kaggle's": "n01440000 tench, Tinca tinca\nn01440001 goldfish\r\nn01440002 shark, fish",
    "with a mark": "\ufeffn01440000\nn01440001\nn01440002\n\n",
    "folder to index": '{"n01440000": 0, "n01440002": 2, "n01440001": 1}',
    "Keras's": '{"0": ["n01440000", "tench"], "1": ["n01440001", "fish"], "2": ["n01440002", ""]}',
    "index to folder": ' {"2": "n01440002", "0": "n01440000", "1": "n01440001"}',
    "a list": '["n01440000", "n01440001", "n01440002"]',
    "a list of lists": '[["n01440000", "tench"], ["n01440001"], ["n01440002"]]',
}


@pytest.mark.parametrize("text", CLASS_FILES.values(), ids=CLASS_FILES)
def test_a_file_says_which_class_each_folder_holds(text: str, tmp_path: Path) -> None:
    file = tmp_path / "classes"
    file.write_text(text, encoding="utf-8", newline="")
    assert read_classes(file, 3) == FOLDERS
    assert read_classes(file, 7) == FOLDERS
    found = find_pictures(write_folders(tmp_path / "val", WNIDS[1:3]), LABELLED, file)
    assert found.classes == {WNIDS[1]: 1, WNIDS[2]: 2}
    assert found.assumption is None
    assert [sample.target for sample in found.samples] == [1, 2]


def test_whether_a_number_in_json_is_a_folder_says_its_value(tmp_path: Path) -> None:
    file = tmp_path / "classes.json"
    file.write_text('{"1": 0, "2": "3"}')
    assert read_classes(file, 3) == {"1": 0, "3": 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "line 1 is empty", id="nothing"),
        pytest.param("a\n\nb\n", "line 2 is empty", id="an empty line"),
        pytest.param("a\nb\na b\n", "'a' is there twice", id="a folder twice"),
        pytest.param("a\nb\nc\nd", "'d' has class 3, and the classes are 0 to 2", id="too many"),
        pytest.param('{"a": 0, "a": 1}', "'a' is there twice", id="a key twice"),
        pytest.param('{"a": 0, "b": 0}', "'a' and 'b' both have class 0", id="a class twice"),
        pytest.param('{"1": "a", "01": "b"}', "'a' and 'b' both have class 1", id="an index twice"),
        pytest.param('{"a": 3}', "'a' has class 3", id="too large"),
        pytest.param('{"a": -1}', "'a' has class -1", id="negative"),
        pytest.param('{"a": true}', "'a' is given True", id="a truth value"),
        pytest.param('{"a": 1.0}', "'a' is given 1.0", id="a fraction"),
        pytest.param('{"a": null}', "'a' is given None", id="null"),
        pytest.param('{"0": []}', r"'0' is given \[\]", id="an empty list"),
        pytest.param('{"0": {"a": 1}}', "'0' is given", id="an object inside"),
        pytest.param('{"a": "b"}', "'a' is no index", id="text to text"),
        pytest.param('{"-1": "b"}', "'-1' is no index", id="a negative index"),
        pytest.param('{"a": [0]}', r"'a' is given \[0\]", id="an index in a list"),
        pytest.param("[0, 1]", "0 is given 0", id="a list of numbers"),
        pytest.param('{"a": 0', "delimiter", id="half"),
        pytest.param("[" * 100_000, "recursion", id="deep"),
        pytest.param('{"a": ' + "9" * 5000 + "}", "digits", id="a long number"),
        pytest.param('{"' + "9" * 5000 + '": "a"}', "digits", id="a long index"),
    ],
)
def test_a_file_that_says_no_classes_is_refused(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "classes.txt"
    file.write_text(text)
    with pytest.raises(ConfigError, match=words) as refusal:
        read_classes(file, 3)
    assert str(refusal.value).startswith(f"{file}: ")
    assert "; expected a folder a line in the order of the 3 classes" in str(refusal.value)
    assert len(str(refusal.value)) < len(str(file)) + 500


@pytest.mark.parametrize("content", [None, b"caf\xe9\n"], ids=["missing", "not UTF-8"])
def test_a_file_of_classes_that_cannot_be_read_is_refused(
    content: bytes | None, tmp_path: Path
) -> None:
    file = tmp_path / "classes.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"classes\.txt: the classes cannot be read: "):
        read_classes(file, 3)


def test_a_folder_that_is_not_in_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "classes.txt"
    file.write_text("cat\nhot dog\n")
    root = write_folders(tmp_path / "val", ["cat", "hot dog"])
    with pytest.raises(ConfigError, match=r"classes\.txt does not name the folder 'hot dog'"):
        find_pictures(root, METADATA, file)


@given(text=st.text() | st.recursive(st.integers() | st.text(), st.lists).map(json.dumps))
@settings(deadline=None, max_examples=100)
def test_any_file_of_classes_is_read_or_refused(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("any") / "classes"
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        classes = read_classes(file, 3)
    except ConfigError:
        return
    assert {*classes.values()} <= {0, 1, 2}
    assert len(classes) == len({*classes.values()})


# ---- Some of the pictures ------------------------------------------------------------------------


def samples_of(sizes: list[int]) -> list[Sample]:
    """So many of each class."""
    return [Sample(f"{c}/{i:03}", c) for c, size in enumerate(sizes) for i in range(size)]


@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=9), limit=st.integers(1, 90))
@settings(deadline=None)
def test_a_limit_takes_as_many_of_each_class(sizes: list[int], limit: int) -> None:
    samples = samples_of(sizes)
    chosen = spread(samples, limit)
    assert len(chosen) == min(limit, len(samples))
    assert list(chosen) == sorted({*chosen})
    counts = Counter(sample.target for sample in chosen)
    for target, size in enumerate(sizes):
        first = [s for s in samples if s.target == target][: counts[target]]
        assert [s for s in chosen if s.target == target] == first
        assert counts[target] >= min(size, max(counts.values(), default=0) - 1)


@pytest.mark.parametrize(
    ("limit", "targets"),
    [
        (1, [0]),
        (2, [0, 5]),
        (3, [0, 3, 6]),
        (10, [*range(10)]),
        (12, [0, 0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9]),
    ],
)
def test_a_small_limit_takes_classes_at_equal_distances(limit: int, targets: list[int]) -> None:
    assert [sample.target for sample in spread(samples_of([3] * 10), limit)] == targets


@pytest.mark.parametrize("limit", [0, -1])
def test_a_wrong_limit_is_refused(limit: int) -> None:
    with pytest.raises(ConfigError, match=f"limit is {limit}; expected"):
        spread(samples_of([1]), limit)


# ---- What counts ---------------------------------------------------------------------------------


@given(values=st.lists(st.sampled_from([-1.0, 0.0, -0.0, 2.5, math.inf, -math.inf]), min_size=1))
@settings(deadline=None)
def test_a_rank_is_the_place_in_the_order_of_predict(values: list[float]) -> None:
    logits = np.array(values, np.float32)
    order = np.argsort(-logits, kind="stable")
    assert [rank_of(logits, int(target)) for target in order] == list(range(len(values)))


def test_nan_is_never_right() -> None:
    logits = np.array([1, math.nan, 3], np.float32)
    assert [rank_of(logits, target) for target in range(3)] == [2, 3, 1]
    assert rank_of(np.full(1, math.nan, np.float32), 0) == 1


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
    wrong = ((Sample("0/a", 0), 3), (Sample("0/b", 0), 2))  # 3 of 3: the logits held NaN
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


ALL_TOKENS = dataclasses.replace(MICRO, if_cls_token=False, final_pool_type="all")


def test_a_network_with_logits_for_every_token_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="final_pool_type is 'all'"):
        evaluated(VisionMamba.random(config=ALL_TOKENS), folder)


# ---- Results in a file ---------------------------------------------------------------------------

SETTINGS = {"weights_sha256": "12", "img_size": [32, 32]}
Resumed = Callable[[Path], Evaluation]


@pytest.fixture
def resumed(model: VisionMamba, folder: Path) -> Resumed:
    """Evaluates with a file of results, three pictures at once."""
    found = find_pictures(folder, model.metadata)

    def run(path: Path) -> Evaluation:
        results = ResultsFile(path, SETTINGS, found.classes)
        return evaluate(model, found.path, found.samples, batch=3, results=results)

    return run


def test_results_are_lines_of_json(resumed: Resumed, tmp_path: Path) -> None:
    found = resumed(tmp_path / "results.jsonl")
    header, *lines = map(json.loads, (tmp_path / "results.jsonl").read_text().splitlines())
    classes = {name: int(name) for name in CLASSES}
    assert header == {"vimnp_eval": 1, **SETTINGS, "classes": classes}
    expected = [{"file": s.path, "class": s.target, "rank": rank} for s, rank in found.ranks]
    expected += [{"file": s.path, "class": s.target, "error": e} for s, e in found.unreadable]
    assert lines == sorted(expected, key=lambda line: str(line["file"]))


def test_whatever_is_left_of_a_file_a_resumed_run_gives_the_same(
    resumed: Resumed, model: VisionMamba, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "results.jsonl"
    expected = resumed(path)
    content = path.read_bytes()
    assert evaluated(model, folder) == expected
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    cuts = {0, 1, *ends, *(end - 1 for end in ends), *(end - 20 for end in ends)}
    assert len(ends) == 23
    for cut in sorted(cuts):
        path.write_bytes(content[:cut])
        found = resumed(path)
        assert found == expected
        kept = sum(b"rank" in line for line in content[:cut].split(b"\n")[:-1])
        assert found.new == 22 - kept
        assert path.read_bytes().startswith(content[: content.rfind(b"\n", 0, cut) + 1])
        again = resumed(path)
        assert again == expected
        assert again.new == len(UNREADABLE)


def test_unreadable_pictures_are_tried_again(
    resumed: Resumed, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "results.jsonl"
    resumed(path)
    write_picture(folder / "2" / "b.png").replace(folder / "2" / "b.ppm")
    found = resumed(path)
    assert [sample.path for sample, _ in found.unreadable] == ["5/long.png"]
    assert (len(found.ranks), found.new) == (21, 2)
    assert resumed(path) == found


def test_pictures_that_are_gone_do_not_count(
    resumed: Resumed, model: VisionMamba, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "results.jsonl"
    resumed(path)
    (folder / "0" / "a.png").unlink()
    found = evaluate(
        model,
        folder,
        find_pictures(folder, METADATA).samples,
        results=ResultsFile(path, SETTINGS, {name: int(name) for name in CLASSES}),
    )
    assert found == evaluated(model, folder)
    assert len(found.ranks) == 19


@pytest.mark.parametrize(
    ("settings", "classes", "words"),
    [
        ({"weights_sha256": "13"}, {}, 'weights_sha256 was "12" and is "13" now'),
        ({"img_size": [32, 40]}, {}, r"img_size was \[32, 32\] and is \[32, 40\] now"),
        ({}, {"5": 6, "6": 5}, r"classes\['5'\] was 5 and is 6 now"),
        ({}, {"x": 7}, r"classes\['x'\] was null and is 7 now"),
        ({"backend": "native"}, {}, "not results of an evaluation"),
    ],
)
def test_results_of_something_else_are_refused(
    settings: dict[str, object],
    classes: dict[str, int],
    words: str,
    resumed: Resumed,
    tmp_path: Path,
) -> None:
    path = tmp_path / "results.jsonl"
    resumed(path)
    content = path.read_bytes()
    with pytest.raises(ConfigError, match=f"results.jsonl: {words}"):
        ResultsFile(path, SETTINGS | settings, {n: int(n) for n in CLASSES} | classes)
    assert path.read_bytes() == content


HEADER = json.dumps({"vimnp_eval": 1, **SETTINGS, "classes": {"7": 7}}).encode() + b"\n"
NOT_RESULTS = {
    "text": b"my notes, without a line's end",
    "lines": b"my\nnotes\n",
    "an empty line": b"\n",
    "a number": b"1\n",
    "another object": b"{}\n",
    "another version": HEADER.replace(b"1", b"2", 1),
    "bytes": b"\xff\xfe\n",
    "depth": b"[" * 100_000 + b"\n",
    "no JSON": HEADER + b"x\n",
    "an empty line after the first": HEADER + b"\n",
    "zeros": HEADER + b"\0\0\0\n",
    "a list": HEADER + b"[]\n",
    "no rank": HEADER + b'{"file": "7/a", "class": 7}\n',
    "a negative rank": HEADER + b'{"file": "7/a", "class": 7, "rank": -1}\n',
    "a rank that is text": HEADER + b'{"file": "7/a", "class": 7, "rank": "0"}\n',
    "an error that is none": HEADER + b'{"file": "7/a", "class": 7, "error": 0}\n',
    "another class": HEADER + b'{"file": "7/a", "class": 6, "rank": 0}\n',
    "another folder": HEADER + b'{"file": "6/a", "class": 7, "rank": 0}\n',
    "a damaged error": HEADER + b'{"file": "7/a", "class": 6, "error": "cut"}\n',
    "depth in a line": HEADER + b"[" * 100_000 + b"\n",
}


@pytest.mark.parametrize("content", NOT_RESULTS.values(), ids=NOT_RESULTS)
def test_what_is_no_file_of_results_is_refused_and_stays_as_it_is(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refusal:
        ResultsFile(path, SETTINGS, {"7": 7})
    message = str(refusal.value)
    assert message.startswith(f"{path}: ")
    assert "; expected " in message
    assert message.isprintable()
    assert ("line 2 is damaged" in message) == content.startswith(HEADER)
    assert path.read_bytes() == content


@given(content=st.binary() | st.binary().map(lambda line: HEADER + line))
@settings(deadline=None)
def test_any_file_of_results_is_read_or_refused(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / "results.jsonl"
    path.write_bytes(content)
    try:
        results = ResultsFile(path, SETTINGS, {"7": 7})
    except ConfigError:
        assert path.read_bytes() == content
        return
    results.append({Sample("7/a", 7): 3})
    again = ResultsFile(path, SETTINGS, {"7": 7})
    assert again.ranks == results.ranks == {"7/a": 3}


def test_the_last_of_several_results_counts(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    first, second = (ResultsFile(path, SETTINGS, {"7": 7}) for _ in range(2))
    sample, other = Sample("7/\udce9.png", 7), Sample("7/é\n.png", 7)
    first.append({sample: "cut short"})
    first.append({sample: 2, other: 0})
    first.append({sample: 1})
    assert first.ranks == ResultsFile(path, SETTINGS, {"7": 7}).ranks == {sample[0]: 1, other[0]: 0}
    assert second.ranks == {}


@pytest.mark.parametrize("name", ["no/results.jsonl", "folder"])
def test_a_file_that_cannot_be_written_is_noticed_before_the_first_picture(
    name: str, resumed: Resumed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(module, "read_image", None)
    with pytest.raises(OSError, match=name):
        resumed(tmp_path / name)


def test_wrong_use_leaves_no_file(model: VisionMamba, tmp_path: Path) -> None:
    results = ResultsFile(tmp_path / "results.jsonl", SETTINGS, {"0": 0})
    with pytest.raises(ConfigError):
        evaluate(model, tmp_path, samples_of([1]), batch=0, results=results)
    assert not (tmp_path / "results.jsonl").exists()


# ---- The command ---------------------------------------------------------------------------------


@pytest.fixture
def digits(data: Path, tmp_path: Path) -> Path:
    """The repository's scans in a folder for each digit."""
    for scan in data.glob("digit_*.png"):
        name = scan.name.split("_")[1]
        (tmp_path / "digits" / name).mkdir(parents=True)
        shutil.copy(scan, tmp_path / "digits" / name)
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
    assert (answer["img_size"], answer["scan"], answer["backend"]) == ([32, 32], "fused", "numpy")
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
from vimnp import cli, evaluate
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
        (["--backend", "native"], 'backend was "numpy" and is "native" now'),
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
    if "native" in options and extension.loaded() is None:
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
    ("limit: 0", ["{val}", "--limit", "0"], ["limit is 0", "from 1 up"]),
    ("limit: text", ["{val}", "--limit", "all"], ["--limit", "all"]),
    ("batch: 0", ["{val}", "--batch", "0", "--resume", "{new}"], ["batch is 0", "from 1 up"]),
    ("batch: text", ["{val}", "--batch", "all"], ["--batch", "all"]),
    ("classes: missing", ["{val}", "--classes", "no.txt"], ["no.txt", "No such file"]),
    ("classes: weights", ["{val}", "--classes", "{npz}"], ["micro.npz", "cannot be read"]),
    ("classes: a folder", ["{val}", "--classes", "{dir}"], ["directory"]),
    ("resume: no results", ["{val}", "--resume", "{npz}"], ["micro.npz", "not results"]),
    ("resume: a folder", ["{val}", "--resume", "{dir}"], ["directory"]),
    ("missing weights", ["{val}", "--weights", "no.npz"], ["no.npz", "No such file"]),
    ("threads: 0", ["{val}", "--threads", "0"], ["threads", "0"]),
    ("size: text", ["{val}", "--img-size", "big"], ["--img-size big"]),
    (
        "logits for every token",
        ["{val}", "--weights", "{all}", "--resume", "{new}"],
        ["final_pool_type is 'all'"],
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
