"""Results in a file, and going on from them."""

from __future__ import annotations

import errno
import gc
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.full_disk import full_disk
from tests.support.irregular import irregular as irregular
from tests.support.labelled import (
    CLASSES,
    METADATA,
    UNREADABLE,
    evaluated,
    samples_of,
    write_picture,
)
from tests.support.labelled import folder as folder
from tests.support.labelled import model as model
from vimnp.errors import ConfigError
from vimnp.evaluate import accuracy as module
from vimnp.evaluate.accuracy import Evaluation, evaluate
from vimnp.evaluate.image_folder import Sample, find_pictures
from vimnp.evaluate.results import ResultsFile
from vimnp.models.vim.model import VisionMamba

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
    "a rank that is true": HEADER + b'{"file": "7/a", "class": 7, "rank": true}\n',
    "a rank that is false": HEADER + b'{"file": "7/a", "class": 7, "rank": false}\n',
    "a version of true": HEADER.replace(b"1", b"true", 1),
    "a version of 1.0": HEADER.replace(b"1", b"1.0", 1),
    "a rank that is text": HEADER + b'{"file": "7/a", "class": 7, "rank": "0"}\n',
    "an error that is none": HEADER + b'{"file": "7/a", "class": 7, "error": 0}\n',
    "another class": HEADER + b'{"file": "7/a", "class": 6, "rank": 0}\n',
    "another folder": HEADER + b'{"file": "6/a", "class": 7, "rank": 0}\n',
    "a damaged error": HEADER + b'{"file": "7/a", "class": 6, "error": "cut"}\n',
    "depth in a line": HEADER + b"[" * 100_000 + b"\n",
    "99 deep in a line": HEADER + b"[" * 99 + b"]" * 99 + b"\n",
    "99 deep": b"[" * 99 + b"]" * 99 + b"\n",
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


def test_a_line_that_is_nested_too_deeply_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(NOT_RESULTS["99 deep in a line"])
    with pytest.raises(ConfigError, match="nested more than 64 deep"):
        ResultsFile(path, SETTINGS, {"7": 7})


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


def test_a_class_that_is_true_is_no_class(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    results = ResultsFile(path, SETTINGS, {"1": 1})
    results.append({Sample("1/a", 1): 0})
    content = path.read_bytes()
    results.close()
    for old, new in ((b'"class": 1', b'"class": true'), (b'"1": 1', b'"1": true')):
        path.write_bytes(content.replace(old, new))
        assert path.read_bytes() != content
        with pytest.raises(ConfigError):
            ResultsFile(path, SETTINGS, {"1": 1})


SAMPLE, OTHER_SAMPLE = Sample("7/a", 7), Sample("7/b", 7)


def test_a_second_writer_is_refused_until_the_first_one_ends(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    first, second = (ResultsFile(path, SETTINGS, {"7": 7}) for _ in range(2))
    first.append({SAMPLE: 3})
    content = path.read_bytes()
    words = r"results\.jsonl: another process is writing to it; expected .* take another file"
    with pytest.raises(ConfigError, match=words):
        second.append({SAMPLE: 4})
    assert path.read_bytes() == content
    first.close()
    second.append({OTHER_SAMPLE: 5})
    assert second.ranks == {"7/a": 3, "7/b": 5}  # what the first one wrote in the meantime, too
    second.close()
    assert ResultsFile(path, SETTINGS, {"7": 7}).ranks == second.ranks


@pytest.mark.parametrize("unfinished", [b"", b'{"file": "7/b"'])
def test_what_others_wrote_in_the_meantime_is_kept(unfinished: bytes, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with ResultsFile(path, SETTINGS, {"7": 7}) as results:
        results.append({SAMPLE: 3})
    with open(path, "ab") as file:
        file.write(unfinished)
    late = ResultsFile(path, SETTINGS, {"7": 7})
    with ResultsFile(path, SETTINGS, {"7": 7}) as results:
        results.append({OTHER_SAMPLE: 5})
    late.append({Sample("7/c", 7): 6})
    found = ResultsFile(path, SETTINGS, {"7": 7}).ranks
    assert found == late.ranks == {"7/a": 3, "7/b": 5, "7/c": 6}


def test_what_others_wrote_in_the_meantime_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    late = ResultsFile(path, SETTINGS, {"7": 7})
    with ResultsFile(path, SETTINGS | {"img_size": [8, 8]}, {"7": 7}) as results:
        results.append({SAMPLE: 3})
    content = path.read_bytes()
    with pytest.raises(ConfigError, match="img_size was"):
        late.append({SAMPLE: 4})
    assert path.read_bytes() == content


def test_the_lock_ends_with_the_object(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    ResultsFile(path, SETTINGS, {"7": 7}).append({SAMPLE: 3})
    gc.collect()
    ResultsFile(path, SETTINGS, {"7": 7}).append({SAMPLE: 4})
    assert ResultsFile(path, SETTINGS, {"7": 7}).ranks == {"7/a": 4}


HOLDER = """
import sys
from vimnp.evaluate.image_folder import Sample
from vimnp.evaluate.results import ResultsFile
results = ResultsFile("results.jsonl", {}, {"7": 7})
results.append({Sample("7/a", 7): 3})
print("ready", flush=True)
sys.stdin.read()
"""


def test_the_lock_holds_between_processes_and_ends_with_the_process(tmp_path: Path) -> None:
    results = ResultsFile(tmp_path / "results.jsonl", {}, {"7": 7})
    command = [sys.executable, "-c", HOLDER]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline().splitlines() == [b"ready"]
        with pytest.raises(ConfigError, match="another process is writing to it"):
            results.append({})
        process.kill()
    results.append({OTHER_SAMPLE: 5})
    assert results.ranks == {"7/a": 3, "7/b": 5}


def test_where_files_cannot_be_locked_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems of clusters."""
    fcntl = pytest.importorskip("fcntl", reason="Windows locks in another way")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    results = ResultsFile(tmp_path / "results.jsonl", SETTINGS, {"7": 7})
    with pytest.warns(UserWarning, match=r"results\.jsonl: cannot be locked .Function not impl"):
        results.append({SAMPLE: 3})
    results.append({OTHER_SAMPLE: 5})
    assert ResultsFile(results.path, SETTINGS, {"7": 7}).ranks == {"7/a": 3, "7/b": 5}


def test_a_full_disk_is_an_error_that_names_the_file_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    results = ResultsFile(path, SETTINGS, {"7": 7})
    results.append({SAMPLE: 3})
    many = {Sample(f"7/{index}", 7): index for index in range(100)}
    with full_disk(), pytest.raises(OSError, match="File too large") as caught:
        results.append(many)
    assert caught.value.filename == str(path)
    assert results.ranks["7/a"] == 3
    results.append({OTHER_SAMPLE: 5})  # where there is room again
    assert ResultsFile(path, SETTINGS, {"7": 7}).ranks == results.ranks


def test_only_regular_files_are_read(irregular: tuple[Path, str]) -> None:
    path, words = irregular
    with pytest.raises(OSError, match=words.split(".*")[1]) as caught:
        ResultsFile(path, SETTINGS, {"7": 7})
    assert caught.value.filename == str(path)


@pytest.mark.parametrize("name", ["no/results.jsonl", "folder"])
def test_a_file_that_cannot_be_written_is_noticed_before_the_first_picture(
    name: str, resumed: Resumed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(module, "read_image", None)
    with pytest.raises(OSError, match=re.escape(repr(str(Path(name)))[1:-1])):
        resumed(tmp_path / name)


def test_wrong_use_leaves_no_file(model: VisionMamba, tmp_path: Path) -> None:
    results = ResultsFile(tmp_path / "results.jsonl", SETTINGS, {"0": 0})
    with pytest.raises(ConfigError):
        evaluate(model, tmp_path, samples_of([1]), batch=0, results=results)
    assert not (tmp_path / "results.jsonl").exists()
