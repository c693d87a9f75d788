"""Small files ``tokenizer.json`` of the usual kinds."""

from __future__ import annotations

import json
from typing import Any


def byte_characters() -> list[str]:
    """The characters that stand for bytes 0 to 255 in the files of byte-level tokenizers."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in shown else next(others)) for byte in range(256)]


def described(model: dict[str, Any], **parts: Any) -> str:
    """A tokenizer.json."""
    return json.dumps({"version": "1.0", "added_tokens": [], **parts, "model": model})


def byte_level(**options: Any) -> str:
    """Every byte, a merge of two, of which one may be half a character, and two added tokens."""
    characters = byte_characters()
    merges = [(characters[a], characters[b]) for a, b in (b"th", b"\xc3\xa9", b"\x9f\x99")]
    vocab = {character: index for index, character in enumerate(characters)}
    vocab |= {a + b: 256 + index for index, (a, b) in enumerate(merges)}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return described(
        {"type": "BPE", "vocab": vocab, "merges": [f"{a} {b}" for a, b in merges], **options},
        added_tokens=[added(259, "<|end|>", special=True), added(260, "   ", special=False)],
        pre_tokenizer=level,
        decoder=level,
    )


def added(index: int, content: str, *, special: bool) -> dict[str, Any]:
    sides = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": index, "content": content, "special": special, **sides}


def sentence_pieces() -> str:
    """Words with a sign for the space before them, bytes for what is no word."""
    words = ["\u2581", "\u2581a", "b", "\u2581\u2581", "é", "."]
    vocab = {f"<0x{byte:02X}>": byte for byte in range(256)}
    vocab |= {word: 256 + index for index, word in enumerate(words)}
    decoders: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ]
    return described(
        {"type": "BPE", "vocab": vocab, "merges": [], "byte_fallback": True},
        decoder={"type": "Sequence", "decoders": decoders},
    )


def word_pieces() -> str:
    """Words with a sign where none begins."""
    vocab = {word: index for index, word in enumerate(["[UNK]", "a", "##b", ".", "é"])}
    return described(
        {
            "type": "WordPiece",
            "vocab": vocab,
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
        },
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
    )
