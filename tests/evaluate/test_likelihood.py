"""How likely a language model finds texts: against the original, and lm_eval's definitions."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import golden_mamba
from vimnp.errors import ConfigError, TextError
from vimnp.evaluate import likelihood
from vimnp.models.mamba.config import MambaConfig
from vimnp.models.mamba.model import MambaLM

CONFIG = MambaConfig(d_model=32, n_layer=2, vocab_size=256, eos_ids=(0,))
TEXT = "The mean of a sum is the sum of the means. " * 3


@pytest.fixture(scope="module")
def model() -> MambaLM:
    return MambaLM.random(CONFIG, tokenizer="bytes")


def truth(model: MambaLM, ids: list[int]) -> np.ndarray:
    """Log-probability of each id but the first, from the logits of one pass, in float64."""
    logits = model(ids).astype(np.float64)
    logprobs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return logprobs[np.arange(len(ids) - 1), ids[1:]]


@pytest.mark.parametrize("case", golden_mamba.CASES)
def test_log_probabilities_are_the_originals(case: str, golden: Path, tmp_path: Path) -> None:
    found = golden_mamba.convert_case(golden, case, tmp_path)
    converted = MambaLM.from_npz(found.weights)
    with golden_mamba.recorded(golden, case) as recorded:
        for length in (7, 64, 257):
            ids, expected = recorded[f"p{length}_ids"], recorded[f"p{length}_logprob64"]
            sums = likelihood.of_ids(converted, ids[:1], ids[1:])
            assert sums.tokens == length - 1
            assert sums.logprob == pytest.approx(expected.sum(), abs=2e-5 * length)


def test_ids_are_judged_by_all_before_them(model: MambaLM) -> None:
    ids = list(TEXT.encode())
    expected = truth(model, ids)
    for cut in (1, 2, 40, len(ids) - 1):
        found = likelihood.of_ids(model, ids[:cut], ids[cut:])
        assert found.logprob == pytest.approx(expected[cut - 1 :].sum(), rel=1e-9)
        assert found.tokens == len(ids) - cut
    state = model.new_state()
    first = likelihood.of_ids(model, ids[:3], ids[3:70], state=state)
    second = likelihood.of_ids(model, ids[69:70], ids[70:], state=state)
    whole = likelihood.of_ids(model, ids[:3], ids[3:])
    assert first.plus(second).logprob == pytest.approx(whole.logprob, rel=1e-12)


def test_the_likeliest_ids_are_greedy(model: MambaLM) -> None:
    written = model.generate("The", max_new_tokens=8, temperature=0, ignore_eos=True)
    assert likelihood.of_ids(model, list(b"The"), written.ids).is_greedy
    other = [*written.ids[:-1], (written.ids[-1] + 1) % 256]
    assert not likelihood.of_ids(model, list(b"The"), other).is_greedy


def test_pairs_are_encoded_as_lm_eval_does(model: MambaLM) -> None:
    assert likelihood.encoded_pair(model, "a b ", "c") == (list(b"a b"), list(b" c"))
    assert likelihood.encoded_pair(model, "", "c") == ([0], list(b"c"))
    assert likelihood.encoded_pair(model, "  ", "c") == ([0], list(b"  c"))
    with pytest.raises(TextError, match="continuation is empty"):
        likelihood.encoded_pair(model, "a", "")


@pytest.mark.parametrize("most", [3, 5, 6, 100])
def test_long_contexts_lose_their_beginning(model: MambaLM, most: int) -> None:
    ids = list(b"0123456789abc")
    kept = ids[-most - 1 :]
    found = likelihood.loglikelihood(model, "0123456789", "abc", max_length=most)
    assert found.logprob == pytest.approx(truth(model, kept)[-3:].sum(), rel=1e-9)


@pytest.mark.parametrize("most", range(1, 25))
def test_contexts_that_fit_keep_their_beginning(model: MambaLM, most: int) -> None:
    """A few tokens below what may be read, too."""
    ids = list(b"0123456789abc")
    asked = min(3, most)
    found = likelihood.loglikelihood(model, "0123456789", "abc", max_length=most)
    assert found.tokens == asked
    assert found.logprob == pytest.approx(truth(model, ids[-most - 1 :])[-asked:].sum(), rel=1e-9)


def test_a_context_that_follows_itself_is_read_once(
    model: MambaLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [("0123456789", "abc"), ("0123456789", "xy"), ("012", "d"), ("", "e"), ("", "fg")]
    alone = [likelihood.loglikelihood(model, *pair) for pair in pairs]
    read: list[int] = []
    forward_all = model._forward_all

    def counting(ids: Any, *rest: Any, **options: Any) -> np.ndarray:
        read.append(len(ids))
        return forward_all(ids, *rest, **options)

    monkeypatch.setattr(model, "_forward_all", counting)
    assert list(likelihood.loglikelihoods(model, pairs)) == alone
    assert read == [9, 3, 2, 2, 1, 1, 2]


@given(length=st.integers(1, 50), size=st.integers(1, 60))
def test_windows_have_each_id_once(length: int, size: int) -> None:
    ids = list(range(1, length + 1))
    found = list(likelihood.windows(ids, 0, size))
    assert list(itertools.chain.from_iterable(after for _, after in found)) == ids
    for before, after in found:
        assert list(range(before[0], after[-1] + 1)) == before + after  # they follow each other
        assert len(before) + len(after) <= size + 1  # read, and the one that is only judged
    assert all(len(before) == 1 for before, _ in found[:-1])
    assert len(found[-1][0]) + len(found[-1][1]) == min(length, size) + 1


def test_a_text_is_measured_with_and_without_memory(model: MambaLM) -> None:
    text = likelihood.encoded_text(model, TEXT)
    ids = [0, *TEXT.encode()]
    carried = likelihood.likelihood_of(model, text)
    expected = truth(model, ids)
    assert carried.logprob == pytest.approx(expected.sum(), rel=1e-9)
    assert carried.bits_per_byte == pytest.approx(-expected.mean() / math.log(2), rel=1e-9)
    assert carried.perplexity == pytest.approx(math.exp(-expected.mean()), rel=1e-9)
    windowed = likelihood.likelihood_of(model, text, window=16)
    by_hand = sum(
        truth(model, before + after)[len(before) - 1 :].sum()
        for before, after in likelihood.windows(ids[1:], 0, 16)
    )
    assert windowed.logprob == pytest.approx(by_hand, rel=1e-9)
    assert windowed.logprob != carried.logprob
    assert likelihood.loglikelihood_rolling(model, TEXT, max_length=16) == windowed.logprob


def test_progress_comes_to_the_number_of_tokens(model: MambaLM) -> None:
    seen: list[int] = []
    text = likelihood.encoded_text(model, TEXT, limit=70)
    assert text == (list(TEXT.encode())[:70], 70)
    likelihood.likelihood_of(model, text, window=33, on_progress=seen.append)
    assert sum(seen) == 70


def test_what_cannot_be_measured_is_refused(model: MambaLM) -> None:
    with pytest.raises(TextError, match="the text is empty"):
        likelihood.encoded_text(model, "")
    with pytest.raises(TextError, match="context has no ids"):
        likelihood.of_ids(model, [], [1])
    with pytest.raises(ConfigError, match="window"):
        likelihood.likelihood_of(model, likelihood.encoded_text(model, "a"), window=0)
    with pytest.raises(TextError, match="no tokenizer"):
        likelihood.encoded_text(MambaLM.random(CONFIG), "a")
