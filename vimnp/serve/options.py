"""What OpenAI's clients say of a text that is to be written -> what a language model is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vimnp.serve.errors import RequestError
from vimnp.serve.limits import Limits

_SAME = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "ignore_eos",
    "seed",
    "stop",
)
"""What has the same name and meaning; those that OpenAI does not have are as vLLM has them."""

_ANY = (
    "model",
    "stream",
    "stream_options",
    "n",
    "max_tokens",
    "max_completion_tokens",
    "logit_bias",
)
_NO_MATTER = (
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "parallel_tool_calls",
)
"""What does not change the text."""

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "best_of": (1,),
    "suffix": ("",),
    "response_format": ({"type": "text"},),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "reasoning_effort": ("none",),
}
"""What no model here can do, and the values that do not ask for it."""

_DEFAULT_TEMPERATURE = 1.0


class Asked(NamedTuple):
    """What is asked for of every text of a request.

    Parameters
    ----------
    options : mapping
        As for :meth:`vimnp.models.language.LanguageModel.stream`.
    choices : int
        Texts for each prompt.
    is_stream : bool
    with_usage : bool
        Whether a stream ends with the counts of tokens.
    """

    options: dict[str, Any]
    choices: int
    is_stream: bool
    with_usage: bool


def asked_of(
    body: Mapping[str, Any], own: tuple[str, ...], default_tokens: int, limits: Limits
) -> Asked:
    """The options of a request.

    Parameters
    ----------
    body : mapping
        JSON. What is null counts as not given.
    own : tuple of str
        Names that this endpoint looks at by itself.
    default_tokens : int
        How many are written at most where that is not said.
    limits : Limits

    Raises
    ------
    RequestError
        400 if an option is unknown, means nothing, or is more than is allowed.
    """
    given = {name: value for name, value in body.items() if value is not None}
    _refuse_unknown(given, own)
    options: dict[str, Any] = {name: given[name] for name in _SAME if name in given}
    options.setdefault("temperature", _DEFAULT_TEMPERATURE)
    if "logit_bias" in given:
        options["logit_bias"] = _bias(given["logit_bias"])
    most = given.get("max_completion_tokens", given.get("max_tokens", default_tokens))
    options["max_new_tokens"] = count_of("max_tokens", most, limits.new_tokens, least=0)
    return Asked(
        options,
        choices=count_of("n", given.get("n", 1), limits.choices),
        is_stream=flag_of("stream", given.get("stream", False)),
        with_usage=_with_usage(given.get("stream_options", {})),
    )


def _refuse_unknown(given: Mapping[str, Any], own: tuple[str, ...]) -> None:
    for name, value in given.items():
        if name in _NEUTRAL and value not in _NEUTRAL[name] and name not in own:
            raise RequestError(
                400,
                f"{name} is {value!r:.100}, which no model here can do; expected a request "
                "without it",
                code="unsupported_parameter",
            )
        if name not in (*_SAME, *_ANY, *_NO_MATTER, *_NEUTRAL, *own):
            raise RequestError(
                400,
                f"the parameter {name[:100]!r} is unknown; expected one of "
                f"{', '.join(sorted((*_SAME, *_ANY, *own)))}",
                code="unknown_parameter",
            )


def _bias(value: Any) -> dict[int, Any]:
    """JSON has ids as text."""
    if not isinstance(value, dict) or not all(key.isdecimal() for key in value):
        raise RequestError(400, 'logit_bias is not as expected: {"ID": number}')
    return {int(key[:18]): bias for key, bias in value.items()}


def count_of(name: str, value: Any, most: int, least: int = 1) -> int:
    """A whole number between these. Raises RequestError, 400, for anything else."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise RequestError(
            400, f"{name} is {value!r:.100}; expected a whole number from {least} to {most}"
        )
    return value


def flag_of(name: str, value: Any) -> bool:
    """True or false. Raises RequestError, 400, for anything else."""
    if not isinstance(value, bool):
        raise RequestError(400, f"{name} is {value!r:.100}; expected true or false")
    return value


def _with_usage(options: Any) -> bool:
    if not isinstance(options, dict):
        raise RequestError(400, 'stream_options is not as expected: {"include_usage": true}')
    return flag_of("include_usage", options.get("include_usage") or False)
