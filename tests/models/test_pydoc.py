"""The bundled language model: what it is, that it tells English, and that it writes some.

bench/test_train_pydoc.py has how well it tells the text that training never saw.
"""

from __future__ import annotations

import re
from pydoc_data.topics import topics

import numpy as np
import pytest

import vimnp
from vimnp.text.byte_tokenizer import Bytes
from vimnp.weights import BUNDLED_PYDOC, WeightsFile

TEXT = """\
The with statement calls one method of its context manager before the block is run, and another \
one after it. If an exception is raised in the block, it is passed to the second method, which can \
return a true value to suppress it. Otherwise the exception is raised again, and the statements \
after the block are not executed.
"""


def bits_a_byte(logits: np.ndarray, ids: list[int]) -> float:
    """Mean bits that it takes to tell each id after the first from the logits before it."""
    logits = logits[:-1].astype(np.float64)
    told = logits[np.arange(len(logits)), ids[1:]]
    largest = logits.max(1)
    return float(np.mean(largest + np.log(np.exp(logits.T - largest).sum(0)) - told) / np.log(2))


def test_it_is_small_and_stored_in_eight_bits() -> None:
    assert BUNDLED_PYDOC.stat().st_size <= 700_000
    with WeightsFile(BUNDLED_PYDOC) as file:
        assert (file.metadata.dtype, file.metadata.tokenizer) == ("int8", "bytes")


def test_it_has_a_name() -> None:
    model: object = vimnp.load("pydoc")
    assert isinstance(model, vimnp.MambaLM)
    assert isinstance(model.tokenizer, Bytes)


def test_it_tells_english_on_every_way(way: object) -> None:
    ids = Bytes().encode(TEXT)
    bits = {
        dtype: bits_a_byte(vimnp.MambaLM.from_npz(BUNDLED_PYDOC, dtype=dtype)(ids), ids)
        for dtype in (None, "float32")
    }
    assert bits["float32"] < 2  # of 8; xz takes 6.8
    assert bits[None] == pytest.approx(bits["float32"], abs=0.02)


def test_what_it_writes_is_made_of_words() -> None:
    model: vimnp.MambaLM = vimnp.MambaLM.from_npz(BUNDLED_PYDOC)
    # Drawn, as the command does: the likeliest byte after the likeliest ends in a run of spaces.
    samples = model.generate(
        "The with statement", max_new_tokens=200, temperature=0.6, num_samples=8, seed=0
    )
    written = " ".join(sample.text for sample in samples)
    words = re.findall(r"[a-z]+", written.lower())
    known = set(re.findall(r"[a-z]+", " ".join(topics.values()).lower()))
    assert len(words) >= 100
    assert np.mean([word in known for word in words]) > 0.8  # each sample cuts one off
