"""Text that a language model writes: token after token, in a batch, or as a stream of pieces."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypedDict

import numpy as np

from vimnp.counts import checked_count
from vimnp.engine.state import State
from vimnp.errors import ConfigError, StateError, TextError
from vimnp.models.prompts import CheckedPrompt, Vocabulary, checked_prompts, is_one
from vimnp.models.sampling import (
    Sampling,
    TokenLogprob,
    checked_seed,
    make_generator,
    token_logprob,
)
from vimnp.text.protocol import TextCodec, TextStream
from vimnp.text.stops import StopStrings, checked_stops

if TYPE_CHECKING:
    from typing import Unpack

    from vimnp.models.prompts import Prompts

FinishReason: TypeAlias = Literal["stop", "length"]

_MOST_TOKENS = 1 << 40
_MOST_SAMPLES = 1 << 16
_MOST_TOP = 1 << 20
_CONTEXT = 32  # ids before a text that decide on its beginning; a character takes four at most
_CHUNK = 64  # tokens whose logits are in memory at once where those of a prompt are asked for


class Vocabularied(Protocol):
    """What of a configuration matters here."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def eos_ids(self) -> tuple[int, ...]: ...


class Writer(Protocol):
    """What a model needs to have, to write."""

    @property
    def config(self) -> Vocabularied: ...

    @property
    def tokenizer(self) -> TextCodec | None: ...

    def new_state(self, batch: int = 1) -> State: ...

    def __call__(
        self, ids: np.ndarray, *, state: State | None = None, last_only: bool = False
    ) -> np.ndarray: ...


class Options(TypedDict, total=False):
    """What a generation takes by name; see :meth:`vimnp.MambaLM.generate`."""

    max_new_tokens: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    repetition_window: int | None
    logit_bias: Mapping[int, float]
    stop: str | Iterable[str] | None
    eos_ids: int | Iterable[int] | None
    ignore_eos: bool
    seed: int | None
    logprobs: int | None
    echo: bool


@dataclasses.dataclass(frozen=True)
class Generation:
    """What a model has written.

    Parameters
    ----------
    text : str or None
        Up to the stop string or the id that ended it, without these; None where the model has no
        tokenizer. With `echo` the prompt comes first.
    ids : list of int
        All that were drawn, those of a stop string and the one that ended it, too. With `echo` the
        prompt's come first.
    finish_reason : {"stop", "length"} or None
        Whether a stop string or an id ended it, or the number of tokens that was asked for. None if
        it is not over.
    stop : str, int or None
        The stop string or the id that ended it.
    prompt_ids : list of int
        What it goes on from.
    logprobs : list of TokenLogprob or None
        Of each of `ids`, where they were asked for. The first of a prompt that is echoed has none.
    seed : int
        With this seed the same is written again.

    Examples
    --------
    >>> written = vimnp.load("pydoc").generate("Return a", max_new_tokens=5, logprobs=2)
    >>> written.text, written.ids, written.finish_reason
    (' list', [32, 108, 105, 115, 116], 'length')
    >>> likeliest = written.logprobs[0].top  # of the first token: ids, and their logarithms
    >>> [token for token, _ in likeliest], bool(np.exp(likeliest[0][1]) > 0.5)
    ([32, 110], True)
    """

    text: str | None
    ids: list[int]
    finish_reason: FinishReason | None
    stop: str | int | None
    prompt_ids: list[int]
    logprobs: list[TokenLogprob | None] | None
    seed: int
    _going_on: _GoingOn = dataclasses.field(repr=False, compare=False)

    @property
    def state(self) -> State:
        """What the network knows after all of these ids: what to go on from.

        It takes a pass of one token when it is asked for first.

        Raises
        ------
        StateError
            If a pass was interrupted.
        """
        return self._going_on.state()


def generate(
    model: Writer,
    prompts: Prompts,
    *,
    state: State | None = None,
    num_samples: int | None = None,
    **options: Unpack[Options],
) -> Generation | list[Generation]:
    """Have a model go on from a prompt, or from several; see :meth:`vimnp.MambaLM.generate`."""
    samples = {} if num_samples is None else {"num_samples": num_samples}
    settings = _Settings.of(model, {**options, **samples})
    vocabulary = Vocabulary(model.config.vocab_size, model.tokenizer)
    checked = checked_prompts(prompts, vocabulary, state)
    batch = _Batch(model, [_Row(p, s, settings) for p in checked for s in range(settings.samples)])
    batch.read_prompts()
    while batch.is_running:
        batch.step()
    results = batch.results()
    return results[0] if is_one(prompts) and num_samples is None else results


def stream(
    model: Writer,
    prompt: Any,
    *,
    state: State | None = None,
    **options: Unpack[Options],
) -> GenerationStream:
    """Have a model go on from a prompt, piece by piece; see :meth:`vimnp.MambaLM.stream`."""
    settings = _Settings.of(model, options)
    if settings.samples != 1 or not is_one(prompt):
        raise ConfigError("a stream is of one text; expected one prompt, and num_samples 1")
    if model.tokenizer is None:
        raise TextError("these weights bring no tokenizer, so that there is no text to stream")
    vocabulary = Vocabulary(model.config.vocab_size, model.tokenizer)
    (checked,) = checked_prompts(prompt, vocabulary, state)
    return GenerationStream(model, _Row(checked, 0, settings))


class GenerationStream(Iterator[str]):
    """The pieces of a text that a model is writing; none ends in half a character.

    Made by :meth:`vimnp.MambaLM.stream`. Put together they are the text of :attr:`result`. What may
    be the beginning of a stop string is held back until it is certain that it is none.
    """

    def __init__(self, model: Writer, row: _Row) -> None:
        self._row, self._batch = row, _Batch(model, [row])
        self._given = 0

    def __next__(self) -> str:
        while self._given == len(self._row.pieces):
            if not self.advance():
                raise StopIteration
        self._given += 1
        return self._row.pieces[self._given - 1]

    def advance(self) -> bool:
        """Read the prompt and write the first token, or write the next.

        What is certain thereafter is told by :meth:`pieces`.

        Returns
        -------
        bool
            False if the text is over, and nothing was written.
        """
        if not self._batch.has_read:
            self._batch.read_prompts()
        elif self._batch.is_running:
            self._batch.step()
        else:
            return False
        return True

    def pieces(self) -> list[str]:
        """Give the pieces that are certain, and were not given yet.

        Returns
        -------
        list of str
            Empty where nothing is certain.
        """
        found = self._row.pieces[self._given :]
        self._given += len(found)
        return found

    @property
    def prompt_ids(self) -> list[int]:
        """The ids that it goes on from."""
        return self._row.prompt.ids

    @property
    def num_written(self) -> int:
        """Tokens that were drawn so far."""
        return len(self._row.ids)

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the text is over, as :attr:`result` has it; None while it is not."""
        return self._row.finish_reason

    def logprobs_from(self, start: int) -> list[tuple[int, TokenLogprob | None]]:
        """Give the ids and log-probabilities of :attr:`result` from one on.

        Parameters
        ----------
        start : int
            How many are left out.

        Returns
        -------
        list of (int, vimnp.models.sampling.TokenLogprob or None)
            Empty where no log-probabilities were asked for.
        """
        return self._row.logprobs_from(start)

    @property
    def result(self) -> Generation:
        """All that there is so far."""
        return self._batch.results()[0]


def advance_together(writings: Sequence[GenerationStream]) -> list[bool | Exception]:
    """A token more for each of some texts of one model, in one pass of the network.

    They may come and go between the calls: each is what it would be alone.

    Parameters
    ----------
    writings : sequence of GenerationStream
        Different ones, of the same model. Of those whose prompt is not read yet, it is now.

    Returns
    -------
    list of bool or Exception
        For each what its :meth:`GenerationStream.advance` returns, or raises: what is wrong with
        one text does not hurt the others.
    """
    batches = [writing._batch for writing in writings]
    found: list[bool | Exception] = [False] * len(batches)
    together = []
    for index, batch in enumerate(batches):
        if batch.has_read and batch.is_running:
            together.append(index)
        else:
            found[index] = _outcome(writings[index].advance)
    if len(together) == 1:
        found[together[0]] = _outcome(writings[together[0]].advance)
    elif together:
        outcomes = _step_together([batches[index] for index in together])
        for index, outcome in zip(together, outcomes, strict=True):
            found[index] = outcome
    return found


def _outcome(call: Callable[[], bool]) -> bool | Exception:
    try:
        return call()
    except Exception as error:
        return error


def _step_together(batches: Sequence[_Batch]) -> list[bool | Exception]:
    """A step of each, of which every one has one state."""
    try:
        state = State.join([batch.state for batch in batches])
        ids = np.concatenate([batch.next_ids for batch in batches])
        logits = batches[0].model(ids, state=state, last_only=True)
    except Exception as error:  # nothing of any text has changed
        return [error] * len(batches)
    found: list[bool | Exception] = []
    begin = 0
    for batch in batches:
        end = begin + len(batch.next_ids)
        rows = _joined([state[row] for row in range(begin, end)])
        assert rows is not None
        found.append(_outcome(functools.partial(batch.take, rows, logits[begin:end])))
        begin = end
    return found


@dataclasses.dataclass(frozen=True)
class _Settings:
    """Options that mean something."""

    sampling: Sampling
    vocab_size: int
    drawable: int
    tokenizer: TextCodec | None
    max_new_tokens: int
    stops: tuple[str, ...]
    eos_ids: frozenset[int]
    seed: int
    samples: int
    logprobs: int | None
    echo: bool

    @classmethod
    def of(cls, model: Writer, options: Mapping[str, Any]) -> _Settings:
        """Check what was given for a model, and fill in what was not."""
        given: dict[str, Any] = dict(options)
        names = {field.name for field in dataclasses.fields(Sampling)}
        sampling = Sampling(**{name: given.pop(name) for name in names & {*given}})
        return cls._filled_in(model, sampling, **given)

    @classmethod
    def _filled_in(
        cls,
        model: Writer,
        sampling: Sampling,
        *,
        max_new_tokens: int = 128,
        stop: str | Iterable[str] | None = None,
        eos_ids: int | Iterable[int] | None = None,
        ignore_eos: bool = False,
        seed: int | None = None,
        num_samples: int = 1,
        logprobs: int | None = None,
        echo: bool = False,
    ) -> _Settings:
        vocabulary = Vocabulary(model.config.vocab_size, model.tokenizer)
        drawable = vocabulary.drawable
        sampling.check_vocabulary(drawable)
        stops = checked_stops(stop)
        if stops and vocabulary.tokenizer is None:
            raise ConfigError(
                "stop is given, and these weights bring no tokenizer, so that there is no text; "
                "expected eos_ids in its place"
            )
        ends = _checked_eos(model.config.eos_ids if eos_ids is None else eos_ids, vocabulary.size)
        for name, value in (("ignore_eos", ignore_eos), ("echo", echo)):
            if not isinstance(value, bool | np.bool_):
                raise ConfigError(f"{name} is {value!r}; expected true or false")
        if logprobs is not None:
            logprobs = checked_count("logprobs", logprobs, _MOST_TOP, least=0)
        return cls(
            sampling=sampling,
            vocab_size=vocabulary.size,
            drawable=drawable,
            tokenizer=vocabulary.tokenizer,
            max_new_tokens=checked_count("max_new_tokens", max_new_tokens, _MOST_TOKENS, least=0),
            stops=stops,
            eos_ids=frozenset() if ignore_eos else ends,
            seed=checked_seed(seed),
            samples=checked_count("num_samples", num_samples, _MOST_SAMPLES),
            logprobs=logprobs,
            echo=bool(echo),
        )


def _checked_eos(eos_ids: int | Iterable[int], vocab_size: int) -> frozenset[int]:
    several = eos_ids if isinstance(eos_ids, Iterable) else (eos_ids,)
    return frozenset(checked_count("an id of eos_ids", i, vocab_size - 1, least=0) for i in several)


class _Row:
    """A text while it is written."""

    def __init__(self, prompt: CheckedPrompt, sample: int, settings: _Settings) -> None:
        self.prompt = prompt
        self.state: State | None = None  # once the row is not in the batch, or not yet
        self.ids: list[int] = []
        self.pieces: list[str] = []
        self.finish_reason: FinishReason | None = None
        self._stop: str | int | None = None
        self._settings = settings
        self._generator = make_generator(settings.seed, sample)
        self._logprobs: list[TokenLogprob | None] = []
        before = prompt.state.ids[0] if prompt.state is not None else []
        self._seen = [*before, *prompt.ids]
        self._stops = StopStrings(settings.stops)
        self._text: TextStream | None = None
        if settings.tokenizer is not None:
            self._text = settings.tokenizer.stream()
            for token in self._seen[-_CONTEXT:]:
                self._text.push(token)  # a character may begin before the text
            if settings.echo:
                text = prompt.text
                self._tell(settings.tokenizer.decode(prompt.ids) if text is None else text)

    @property
    def reads_all_logits(self) -> bool:
        """Whether the log-probabilities of the prompt are asked for."""
        return self._settings.echo and self._settings.logprobs is not None

    def note_prompt(self, logprobs: Sequence[TokenLogprob | None]) -> None:
        """Put the prompt's log-probabilities before those that come."""
        self._logprobs = [*logprobs]

    def logprob(self, logits: np.ndarray, token: int) -> TokenLogprob:
        """How likely a token was."""
        settings = self._settings
        return token_logprob(logits, token, settings.logprobs or 0, settings.vocab_size)

    def logprobs_from(self, start: int) -> list[tuple[int, TokenLogprob | None]]:
        """The ids that have one, and these, without the first ones."""
        before = self.prompt.ids if self.reads_all_logits else []
        ids = [*before, *self.ids][start : len(self._logprobs)]
        return [*zip(ids, self._logprobs[start:], strict=True)]

    def begin(self) -> None:
        """End before anything is written, where nothing is to be."""
        if not self._settings.max_new_tokens:
            self._end("length", None)

    def take(self, logits: np.ndarray) -> None:
        """Draw the next token, and decide whether it is the last.

        Parameters
        ----------
        logits : ndarray of float32, shape (padded_vocab_size,)
        """
        settings = self._settings
        token = settings.sampling.draw(logits[: settings.drawable], self._seen, self._generator)
        self.ids.append(token)
        self._seen.append(token)
        if settings.logprobs is not None:
            self._logprobs.append(self.logprob(logits, token))
        if token in settings.eos_ids:
            self._end("stop", token)
            return
        if self._text is not None:
            self._tell(self._stops.push(self._text.push(token)))
        if self._stops.found is not None:
            self._end("stop", self._stops.found)
        elif len(self.ids) >= settings.max_new_tokens:
            self._end("length", None)

    def _end(self, reason: FinishReason, stop: str | int | None) -> None:
        """Tell what was held back, in which a stop string may end, too."""
        if self._text is not None and self._stops.found is None:
            self._tell(self._stops.push(self._text.finish()))
            self._tell(self._stops.finish())
            if self._stops.found is not None:
                reason, stop = "stop", self._stops.found
        self.finish_reason, self._stop = reason, stop

    def _tell(self, piece: str) -> None:
        if piece:
            self.pieces.append(piece)

    def result(self, going_on: _GoingOn) -> Generation:
        """All that there is so far."""
        settings = self._settings
        before = self.prompt.ids if settings.echo else []
        return Generation(
            text=None if self._text is None else "".join(self.pieces),
            ids=[*before, *self.ids],
            finish_reason=self.finish_reason,
            stop=self._stop,
            prompt_ids=self.prompt.ids,
            logprobs=None if settings.logprobs is None else list(self._logprobs),
            seed=settings.seed,
            _going_on=going_on,
        )


class _Batch:
    """Texts that are written side by side; one that is over leaves the others to themselves."""

    def __init__(self, model: Writer, rows: Sequence[_Row]) -> None:
        self.model, self._rows = model, rows
        self._running: list[_Row] = []
        self._state: State | None = None  # of those that are running
        self.has_read = False

    @property
    def is_running(self) -> bool:
        """Whether there is a text that is not over."""
        return bool(self._running)

    def read_prompts(self) -> None:
        """Each prompt goes through the network by itself, once for all of its samples."""
        for _, rows in itertools.groupby(self._rows, lambda row: id(row.prompt)):
            self._read([*rows])
        self._running = [row for row in self._rows if row.finish_reason is None]
        self._state = _joined([row.state for row in self._running if row.state is not None])
        for row in self._running:
            row.state = None
        self.has_read = True

    def step(self) -> None:
        """One token more for each text that is not over."""
        state = self.state
        self.take(state, self.model(self.next_ids, state=state, last_only=True))

    @property
    def state(self) -> State:
        """Of the texts that are not over."""
        assert self._state is not None
        return self._state

    @property
    def next_ids(self) -> np.ndarray:
        """What the network has to read next: intc, shape (texts, 1)."""
        return np.array([[row.ids[-1]] for row in self._running], np.intc)

    def take(self, state: State, logits: np.ndarray) -> bool:
        """What came of reading these; returns true.

        Parameters
        ----------
        state : State
            Thereafter.
        logits : ndarray of float32, shape (texts, padded_vocab_size)
        """
        self._state = state
        for row, of_row in zip(self._running, logits, strict=True):
            row.take(of_row)
        if any(row.finish_reason for row in self._running):
            self._let_go()
        return True

    def results(self) -> list[Generation]:
        """All that there is so far, of each row."""
        return [row.result(_GoingOn(self.model, row, self._state_of(row))) for row in self._rows]

    def _read(self, rows: list[_Row]) -> None:
        """The rows of one prompt."""
        prompt = rows[0].prompt
        state = self.model.new_state() if prompt.state is None else prompt.state.copy()
        if rows[0].reads_all_logits:
            logits, logprobs = self._read_all_logits(rows[0], state)
            for row in rows:
                row.note_prompt(logprobs)
        else:
            ids = np.array([prompt.ids], np.intc)
            logits = self.model(ids, state=state, last_only=True)[0]
        for row in rows:
            row.state = state if row is rows[-1] else state.copy()
            row.begin()
            if row.finish_reason is None:
                row.take(logits)

    def _read_all_logits(
        self, row: _Row, state: State
    ) -> tuple[np.ndarray, list[TokenLogprob | None]]:
        """The logits after a prompt, and how likely each of its tokens was after the first."""
        logprobs: list[TokenLogprob | None] = []
        last = None
        for start in range(0, len(row.prompt.ids), _CHUNK):
            ids = row.prompt.ids[start : start + _CHUNK]
            logits = self.model(np.array([ids], np.intc), state=state)[0]
            logprobs.append(None if last is None else row.logprob(last, ids[0]))
            logprobs += map(row.logprob, logits, ids[1:])
            last = logits[-1]
        assert last is not None  # no prompt is empty
        return last, logprobs

    def _let_go(self) -> None:
        """Give those that are over their own states, and keep those of the others."""
        assert self._state is not None
        left, states = [], []
        for index, row in enumerate(self._running):
            if row.finish_reason is None:
                left.append(row)
                states.append(self._state[index])
            else:
                row.state = self._state[index]
        self._running, self._state = left, _joined(states)

    def _state_of(self, row: _Row) -> State | None:
        """As it is now; None before the prompt was read."""
        if row.state is not None or self._state is None:
            return row.state
        try:
            return self._state[self._running.index(row)]
        except StateError:  # it was interrupted: whoever asks for it is told
            return self._state


def _joined(states: list[State]) -> State | None:
    return states[0] if len(states) == 1 else State.join(states) if states else None


class _GoingOn:
    """Makes the state after a text when it is asked for: the last token was not read yet."""

    def __init__(self, model: Writer, row: _Row, state: State | None) -> None:
        self._model, self._state = model, state
        self._before = row.prompt.state
        self._ids = [*row.prompt.ids, *row.ids]

    def state(self) -> State:
        """The state that has seen all ids."""
        state = self._state
        if state is None:
            state = self._model.new_state() if self._before is None else self._before.copy()
        state.check_whole()
        before = 0 if self._before is None else len(self._before.ids[0])
        unread = self._ids[len(state.ids[0]) - before :]
        if unread:
            self._model(np.array([unread], np.intc), state=state, last_only=True)
        self._state = state
        return state
