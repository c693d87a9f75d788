"""Commands that take weights by name, and those that fetch, list and remove them."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import Command, assert_refused
from tests.support.commands import command as command
from tests.support.fake_hub import COMMIT, FakeHub
from tests.support.mamba_checkpoints import CONFIG, write_original
from vimnp.commands import serve
from vimnp.hub import names
from vimnp.hub.names import Origin, origins
from vimnp.models.mamba.model import MambaLM
from vimnp.weights import WeightsFile

DIGIT = Path(__file__).parents[1] / "data" / "digit_3_45.png"
MICRO = f"us--micro/{COMMIT}/micro.pth.float32.v3.npz"


@pytest.fixture
def micro(hub: FakeHub, micro_pth: Path, cache: Path) -> Path:
    """Where the weights are to lie of what us/micro has."""
    hub.repositories["us/micro"] = {"micro.pth": micro_pth.read_bytes()}
    return cache / "weights" / MICRO


def test_fetch_prints_where_the_weights_lie(command: Command, micro: Path, hub: FakeHub) -> None:
    run = command("fetch", "us/micro")
    assert (run.code, run.out) == (0, f"{micro}\n")
    assert run.err.startswith("vimnp: fetching us/micro/micro.pth, ")
    assert "vimnp: assumed " in run.err
    assert command("fetch", "us/micro") == (0, f"{micro}\n", "")
    run = command("fetch", "us/micro", "--dtype", "float16", "--revision", COMMIT)
    with WeightsFile(run.out.strip()) as file:
        assert file.metadata.dtype == "float16"
    asked = len(hub.log)
    assert command("fetch", "us/micro", "--refresh", "--file", "micro.pth").code == 0
    assert len(hub.log) > asked


def test_fetch_without_a_name_lists_them(command: Command) -> None:
    run = command("fetch")
    assert run.code == 0
    listed = [line.split("|")[1].strip() for line in run.out.splitlines()[2:]]
    assert listed == [*origins()]
    assert "non-commercial" in run.out


def test_predict_takes_a_name(command: Command, micro: Path) -> None:
    run = command("predict", DIGIT, "--model", "us/micro", "--json")
    assert run.code == 0
    by_file = command("predict", DIGIT, "--weights", micro, "--json")
    assert by_file == (0, run.out, "")  # nobody says that no weights are given
    assert command("predict", DIGIT, "--model", micro, "--json") == by_file
    int8 = command("predict", DIGIT, "--model", "us/micro", "--precision", "int8", "--json")
    kept = micro.with_name(micro.name.replace("float32", "int8"))
    assert command("predict", DIGIT, "--weights", kept, "--json").out == int8.out


def test_a_table_says_which_weights_a_name_stood_for(
    command: Command, micro: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rows.jsonl"
    assert command("predict", DIGIT, "--model", "us/micro", "--output", out).code == 0
    assert out.exists()
    run = command("eval", DIGIT.parent, "--model", "us/micro", "--json", "--limit", 1)
    if run.code == 0:  # folders of classes are another matter
        digest = hashlib.sha256(micro.read_bytes()).hexdigest()
        assert json.loads(run.out)["weights_sha256"] == digest


def test_serve_takes_names_of_both_kinds(
    hub: FakeHub, micro: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_original(tmp_path / "lm")
    hub.repositories["us/lm-1.4b"] = {path.name: path.read_bytes() for path in folder.iterdir()}
    table = {
        "micro": Origin("us/micro", "MIT", "vim"),
        "lm-1.4b": Origin("us/lm-1.4b", "MIT", "mamba"),
    }
    monkeypatch.setattr(names, "_LISTED", table)
    options = argparse.Namespace(
        model=["micro", "lm-1.4b", "again=us/lm-1.4b"],
        dtype="int4",
        precision="int8",
        threads=1,
        backend=None,
    )
    served = serve._load(options)
    assert [*served] == ["micro", "lm-1.4b", "again"]
    assert served["micro"].metadata.dtype == "int8"
    assert served["lm-1.4b"].metadata.dtype == "int4"


def test_bench_takes_a_name(command: Command, micro: Path) -> None:
    run = command("profile", "--model", "us/micro", "--rounds", 1)
    assert run.code == 0
    assert f"network: {micro}; " in run.out


def test_a_language_model_has_a_name(
    command: Command, hub: FakeHub, cache: Path, tmp_path: Path
) -> None:
    folder = write_original(tmp_path / "lm")
    hub.repositories["us/lm"] = {path.name: path.read_bytes() for path in folder.iterdir()}
    run = command("profile", "--model", "us/lm", "--rounds", 1, "--dtype", "int8")
    assert run.code == 0
    (kept,) = cache.rglob("*.npz")
    assert MambaLM.from_npz(kept).config.d_model == CONFIG.d_model
    assert ".int8." in kept.name
    assert_refused(command("generate", "x", "--model", "us/lm", "--dtype", "int8"), "tokenizer")


def test_a_name_and_a_file_exclude_each_other(command: Command, micro_npz: Path) -> None:
    for name in ("predict", "explain"):
        run = command(name, DIGIT, "--model", "vim-tiny", "--weights", micro_npz)
        assert_refused(run, "not allowed with")


@pytest.mark.parametrize("name", ["predict", "explain"])
def test_without_the_client_one_sentence_says_what_to_install(
    command: Command, name: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert_refused(command(name, DIGIT, "--model", "vim-tiny"), "pip install 'vimnp[hub]'")


def test_a_wrong_name_is_refused(command: Command, cache: Path) -> None:
    assert_refused(command("predict", DIGIT, "--model", "vim-tinny"), "is it vim-tiny")
    assert_refused(command("fetch", "vim-tinny"), "is it vim-tiny")
    assert_refused(command("cache", "clear", "vim-tinny"), "is it vim-tiny")
    assert_refused(command("predict", DIGIT, "--model", "missing.npz"), "missing.npz")


def test_the_cache_is_listed_and_cleared(command: Command, micro: Path, cache: Path) -> None:
    assert command("cache", "list") == (0, f"{cache}\n", "")
    command("fetch", "us/micro")
    run = command("cache", "list")
    assert run.out.splitlines()[0] == str(cache)
    assert run.out.splitlines()[3].split("|")[1:4] == [
        " us/micro   ",
        f" {COMMIT[:12]} ",
        " micro.pth.float32.v3.npz ",
    ]
    assert command("cache", "clear", "us/other").out == "removed 0 files, 0.0 MB\n"
    assert command("cache", "clear", "us/micro").out.startswith("removed 1 files, ")
    assert not micro.exists()
    assert command("cache", "list", "us/micro") == (0, f"{cache}\n", "")


def test_the_whole_command_in_a_process_of_its_own(micro: Path, tmp_path: Path) -> None:
    words = ["-m", "vimnp", "predict", str(DIGIT), "--model", "us/micro", "--top-k", "1"]
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    for place in ({}, {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"}):
        done = subprocess.run(
            [sys.executable, *words],
            env=environment | place,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        assert done.stdout.startswith(f"{DIGIT}\n")
    assert done.stderr == ""
