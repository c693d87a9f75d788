"""What is left of the logits, and what is drawn."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vimnp.errors import ConfigError, WeightsError
from vimnp.models.sampling import (
    Sampling,
    checked_seed,
    log_probabilities,
    make_generator,
    token_logprob,
)

NAMES = {"repetition": "repetition_penalty"}


def distribution(sampling: Sampling, logits: np.ndarray, previous: Any = ()) -> np.ndarray:
    """The probability of every id."""
    whole = np.zeros(len(logits))
    ids, probabilities = sampling.candidates(logits, previous)
    whole[ids] = probabilities
    return whole


def settings_in(name: str) -> dict[str, Any]:
    """ "hf_temperature_0.7_top_k_20" -> what it says."""
    pairs = re.findall(r"([a-z]+(?:_[a-z])?)_([0-9.]+)", name.partition("_")[2])
    values: dict[str, Any] = {NAMES.get(key, key): float(value) for key, value in pairs}
    if "top_k" in values:
        values["top_k"] = int(values["top_k"])
    return values


def test_numbers_are_those_of_transformers_and_of_the_original(golden: Path) -> None:
    path = golden / "mamba" / "sampling.npz"
    if not path.is_file():
        pytest.skip("needs the golden outputs of Mamba")
    with np.load(path) as recorded:
        names = [name for name in recorded if name.startswith(("hf_", "orig_"))]
        assert len(names) >= 25
        for name in names:
            sampling = Sampling(**{"temperature": 1.0} | settings_in(name))
            rows = zip(recorded["logits"], recorded["previous_ids"], recorded[name], strict=True)
            for logits, previous, expected in rows:
                found = distribution(sampling, logits, previous.tolist())
                np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0, err_msg=name)
                np.testing.assert_array_equal(found > 0, expected > 0, err_msg=name)


LOGITS = st.lists(
    st.floats(-20, 20, width=32) | st.integers(-3, 3).map(float), min_size=1, max_size=40
).map(lambda values: np.array(values, np.float32))


def plain(sampling: Sampling, logits: np.ndarray, previous: list[int]) -> np.ndarray:
    """The same filters one after another over all ids, as transformers writes them."""
    scores = logits.astype(np.float64)
    for token in set(
        previous[-sampling.repetition_window :] if sampling.repetition_window else previous
    ):
        penalty = sampling.repetition_penalty
        scores[token] = scores[token] * penalty if scores[token] < 0 else scores[token] / penalty
    scores = scores / sampling.temperature
    if sampling.top_k:
        kth = np.sort(scores)[::-1][min(sampling.top_k, len(scores)) - 1]
        scores[scores < kth] = -np.inf
    order = np.argsort(scores, kind="stable")
    sums = np.cumsum(softmax(scores)[order])
    removed = order[:-1][sums[:-1] <= 1 - sampling.top_p]
    if sampling.top_p < 1:
        scores[removed] = -np.inf
    probabilities = softmax(scores)
    scores[probabilities < sampling.min_p * probabilities.max()] = -np.inf
    return softmax(scores)


def softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


@given(
    LOGITS,
    st.data(),
    st.sampled_from([0.3, 1.0, 2.0]),
    st.integers(0, 50),
    st.sampled_from([1.0, 0.95, 0.51, 0.11]),
    st.sampled_from([0.0, 0.031, 0.47]),
    st.sampled_from([1.0, 1.3, 0.8]),
    st.none() | st.integers(1, 5),
)
def test_filters_are_those_of_transformers_on_any_logits(
    logits: np.ndarray,
    data: st.DataObject,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    penalty: float,
    window: int | None,
) -> None:
    previous = data.draw(st.lists(st.integers(0, len(logits) - 1), max_size=8))
    sampling = Sampling(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=penalty,
        repetition_window=window,
    )
    found, expected = distribution(sampling, logits, previous), plain(sampling, logits, previous)
    if (found > 0).tolist() == (expected > 0).tolist():
        np.testing.assert_allclose(found, expected, atol=1e-9)
    else:  # sums of another rounding, exactly where top-p or min-p cuts
        np.testing.assert_array_less(abs((found > 0).sum() - (expected > 0).sum()), 40)
        changed = np.flatnonzero((found > 0) != (expected > 0))
        assert len({float(logits[i]) for i in changed}) == 1


@given(LOGITS, st.floats(0, 1, exclude_max=True))
def test_at_temperature_0_the_likeliest_is_taken_and_of_several_the_first(
    logits: np.ndarray, number: float
) -> None:
    drawn = Sampling(top_k=3, top_p=0.5).draw(logits, [], make_generator(0, 0))
    assert drawn == logits.tolist().index(max(logits))


def test_a_small_temperature_is_no_division_by_zero() -> None:
    logits = np.array([1, 3, 2, 3], np.float32)
    for temperature in (5e-324, 1e-300, 1e-3):
        found = distribution(Sampling(temperature=temperature), logits)
        np.testing.assert_array_equal(found, [0, 0.5, 0, 0.5])


def test_ties_at_the_kth_stay_in() -> None:
    found = distribution(Sampling(temperature=1, top_k=2), np.array([1, 2, 1, 0], np.float32))
    np.testing.assert_array_equal(found > 0, [True, True, True, False])


def test_a_bias_is_added_and_bans() -> None:
    logits = np.array([1, 2, 3], np.float32)
    banned = Sampling(temperature=1, logit_bias={2: -math.inf, np.int64(0): 1})
    np.testing.assert_allclose(distribution(banned, logits), [0.5, 0.5, 0])
    for top_k in (0, 1, 2, 3):
        sampling = Sampling(temperature=1, top_k=top_k, logit_bias={1: -math.inf, 2: -math.inf})
        np.testing.assert_array_equal(distribution(sampling, logits), [1, 0, 0])
    assert Sampling(logit_bias={2: -math.inf}).draw(logits, [], make_generator(0, 0)) == 1


def test_a_window_forgets() -> None:
    logits = np.array([2, 2, 2], np.float32)
    sampling = Sampling(temperature=1, repetition_penalty=2, repetition_window=2)
    found = distribution(sampling, logits, [0, 1, 1, 2])
    assert found[0] > found[1] == found[2]
    np.testing.assert_array_equal(found, distribution(sampling, logits, [0, 1, 1, 2, 77][1:-1]))


def test_tokens_come_as_often_as_they_are_likely() -> None:
    logits = np.log(np.array([0.1, 0.2, 0.7])).astype(np.float32)
    sampling, generator = Sampling(temperature=1), make_generator(1, 0)
    drawn = [sampling.draw(logits, [], generator) for _ in range(3000)]
    shares = np.bincount(drawn, minlength=3) / len(drawn)
    np.testing.assert_allclose(shares, [0.1, 0.2, 0.7], atol=0.03)


def test_the_same_seed_gives_the_same_and_each_sample_its_own() -> None:
    numbers = [make_generator(7, sample).random(5).tolist() for sample in (0, 0, 1)]
    assert numbers[0] == numbers[1] != numbers[2]
    assert checked_seed(np.uint64((1 << 64) - 1)) == (1 << 64) - 1
    assert len({checked_seed(None) for _ in range(4)}) > 1


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("temperature", [-1, math.nan, math.inf, "1", None, True], "a number from 0 up"),
        ("top_p", [0, -0.1, 1.1, math.nan, "1"], "a number above 0 and up to 1"),
        ("min_p", [-0.1, 1.1, math.nan], "a number from 0 to 1"),
        ("repetition_penalty", [0, -1, math.inf], "a number above 0"),
        ("top_k", [-1, 1.5, "3", True], "a whole number from 0 up"),
        ("repetition_window", [0, -1, 2.5], "a whole number from 1 up"),
        ("logit_bias", [[1], 3, None], "a mapping from ids to numbers"),
    ],
)
def test_what_means_nothing_is_refused_by_name(name: str, values: list[Any], expected: str) -> None:
    for value in values:
        with pytest.raises(ConfigError, match=f"^{name} is {re.escape(repr(value))}; .*{expected}"):
            Sampling(**{name: value})


@pytest.mark.parametrize("name", ["temperature", "top_p", "min_p", "repetition_penalty"])
def test_a_number_that_is_too_large_for_a_float_means_nothing(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} is 1000"):
        Sampling(**{name: 10**400})
    with pytest.raises(ConfigError, match="for the id 0; expected a number, or minus"):
        Sampling(logit_bias={0: 10**400})


def test_biases_that_mean_nothing_are_refused() -> None:
    for bias in ({0: math.nan}, {0: math.inf}, {0: "1"}, {0: True}):
        with pytest.raises(ConfigError, match="for the id 0; expected a number, or minus"):
            Sampling(logit_bias=bias)
    with pytest.raises(ConfigError, match="an id of logit_bias is -1"):
        Sampling(logit_bias={-1: 1.0})
    with pytest.raises(ConfigError, match="names the id 3; expected ids from 0 to 2"):
        Sampling(logit_bias={3: 1.0}).check_vocabulary(3)
    with pytest.raises(ConfigError, match="bans all 2 ids"):
        Sampling(logit_bias={0: -math.inf, 1: -math.inf}).check_vocabulary(2)
    for seed in (-1, 1 << 64, 0.5, "1"):
        with pytest.raises(ConfigError, match="seed is"):
            checked_seed(seed)


def test_logits_that_are_no_numbers_are_refused() -> None:
    for wrong in (math.nan, math.inf):
        logits = np.array([0, wrong, 1], np.float32)
        with pytest.raises(WeightsError, match="1 of the network's 3 logits are not finite"):
            Sampling().candidates(logits)
        with pytest.raises(WeightsError, match="not finite"):
            log_probabilities(logits)


def test_log_probabilities_are_over_all_and_the_best_among_those_that_exist() -> None:
    logits = np.array([1, 3, 2, 3, 9], np.float32)
    logprobs = log_probabilities(logits)
    assert math.isclose(np.exp(logprobs).sum(), 1)
    token, logprob, top = token_logprob(logits, 2, top=2, vocab_size=4)
    assert (token, logprob) == (2, logprobs[2])
    assert top == ((1, logprobs[1]), (3, logprobs[3]))
    assert token_logprob(logits, 0, top=0, vocab_size=4).top == ()
