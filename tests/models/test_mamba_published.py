"""The published language models' sizes."""

from __future__ import annotations

import pytest

from vimnp.models.mamba.published import PUBLISHED

# Of the checkpoints: what is in an embedding, in the layers' tensors and in the last norm.
PARAMETERS = {
    "mamba-130m": 129_135_360,
    "mamba-370m": 371_516_416,
    "mamba-790m": 793_204_224,
    "mamba-1.4b": 1_372_178_432,
    "mamba-2.8b": 2_768_345_600,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_they_have_the_parameters_of_the_checkpoints(name: str) -> None:
    assert PUBLISHED[name].num_parameters == PARAMETERS[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_they_have_the_vocabulary_of_gpt_neox(name: str) -> None:
    config = PUBLISHED[name]
    assert (config.vocab_size, config.padded_vocab_size, config.eos_ids) == (50277, 50280, (0,))
    assert (config.d_inner, config.dt_rank) == (2 * config.d_model, config.d_model // 16)
