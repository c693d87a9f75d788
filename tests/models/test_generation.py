"""Texts that a model writes: one, several, in pieces, and further on from a state."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.writers import Scripted, Vocabulary, Writer
from vimnp.engine.state import State, StateSizes
from vimnp.errors import ConfigError, StateError, TextError, WeightsError
from vimnp.models.generation import Generation, advance_together, generate, stream
from vimnp.models.sampling import log_probabilities
from vimnp.text.byte_tokenizer import Bytes
from vimnp.text.protocol import expect_fitting

WRITER = Writer()
SAMPLED = {"temperature": 1.0, "top_k": 5, "seed": 3, "max_new_tokens": 12}


def one(*arguments: Any, **options: Any) -> Generation:
    found = generate(*arguments, **options)
    assert isinstance(found, Generation)
    return found


def many(*arguments: Any, **options: Any) -> list[Generation]:
    found = generate(*arguments, **options)
    assert isinstance(found, list)
    return found


def greedy(writer: Writer, ids: list[int], count: int) -> list[int]:
    """By whole passes over all tokens, without a state that is kept."""
    seen = list(ids)
    for _ in range(count):
        logits = writer(np.array([seen], np.intc))[0, -1]
        seen.append(int(np.argmax(logits[: writer.config.vocab_size])))
    return seen[len(ids) :]


# ---- One text ------------------------------------------------------------------------------------


def test_the_likeliest_tokens_are_written_by_default() -> None:
    found = one(WRITER, [5, 6, 7], max_new_tokens=20, ignore_eos=True)
    assert found.ids == greedy(WRITER, [5, 6, 7], 20)
    assert (found.prompt_ids, found.finish_reason, found.stop) == ([5, 6, 7], "length", None)
    assert (found.text, found.logprobs) == (None, None)
    assert len(one(WRITER, [5], ignore_eos=True).ids) == 128


def test_ids_beyond_the_vocabulary_are_never_drawn() -> None:
    writer = Writer(Vocabulary(vocab_size=20), padding=12)
    found = one(writer, [1], max_new_tokens=50)
    assert found.ids == greedy(writer, [1], 50)
    sampled = one(writer, [1], max_new_tokens=300, temperature=50.0, seed=0)
    assert {*sampled.ids} == {*range(20)}


def test_ids_that_the_tokenizer_does_not_know_are_never_drawn() -> None:
    class Few(Bytes):
        vocab_size = 100

        def knows(self, token: int) -> bool:
            return token < 100

    found = one(Writer(tokenizer=Few()), [1], max_new_tokens=400, temperature=50.0, seed=0)
    assert 90 < max(found.ids) < 100


def test_a_prompt_is_text_or_ids_of_any_kind() -> None:
    writer = Writer(tokenizer=Bytes())
    expected = one(writer, "abc", **SAMPLED)
    assert expected.prompt_ids == [97, 98, 99]
    for ids in ([97, 98, 99], (97, 98, 99), np.array([97, 98, 99], np.uint8), range(97, 100)):
        assert one(writer, ids, **SAMPLED) == expected


@pytest.mark.parametrize("options", [{}, {"temperature": 1.0, "seed": 1}])
def test_a_text_ends_at_an_eos_id_which_it_leaves_out(options: dict[str, Any]) -> None:
    writer = Scripted(b"ab\x07cd", eos_ids=(7,))
    found = one(writer, "x", logit_bias={}, **options | {"top_k": 1})
    assert (found.text, found.ids) == ("ab", [97, 98, 7])
    assert (found.finish_reason, found.stop) == ("stop", 7)
    assert one(writer, "x", ignore_eos=True, max_new_tokens=5).text == "ab\x07cd"
    for eos_ids in (98, [98], {98, 99}, np.array([98])):
        assert one(writer, "x", eos_ids=eos_ids).text == "a"
    assert one(writer, "x", eos_ids=[], max_new_tokens=4).text == "ab\x07c"


@pytest.mark.parametrize("stop", ["cd", ["zz", "cde", "cd"]])
def test_a_text_ends_before_a_stop_string(stop: Any) -> None:
    found = one(Scripted(b"abccdefg"), "x", stop=stop)
    assert (found.text, found.finish_reason, found.stop) == ("abc", "stop", "cd")
    assert found.ids == [*b"abccd"]


def test_the_end_of_what_was_held_back_is_told() -> None:
    found = one(Scripted(b"abc"), "x", stop="cde", max_new_tokens=3)
    assert (found.text, found.finish_reason) == ("abc", "length")
    found = one(Scripted("aé".encode()), "x", max_new_tokens=2)
    assert (found.text, found.finish_reason) == ("a\ufffd", "length")
    found = one(Scripted("aé".encode()), "x", max_new_tokens=2, stop="\ufffd")
    assert (found.text, found.finish_reason, found.stop) == ("a", "stop", "\ufffd")


def test_a_character_that_the_prompt_began_is_told_whole() -> None:
    content = "🙂".encode()
    found = one(Scripted(content[2:], prompt=2), list(content[:2]), max_new_tokens=2)
    assert found.text == "🙂"


def test_nothing_is_written_where_nothing_is_asked_for() -> None:
    found = one(Scripted(b"abc"), "x", max_new_tokens=0, echo=True, logprobs=0)
    assert (found.text, found.ids, found.finish_reason) == ("x", [120], "length")
    assert found.logprobs == [None]
    assert found.state.ids == [[120]]


# ---- Log-probabilities ---------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 130])
def test_log_probabilities_are_those_of_the_network_itself(length: int) -> None:
    writer = Writer(Vocabulary(vocab_size=20), padding=4)
    ids = np.random.default_rng(length).integers(0, 20, length).tolist()
    options = {"max_new_tokens": 3, "temperature": 2.0, "top_k": 4, "seed": 0}
    found = one(writer, ids, logprobs=2, echo=True, **options)
    assert found.ids[:length] == found.prompt_ids == ids
    expected = log_probabilities(writer(np.array([found.ids], np.intc))[0])
    assert found.logprobs is not None
    assert len(found.logprobs) == length + 3
    assert found.logprobs[0] is None
    for place, told in enumerate(found.logprobs[1:]):
        assert told is not None
        assert (told.token, told.logprob) == (
            found.ids[place + 1],
            expected[place, found.ids[place + 1]],
        )
        best = np.argsort(-expected[place, :20], kind="stable")[:2]
        assert told.top == tuple((token, expected[place, token]) for token in best)
    without = one(writer, ids, logprobs=2, **options)
    assert (without.ids, without.logprobs) == (found.ids[length:], found.logprobs[length:])
    assert one(writer, ids, **options).ids == without.ids


def test_an_echo_is_the_prompt_as_it_was_given() -> None:
    assert one(Scripted(b"abc"), "x", max_new_tokens=2, echo=True).text == "xab"
    assert one(Scripted(b"abc"), [120], max_new_tokens=2, echo=True).text == "xab"
    assert "".join(stream(Scripted(b"abc"), "x", max_new_tokens=2, echo=True)) == "xab"


# ---- Several texts -------------------------------------------------------------------------------


@given(
    st.lists(st.lists(st.integers(0, 255), min_size=1, max_size=9), min_size=1, max_size=5),
    st.integers(0, 2**64 - 1),
    st.sampled_from([0.0, 1.5]),
    st.integers(1, 3),
)
def test_each_prompt_gets_what_it_would_get_alone(
    prompts: list[list[int]], seed: int, temperature: float, samples: int
) -> None:
    options: dict[str, Any] = {
        "max_new_tokens": 8,
        "temperature": temperature,
        "seed": seed,
        "repetition_penalty": 1.3,
        "eos_ids": range(60),
        "num_samples": samples,
        "logprobs": 1,
    }
    together = many(WRITER, prompts, **options)
    alone = [generate(WRITER, prompt, **options) for prompt in prompts]
    flat = [each for found in alone for each in (found if isinstance(found, list) else [found])]
    assert together == flat
    for found in together:
        assert found.state.ids == [found.prompt_ids + found.ids]
        assert found.state.conv[0][0, :, 0].tolist() == [0, *found.state.ids[0]][-2:]


def test_samples_differ_and_the_first_does_not_depend_on_their_number() -> None:
    found = many(WRITER, [1, 2], num_samples=3, **SAMPLED)
    assert len({tuple(each.ids) for each in found}) == 3
    assert one(WRITER, [1, 2], **SAMPLED) == found[0]


def test_prompts_are_read_once_and_rows_that_are_over_leave_the_batch() -> None:
    writer = Scripted(b"abcdefgh")
    writer.calls.clear()
    found = many(writer, ["x", "y", "z"], num_samples=2, max_new_tokens=3)
    assert [each.text for each in found] == ["abc"] * 6
    assert writer.calls == [(1, 1)] * 3 + [(6, 1)] * 2
    assert found[0].state.ids == [[*b"xabc"]]
    assert writer.calls[-1] == (1, 1)
    assert found[0].state is found[0].state  # it is made once

    writer = Writer()
    found = many(writer, [[1], [2], [3], [4]], eos_ids=range(100), max_new_tokens=200)
    sizes = [batch for batch, _ in writer.calls[4:]]
    assert sizes == sorted(sizes, reverse=True)
    lengths = sorted(len(each.ids) for each in found)
    assert sizes == [sum(n > step for n in lengths) for step in range(1, lengths[-1])]


def test_a_batch_of_one_is_a_list() -> None:
    assert len(many(WRITER, [[1]], max_new_tokens=1)) == 1
    assert len(many(WRITER, [1], num_samples=1, max_new_tokens=1)) == 1
    assert len(many(WRITER, np.array([[1, 2], [3, 4]]), max_new_tokens=1)) == 2
    assert len(many(Scripted(b"ab"), ["x"], max_new_tokens=1)) == 1


def test_without_a_seed_another_text_is_written_each_time_and_the_seed_is_told() -> None:
    options = SAMPLED | {"seed": None, "temperature": 5.0, "top_k": 0}
    first, second = one(WRITER, [1], **options), one(WRITER, [1], **options)
    assert first.ids != second.ids
    assert one(WRITER, [1], **options | {"seed": first.seed}).ids == first.ids


# ---- From a state --------------------------------------------------------------------------------


def test_a_text_goes_on_from_where_another_one_ended() -> None:
    options = SAMPLED | {"temperature": 0.0, "eos_ids": []}
    whole = one(WRITER, [1, 2, 3], **options)
    first = one(WRITER, [1, 2, 3], **options | {"max_new_tokens": 5})
    state = first.state
    assert state.ids == [[1, 2, 3, *whole.ids[:5]]]
    rest = one(WRITER, whole.ids[5:6], state=state, **options | {"max_new_tokens": 6})
    assert rest.ids == whole.ids[6:]
    assert state.ids == [[1, 2, 3, *whole.ids[:5]]]  # it stays as it is
    assert rest.state.ids == [[1, 2, 3, *whole.ids]]


def test_the_penalty_knows_what_the_state_has_seen() -> None:
    options = {"max_new_tokens": 10, "repetition_penalty": 1.8, "eos_ids": []}
    whole = one(WRITER, [1, 2, 3, 4], **options)
    state = one(WRITER, [1, 2, 3], max_new_tokens=0).state
    assert one(WRITER, [4], state=state, **options).ids == whole.ids


def test_each_prompt_goes_on_from_the_state_or_from_its_own() -> None:
    states = [one(WRITER, ids, max_new_tokens=0).state for ids in ([1, 2], [3])]
    apart = [one(WRITER, [9], state=state, **SAMPLED) for state in states]
    together = many(WRITER, [[9], [9]], state=State.join(states), **SAMPLED)
    assert together == apart
    assert many(WRITER, [[9], [9]], state=states[1], **SAMPLED) == [apart[1]] * 2
    with pytest.raises(StateError, match="of 2 sequences, and there are 3 prompts"):
        generate(WRITER, [[1], [2], [3]], state=State.join(states))
    with pytest.raises(StateError, match="of 2 sequences, and there are 1 prompts"):
        generate(WRITER, [1], state=State.join(states))


def test_a_state_of_other_weights_is_refused() -> None:
    other = State(StateSizes(2, 3, 16, 1))
    for write in (
        lambda: generate(WRITER, [1], state=other),
        lambda: list(stream(Scripted(b"a"), "x", state=other)),
    ):
        with pytest.raises(StateError, match="the state is of a network of"):
            write()


def test_tokens_that_begin_a_text_do_not_come_in_its_middle() -> None:
    class Begun(Bytes):
        def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
            return [1] * add_special_tokens + super().encode(text)

    writer = Writer(tokenizer=Begun())
    first = one(writer, "a", max_new_tokens=0)
    assert first.prompt_ids == [1, 97]
    assert one(writer, "b", state=first.state, max_new_tokens=0).state.ids == [[1, 97, 98]]
    assert one(writer, "b", state=writer.new_state(), max_new_tokens=0).prompt_ids == [1, 98]


# ---- Streams -------------------------------------------------------------------------------------

CHARACTERS = st.characters(exclude_categories=["Cs"])


@given(
    st.text(CHARACTERS, min_size=1, max_size=20),
    st.lists(st.text(CHARACTERS, min_size=1, max_size=3), max_size=2),
)
def test_pieces_are_whole_characters_and_together_the_text(text: str, stops: list[str]) -> None:
    script = text.encode()
    options: dict[str, Any] = {"stop": [*stops, text[-2:]], "max_new_tokens": len(script)}
    writing = stream(Scripted(script), "x", **options)
    pieces = list(writing)
    expected = one(Scripted(script), "x", **options)
    assert "".join(pieces) == expected.text == writing.result.text
    assert all(pieces)
    assert "\ufffd" in text or "\ufffd" not in "".join(pieces)
    assert writing.result == dataclasses.replace(expected, seed=writing.result.seed)
    assert writing.result.finish_reason == "stop"


def test_a_piece_is_given_before_the_next_token_is_computed() -> None:
    writer = Scripted("aé<b".encode())
    writing = stream(writer, "x", stop="<>", max_new_tokens=5)
    assert writer.calls == []
    seen = [(piece, len(writer.calls)) for piece in writing]
    assert seen == [("a", 1), ("é", 3), ("<b", 5)]
    assert next(writing, None) is None


def test_a_stream_tells_what_there_is_at_any_time() -> None:
    writing = stream(Scripted(b"abcd"), "x", max_new_tokens=4)
    before = writing.result
    assert (before.text, before.ids, before.finish_reason) == ("", [], None)
    assert before.state.ids == [[120]]
    assert [next(writing), next(writing)] == ["a", "b"]
    result = writing.result
    assert (result.text, result.ids, result.finish_reason) == ("ab", [97, 98], None)
    assert list(writing) == ["c", "d"]
    assert result.state.ids == [[*b"xab"]]
    assert writing.result.state.ids == [[*b"xabcd"]]


def test_an_interrupted_pass_leaves_the_text_but_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Scripted(b"abcd")
    state = one(writer, "x", max_new_tokens=0).state
    writing = stream(writer, "x", max_new_tokens=4, state=state)
    next(writing)

    def interrupt(*_: object) -> np.ndarray:
        raise KeyboardInterrupt

    monkeypatch.setattr(writer, "after_each", interrupt)
    with pytest.raises(KeyboardInterrupt):
        next(writing)
    assert len(writing.result.ids) == 1
    with pytest.raises(StateError, match="interrupted"):
        writing.result.state  # noqa: B018
    state.check_whole()


def test_a_stream_is_of_one_text() -> None:
    for prompt, options in (("x", {"num_samples": 2}), (["x"], {}), ([[1], [2]], {})):
        with pytest.raises(ConfigError, match="a stream is of one text"):
            stream(Scripted(b"a"), prompt, **options)  # type: ignore[arg-type]
    with pytest.raises(TextError, match="no tokenizer"):
        stream(WRITER, [1])


# ---- What means nothing --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("", "the prompt is empty; expected one token or more"),
        ([], "the prompt is empty"),
        (np.empty(0), "the prompt is empty"),
        (["a", ""], r"prompts\[1\] is empty"),
        ([[1], []], r"prompts\[1\] is empty"),
        ([1, 256], "the prompt has the id 256 at position 1; expected ids from 0 to 255"),
        ([[1], [3, -1]], r"prompts\[1\] has the id -1 at position 1"),
        ([1 << 70], r"expected text, or whole numbers as ids"),
        ([0.5], r"the prompt is \[0.5\]; expected text, or whole numbers as ids"),
        ([True], "expected text, or whole"),
        ([1, [2]], r"prompts\[0\] is 1; expected text"),
        ([[[1]]], r"prompts\[0\] is \[\[1\]\]; expected text"),
        ([[[1], [2, 3]]], "expected text, or whole"),
        (np.zeros((1, 1, 1), int), "expected text, or whole"),
        (np.array(3), "expected text, or whole"),
        (b"abc", "the prompt is b'abc'; expected text"),
        (None, "the prompt is None; expected text"),
        ("a\ud800", "half a character"),
    ],
)
def test_what_is_no_prompt_is_refused(prompt: Any, expected: str) -> None:
    with pytest.raises(TextError, match=expected):
        generate(Scripted(b"a"), prompt)


def test_text_needs_a_tokenizer() -> None:
    with pytest.raises(TextError, match="no tokenizer; expected ids"):
        generate(WRITER, "abc")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_new_tokens": -1}, "max_new_tokens is -1; expected a whole number from 0"),
        ({"max_new_tokens": 2.5}, "max_new_tokens is 2.5"),
        ({"temperature": -1}, "temperature is -1"),
        ({"top_p": 0}, "top_p is 0"),
        ({"stop": ""}, "stop has ''"),
        ({"eos_ids": 256}, "an id of eos_ids is 256; expected a whole number from 0 to 255"),
        ({"eos_ids": "a"}, "an id of eos_ids is 'a'"),
        ({"eos_ids": 1.5}, "an id of eos_ids is 1.5"),
        ({"ignore_eos": 1}, "ignore_eos is 1; expected true or false"),
        ({"echo": "yes"}, "echo is 'yes'; expected true or false"),
        ({"seed": -1}, "seed is -1"),
        ({"num_samples": 0}, "num_samples is 0"),
        ({"logprobs": -1}, "logprobs is -1"),
        ({"logprobs": True}, "logprobs is True"),
        ({"logit_bias": {256: 1}}, "logit_bias names the id 256"),
        ({"logit_bias": dict.fromkeys(range(256), -math.inf)}, "bans all 256"),
    ],
)
def test_what_means_nothing_is_refused_before_anything_is_computed(
    options: Any, expected: str
) -> None:
    writer = Scripted(b"abc")
    for write in (generate, stream):
        with pytest.raises(ConfigError, match=expected):
            write(writer, "x", **options)
    assert writer.calls == []


def test_stop_strings_need_text() -> None:
    with pytest.raises(ConfigError, match="no tokenizer, so that there is no text"):
        generate(WRITER, [1], stop="a")
    with pytest.raises(TypeError, match="temprature"):
        generate(WRITER, [1], temprature=1)  # type: ignore[call-arg]


def test_a_tokenizer_of_more_ids_than_the_network_is_refused() -> None:
    expect_fitting(Bytes(), 256)
    with pytest.raises(TextError, match="has 256 ids, and the network knows 255; expected"):
        expect_fitting(Bytes(), 255)


# ---- Texts that come and go, a token each in one pass --------------------------------------------


TALKER = Writer(Vocabulary(vocab_size=128, eos_ids=(0,)), Bytes())


@given(
    prompts=st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=5),
    begins=st.lists(st.integers(0, 6), min_size=5, max_size=5),
    lengths=st.lists(st.integers(0, 9), min_size=5, max_size=5),
)
def test_texts_that_come_and_go_are_what_they_would_be_alone(
    prompts: list[str], begins: list[int], lengths: list[int]
) -> None:
    settings: list[Any] = [
        {"temperature": 1.0, "seed": seed, "max_new_tokens": length, "logprobs": 0}
        for seed, length in enumerate(lengths)
    ]
    writings = [stream(TALKER, each, **own) for each, own in zip(prompts, settings, strict=False)]
    told = [""] * len(writings)
    for turn in range(20):
        going = [i for i, begin in zip(range(len(writings)), begins, strict=False) if turn >= begin]
        outcomes = advance_together([writings[index] for index in going])
        for index, outcome in zip(going, outcomes, strict=True):
            assert isinstance(outcome, bool)
            told[index] += "".join(writings[index].pieces())
            if not outcome:
                assert writings[index].finish_reason is not None
    for prompt, own, writing, text in zip(prompts, settings, writings, told, strict=False):
        alone = one(TALKER, prompt, **own)
        assert writing.result == alone
        assert (text, writing.finish_reason) == (alone.text, alone.finish_reason)
        np.testing.assert_array_equal(writing.result.state.conv[0], alone.state.conv[0])


def test_texts_that_are_written_at_once_share_their_passes() -> None:
    writer = Writer(tokenizer=Bytes())
    writings = [stream(writer, each, ignore_eos=True) for each in ("a", "bc", "def")]
    assert advance_together(writings) == [True] * 3
    assert writer.calls == [(1, 1), (1, 2), (1, 3)]  # the prompts
    assert advance_together(writings) == [True] * 3
    assert advance_together(writings[1:]) == [True] * 2
    assert writer.calls[3:] == [(3, 1), (2, 1)]


class Broken(Writer):
    """Its logits after an "x" are no numbers."""

    def after_each(self, ids: np.ndarray, state: State, row: int) -> np.ndarray:
        logits = super().after_each(ids, state, row)
        logits[ids == ord("x")] = math.nan
        return logits


def test_what_is_wrong_with_one_text_does_not_hurt_the_others() -> None:
    broken, bias = Broken(tokenizer=Bytes()), {ord("x"): 1000.0}
    good = [stream(broken, each, logit_bias={ord("x"): -math.inf}, seed=1) for each in ("abc", "d")]
    late = stream(broken, "b", logit_bias=bias)  # it writes an x, and reads it in the next pass
    early = stream(broken, "x")
    first = advance_together([good[0], late, early, good[1]])
    assert [str(each)[:20] if isinstance(each, Exception) else each for each in first] == [
        True,
        True,
        "256 of the network's",
        True,
    ]
    second = advance_together([good[0], late, good[1]])
    assert (second[0], second[2]) == (True, True)
    assert isinstance(second[1], WeightsError)
    for prompt, writing in zip(("abc", "d"), good, strict=True):
        while writing.advance():
            pass
        assert writing.result == one(broken, prompt, logit_bias={ord("x"): -math.inf}, seed=1)


def test_a_pass_that_fails_leaves_all_texts_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(tokenizer=Bytes())
    writings = [stream(writer, each, seed=1) for each in ("ab", "c")]
    advance_together(writings)

    def fail(self: Writer, *arguments: Any, **options: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "__call__", fail)
        assert [type(each) for each in advance_together(writings)] == [MemoryError] * 2
    for prompt, writing in zip(("ab", "c"), writings, strict=True):
        while writing.advance():
            pass
        assert writing.result == one(writer, prompt, seed=1)
