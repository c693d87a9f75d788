"""``vimnp info`` of a language model's weights file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commands import Command, facts
from tests.support.micro_language import MICRO_LANGUAGE, write_language_model
from vimnp.models.mamba.model import MambaLM


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_what_a_language_model_has(dtype: str, command: Command, tmp_path: Path) -> None:
    path = write_language_model(tmp_path / "w.npz", dtype=dtype)
    run = command("info", path)
    assert (run.code, run.err) == (0, "")
    found = facts(run.out)
    assert (found["family"], found["dtype"]) == ("mamba", dtype)
    assert found["parameters"] == f"{MICRO_LANGUAGE.num_parameters:,}"
    assert (found["tokenizer"], found["chat_template"]) == ("bytes", "none")
    size = MambaLM.from_npz(path).new_state().memory.nbytes
    assert found["state"] == f"{size:,} bytes of each sequence"
    assert found["d_model"] == "16"
    assert "labels" not in found


def test_whether_there_is_a_chat_template(command: Command, tmp_path: Path) -> None:
    path = write_language_model(tmp_path / "w.npz", chat_template="{{ messages }}")
    assert facts(command("info", path).out)["chat_template"] == "there is one"
