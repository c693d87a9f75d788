"""``vimnp chat``: lines are answered, with a template or without."""

from __future__ import annotations

import io
import sys

import pytest

from tests.support.commands import Command, Run, assert_refused
from tests.support.writers import ScriptedModel
from vimnp.cli import main
from vimnp.commands import chat

GREEDY = ("--temp", 0, "-n", 3, "-m", "w.npz")


class Chat:
    """Runs the command with lines on stdin, and a model that writes a script."""

    def __init__(self, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        self._command, self._monkeypatch = command, monkeypatch

    def __call__(self, model: ScriptedModel, lines: bytes, *options: object) -> Run:
        self._monkeypatch.setattr(chat, "load_language_model", lambda options: model)
        stdin = io.TextIOWrapper(io.BytesIO(lines), encoding="utf-8")
        self._monkeypatch.setattr(sys, "stdin", stdin)
        return self._command("chat", *GREEDY, *options)


@pytest.fixture
def talk(command: Command, monkeypatch: pytest.MonkeyPatch) -> Chat:
    return Chat(command, monkeypatch)


def scripted(script: bytes, prompt: str, **options: object) -> ScriptedModel:
    return ScriptedModel(script, len(prompt), **options)


def test_lines_are_answered_and_what_was_said_is_known(talk: Chat) -> None:
    first, second = "User: hi\nAssistant:", "\nUser: so?\nAssistant:"
    script = b"abc" + b"." * len(second) + b"def"
    model = scripted(script, first)
    run = talk(model, b"hi\n\n  \nso?\r\n", "--plain")
    assert run == (0, "abc\ndef\n", "")
    lengths = [length for _, length in model.calls]
    assert lengths == [len(first), 1, 1, 1, len(second), 1, 1, 1]


def test_without_a_template_that_is_said(talk: Chat) -> None:
    run = talk(scripted(b"abc", "User: hi\nAssistant:"), b"hi")
    assert (run.code, run.out) == (0, "abc\n")
    assert run.err == (
        "vimnp: these weights bring no chat template: messages are put as 'User: ...' and "
        "'Assistant: ...'\n"
    )


def test_a_template_puts_the_messages(talk: Chat) -> None:
    pytest.importorskip("jinja2")
    template = "{% for m in messages %}{{ m.role }}={{ m.content }}{{ eos_token }}{% endfor %}>"
    model = scripted(b"ab#", "system=short#user=hi#>", chat_template=template, eos_ids=(35,))
    assert talk(model, b"hi\n", "--system", "short") == (0, "ab\n", "")
    broken = scripted(b"ab", "x", chat_template="{{ nothing() }}")
    assert_refused(talk(broken, b"hi\n"), "the chat template cannot be applied", "nothing")
    ignored = scripted(b"abc", "User: hi\nAssistant:", chat_template="{{ nothing() }}")
    assert talk(ignored, b"hi\n", "--plain") == (0, "abc\n", "")


def test_lines_that_are_no_text_and_a_closed_stdin_are_one_line(
    talk: Chat, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    model = ScriptedModel(b"abc")
    assert_refused(talk(model, b"\xff\n", "--plain"), "stdin: line 1 is no UTF-8")
    assert_refused(talk(model, b"a\n", "--plain", "--temp", -1), "temperature is -1.0")
    assert_refused(talk(model, b"a\n", "--plain", "--stop", ""), "stop has ''")
    monkeypatch.setattr(sys, "stdin", None)
    assert_refused(command("chat", *GREEDY, "--plain"), "stdin is closed")


def test_nothing_said_is_nothing_answered(talk: Chat) -> None:
    assert talk(ScriptedModel(b"abc"), b"", "--plain") == (0, "", "")


def test_a_terminal_is_asked_for_each_line(talk: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    lines = iter(["hi", "", "so?\x00"])

    def ask(prompt: str) -> str:
        assert prompt == "> "
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    model = scripted(b"a\x1b" + b"c" * 99, "User: hi\nAssistant:")
    monkeypatch.setattr(chat, "load_language_model", lambda options: model)
    monkeypatch.setattr("builtins.input", ask)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setitem(sys.modules, "readline", None)
    assert main(["chat", *map(str, GREEDY), "--plain"]) == 0
    assert terminal.getvalue() == "a\\x1bc\nccc\n\n"
