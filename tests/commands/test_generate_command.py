"""``vimnp generate``: prompts from everywhere, text, JSON and states, and what is wrong."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import processes
from tests.support.commands import Command, assert_refused
from tests.support.micro_language import MICRO_LANGUAGE, write_language_model
from tests.support.writers import ScriptedModel
from vimnp.commands import generate
from vimnp.engine.settings import Backend
from vimnp.models.generation import Generation
from vimnp.models.mamba.model import MambaLM

GREEDY = ("--temp", 0, "-n", 4)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ScriptedModel:
    """Writes "abcd..." after any prompt."""
    made = ScriptedModel("abécdefgh".encode())

    def load(options: object) -> ScriptedModel:
        return made

    monkeypatch.setattr(generate, "load_language_model", load)
    monkeypatch.setattr(sys, "stdin", Stdin(b""))
    return made


class Stdin(io.TextIOWrapper):
    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_text_is_printed(command: Command, model: ScriptedModel) -> None:
    run = command("generate", "x", *GREEDY, "--weights", "w.npz")
    assert run == (0, "abé\n", "")
    assert command("generate", "x", *GREEDY, "--weights", "w.npz", "--echo").out == "xabé\n"


def test_the_model_that_nobody_asked_for_is_named(command: Command, model: ScriptedModel) -> None:
    run = command("generate", "x", *GREEDY)
    assert (run.code, run.out) == (0, "abé\n")
    assert "no --weights given: using the bundled model" in run.err


@pytest.mark.parametrize("content", [b"x", b"x\n", b"x\r\n"])
def test_a_prompt_comes_from_a_file_or_from_stdin(
    content: bytes,
    command: Command,
    model: ScriptedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "prompt").write_bytes(content)
    options = (*GREEDY, "-m", "w.npz", "--json")
    answers = [json.loads(command("generate", "-f", tmp_path / "prompt", *options).out)]
    monkeypatch.setattr(sys, "stdin", Stdin(content))
    answers.append(json.loads(command("generate", *options).out))
    assert [answer["prompt"] for answer in answers] == ["x", "x"]
    assert [answer["text"] for answer in answers] == ["abé", "abé"]


def test_json_says_how_it_ended_and_how_it_ran(command: Command, model: ScriptedModel) -> None:
    run = command("generate", "x", "--json", "--temp", 0, "--stop", "cd", "--stop", "zz", "-s", 7)
    answer = json.loads(run.out)
    seconds = {name: answer.pop(name) for name in [*answer] if name.startswith("seconds")}
    assert answer == {
        "prompt": "x",
        "text": "abé",
        "ids": [*"abécd".encode()],
        "finish_reason": "stop",
        "stop": "cd",
        "seed": 7,
        "prompt_tokens": 1,
        **model.way._asdict(),
    }
    assert {*seconds} == {"seconds_loading", "seconds_to_first_piece", "seconds_writing"}
    assert all(value >= 0 for value in seconds.values())


def test_json_of_a_stream_is_a_line_for_each_piece(command: Command, model: ScriptedModel) -> None:
    run = command("generate", "x", *GREEDY, "--json", "--stream")
    lines = [json.loads(line) for line in run.out.splitlines()]
    assert lines[:-1] == [{"piece": piece} for piece in "abé"]
    assert lines[-1]["text"] == "abé"
    assert command("generate", "x", *GREEDY, "--stream").out == "abé\n"


def test_a_terminal_gets_each_piece_at_once_and_nothing_to_obey(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ScriptedModel("a\x1b[2J\n\tb\u200d\u202e".encode())
    monkeypatch.setattr(generate, "load_language_model", lambda options: made)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert command("generate", "x", "--temp", 0, "-n", 14, "-m", "w.npz").code == 0
    assert terminal.getvalue() == "a\\x1b[2J\n\tb\u200d\\u202e\n"


def test_options_are_those_of_the_sampler(
    command: Command, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def stream(prompt: str, **options: Any) -> Any:
        seen.update(options)
        return ScriptedModel.stream(model, prompt)

    monkeypatch.setattr(model, "stream", stream)
    command("generate", "x")
    assert seen == {
        "state": None,
        "echo": False,
        "max_new_tokens": 128,
        "temperature": 0.8,
        "top_k": 40,
        "top_p": 0.95,
        "min_p": 0.05,
        "repetition_penalty": 1.0,
        "repetition_window": None,
        "seed": None,
        "stop": None,
        "ignore_eos": False,
    }
    given = "--temp 1.5 --top-k 0 --top-p 0.5 --min-p 0 --repeat-penalty 1.2 --repeat-last-n 64"
    command("generate", "x", *given.split(), "--seed", 3, "--ignore-eos", "--predict", 9)
    assert list(seen.values()) == [None, False, 9, 1.5, 0, 0.5, 0.0, 1.2, 64, 3, None, True]


def test_a_text_goes_on_from_a_state_that_was_kept(
    command: Command, model: ScriptedModel, tmp_path: Path
) -> None:
    kept, further = tmp_path / "a.state", tmp_path / "b.state"
    assert command("generate", "x", *GREEDY, "-m", "w", "--state-out", kept).out == "abé\n"
    options = ("-m", "w", "--state-in", kept, "--state-out", further)
    run = command("generate", "d", "--temp", 0, "-n", 2, *options)
    assert run == (0, "de\n", "")
    assert model.load_state(further).ids == [[*"xabédde".encode()]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([""], ["the prompt is empty"]),
        ([], ["the prompt is empty"]),
        (["-f", "{missing}"], ["missing", "No such file"]),
        (["-f", "{latin}"], ["latin", "byte 3 (0xe9) is no UTF-8; expected text in UTF-8"]),
        (["-f", "{folder}"], ["Is a directory"]),
        (["-f", ""], ["expected the name of a file"]),
        (["x", "-f", "{latin}"], ["not allowed with argument"]),
        (["x", "--temp", "-1"], ["temperature is -1.0; expected a number from 0 up"]),
        (["x", "--temp", "nan"], ["temperature is nan"]),
        (["x", "--temp", "warm"], ["--temp", "'warm'"]),
        (["x", "--top-p", "0"], ["top_p is 0.0; expected a number above 0"]),
        (["x", "--stop", ""], ["stop has ''"]),
        (["x", "-n", "-1"], ["max_new_tokens is -1"]),
        (["x", "--seed", "-1"], ["seed is -1"]),
        (["x", "--state-in", "{missing}"], ["missing", "No such file"]),
        (["x", "--state-in", "{latin}"], ["latin", "not a complete file of a state"]),
        (["x", "--state-out", "{folder}"], ["is a folder; expected the name of a file"]),
        (["x", "--dtype", "int3"], ["--dtype", "int3"]),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: list[str], words: list[str], command: Command, model: ScriptedModel, tmp_path: Path
) -> None:
    (tmp_path / "latin").write_bytes("abcé".encode("latin-1"))
    names = {"missing": tmp_path / "missing", "latin": tmp_path / "latin", "folder": tmp_path}
    run = command("generate", *(text.format(**names) for text in arguments))
    assert_refused(run, *words)
    assert model.calls == []


def test_stdin_that_is_no_text_or_closed_is_one_line(
    command: Command, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Stdin(b"\xff"))
    assert_refused(command("generate"), "stdin: byte 0 (0xff) is no UTF-8")
    monkeypatch.setattr(sys, "stdin", None)
    assert_refused(command("generate"), "stdin is closed")


def test_weights_of_pictures_are_one_line(command: Command, micro_npz: Path) -> None:
    run = command("generate", "x", "--weights", micro_npz)
    assert_refused(run, "micro.npz", "expected a language model")


# ---- With a network, as a process of its own -----------------------------------------------------


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_language_model(tmp_path / "language.npz")


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("dtype", [None, "int8"])
def test_a_network_writes(
    command: Command, weights: Path, backend: Backend, dtype: str | None
) -> None:
    options = ("-m", weights, "--backend", backend, "--threads", 2, "-s", 3, "-n", 9)
    options += () if dtype is None else ("--dtype", dtype)
    run = command("generate", "The with", *options, "--json")
    model = MambaLM.from_npz(weights, backend=backend, dtype=dtype, num_threads=2)
    sampled = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "seed": 3}
    expected = model.generate("The with", max_new_tokens=9, **sampled)
    assert isinstance(expected, Generation)
    answer = json.loads(run.out)
    assert (answer["ids"], answer["text"]) == (expected.ids, expected.text)
    assert (answer["backend"], answer["threads"]) == (backend, 2)
    assert command("generate", "The with", *options).out == f"{expected.text}\n"


def test_a_state_of_other_weights_is_one_line(
    command: Command, weights: Path, tmp_path: Path
) -> None:
    other = write_language_model(
        tmp_path / "other.npz", dataclasses.replace(MICRO_LANGUAGE, d_state=8)
    )
    kept = tmp_path / "kept.npz"
    assert command("generate", "x", "-m", other, "-n", 1, "--state-out", kept).code == 0
    assert_refused(command("generate", "x", "-m", weights, "--state-in", kept), "other weights")
    assert_refused(command("generate", "x", "-m", weights, "--state-in", weights), "language.npz")


def test_predict_does_not_load_what_writes(weights: Path) -> None:
    code = (
        "import sys\nfrom vimnp import cli\ncli.main(['predict', 'missing.png'])\n"
        "late = ['vimnp.models.generation', 'vimnp.models.language', 'vimnp.text.protocol', "
        "'vimnp.commands.generate', 'numpy.random']\n"
        "print({*late} & {*sys.modules})\n"
    )
    assert processes.run(code).stdout == "set()\n"


# Where the tests were started with the signal ignored, it would be so in the process, too.
INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from vimnp import cli
sys.exit(cli.main())
"""


def test_ctrl_c_ends_it_in_one_line(weights: Path) -> None:
    options = ["--stream", "--ignore-eos", "-n", "100000000", "-m", str(weights)]
    command = [sys.executable, "-c", INTERRUPTIBLE, "generate", "x", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.read(1)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, err) == (130, b"vimnp: interrupted\n")


def test_a_reader_that_leaves_early_ends_it(weights: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "vimnp", "generate", "x", "-m", str(weights), "--stream"],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")
