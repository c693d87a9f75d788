"""Greedy tokens of the recorded language models are the original's, on both backends."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.support.golden_mamba import CASES, recorded, weights
from vimnp.engine.settings import Backend
from vimnp.models.generation import Generation
from vimnp.models.mamba.config import MambaConfig
from vimnp.models.mamba.model import MambaLM
from vimnp.weights import Metadata


def load(golden: Path, case: str, config: MambaConfig, backend: Backend) -> MambaLM:
    with weights(golden, case) as read:
        return MambaLM(Metadata(config=config, preprocessing=None), read, backend=backend)


def new_ids(found: Generation | list[Generation]) -> list[list[int]]:
    several = found if isinstance(found, list) else [found]
    return [each.ids for each in several]


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("case", CASES)
def test_greedy_tokens_are_those_of_the_original(case: str, backend: Backend, golden: Path) -> None:
    with recorded(golden, case) as file:
        prompt = file["gen_prompt_ids"]
        expected = file["gen_ids"][len(prompt) :].tolist()
        name = "gen_ids_padded_vocab"
        padded = file[name][len(prompt) :].tolist() if name in file else None
    config = CASES[case]
    model = load(golden, case, config, backend)
    options = {"max_new_tokens": len(expected), "ignore_eos": True}
    assert new_ids(model.generate(prompt, **options)) == [expected]
    # Side by side with others, shorter and longer ones.
    prompts = [prompt[:3], prompt, np.tile(prompt, 5), prompt]
    together = new_ids(model.generate(prompts, **options))
    assert together == [new_ids(model.generate(each, **options))[0] for each in prompts]
    assert together[1] == together[3] == expected

    if padded is None:
        assert config.vocab_size == config.padded_vocab_size
        return
    every = dataclasses.replace(config, vocab_size=config.padded_vocab_size)
    model = load(golden, case, every, backend)
    assert new_ids(model.generate(prompt, **options)) == [padded]
