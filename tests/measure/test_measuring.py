"""``vimnp bench`` and ``vimnp profile``: what they print and write, and how times are taken."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.commands import Command, assert_refused
from tests.support.full_disk import full_disk
from vimnp.engine.settings import BACKENDS
from vimnp.errors import ConfigError
from vimnp.measure import machine, timing
from vimnp.measure.machine import measure_rates
from vimnp.measure.timing import time_in_turn
from vimnp.models.vim.model import VisionMamba
from vimnp.runtime import blas, extension

if TYPE_CHECKING:
    from vimnp._scan import Kernels

QUICK = ("--rounds", 1)


def rows(out: str) -> list[list[str]]:
    """The cells of each table's rows, without the headings."""
    lines = [line.strip("| ").split("|") for line in out.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing.time, "sleep", lambda _: None)


# ---- bench ---------------------------------------------------------------------------------------


def test_bench_times_every_way(command: Command, micro_npz: Path) -> None:
    run = command("bench", "--weights", micro_npz, "--scan", "all", "--threads", "1,2,1", *QUICK)
    assert run.code == 0
    modes = ["sequential", "fixlen", "fused", "fused_fixlen"]
    expected = [["numpy", mode, n] for mode in modes for n in "12"]
    if extension.loaded() is not None:
        expected += [["native", "fused", n] for n in "12"]
    found = rows(run.out)[2:]
    assert sorted(row[:3] for row in found) == sorted(expected)
    assert found[0][-1] == "1.00x"
    for row in found:
        assert float(row[3]) > 0
        lower, upper = map(float, row[4].split(" to "))
        assert lower <= float(row[3]) <= upper


@pytest.mark.skipif(extension.loaded() is None, reason="needs the compiled kernels")
def test_bench_shows_the_threads_that_are_used(command: Command, micro_npz: Path) -> None:
    options = ("--weights", micro_npz, "--backend", "native", "--threads", "64,128", *QUICK)
    model = VisionMamba.from_npz(micro_npz, backend="native", num_threads=64)
    (row,) = rows(command("bench", *options).out)[2:]
    assert row[:3] == ["native", "fused", str(model.num_threads)]


def test_bench_names_the_machine_and_the_network(command: Command, micro_npz: Path) -> None:
    run = command("bench", "--weights", micro_npz, "--backend", "numpy", "--batch", 3, *QUICK)
    assert re.search(r"^machine: .*CPUs$", run.out, re.MULTILINE)
    assert re.search(r"^BLAS: .*numpy", run.out, re.MULTILINE)
    assert blas.policy() in run.out
    assert f"network: {micro_npz}; " in run.out
    assert "pictures: 32x32, 17 tokens, 3 a pass" in run.out


def test_bench_writes_every_time(command: Command, micro_npz: Path, tmp_path: Path) -> None:
    file = tmp_path / "times.json"
    run = command("bench", "--weights", micro_npz, "--threads", 1, "--json", file, "--rounds", 2)
    assert run.code == 0
    content = json.loads(file.read_bytes())
    assert content["network"]["config"]["depth"] == 2
    assert content["machine"]["numpy"] == np.__version__
    assert (content["batch"], content["rounds"]) == (1, 2)
    for result, row in zip(content["results"], rows(run.out)[2:], strict=True):
        assert [result["backend"], result["scan"], str(result["threads"])] == row[:3]
        assert result["median"] == pytest.approx(np.median(result["seconds"]))
        assert f"{result['median'] * 1e3:.2f}" == row[3]


def test_bench_takes_a_published_network_at_another_size(command: Command) -> None:
    run = command("bench", "--random", "tiny", "--img-size", "32x48", "--threads", 1, *QUICK)
    assert run.code == 0
    assert "network: tiny, random weights; " in run.out
    assert "pictures: 32x48, 7 tokens" in run.out


def test_bench_without_kernels_leaves_out_the_native_backend_and_says_so(
    command: Command, micro_npz: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extension, "_scan", None)
    run = command("bench", "--weights", micro_npz, "--threads", 1, *QUICK)
    assert run.code == 0
    assert [row[0] for row in rows(run.out)[2:]] == ["numpy"]
    assert "vimnp: without the native backend: " in run.err
    run = command("bench", "--weights", micro_npz, "--backend", "native", *QUICK)
    assert_refused(run, "native", "kernels")


@pytest.mark.parametrize("name", ["bench", "profile"])
def test_what_is_missing_is_named_with_its_extra(
    name: str, command: Command, micro_npz: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    run = command(name, "--weights", micro_npz, *QUICK)
    assert run.code == 0
    assert "vimnp: no progress bar without tqdm: pip install 'vimnp[progress]'\n" in run.err


# ---- profile -------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_profile_shows_operations_and_layers(
    backend: str, command: Command, micro_npz: Path, tmp_path: Path
) -> None:
    if backend == "native" and extension.loaded() is None:
        pytest.skip("there are no compiled kernels")
    trace = tmp_path / "trace.json"
    run = command("profile", "--weights", micro_npz, "--backend", backend, "--trace", trace, *QUICK)
    assert run.code == 0
    table = {row[0]: row[1:] for row in rows(run.out)}
    for name in ("embed", "norm", "in_proj", "conv1d", "x_proj", "scan", "out_proj", "head"):
        milliseconds, share = table[name][:2]
        assert float(milliseconds) >= 0
        assert share.endswith("%")
        assert (
            re.fullmatch(r"(arithmetic|memory), \d+% of it", table[name][-1])
            or milliseconds == "0.00"
        )
    assert table["whole"][1] == "100.0%"
    assert {"0", "1"} <= {*table}  # the layers
    content = json.loads(trace.read_bytes())
    assert content["otherData"]["way"].startswith(f"{backend} backend")
    assert {"scan", "layer 1", "pass"} <= {event["name"] for event in content["traceEvents"]}


def test_profile_counts_every_picture_of_a_batch(command: Command, micro_npz: Path) -> None:
    one, three = (
        command("profile", "--weights", micro_npz, "--batch", n, *QUICK).out for n in (1, 3)
    )
    arithmetic = [
        next(float(row[3]) for row in rows(out) if row[0] == "in_proj") for out in (one, three)
    ]
    assert arithmetic[1] == pytest.approx(3 * arithmetic[0], abs=0.2)


@pytest.mark.parametrize("kernels", [None, extension.kernels()], ids=["numpy", "native"])
def test_what_is_in_reach_is_a_positive_number(kernels: Kernels | None) -> None:
    rates = measure_rates(kernels)
    assert rates.flops > 0
    assert rates.bytes > 0


def test_what_is_in_reach_is_the_best_of_several_measurements(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a busy machine most of them may be disturbed."""

    def disturbed(calls: dict[str, object], **_: object) -> dict[str, np.ndarray]:
        return {name: np.array([9.0, 2.0, 8.0, 7.0, 9.0]) for name in calls}

    monkeypatch.setattr(machine, "time_in_turn", disturbed)
    rates = measure_rates()
    assert (rates.flops, rates.bytes) == (512**3, 1 << 26)


def test_of_the_native_backend_it_is_its_kernels_multiply_adds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Multiplying:
        def multiply_adds(self, rounds: int) -> int:
            return 10 * rounds

    def timed(calls: dict[str, object], **_: object) -> dict[str, np.ndarray]:
        return dict.fromkeys(calls, np.array([0.5]))

    monkeypatch.setattr(machine, "time_in_turn", timed)
    one, three = (measure_rates(Multiplying(), threads) for threads in (1, 3))
    assert one.flops > 0
    assert three.flops == 3 * one.flops
    assert "multiply-adds" in one.arithmetic


@pytest.mark.parametrize("backend", BACKENDS)
def test_profile_says_what_its_limit_of_arithmetic_is(
    backend: str, command: Command, micro_npz: Path
) -> None:
    if backend == "native" and extension.loaded() is None:
        pytest.skip("there are no compiled kernels")
    options = ("--weights", micro_npz, "--backend", backend, "--threads", 2, *QUICK)
    words = {"numpy": "a large matrix product", "native": "the kernels' multiply-adds, 2 threads"}
    assert f"GFLOP/s ({words[backend]}), " in command("profile", *options).out


# ---- Wrong use -----------------------------------------------------------------------------------

WRONG_USE = [
    (["bench", "--scan", "fastest"], ["--scan fastest", "fused"]),
    (["bench", "--scan", "fused,,"], ["--scan fused,,"]),
    (["bench", "--threads", "one"], ["--threads one", "--threads 1,2,4"]),
    (["bench", "--threads", "1,0"], ["--threads 1,0", "from 1 up"]),
    (["bench", "--batch", "0"], ["--batch 0", "from 1 up"]),
    (["bench", "--rounds", "0"], ["--rounds 0", "from 1 up"]),
    (["bench", "--random", "huge"], ["--random", "huge", "tiny"]),
    (["bench", "--random", "tiny", "--weights", "x.npz"], ["--weights", "--random"]),
    (["bench", "--img-size", "7"], ["img_size is 7x7"]),
    (["bench", "--weights", "no.npz"], ["no.npz", "No such file"]),
    (["bench", "--backend", "native", "--scan", "fixlen"], ["'fixlen'", "'fused' only"]),
    (["profile", "--batch", "-1"], ["--batch -1"]),
    (["profile", "--scan", "all"], ["--scan", "all", "fused"]),
    (["profile", "--threads", "0"], ["--threads 0: expected a whole number from 1 up"]),
    (["bench", "--threads", "1,,2"], ["--threads 1,,2: expected whole numbers from 1 up to 1024"]),
    (["bench", "--threads", ""], ["--threads '': expected whole numbers"]),
    (["bench", "--threads", "1,1025"], ["--threads 1,1025: expected", "1024"]),
    (["bench", "--threads", "1_0"], ["--threads 1_0: expected"]),
    (["bench", "--scan", ""], ["--scan '': expected all"]),
    (["bench", "--json", ""], ["--json", "it is empty"]),
    (["bench", "--weights", ""], ["--weights", "it is empty"]),
    (["profile", "--trace", ""], ["--trace", "it is empty"]),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG_USE, ids=[str(row[0]) for row in WRONG_USE])
def test_wrong_use_is_one_line_on_stderr(
    arguments: list[str], words: list[str], command: Command
) -> None:
    assert_refused(command(*arguments), *words)


OPTIONS = [("bench", "--json"), ("profile", "--trace")]


@pytest.mark.parametrize(("name", "option"), OPTIONS)
@pytest.mark.parametrize(
    ("destination", "words"),
    [("no/x.json", "cannot be written: No such file"), ("", "is a folder; expected")],
    ids=["missing folder", "folder"],
)
def test_a_destination_is_looked_at_before_anything_is_measured(
    name: str, option: str, destination: str, words: str, command: Command, tmp_path: Path
) -> None:
    path = tmp_path / destination
    assert_refused(command(name, option, path), f"vimnp: {path}: {words}")


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_a_full_disk_is_noticed_before_anything_is_measured(
    name: str, option: str, command: Command, tmp_path: Path
) -> None:
    with full_disk():
        run = command(name, option, tmp_path / "x.json")
    assert_refused(run, f"{tmp_path / 'x.json'}: cannot be written: File too large")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_a_disk_that_has_become_full_takes_no_table_away(
    name: str,
    option: str,
    command: Command,
    micro_npz: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    path = tmp_path / "x.json"
    run = command(name, "--weights", micro_npz, option, path, *QUICK)
    assert run.code == 2
    assert len(rows(run.out)) > 2
    assert run.err.endswith(f"vimnp: {path}: cannot be written: No space left on device\n")
    assert list(tmp_path.iterdir()) == [micro_npz]


# ---- Times ---------------------------------------------------------------------------------------


def test_calls_are_timed_in_turn() -> None:
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    seconds = time_in_turn(calls, 2, burst=2, warm_up=1, after_each=lambda: order.append("|"))
    assert "".join(order) == "aaa|bbb|" * 2
    assert {name: times.shape for name, times in seconds.items()} == {"a": (4,), "b": (4,)}
    assert all((times >= 0).all() for times in seconds.values())


# ---- The same weights, run in another way --------------------------------------------------------


def test_another_way_shares_the_weights(micro_npz: Path) -> None:
    model = VisionMamba.from_npz(micro_npz, backend="numpy", num_threads=1)
    other = model.with_settings(scan="fixlen", num_threads=3)
    assert (model.scan, model.num_threads) == ("fused", 1)
    assert (other.scan, other.num_threads) == ("fixlen", 3)
    assert other._network.plain() is model._network.plain()
    pixels = np.ones((3, 32, 32), np.float32)
    np.testing.assert_allclose(other(pixels), model(pixels), atol=2e-6)


@pytest.mark.skipif(extension.loaded() is None, reason="needs the compiled kernels")
def test_another_number_of_threads_of_the_native_backend(
    micro_npz: Path, small_work_is_split: None
) -> None:
    model = VisionMamba.from_npz(micro_npz, backend="native", num_threads=1)
    pixels = np.ones((3, 32, 32), np.float32)
    expected = model(pixels)
    for number in (3, 2, 1):
        np.testing.assert_array_equal(model.with_settings(num_threads=number)(pixels), expected)
    with pytest.raises(ConfigError, match="'fused' only"):
        model.with_settings(scan="fixlen")
    with pytest.raises(ConfigError, match="num_threads is 0"):
        model.with_settings(num_threads=0)
