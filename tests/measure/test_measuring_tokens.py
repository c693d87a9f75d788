"""``vimnp bench`` and ``vimnp profile`` of language models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.measure.test_measuring import no_pauses as no_pauses
from tests.measure.test_measuring import rows
from tests.support.commands import Command, assert_refused
from tests.support.implementations import COMPILED_WAYS, Way
from tests.support.micro_language import MICRO_LANGUAGE, write_language_model
from vimnp.measure import profiling
from vimnp.measure.profiling import profile_tokens
from vimnp.models.mamba import published
from vimnp.models.mamba.model import MambaLM
from vimnp.runtime import extension

QUICK = ("--rounds", 1)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_language_model(tmp_path / "w.npz")


# ---- bench ---------------------------------------------------------------------------------------


def test_bench_times_a_prompt_and_decoding_in_every_way(command: Command, weights: Path) -> None:
    run = command("bench", "--weights", weights, "--threads", "1,2", "--tokens", 5, *QUICK)
    assert run.code == 0
    assert f"network: {weights}; {MICRO_LANGUAGE.num_parameters:,} parameters" in run.out
    assert "tokens: a prompt of 5; sequences: 1; matrices: float32" in run.out
    names, found = rows(run.out)[0], rows(run.out)[2:]
    assert names[5:] == ["tokens/s", "GB/s", "over the first"]
    backends = ["numpy", "native"] if extension.loaded() is not None else ["numpy"]
    assert [row[0] for row in found] == sorted((row[0] for row in found), reverse=True)
    assert {tuple(row[:2]) for row in found} == {
        (name, backend) for name in ("prompt", "decoding") for backend in backends
    }
    for row in found:
        assert float(row[5]) > 0
        assert (row[6] == "") == (row[0] == "prompt")
    firsts = [next(row for row in found if row[0] == name) for name in ("prompt", "decoding")]
    assert [row[-1] for row in firsts] == ["1.00x", "1.00x"]


def test_bench_of_the_next_token_alone(command: Command, weights: Path) -> None:
    run = command("bench", "--weights", weights, "--threads", 1, "--tokens", 1, *QUICK)
    assert {row[0] for row in rows(run.out)[2:]} == {"decoding"}


def test_bench_writes_the_times_of_each_pass(
    command: Command, weights: Path, tmp_path: Path
) -> None:
    file = tmp_path / "times.json"
    asked = ("--tokens", 7, "--batch", 2, "--dtype", "int8", "--threads", 1)
    run = command("bench", "--weights", weights, *asked, "--json", file, "--rounds", 2)
    assert run.code == 0
    content = json.loads(file.read_bytes())
    assert content["network"]["config"]["n_layer"] == 2
    assert (content["tokens"], content["dtype"], content["batch"]) == (7, "int8", 2)
    found = {result["pass"]: result for result in content["results"]}
    assert found["prompt"]["tokens"] == 14
    for result, row in zip(content["results"], rows(run.out)[2:], strict=True):
        assert [result["pass"], result["backend"], str(result["threads"])] == row[:3]
        assert result["median"] == pytest.approx(np.median(result["seconds"]))
        assert float(row[5]) == pytest.approx(result["tokens"] / result["median"], abs=0.1)


@pytest.mark.parametrize("name", ["bench", "profile"])
def test_a_published_language_model_of_random_weights(
    name: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(published.PUBLISHED, "mamba-130m", MICRO_LANGUAGE)
    run = command(name, "--random", "mamba-130m", "--threads", 1, *QUICK)
    assert run.code == 0
    assert "network: mamba-130m, random weights; " in run.out


def test_the_choices_are_networks_of_both_kinds(command: Command) -> None:
    run = command("bench", "--help")
    assert run.code == 0
    shown = " ".join(run.out.split())
    assert "tiny" in shown
    assert "mamba-2.8b" in shown
    assert_refused(command("bench", "--random", "huge"), "'tiny'", "'mamba-130m'")


# ---- profile -------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("tokens", [None, 1, 9])
def test_profile_shows_operations_and_layers(
    tokens: int | None, backend: str, command: Command, weights: Path, tmp_path: Path
) -> None:
    if backend == "native" and extension.loaded() is None:
        pytest.skip("there are no compiled kernels")
    trace = tmp_path / "trace.json"
    asked = () if tokens is None else ("--tokens", tokens)
    run = command(
        "profile", "--weights", weights, "--backend", backend, "--trace", trace, *asked, *QUICK
    )
    assert run.code == 0
    expected = "tokens: a prompt of 9; " if tokens == 9 else "tokens: one at a time"
    assert expected in run.out
    table = {row[0]: row[1:] for row in rows(run.out)}
    assert {"embed", "norm", "in_proj", "x_proj", "scan", "out_proj", "head"} <= {*table}
    assert {"0", "1"} <= {*table}
    assert table["whole"][1] == "100.0%"
    content = json.loads(trace.read_bytes())
    assert {"scan", "layer 1", "pass"} <= {event["name"] for event in content["traceEvents"]}
    assert content["otherData"]["tokens"] == (tokens or 1)


def test_profile_counts_every_token(command: Command, weights: Path) -> None:
    one, more = (
        command(
            "profile",
            "--weights",
            weights,
            "--tokens",
            n,
            "--batch",
            m,
            "--backend",
            "numpy",
            *QUICK,
        ).out
        for n, m in ((50, 1), (100, 3))
    )
    arithmetic = [
        next(float(row[3]) for row in rows(out) if row[0] == "in_proj") for out in (one, more)
    ]
    assert arithmetic[1] == pytest.approx(6 * arithmetic[0], abs=0.4)


def test_profiled_tokens_go_on_from_a_state_and_leave_it(way: Way) -> None:
    model = MambaLM.random(MICRO_LANGUAGE, num_threads=1)
    state = model.new_state()
    model([1, 2, 3], state=state)
    before = state.memory.copy()
    found = profile_tokens(model, [4], state=state)
    np.testing.assert_array_equal(state.memory, before)
    assert state.ids == [[1, 2, 3]]
    operations = [span.operation for span in found.spans]
    assert operations.count("head") == 1
    assert {span.layer for span in found.spans} == {None, 0, 1}


@pytest.mark.parametrize("way", COMPILED_WAYS, ids=str, indirect=True)
def test_no_span_of_a_prompt_is_lost_for_want_of_room(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MambaLM.random(MICRO_LANGUAGE, num_threads=1)
    ids = np.arange(250).reshape(1, -1)
    whole = [span.operation for span in profile_tokens(model, ids).spans]
    monkeypatch.setattr(profiling, "_FIRST_ROOM", 3)
    assert [span.operation for span in profile_tokens(model, ids).spans] == whole


@pytest.mark.skipif(extension.loaded() is None, reason="needs the compiled kernels")
def test_costs_are_of_the_bytes_in_memory() -> None:
    bytes_of = {
        dtype: MambaLM.random(MICRO_LANGUAGE, dtype=dtype, backend="native").costs()["head"].bytes
        for dtype in ("float32", "bfloat16", "int8")
    }
    assert bytes_of["float32"] > bytes_of["bfloat16"] > bytes_of["int8"]


# ---- Wrong use -----------------------------------------------------------------------------------

WRONG_USE = [
    (["--random", "mamba-130m", "--img-size", "32"], ["--img-size 32", "language model"]),
    (["--random", "mamba-130m", "--scan", "fixlen"], ["--scan fixlen", "scans fused only"]),
    (["--random", "tiny", "--dtype", "int8"], ["--dtype int8", "looks at pictures"]),
    (["--random", "tiny", "--tokens", "8"], ["--tokens 8", "looks at pictures"]),
    (["--random", "mamba-130m", "--tokens", "0"], ["--tokens 0", "from 1 up"]),
    (["--random", "mamba-130m", "--dtype", "float64"], ["--dtype", "float64", "int4"]),
]


@pytest.mark.parametrize("name", ["bench", "profile"])
@pytest.mark.parametrize(("arguments", "words"), WRONG_USE, ids=[str(row[0]) for row in WRONG_USE])
def test_wrong_use_is_one_line_on_stderr(
    arguments: list[str], words: list[str], name: str, command: Command
) -> None:
    assert_refused(command(name, *arguments), *words)


@pytest.mark.parametrize("name", ["bench", "profile"])
def test_pictures_load_nothing_of_language_models(name: str, micro_npz: Path) -> None:
    late = ["vimnp.models.language", "vimnp.engine.state", "vimnp.models.mamba", "vimnp.text"]
    code = f"""
import sys
from vimnp.cli import main
assert main([{name!r}, "--weights", {str(micro_npz)!r}, "--rounds", "1", "--threads", "1"]) == 0
found = {{*{late}}} & {{*sys.modules}}
assert not found, found
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
