"""Tokenizers of ``tokenizer.json`` files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tokenizer_files import byte_level, described, sentence_pieces, word_pieces
from vimnp.errors import TextError
from vimnp.text.protocol import TextCodec
from vimnp.text.tokenizer import Tokenizer

pytest.importorskip("tokenizers")


KINDS = {
    name: Tokenizer.from_text(text)
    for name, text in {
        "bytes": byte_level(),
        "sentence": sentence_pieces(),
        "word": word_pieces(),
    }.items()
}


def streamed(tokenizer: TextCodec, ids: list[int]) -> list[str]:
    stream = tokenizer.stream()
    return [*(stream.push(token) for token in ids), stream.finish()]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_pieces_put_together_are_the_whole(kind: str, data: st.DataObject) -> None:
    tokenizer = KINDS[kind]
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=30))
    assert "".join(streamed(tokenizer, ids)) == tokenizer.decode(ids)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_text_comes_back_and_in_whole_characters(text: str) -> None:
    tokenizer = KINDS["bytes"]
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    pieces = streamed(tokenizer, ids)
    assert "".join(pieces) == text
    assert "\ufffd" in text or not any("\ufffd" in piece for piece in pieces)


def test_half_a_character_is_held_back() -> None:
    tokenizer = KINDS["bytes"]
    ids = tokenizer.encode("thé🙂")
    assert ids == [256, 257, 0xF0, 258, 0x82]
    assert streamed(tokenizer, ids) == ["th", "é", "", "", "🙂", ""]
    assert streamed(tokenizer, ids[:-1]) == ["th", "é", "", "", "\ufffd"]
    assert streamed(KINDS["sentence"], [0xC3, 0xA9, 257]) == ["", "", "é a", ""]


def test_special_tokens_in_a_text_are_taken_for_what_they_are() -> None:
    tokenizer = KINDS["bytes"]
    ids = tokenizer.encode("a<|end|>   b")
    assert ids == [97, 259, 260, 98]
    assert tokenizer.decode(ids) == "a<|end|>   b"
    assert tokenizer.vocab_size == 261
    assert (tokenizer.knows(260), tokenizer.knows(261)) == (True, False)


def test_tokens_around_every_text_are_left_out_where_that_is_asked() -> None:
    values = json.loads(byte_level())
    values["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<|end|>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {"<|end|>": {"id": "<|end|>", "ids": [259], "tokens": ["<|end|>"]}},
    }
    tokenizer = Tokenizer.from_text(json.dumps(values))
    assert tokenizer.encode("a") == [259, 97]
    assert tokenizer.encode("a", add_special_tokens=False) == [97]


def test_a_text_has_all_of_its_ids_and_always_the_same() -> None:
    values = json.loads(byte_level(dropout=0.9))
    values["truncation"] = {"max_length": 2, "strategy": "LongestFirst", "stride": 0}
    values["truncation"]["direction"] = "Right"
    values["padding"] = {"strategy": {"Fixed": 50}, "direction": "Right", "pad_id": 0}
    values["padding"] |= {"pad_type_id": 0, "pad_token": "x", "pad_to_multiple_of": None}
    tokenizer = Tokenizer.from_text(json.dumps(values))
    for _ in range(20):
        assert tokenizer.encode("ththth") == [256, 256, 256]


NEITHER = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "[UNK]"}
DAMAGED = {
    "empty": "",
    "no JSON": "\xff",
    "no tokenizer": "{}",
    "nested": "[" * 100_000,
    "no model": described({"type": "Chance", "vocab": {}}),
    "ids too large": described({"type": "BPE", "vocab": {"a": 1 << 32}, "merges": []}),
    "merges of nothing": described({"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_one_clear_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(DAMAGED[name].encode("latin-1"))
    with pytest.raises(TextError, match=r"tokenizer\.json: not a tokenizer\.json .*; expected the"):
        Tokenizer.from_file(path)


def test_a_file_that_is_no_file_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        Tokenizer.from_file(tmp_path / "missing")
    with pytest.raises(OSError, match="a folder"):
        Tokenizer.from_file(tmp_path)
    if Path("/dev/zero").exists():
        with pytest.raises(OSError, match="a device"):
            Tokenizer.from_file("/dev/zero")


def test_a_file_of_any_size_is_refused_before_it_is_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vimnp.text.tokenizer.LARGEST_FILE", 1 << 20)
    (tmp_path / "tokenizer.json").write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(TextError, match="larger than 1 MiB"):
        Tokenizer.from_file(tmp_path / "tokenizer.json")


def test_what_has_no_ids_or_no_text_is_one_clear_error() -> None:
    tokenizer = Tokenizer.from_text(described(NEITHER))
    with pytest.raises(TextError, match=r"no ids for this text .*UNK"):
        tokenizer.encode("b")
    with pytest.raises(TextError, match=r"half a character"):
        tokenizer.encode("a\udc00")
    for token in (-1, 1 << 32):
        with pytest.raises(TextError, match="vocabulary"):
            tokenizer.decode([token])
    assert tokenizer.decode([7]) == ""


def test_what_stops_the_package_itself_is_one_clear_error() -> None:
    """It ends some mistakes of a file by what its language calls a panic."""
    stripping = {"type": "Strip", "content": "a", "start": 5, "stop": 5}
    tokenizer = Tokenizer.from_text(described(NEITHER, decoder=stripping))
    with pytest.raises(TextError, match=r"no text for these ids .*expected other ids"):
        tokenizer.decode([0])


def test_without_the_package_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(TextError, match=r"pip install 'vimnp\[text\]'"):
        Tokenizer.from_text(byte_level())


def test_texts_of_gpt_neox_are_those_of_the_original(golden: Path) -> None:
    folder = golden / "mamba"
    if not folder.is_dir():
        pytest.skip("needs the golden outputs of Mamba")
    tokenizer = Tokenizer.from_file(folder / "20B_tokenizer.json")
    assert tokenizer.vocab_size == 50277
    assert (tokenizer.knows(50276), tokenizer.knows(50277)) == (True, False)
    for case in json.loads((folder / "tokenizer_cases.json").read_text(encoding="utf-8")):
        assert tokenizer.encode(case["text"]) == case["ids"]
        assert tokenizer.decode(case["ids"]) == case["decoded"]
        assert "".join(streamed(tokenizer, case["ids"])) == case["decoded"]
