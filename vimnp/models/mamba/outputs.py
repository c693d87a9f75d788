"""What can be asked for of some sequences of tokens."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from vimnp.models.mamba.config import MambaConfig

Kind: TypeAlias = Literal["logits", "last", "features"]


class Output(NamedTuple):
    """What a pass gives, and of how many tokens.

    Parameters
    ----------
    kind : {"logits", "last", "features"}
        The logits that each token has for the next, those of the last token, or the last token
        after the last norm, which is what the head reads.
    batch : int
        Sequences.
    length : int
        Tokens of each.
    """

    kind: Kind
    batch: int
    length: int


def shape_of(config: MambaConfig, output: Output) -> tuple[int, ...]:
    """The shape of it, over the padded vocabulary."""
    if output.kind == "logits":
        return output.batch, output.length, config.padded_vocab_size
    is_last = output.kind == "last"
    return output.batch, config.padded_vocab_size if is_last else config.d_model
