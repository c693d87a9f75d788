"""The configuration of a Mamba language model: sizes and options, checked.

Field names are those of the original's constructors (``MambaConfig`` and ``Mamba`` of
state-spaces/mamba), and transformers' where only FalconMamba has the field.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from numbers import Real
from typing import Any, cast

from vimnp.counts import checked_count
from vimnp.errors import ConfigError
from vimnp.ops.limits import MAX_D_CONV, MAX_D_STATE
from vimnp.weights.family import Configuration

# Bounds far beyond any Mamba: a damaged file then fails on a number that it names, before anything
# is computed or allocated from it.
_LIMITS = {
    "d_model": 1 << 15,
    "n_layer": 512,
    "vocab_size": 1 << 20,
    "padded_vocab_size": 1 << 20,
    "d_state": MAX_D_STATE,
    "d_conv": MAX_D_CONV,
    "d_inner": 1 << 16,
    "dt_rank": 1 << 14,
}
_MOST_EOS_IDS = 1024

_FOLLOWS = cast("int", None)  # a size that follows from others: a number once made


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MambaConfig(Configuration):
    """What a Mamba language model is made of.

    Parameters
    ----------
    d_model : int
        Channels of a token between the layers.
    n_layer : int
        Number of layers.
    vocab_size : int
        Ids that exist: from 0 to below it.
    padded_vocab_size : int, optional
        Rows of the embedding and of the head, by default `vocab_size`. The original rounds up to a
        multiple of ``pad_vocab_size_multiple``, and no tokenizer knows the ids beyond.
    d_state : int
        States per channel of the selective scan, N.
    d_conv : int
        Taps of the causal convolution.
    d_inner : int, optional
        Channels inside a mixer, by default ``2 * d_model``: the original's ``expand * d_model``.
    dt_rank : int, optional
        Rank of the step size's projection, by default ``ceil(d_model / 16)``: the original's
        ``"auto"``.
    rms_norm : bool
        RMSNorm if true, LayerNorm if false.
    norm_epsilon : float
        Added to the mean square (or the variance) before the root; from 0 to below 1.
    bias : bool
        Whether in_proj and out_proj have a bias.
    conv_bias : bool
        Whether the convolutions have a bias.
    tie_embeddings : bool
        Whether the head multiplies with the embedding, and has no matrix of its own.
    mixer_rms_eps : float, optional
        A number makes a FalconMamba: dt, B and C of each token go through an RMSNorm without
        weights, with this epsilon, from 0 to below 1. None leaves them as they are.
    eos_ids : tuple of int
        Ids that end a text.

    Raises
    ------
    ConfigError
        If a value has the wrong type or is out of range.
    """

    d_model: int
    n_layer: int
    vocab_size: int
    padded_vocab_size: int = _FOLLOWS
    d_state: int = 16
    d_conv: int = 4
    d_inner: int = _FOLLOWS
    dt_rank: int = _FOLLOWS
    rms_norm: bool = True
    norm_epsilon: float = 1e-5
    bias: bool = False
    conv_bias: bool = True
    tie_embeddings: bool = True
    mixer_rms_eps: float | None = None
    eos_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self._follow()
        for name, limit in _LIMITS.items():
            object.__setattr__(self, name, checked_count(name, getattr(self, name), limit))
        if self.padded_vocab_size < self.vocab_size:
            raise ConfigError(
                f"padded_vocab_size is {self.padded_vocab_size}, and vocab_size {self.vocab_size}; "
                "expected a row for each id or more"
            )
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "bool" and not isinstance(value, bool):
                raise ConfigError(f"{field.name} is {value!r}; expected true or false")
        object.__setattr__(self, "norm_epsilon", _checked_epsilon("norm_epsilon", self))
        if self.mixer_rms_eps is not None:
            object.__setattr__(self, "mixer_rms_eps", _checked_epsilon("mixer_rms_eps", self))
        object.__setattr__(self, "eos_ids", _checked_ids(self.eos_ids, self.vocab_size))

    def _follow(self) -> None:
        """Put the sizes that follow from others where none are given."""
        if self.padded_vocab_size is None:
            object.__setattr__(self, "padded_vocab_size", self.vocab_size)
        d_model = checked_count("d_model", self.d_model, _LIMITS["d_model"])
        if self.d_inner is None:
            object.__setattr__(self, "d_inner", 2 * d_model)
        if self.dt_rank is None:
            object.__setattr__(self, "dt_rank", math.ceil(d_model / 16))


def _checked_epsilon(name: str, config: MambaConfig) -> float:
    epsilon = getattr(config, name)
    is_number = isinstance(epsilon, Real) and not isinstance(epsilon, bool)
    if not is_number or not 0.0 <= epsilon < 1.0:
        raise ConfigError(f"{name} is {epsilon!r}; expected a number from 0 to below 1")
    return float(epsilon)


def _checked_ids(ids: Any, vocab_size: int) -> tuple[int, ...]:
    """Ids that exist, which may be in a list, as JSON has them, or in an array."""
    if not isinstance(ids, Iterable) or isinstance(ids, str | bytes | dict):
        raise ConfigError(f"eos_ids is {ids!r}; expected whole numbers")
    found = tuple(checked_count("an id of eos_ids", i, vocab_size - 1, least=0) for i in ids)
    if len(found) > _MOST_EOS_IDS:
        raise ConfigError(f"eos_ids has {len(found)} ids; expected at most {_MOST_EOS_IDS}")
    return found
