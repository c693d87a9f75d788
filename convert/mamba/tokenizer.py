"""The tokenizer's files: ``tokenizer.json`` and what ``tokenizer_config.json`` has beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vimnp.convert.formats.naming import quoted
from vimnp.convert.formats.side_file import parse_side_file, read_side_file
from vimnp.errors import CheckpointError
from vimnp.weights.metadata import TOKENIZER_LIMIT

CONFIG = "tokenizer_config.json"
_CONFIG_LIMIT = 8 << 20  # bytes; it may describe each added token
TEMPLATE = "chat_template.jinja"
_TEMPLATE_LIMIT = 1 << 20  # bytes


class TokenizerFiles(NamedTuple):
    """A tokenizer, and what was said beside it.

    Parameters
    ----------
    content : bytes
        Of ``tokenizer.json``.
    largest_id : int
        -1 where it knows no token.
    eos_id : int, optional
        The id of the token that ends a text.
    chat_template : str, optional
    """

    content: bytes
    largest_id: int
    eos_id: int | None = None
    chat_template: str | None = None


def read_tokenizer(path: Path) -> TokenizerFiles | None:
    """Read a ``tokenizer.json`` and what lies beside it; None if there is none.

    Raises
    ------
    CheckpointError
        If one of the files is not sound, or not of a tokenizer.
    """
    content = read_side_file(path, TOKENIZER_LIMIT)
    if content is None:
        return None
    values = parse_side_file(path, content)
    ids = dict(_ids(path, values))
    told = _read_config(path.parent / CONFIG)
    end = _text_of_token(told.get("eos_token"))
    return TokenizerFiles(
        content=content,
        largest_id=max(ids.values(), default=-1),
        eos_id=None if end is None else ids.get(end),
        chat_template=_read_template(path.parent, told),
    )


def _ids(path: Path, values: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Each token and its id."""
    model = values.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, list):  # of a Unigram: a token and its score, by the id
        for index, entry in enumerate(vocabulary):
            token = entry[0] if isinstance(entry, list) and entry else None
            yield token if isinstance(token, str) else "", index
    elif isinstance(vocabulary, dict):
        for token, index in vocabulary.items():
            yield token, _checked_id(path, token, index)
    else:
        raise CheckpointError(
            f"{path}: has no 'vocab' in its 'model'; expected a tokenizer of the package tokenizers"
        )
    added = values.get("added_tokens")
    for entry in added if isinstance(added, list) else []:
        token = _text_of_token(entry) if isinstance(entry, dict) else None
        if token is None:
            raise CheckpointError(
                f"{path}: an entry of its 'added_tokens' is {quoted(entry)}; expected a token"
            )
        yield token, _checked_id(path, token, entry.get("id"))


def _checked_id(path: Path, token: str, index: object) -> int:
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < 1 << 31:
        raise CheckpointError(
            f"{path}: the id of {quoted(token)} is {quoted(index)}; expected a whole number"
        )
    return index


def _text_of_token(entry: object) -> str | None:
    """A token's text, which stands by itself or under ``content``."""
    if isinstance(entry, dict):
        entry = entry.get("content")
    return entry if isinstance(entry, str) else None


def _read_config(path: Path) -> dict[str, Any]:
    data = read_side_file(path, _CONFIG_LIMIT)
    return {} if data is None else parse_side_file(path, data)


def _read_template(folder: Path, told: Mapping[str, Any]) -> str | None:
    """The template of a chat: in a file of its own, or one of those in the configuration."""
    path = folder / TEMPLATE
    data = read_side_file(path, _TEMPLATE_LIMIT)
    if data is not None:
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{path}: not UTF-8 ({error.reason})") from None
    template = told.get("chat_template")
    if isinstance(template, list):  # several, by name
        named = [t for t in template if isinstance(t, dict) and t.get("name") == "default"]
        template = named[0].get("template") if named else None
    if template is None or isinstance(template, str):
        return template
    raise CheckpointError(
        f"{folder / CONFIG}: its chat_template is {quoted(template)}; expected text"
    )
