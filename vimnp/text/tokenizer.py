"""The tokenizer of a ``tokenizer.json``, through the package ``tokenizers``."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from vimnp.errors import TextError, excerpt
from vimnp.storage.files import open_regular
from vimnp.text.protocol import expect_known, expect_unicode

if TYPE_CHECKING:
    import tokenizers

LARGEST_FILE = 1 << 26  # bytes; the largest of published tokenizers has about 35 million

# SentencePiece's tokens for single bytes. A decoder looks at all that stand side by side at once.
_BYTE = re.compile("<0x[0-9A-F]{2}>")


class Tokenizer:
    """A tokenizer as models on the Hub have it.

    Made by :meth:`from_file` or :meth:`from_text`, with the package ``tokenizers``. Special tokens
    in a text are taken for what they are, and the text of ids has them, too. What the file says of
    truncation, padding and dropout is left out: the ids of a text are all of its ids, and always
    the same.

    Examples
    --------
    >>> import json
    >>> words = {"type": "WordLevel", "vocab": {"hello": 0, "world": 1, "?": 2}, "unk_token": "?"}
    >>> described = {"version": "1.0", "pre_tokenizer": {"type": "Whitespace"}, "model": words}
    >>> tokenizer = vimnp.Tokenizer.from_text(json.dumps(described | {"added_tokens": []}))
    >>> tokenizer.encode("hello world"), tokenizer.decode([1, 0]), tokenizer.vocab_size
    ([0, 1], 'world hello', 3)
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self._tokenizer = tokenizer

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Tokenizer:
        """Read a file ``tokenizer.json``.

        Parameters
        ----------
        path : path-like
            The file, of 64 MiB at most.

        Raises
        ------
        TextError
            If it is no such file, or the package ``tokenizers`` is missing.
        OSError
            If the file cannot be read.
        """
        with open(open_regular(path), "rb") as file:
            content = file.read(LARGEST_FILE + 1)
        try:
            return cls.from_text(content)
        except TextError as error:
            raise TextError(f"{os.fspath(path)}: {error}") from None

    @classmethod
    def from_text(cls, text: str | bytes) -> Tokenizer:
        """Make one of what stands in a file ``tokenizer.json``.

        Parameters
        ----------
        text : str or bytes
            Bytes are UTF-8.

        Raises
        ------
        TextError
            As for :meth:`from_file`.
        """
        if len(text) > LARGEST_FILE:
            raise TextError(
                f"not a tokenizer.json: it is larger than {LARGEST_FILE >> 20} MiB; expected the "
                "file of a published tokenizer"
            )
        package = _load_package()
        content = text.encode(errors="replace") if isinstance(text, str) else text
        with _as_text_error("not a tokenizer.json", "expected the file of a published tokenizer"):
            made = package.Tokenizer.from_buffer(content)
            made.no_truncation()
            made.no_padding()
            if getattr(made.model, "dropout", None) is not None:
                made.model.dropout = None
        return cls(made)

    @property
    def vocab_size(self) -> int:
        """How many ids it knows, those of added tokens included."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def knows(self, token: int) -> bool:
        """Say whether there is a token of this id.

        Parameters
        ----------
        token : int
            The id.

        Returns
        -------
        bool
            False for ids between those of the tokens, too.
        """
        return self._tokenizer.id_to_token(token) is not None

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Encode a text as ids.

        Parameters
        ----------
        text : str
            Special tokens in it are taken for what they are.
        add_special_tokens : bool
            Whether those come, too, that the file has put around every text. GPT-NeoX's has none.

        Returns
        -------
        list of int
            Empty for the empty text, where the file puts nothing around it.

        Raises
        ------
        TextError
            If the text holds half a character, or the tokenizer has no ids for it.
        """
        expect_unicode(text)
        with _as_text_error("the tokenizer has no ids for this text", "expected another text"):
            return list(self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Decode ids to their text.

        Parameters
        ----------
        ids : sequence of int
            An id without a token has no text.

        Returns
        -------
        str
            With the text of special tokens. What is half a character is U+FFFD.

        Raises
        ------
        TextError
            If an id can be none.
        """
        expect_known(ids, _IDS)
        with _as_text_error("the tokenizer has no text for these ids", "expected other ids"):
            return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def stream(self) -> TokenStream:
        """Make a decoder for ids that come one after another.

        Returns
        -------
        vimnp.text.tokenizer.TokenStream
            Its ``push(token)`` gives the text that is certain with this id, ``finish()`` the rest.
        """
        return TokenStream(self)

    def is_byte(self, token: int) -> bool:
        """Say whether the token is one of SentencePiece's single bytes.

        Parameters
        ----------
        token : int
            Its id.

        Returns
        -------
        bool
            True for what is called ``<0x0A>`` and the like.
        """
        return _BYTE.fullmatch(self._tokenizer.id_to_token(token) or "") is not None


_IDS = 1 << 32  # the package counts in 32 bits


class TokenStream:
    """Ids one after another -> text, in whole characters.

    What a token's text is may depend on the one before it: so the last ids that are told of already
    are decoded again with those that are not, and what comes out more is the new text.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._told = 0  # of `_ids`, the number whose text was given
        self._before = ""  # the text of those

    def push(self, token: int) -> str:
        """The text that is certain once this id is there; often none."""
        self._ids.append(token)
        text = self._tokenizer.decode(self._ids)
        if text.endswith("\ufffd") or self._tokenizer.is_byte(token):
            return ""
        return self._tell(text)

    def finish(self) -> str:
        """What was held back, where no more ids come: half characters as U+FFFD."""
        return self._tell(self._tokenizer.decode(self._ids))

    def _tell(self, text: str) -> str:
        new = text[len(self._before) :]
        self._ids = self._ids[self._told :]
        self._told = len(self._ids)
        self._before = self._tokenizer.decode(self._ids)
        return new


def _load_package() -> ModuleType:
    try:
        import tokenizers
    except ImportError:
        raise TextError(
            "a tokenizer.json needs the package tokenizers: pip install 'vimnp[text]'"
        ) from None
    return tokenizers


@contextlib.contextmanager
def _as_text_error(what: str, expected: str) -> Iterator[None]:
    """Make our error of whatever the package raises."""
    try:
        yield
    except BaseException as error:
        # What its Rust code calls a panic is no Exception, and has a class that none can import.
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise TextError(f"{what} ({excerpt(error)}); {expected}") from None
        raise
