"""What a network writes is the same however it runs, and wherever it is stopped and gone on from.

tests/models/test_generation.py has what generation does with any model.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import vimnp
from tests.support.micro_language import MICRO_LANGUAGE, write_language_model
from tests.support.tokenizer_files import byte_level
from vimnp.engine.settings import Backend
from vimnp.errors import StateError, TextError
from vimnp.models.conversation import Conversation
from vimnp.models.generation import Generation
from vimnp.models.mamba.config import MambaConfig
from vimnp.models.mamba.model import MambaLM
from vimnp.text.chat import PlainChat

SAMPLED: dict[str, Any] = {"temperature": 1.0, "top_p": 0.9, "seed": 5, "max_new_tokens": 20}
PROMPTS = ["a", "The with statement", "x" * 150, "é"]
DTYPES = [None, "bfloat16", "int8", "int4"]


def model(backend: Backend = "numpy", dtype: str | None = None, threads: int = 1) -> MambaLM:
    return MambaLM.random(
        MICRO_LANGUAGE, dtype=dtype, backend=backend, num_threads=threads, tokenizer="bytes"
    )


def several(found: Generation | list[Generation]) -> list[Generation]:
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_neither_batch_nor_threads_decide_on_what_is_written(
    backend: Backend, dtype: str | None
) -> None:
    one = model(backend, dtype)
    alone = [several(one.generate(prompt, **SAMPLED))[0] for prompt in PROMPTS]
    for threads in (1, 2, 3):
        found = several(model(backend, dtype, threads).generate(PROMPTS, **SAMPLED))
        assert found == alone
        for each, expected in zip(found, alone, strict=True):
            assert each.state.memory.tobytes() == expected.state.memory.tobytes()
    assert len({tuple(each.ids) for each in alone}) == len(PROMPTS)


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_a_text_goes_on_from_a_file(backend: Backend, tmp_path: Path) -> None:
    options = {"max_new_tokens": 20}
    one = model(backend)
    (whole,) = several(one.generate("The with", **options))
    (first,) = several(one.generate("The with", max_new_tokens=9))
    first.state.save(tmp_path / "state.npz")
    again = model(backend)
    state = again.load_state(tmp_path / "state.npz")
    (rest,) = several(again.generate(whole.ids[9:10], state=state, max_new_tokens=10))
    assert rest.ids == whole.ids[10:]
    with pytest.raises(StateError, match="other weights"):
        MambaLM.random(MICRO_LANGUAGE, 1, backend=backend).load_state(tmp_path / "state.npz")


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_a_chat_writes_what_the_whole_text_would_go_on_with(backend: Backend) -> None:
    one = model(backend)
    in_ascii = dict.fromkeys(range(128, 256), -math.inf)
    options = SAMPLED | {"logit_bias": in_ascii}
    conversation = Conversation(one, PlainChat(), **options)
    for content in ("hi", "so?", "why?"):
        reply = "".join(conversation.reply(content))
        whole = PlainChat().render(conversation.messages[:-1])
        assert "".join(one.stream(whole, stop="\nUser:", **options)) == reply


def test_a_tokenizer_comes_with_the_weights_and_has_to_fit(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    text = byte_level().encode()
    config = MambaConfig(d_model=16, n_layer=1, vocab_size=261, padded_vocab_size=264)
    path = write_language_model(tmp_path / "a.npz", config, tokenizer=text)
    found = several(MambaLM.from_npz(path).generate("th<|end|>", max_new_tokens=3))[0]
    assert found.prompt_ids == [256, 259]
    path = write_language_model(tmp_path / "b.npz", tokenizer=text)
    with pytest.raises(TextError, match="261"):
        MambaLM.from_npz(path).generate("th")
    path = write_language_model(tmp_path / "c.npz", config, tokenizer=b"{}")
    with pytest.raises(TextError, match=r"not a tokenizer\.json"):
        MambaLM.from_npz(path).generate("th")


def test_weights_without_a_tokenizer_can_be_given_one() -> None:
    pytest.importorskip("tokenizers")
    config = MambaConfig(d_model=16, n_layer=1, vocab_size=261)
    one = MambaLM.random(config)
    with pytest.raises(TextError, match="bring no tokenizer"):
        one.generate("th")
    one.tokenizer = vimnp.Tokenizer.from_text(byte_level())
    found = one.generate("th<|end|>", max_new_tokens=3)
    assert (found.prompt_ids, found.text) == ([256, 259], one.tokenizer.decode(found.ids))
