"""Labelled pictures: which, in which order, of which class; and some of them."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.irregular import irregular as irregular
from tests.support.labelled import (
    CLASSES,
    LABELLED,
    LABELS,
    METADATA,
    WNIDS,
    evaluated,
    samples_of,
    write_folders,
    write_picture,
)
from tests.support.labelled import folder as folder
from tests.support.labelled import model as model
from tests.support.links import needs_links
from tests.support.micro import MICRO
from tests.support.reasons import NO_FOLDER
from vimnp.errors import ConfigError
from vimnp.evaluate.image_folder import Sample, find_pictures, read_classes, spread
from vimnp.models.vim.model import VisionMamba
from vimnp.weights import Metadata

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


@needs_links
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


@needs_links
def test_folders_that_link_to_each_other_are_walked_once(tmp_path: Path) -> None:
    """By every way there is, twenty of them would give 2^20 pictures and more."""
    root = write_folders(tmp_path / "val", ["4"])
    folders = [root / "4" / f"{index:02}" for index in range(20)]
    for inside in folders:
        inside.mkdir()
        (inside / "a.png").touch()
    for inside, following in itertools.pairwise(folders):
        (inside / "first").symlink_to(following)
        (inside / "second").symlink_to(following)
    found = find_pictures(root, METADATA)
    assert len(found.samples) == 21
    assert len({(root / sample.path).resolve() for sample in found.samples}) == 21


@needs_links
@pytest.mark.parametrize("target", ["shared", "1"])
def test_a_folder_of_two_classes_is_refused(target: str, tmp_path: Path) -> None:
    root = write_folders(tmp_path / "val", ["1", "2"])
    shared = root / "1" / "shared"
    shared.mkdir()
    (root / "2" / "link").symlink_to(shared if target == "shared" else root / "1")
    with pytest.raises(ConfigError, match=r"2/link: is the folder '1.* as well.*another class"):
        find_pictures(root, METADATA)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_what_is_no_regular_file_is_no_picture(tmp_path: Path) -> None:
    root = write_folders(tmp_path / "val", ["1"])
    os.mkfifo(root / "1" / "pipe.png")
    (root / "1" / "device.png").symlink_to("/dev/zero")
    (root / "1" / "linked_pipe.png").symlink_to(root / "1" / "pipe.png")
    assert [path for path, _ in find_pictures(root, METADATA).samples] == ["1/a.png"]


@needs_links
def test_a_link_to_a_folder_above_it_is_refused(tmp_path: Path) -> None:
    root = write_folders(tmp_path / "val", ["4"])
    (root / "4" / "again").symlink_to(root / "4")
    with pytest.raises(ConfigError, match=r"4/again: leads back to a folder above it.*remove it"):
        find_pictures(root, METADATA)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        pytest.param(None, f"val: {NO_FOLDER}; expected", id="missing"),
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
            {name: index for index, name in enumerate("BCDEafg")},
            "'B' holds class 0, 'g' class 6$",
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
        pytest.param("[" * 100_000, "nested more than 64 deep", id="deep"),
        pytest.param("[" * 99 + "]" * 99, "nested more than 64 deep", id="99 deep"),
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


def test_classes_are_read_from_regular_files_only(irregular: tuple[Path, str]) -> None:
    path, words = irregular
    with pytest.raises(ConfigError, match=words):
        read_classes(path, 3)


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
