"""``vimnp convert`` of language models: a folder, a dtype, a tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commands import Command, assert_refused
from tests.support.mamba_checkpoints import CONFIG, write_json, write_original, write_transformers
from vimnp.models.mamba.config import MambaConfig
from vimnp.weights import WeightsFile


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8", "int4"])
def test_a_folder_is_converted(dtype: str, command: Command, tmp_path: Path) -> None:
    folder, out = write_transformers(tmp_path / "mamba", shards=2), tmp_path / "mamba.npz"
    run = command("convert", folder, out, "--dtype", dtype, "--set", "eos_ids=0,5")
    assert run.code == 0, run.err
    size = out.stat().st_size
    assert run.out == f"{out}: {CONFIG.num_parameters:,} parameters, {dtype}, {size:,} bytes\n"
    with WeightsFile(out) as file:
        assert file.metadata.dtype == dtype
        assert file.metadata.config.eos_ids == (0, 5)


def test_it_says_what_it_assumed(command: Command, tmp_path: Path) -> None:
    folder = write_original(tmp_path / "mamba")
    run = command("convert", folder, tmp_path / "mamba.npz")
    assert run.out.splitlines()[0] == "assumed eos_ids=none, as no config.json tells"


def test_a_tokenizer_is_named(command: Command, tmp_path: Path) -> None:
    config = MambaConfig(d_model=4, n_layer=1, vocab_size=256)
    folder, out = write_original(tmp_path / "mamba", config), tmp_path / "mamba.npz"
    write_json(tmp_path / "words.json", {"model": {"vocab": {"a": 0}}})
    for given, expected in (("bytes", "bytes"), (tmp_path / "words.json", "tokenizer.json")):
        run = command("convert", folder, out, "--tokenizer", given)
        assert run.code == 0, run.err
        with WeightsFile(out) as file:
            assert file.metadata.tokenizer == expected


def test_what_is_refused(command: Command, micro_pth: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    run = command("convert", micro_pth, out, "--dtype", "int4")
    assert_refused(run, "dtype is 'int4' in a file of the family 'vim'", "float16")
    run = command("convert", micro_pth, out, "--tokenizer", "bytes")
    assert_refused(run, "takes no text; leave it out")
    folder = write_original(tmp_path / "mamba")
    assert_refused(command("convert", folder, out, "--tokenizer", "no.json"), "no.json", "No such")
    assert_refused(command("convert", folder, out, "--set", "crop_pct=1"), "crop_pct")
    assert_refused(command("convert", folder, out, "--set", "eos_ids=x"), "eos_ids", "or none")
    assert_refused(command("convert", folder, out, "--set", "vocab_size=65"), "vocab_size 65")
    assert not out.exists()
