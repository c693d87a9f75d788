"""How much a server takes upon itself, whoever asks."""

from __future__ import annotations

import dataclasses

from vimnp.counts import checked_count
from vimnp.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What a request may bring and take, and how much there may be of all at once.

    Parameters
    ----------
    body_bytes : int
        Of a request with a picture.
    text_bytes : int
        Of a request with a prompt.
    held_bytes : int
        Of all bodies that are in memory at once.
    pixels : int
        Of a picture, when it is decoded.
    prompt_tokens, new_tokens : int
        Of a text that is read, and of one that is written.
    choices : int
        Texts that are written for a request, and pictures whose features it asks for.
    requests : int
        How many are worked on, or wait, at once: more are told to come back.
    batch : int
        Pictures that go through a network together.
    connections : int
        That are open at once.
    receive_seconds : float
        How long a request may take to arrive: its head, and then its body.
    seconds : float
        How long it may take from then on, or between its head and the end of its answer.

    Raises
    ------
    ConfigError
        If one of them is no number from 1 up, or above 0 for seconds.
    """

    body_bytes: int = 10 << 20
    text_bytes: int = 1 << 20
    held_bytes: int = 64 << 20
    pixels: int = 50_000_000
    prompt_tokens: int = 8192
    new_tokens: int = 4096
    choices: int = 16
    requests: int = 64
    batch: int = 8
    connections: int = 256
    receive_seconds: float = 20.0
    seconds: float = 300.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not field.name.endswith("seconds"):
                checked_count(field.name, value)
            elif not (isinstance(value, int | float) and 0 < value < 1e6):
                raise ConfigError(f"{field.name} is {value!r}; expected a number above 0")
