"""Language models in the Language Model Evaluation Harness (lm_eval), under the name ``vimnp``.

lm_eval finds a model of another package once that is imported. So this is its command, which takes
the same arguments::

    python -m vimnp.evaluate.harness --model vimnp --model_args weights=mamba.npz --tasks lambada

In Python, ``import vimnp.evaluate.harness`` comes before ``lm_eval.simple_evaluate(model="vimnp",
model_args="weights=mamba.npz", tasks=[...])``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vimnp.counts import checked_count
from vimnp.errors import ConfigError
from vimnp.evaluate.likelihood import (
    WINDOW,
    end_of_text,
    loglikelihood_rolling,
    loglikelihoods,
    tokenizer_of,
)
from vimnp.models import load
from vimnp.models.language import LanguageModel

try:
    from lm_eval.api.model import LM
    from lm_eval.api.registry import register_model
    from tqdm import tqdm
except ImportError as error:
    raise ImportError(
        f"{__name__} needs the package lm_eval ({error}): pip install 'vimnp[lm_eval]'"
    ) from error

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

    from vimnp.engine.settings import Backend

_MAX_GEN_TOKS = 256  # lm_eval's, where a task says nothing
_MOST = 1 << 20

# What tasks ask for, in the words of lm_eval and of transformers -> in ours.
_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_SAME = ("top_k", "top_p", "min_p", "repetition_penalty", "seed")


@register_model("vimnp")
class VimnpLM(LM):  # type: ignore[misc]  # lm_eval need not be there where types are checked
    """A language model of vimnp, as lm_eval asks for one.

    Parameters
    ----------
    weights : path-like
        A weights file, or a bundled model's name ("pydoc").
    dtype, num_threads, backend
        As for :func:`vimnp.load`.
    max_length : int
        Tokens that are read at most, as other networks' windows have it; the state goes on from
        nothing before them.
    batch_size : int
        Texts that are written at once. Results do not depend on it.
    max_batch_size, device
        What lm_eval gives to every model, "cuda:0" where nobody has named a device. They change
        nothing.

    Raises
    ------
    WeightsError, ConfigError
        As for :func:`vimnp.load`, or if the weights are no language model, or an option means
        nothing.
    TextError
        If the weights bring no tokenizer.
    """

    def __init__(
        self,
        weights: str,
        *,
        dtype: str | None = None,
        num_threads: int | None = None,
        backend: Backend | None = None,
        max_length: int = WINDOW,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        self.batch_size = _checked_batch_size(batch_size)
        self.max_length = checked_count("max_length", max_length, _MOST)
        model: object = load(str(weights), dtype=dtype, num_threads=num_threads, backend=backend)
        if not isinstance(model, LanguageModel):
            raise ConfigError(f"{weights} looks at pictures; expected a language model's weights")
        self.model = model
        self._tokenizer = tokenizer_of(model)

    def loglikelihood(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """The log-probability of each continuation, and whether it is the likeliest."""
        pairs = [request.args for request in requests]
        likelihoods = loglikelihoods(self.model, pairs, max_length=self.max_length)
        found = []
        for pair, one in zip(pairs, self._shown(likelihoods, pairs, disable_tqdm), strict=True):
            found.append((one.logprob, one.is_greedy))
            self.cache_hook.add_partial("loglikelihood", pair, found[-1])
        return found

    def loglikelihood_rolling(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """The log-probability of each text, in windows of `max_length` tokens."""
        found = []
        for request in self._shown(requests, requests, disable_tqdm):
            (text,) = request.args
            found.append(loglikelihood_rolling(self.model, text, max_length=self.max_length))
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, found[-1])
        return found

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """What is written after each context, up to the first of its ends."""
        found: list[str] = []
        with tqdm(total=len(requests), disable=disable_tqdm) as bar:
            for _, same in itertools.groupby(requests, key=lambda request: request.args[1]):
                for part in _parts(list(same), self.batch_size):
                    texts = self._write([request.args[0] for request in part], part[0].args[1])
                    for request, text in zip(part, texts, strict=True):
                        self.cache_hook.add_partial("generate_until", request.args, text)
                    found += texts
                    bar.update(len(part))
        return found

    def _write(self, contexts: list[str], asked: Mapping[str, Any]) -> list[str]:
        options = generation_options(asked)
        most = max(1, self.max_length - options["max_new_tokens"])
        start = [end_of_text(self.model)]
        prompts = [(self._tokenizer.encode(text) or start)[-most:] for text in contexts]
        return [each.text or "" for each in self.model.generate(prompts, **options)]

    def _shown(self, items: Any, all_of_them: Sequence[Any], disable_tqdm: bool) -> Any:
        return tqdm(items, total=len(all_of_them), disable=disable_tqdm)


def generation_options(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a task asks for of a text -> what ``model.generate`` takes.

    Parameters
    ----------
    asked : mapping
        `until`, `max_gen_toks` and the other names that it has, `do_sample`, `temperature`,
        `top_k`, `top_p`, `min_p`, `repetition_penalty`, `seed`. Without `do_sample` or a
        temperature the likeliest token is taken.

    Raises
    ------
    ConfigError
        If there is anything else: figures would not be what they say.
    """
    rest = dict(asked)
    until = rest.pop("until", None) or []
    lengths = [rest.pop(name, None) for name in _LENGTHS]
    temperature = rest.pop("temperature", None)
    samples = rest.pop("do_sample", None)
    if temperature is None:
        temperature = 1.0 if samples else 0.0
    options = {name: rest.pop(name) for name in _SAME if rest.get(name) is not None}
    unknown = sorted(name for name, value in rest.items() if value is not None)
    if unknown:
        known = ", ".join(["until", *_LENGTHS, "do_sample", "temperature", *_SAME])
        raise ConfigError(f"the task asks for {', '.join(unknown)}; expected some of {known}")
    return {
        "stop": [until] if isinstance(until, str) else list(until),
        "max_new_tokens": int(next((n for n in lengths if n is not None), _MAX_GEN_TOKS)),
        "temperature": 0.0 if samples is False else float(temperature),
        **options,
    }


def _checked_batch_size(given: int | str | None) -> int:
    if isinstance(given, str) and given.isdecimal():
        given = int(given)
    return checked_count("batch_size", 1 if given is None else given, _MOST)


def _parts(items: list[Any], size: int) -> Iterator[list[Any]]:
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
