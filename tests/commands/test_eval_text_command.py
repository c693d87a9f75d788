"""``vimnp eval-text``: what is printed, in text and in JSON, and what is wrong."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.support.commands import Command, assert_refused
from tests.support.micro_language import write_language_model
from vimnp.evaluate import likelihood
from vimnp.models.mamba.model import MambaLM

TEXT = "A state is what a sequence leaves behind.\n"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_language_model(tmp_path / "w.npz")


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.mark.parametrize("window", [None, 8])
def test_a_text_is_measured(
    window: int | None, command: Command, weights: Path, book: Path
) -> None:
    asked = () if window is None else ("--window", window)
    run = command("eval-text", book, "--weights", weights, "--json", *asked)
    assert run.code == 0
    found = json.loads(run.out)
    model = MambaLM.from_npz(weights)
    text = likelihood.encoded_text(model, TEXT)
    expected = likelihood.likelihood_of(model, text, window=window)
    assert found["logprob"] == expected.logprob
    assert found["bits_per_byte"] == expected.bits_per_byte
    assert found["perplexity"] == pytest.approx(math.exp(-found["logprob"] / found["tokens"]))
    assert (found["tokens"], found["bytes"], found["window"]) == (*expected[1:], window)
    printed = command("eval-text", book, "--weights", weights, *asked)
    assert f"{expected.perplexity:.4f} a token" in printed.out
    assert f"{expected.bits_per_byte:.4f}" in printed.out


def test_only_the_first_tokens(command: Command, weights: Path, book: Path) -> None:
    run = command("eval-text", book, "--weights", weights, "--limit", 5, "--json")
    assert json.loads(run.out)["tokens"] == 5


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ("the text is empty",)),
        (b"ab\xff", ("byte 2", "expected text in UTF-8")),
        (None, ("book.txt", "No such file")),
    ],
)
def test_what_is_no_text_is_refused(
    content: bytes | None, words: tuple[str, ...], command: Command, weights: Path, tmp_path: Path
) -> None:
    path = tmp_path / "book.txt"
    if content is not None:
        path.write_bytes(content)
    assert_refused(command("eval-text", path, "--weights", weights), *words)


def test_a_window_of_nothing_is_refused(command: Command, weights: Path, book: Path) -> None:
    assert_refused(command("eval-text", book, "--weights", weights, "--window", 0), "--window")
