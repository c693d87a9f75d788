"""What every language model offers: tokens -> logits, states to go on from, text."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import zlib
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, cast, overload

import numpy as np

from vimnp.counts import checked_count
from vimnp.engine.settings import MATRIX_DTYPES, Backend
from vimnp.engine.state import State, StateSizes
from vimnp.errors import ConfigError, StateError, TextError
from vimnp.models.model import Model
from vimnp.models.random_weights import random_reader
from vimnp.weights.family import ReadTensor
from vimnp.weights.file import WeightsFile
from vimnp.weights.members import as_stored, stored_dtype
from vimnp.weights.metadata import TOKENIZER, Metadata

if TYPE_CHECKING:
    from typing import Unpack

    from vimnp.engine.costs import Cost
    from vimnp.engine.trace import Trace
    from vimnp.models.generation import Generation, GenerationStream, Options
    from vimnp.models.prompts import Prompt, Prompts
    from vimnp.text.protocol import TextCodec

    Ids: TypeAlias = Sequence[int] | Sequence[Sequence[int]] | np.ndarray

Kind: TypeAlias = Literal["logits", "last", "features"]
"""The logits that every token has for the next, or the last one; or what the head reads of that."""

CHUNK = 120
"""Tokens of a sequence that go through the network together: what a pass needs of memory does not
grow with the prompt. Products take 120 rows at a time (`ROWS_AT_ONCE` in ``csrc/operands.h``)."""

_MOST_TOKENS = 1024  # of a pass, of all its sequences
_MOST_SEQUENCES = 1 << 20


class LanguageModel(Model):
    """A language model, on one of the backends: what every family's class offers.

    Its parameters, attributes and errors are those of :class:`vimnp.MambaLM`.
    """

    _settled = Model._settled | {"tokenizer"}

    def __init__(
        self,
        metadata: Metadata | None = None,
        read: ReadTensor | None = None,
        *,
        dtype: str | None = None,
        num_threads: int | None = None,
        backend: Backend | None = None,
        tokenizer_text: str | None = None,
        checksums: Mapping[str, int] | None = None,
    ) -> None:
        if dtype not in (None, *MATRIX_DTYPES):
            raise ConfigError(f"dtype is {dtype!r}; expected one of {MATRIX_DTYPES}, or None")
        self._asked_dtype, self._tokenizer_text = dtype, tokenizer_text
        self._checksums: dict[str, int] = dict(checksums or {})
        if metadata is not None and read is not None:
            self._check_family(metadata.config)
            if checksums is None:
                read = _summing(read, self._checksums)
            if dtype is not None:
                read = _stored_as(dtype, read, metadata)
        super().__init__(metadata, read, num_threads=num_threads, backend=backend)

    # ---- What a family's class says of itself ---------------------------------------------------

    def _output(self, kind: Kind, batch: int, length: int) -> Hashable:
        """What is asked for of so many sequences and tokens, in the words of the family."""
        raise NotImplementedError

    def _shape_of(self, output: Hashable) -> tuple[int, ...]:
        """The shape of what is asked for: (batch, ...)."""
        raise NotImplementedError

    def costs(self, length: int = 1) -> dict[str, Cost]:
        """Count what the logits after so many tokens take, by operation.

        Parameters
        ----------
        length : int
            Tokens of a sequence: 1 is the next token of a text, more are a prompt.

        Returns
        -------
        dict of str to vimnp.costs.Cost
            Arithmetic, exponentials and bytes of each operation, by the name that a profile has.
        """
        raise NotImplementedError

    def _facts(self) -> dict[str, str]:
        """What :meth:`summary` says of the family's sizes."""
        raise NotImplementedError

    # ---- Ways to make one, and settings ---------------------------------------------------------

    @classmethod
    def from_npz(
        cls,
        path: str | os.PathLike[str],
        *,
        dtype: str | None = None,
        num_threads: int | None = None,
        backend: Backend | None = None,
    ) -> Self:
        """Load a weights file that ``vimnp convert`` wrote.

        Parameters
        ----------
        path : path-like
            The ``.npz`` file.
        dtype, num_threads, backend
            As for the class.

        Raises
        ------
        WeightsError
            If the file is missing, damaged, or not a vimnp weights file.
        ConfigError
            As for the class.
        """
        with WeightsFile(path) as file:
            return cls.from_weights(file, dtype=dtype, num_threads=num_threads, backend=backend)

    @classmethod
    def from_weights(
        cls,
        file: WeightsFile,
        *,
        dtype: str | None = None,
        num_threads: int | None = None,
        backend: Backend | None = None,
    ) -> Self:
        """Load a weights file that is open; :meth:`from_npz` opens and closes one.

        Parameters
        ----------
        file : vimnp.weights.WeightsFile
            May be closed afterwards: what of it is mapped stays readable.
        dtype, num_threads, backend
            As for the class.

        Raises
        ------
        WeightsError
            If a tensor is damaged.
        ConfigError
            As for the class.
        """
        cls._check_family(file.metadata.config)
        return cls(
            file.metadata,
            cast("ReadTensor", file.read_stored),
            dtype=dtype,
            num_threads=num_threads,
            backend=backend,
            tokenizer_text=file.tokenizer_text(),
            checksums=file.checksums(),
        )

    @classmethod
    def random(
        cls,
        config: Any,
        seed: int = 0,
        *,
        dtype: str | None = None,
        num_threads: int | None = None,
        backend: Backend | None = None,
        tokenizer: Literal["bytes"] | None = None,
    ) -> Self:
        """Make a network of random weights, for benchmarks and tests.

        Parameters
        ----------
        config : MambaConfig
            Sizes and options of the network.
        seed : int
            The same seed gives the same weights.
        dtype, num_threads, backend
            As for the class.
        tokenizer : "bytes", optional
            What makes ids of a text; without it, there is none.

        Raises
        ------
        ConfigError
            As for the class, or if the vocabulary is smaller than the tokenizer's.
        """
        metadata = Metadata(config=config, preprocessing=None, tokenizer=tokenizer)
        read = random_reader(config, seed)
        return cls(metadata, read, dtype=dtype, num_threads=num_threads, backend=backend)

    def with_settings(self, *, num_threads: int | None = None) -> Self:
        """Give the same network, on the same weights in memory, with another number of threads.

        Parameters
        ----------
        num_threads : int, optional
            From 1 to 1024; without it the number stays.

        Raises
        ------
        ConfigError
            If that is no number of threads.
        """
        return self._with_settings(None, num_threads)

    @property
    def dtype(self) -> str:
        """How matrices are stored: "float32", "bfloat16", "int8" or "int4"; all else is float32."""
        return self._asked_dtype or self.metadata.dtype

    @functools.cached_property
    def tokenizer(self) -> TextCodec | None:
        """What makes ids of a text, and text of ids, where the weights bring it; None otherwise.

        Raises
        ------
        TextError
            If it does not fit the network, or needs a package that is missing.
        """
        if self.metadata.tokenizer is None:
            return None
        if self.metadata.tokenizer != TOKENIZER:
            from vimnp.text.byte_tokenizer import Bytes

            return Bytes()
        from vimnp.text.protocol import expect_fitting
        from vimnp.text.tokenizer import Tokenizer

        found = Tokenizer.from_text(self._tokenizer_text or "")
        expect_fitting(found, self.config.padded_vocab_size)
        return found

    def summary(self) -> str:
        """Describe what the network is made of and how it runs, to be printed.

        Returns
        -------
        str
            A line with the class's name, and one for each fact.
        """
        config = self.config
        padded = f", in {config.padded_vocab_size:,} rows" * (
            config.padded_vocab_size != config.vocab_size
        )
        tokenizer = self.metadata.tokenizer
        facts = {
            "vocabulary": f"{config.vocab_size:,} ids{padded}, "
            f"{'no tokenizer' if tokenizer is None else f'tokenizer: {tokenizer}'}",
            **self._facts(),
            "state": f"{4 * State.layout(self._state_sizes).floats:,} bytes of each sequence",
            "matrices": self.dtype,
        }
        return self._summary(facts)

    # ---- Tokens ---------------------------------------------------------------------------------

    def __call__(
        self, ids: Ids, *, state: State | None = None, last_only: bool = False
    ) -> np.ndarray:
        """Compute the logits for the token after each token, or after the last one.

        Parameters
        ----------
        ids : sequence of int, or ndarray of integers, shape (length,) or (batch, length)
            Tokens of one sequence or of several, from 0 to below ``config.padded_vocab_size``.
        state : State, optional
            What the network goes on from: one that this model has made, of as many sequences. It
            then is what the network knows after these tokens. Without it they are the beginning.
        last_only : bool
            Whether only the last token's are wanted. A prompt takes less time without the others.

        Returns
        -------
        ndarray of float32, shape (length, V), or (batch, length, V)
            V is ``config.padded_vocab_size``. With `last_only` (V,), or (batch, V). However a text
            is cut into calls, and whatever is beside it in a batch, its logits have the same bits.

        Raises
        ------
        TextError
            If `ids` are none of these, or there are none.
        StateError
            If the state is of other weights or another number of sequences, or a pass with it was
            interrupted.

        Examples
        --------
        >>> model = vimnp.load("pydoc", num_threads=1)
        >>> ids = model.tokenizer.encode("Return a")
        >>> state = model.new_state()
        >>> logits = model(ids, state=state, last_only=True)
        >>> logits.shape, model.tokenizer.decode([int(logits.argmax())])
        ((256,), ' ')
        """
        found = self._forward_all(ids, "last" if last_only else "logits", state=state)
        return found if np.ndim(ids) == 2 else found[0]

    def new_state(self, batch: int = 1) -> State:
        """Make the state before the first token.

        Parameters
        ----------
        batch : int
            How many sequences it is of, from 1 up.

        Returns
        -------
        State
            All zeros.

        Raises
        ------
        ConfigError
            If `batch` is no whole number from 1 up.
        """
        batch = checked_count("batch", batch, _MOST_SEQUENCES)
        return State(self._state_sizes, batch, digest=self.digest)

    def load_state(self, path: str | os.PathLike[str]) -> State:
        """Read a state that ``state.save(path)`` has written.

        Parameters
        ----------
        path : path-like
            The file.

        Returns
        -------
        State
            To the last bit the one that was saved.

        Raises
        ------
        StateError
            If the file is missing, damaged, hostile, or the state is of other weights.
        """
        num_ids = self.config.padded_vocab_size
        return State.load(path, self._state_sizes, digest=self.digest, num_ids=num_ids)

    @functools.cached_property
    def digest(self) -> str:
        """What tells these weights from others: SHA-256 of what is known of every tensor."""
        about = [self.config.to_dict(), self._asked_dtype, sorted(self._checksums.items())]
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    @functools.cached_property
    def _state_sizes(self) -> StateSizes:
        return StateSizes.of(self.config)

    def _forward_all(
        self,
        ids: Ids,
        kind: Kind = "logits",
        trace: Trace | None = None,
        *,
        state: State | None = None,
    ) -> np.ndarray:
        """What is asked for of some sequences, a row for each, in passes of some tokens."""
        tokens = self._checked_ids(ids)
        batch, length = tokens.shape
        if state is None:
            state = self.new_state(batch)
        self._check_state(state, batch)
        out = np.empty(self._shape_of(self._output(kind, batch, length)), np.float32)
        at_once = max(1, min(CHUNK, _MOST_TOKENS // batch))
        with state.advance(tokens):
            for begin in range(0, length, at_once):
                part = np.ascontiguousarray(tokens[:, begin : begin + at_once])
                end = begin + part.shape[1]
                if kind == "logits":
                    self._pass(part, kind, out[:, begin:end], state, trace)
                elif end == length:
                    self._pass(part, kind, out, state, trace)
                else:  # the head is for the last token alone
                    self._pass(part, "features", None, state, trace)
        return out

    def _pass(
        self, ids: np.ndarray, kind: Kind, out: np.ndarray | None, state: State, trace: Trace | None
    ) -> None:
        """Some tokens of each sequence (batch, length) -> what is asked for, if it is wanted."""
        output = self._output(kind, *ids.shape)
        is_contiguous = out is not None and out.flags.c_contiguous
        found = out if is_contiguous else np.empty(self._shape_of(output), np.float32)
        assert found is not None
        self._network.forward([ids], found, output=output, state=state, trace=trace)
        if out is not None and not is_contiguous:
            out[...] = found

    def _checked_ids(self, ids: Ids) -> np.ndarray:
        """(batch, length) of intc, C-contiguous."""
        most = self.config.padded_vocab_size
        expected = f"expected whole numbers from 0 to {most - 1}, (length,) or (batch, length)"
        if isinstance(ids, str | bytes):
            raise TextError(f"ids are text; {expected}: take model.tokenizer.encode(text)")
        try:
            found = np.asarray(ids)
        except (ValueError, TypeError, OverflowError):
            raise TextError(f"ids are no array, or rows of different lengths; {expected}") from None
        if found.ndim not in (1, 2):
            raise TextError(f"ids have the shape {found.shape}; {expected}")
        if not found.size:
            raise TextError(f"there are no ids (an empty prompt); {expected}, one or more")
        if found.dtype.kind not in "iu":
            raise TextError(f"ids are of the dtype {found.dtype}; {expected}")
        found = found.reshape(-1, found.shape[-1])
        outside = (found < 0) | (found >= most)
        if outside.any():
            row, position = (int(index) for index in np.argwhere(outside)[0])
            where = f" of sequence {row}" * (len(found) > 1)
            raise TextError(
                f"id {found[row, position]} at position {position}{where} is not in the network's "
                f"vocabulary; expected ids from 0 to {most - 1}"
            )
        return np.ascontiguousarray(found, np.intc)

    def _check_state(self, state: State, batch: int) -> None:
        if not isinstance(state, State):
            raise StateError(
                f"state is {type(state).__name__}; expected what model.new_state() makes"
            )
        state.check_weights(self._state_sizes, self.digest)
        if state.batch != batch:
            raise StateError(
                f"the state is of {state.batch} sequences, and the ids of {batch}; expected as "
                "many: model.new_state(batch), state[i] and State.join give others"
            )

    # ---- Text -----------------------------------------------------------------------------------

    @overload
    def generate(
        self,
        prompts: str | list[int] | tuple[int, ...] | range,
        *,
        state: State | None = None,
        num_samples: None = None,
        **options: Unpack[Options],
    ) -> Generation: ...
    @overload
    def generate(
        self,
        prompts: list[str] | list[list[int]] | tuple[str, ...],
        *,
        state: State | None = None,
        num_samples: int | None = None,
        **options: Unpack[Options],
    ) -> list[Generation]: ...
    @overload
    def generate(
        self,
        prompts: Prompts,
        *,
        state: State | None = None,
        num_samples: int,
        **options: Unpack[Options],
    ) -> list[Generation]: ...
    @overload
    def generate(
        self,
        prompts: Prompts,
        *,
        state: State | None = None,
        num_samples: int | None = None,
        **options: Unpack[Options],
    ) -> Generation | list[Generation]: ...
    def generate(
        self,
        prompts: Prompts,
        *,
        state: State | None = None,
        num_samples: int | None = None,
        **options: Unpack[Options],
    ) -> Generation | list[Generation]:
        """Write on from a prompt, or from several.

        Parameters
        ----------
        prompts : str, sequence of int, ndarray of integers of shape (length,), or several of these
            Text, or ids; of several each goes its own way, whatever their lengths, and gets what it
            would get alone.
        state : State, optional
            What the prompts go on from: of one sequence, or of one for each. It stays as it is.
        num_samples : int, optional
            How many texts are written for each prompt; without it one, which is no list then.
        max_new_tokens : int
            How many tokens are written at most (128).
        temperature : float
            Logits are divided by it: below 1 the likely tokens become likelier. 0, the default,
            takes the likeliest token always, and of several the one of the smallest id.
        top_k : int
            Leave this many likeliest tokens, and those that are as likely as the last of them. 0,
            the default, leaves all.
        top_p : float
            Leave the fewest likeliest tokens whose probabilities sum up to this or more; above 0
            and up to 1, the default, which leaves all.
        min_p : float
            Leave the tokens that are at least this share as likely as the likeliest; 0 to 1, by
            default 0.
        repetition_penalty : float
            Logits of tokens that were there before are divided by it where they are positive, and
            multiplied by it where they are negative. 1, the default, changes nothing.
        repetition_window : int, optional
            Only the last so many tokens count as having been there; without it all do, the
            prompt's, too.
        logit_bias : mapping of int to float, optional
            What is added to the logits of these ids. Minus infinity bans an id.
        stop : str or iterable of str, optional
            The text ends before the first of these.
        eos_ids : int or iterable of int, optional
            Ids that end a text, in place of those that the weights name.
        ignore_eos : bool
            Whether to go on after these.
        seed : int, optional
            Of the random numbers; without it, another one each time. The first sample of a prompt
            has the same ones whatever is beside it.
        logprobs : int, optional
            Have the log-probability of each token, and those of so many likeliest ones beside it.
        echo : bool
            Put the prompt before the text, the ids and the log-probabilities.

        Returns
        -------
        Generation, or a list of these where there is a list of prompts, or `num_samples`
            All samples of the first prompt come first.

        Raises
        ------
        ConfigError
            If an option means nothing.
        TextError
            If a prompt is empty, or has no ids that the network knows.
        StateError
            If `state` is of other weights, or a pass with it was interrupted.

        Examples
        --------
        >>> model = vimnp.load("pydoc", num_threads=1)
        >>> first = model.generate("Return a", max_new_tokens=5)
        >>> first.text, first.finish_reason
        (' list', 'length')
        >>> model.generate(" of", state=first.state, max_new_tokens=4).text  # it goes on from there
        ' the'
        >>> drawn = model.generate("Return a", max_new_tokens=5, temperature=1.2, num_samples=2)
        >>> [len(found.ids) for found in drawn]
        [5, 5]
        """
        from vimnp.models.generation import generate

        return generate(self, prompts, state=state, num_samples=num_samples, **options)

    def stream(
        self, prompt: Prompt, *, state: State | None = None, **options: Unpack[Options]
    ) -> GenerationStream:
        """Write on from a prompt, and give what is written as soon as it is certain.

        Parameters
        ----------
        prompt : str, sequence of int, or ndarray of integers, shape (length,)
            Text, or ids.
        state : State, optional
            What the prompt goes on from, of one sequence. It stays as it is.
        **options
            As for :meth:`generate`.

        Returns
        -------
        vimnp.models.generation.GenerationStream
            An iterator of pieces of text. Nothing is computed before the first is asked for.

        Raises
        ------
        ConfigError
            As for :meth:`generate`, or if there is more than one text to write.
        TextError
            As for :meth:`generate`, or if the weights bring no tokenizer.
        StateError
            As for :meth:`generate`.

        Examples
        --------
        >>> pieces = vimnp.load("pydoc", num_threads=1).stream("Return a", max_new_tokens=5)
        >>> [*pieces]
        [' ', 'l', 'i', 's', 't']
        >>> pieces.result.text
        ' list'
        """
        from vimnp.models.generation import stream

        return stream(self, prompt, state=state, **options)


def _summing(read: ReadTensor, checksums: dict[str, int]) -> ReadTensor:
    """Note the checksum of each tensor that is read."""

    def read_and_sum(name: str) -> np.ndarray:
        tensor: Any = read(name)
        numbers = tensor if isinstance(tensor, np.ndarray) else tensor.codes
        checksums[name] = zlib.crc32(np.ascontiguousarray(numbers).data)
        return cast("np.ndarray", tensor)

    return read_and_sum


def _stored_as(dtype: str, read: ReadTensor, metadata: Metadata) -> ReadTensor:
    """Give matrices as a file of this dtype would hold them, whatever they are stored as."""
    tensors = metadata.config.tensors()

    def read_as(name: str) -> Any:
        from vimnp.weights.encodings import Encoded, decode

        tensor: Any = read(name)
        if isinstance(tensor, Encoded):
            if tensor.dtype == stored_dtype(tensors[name], dtype):
                return tensor
            tensor = decode(tensor)
        return as_stored(tensors[name], dtype, tensor)

    return cast("ReadTensor", read_as)
