"""What can be asked for of a picture.

"logits", of each class, or of each token and class, and of a backbone without a head what it would
read; "features", what the head reads; "tokens", all of them after the final norm; or what some
:class:`Layers` give.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from vimnp.models.vim.config import VimConfig

Kind: TypeAlias = Literal["hidden", "residual"]


class Layers(NamedTuple):
    """Every token after some layers, before the last norm.

    Parameters
    ----------
    kind : {"hidden", "residual"}
        What the layer adds to the residual stream, or the stream itself with that added, as the
        next norm reads it.
    layers : tuple of int
        Their indices.
    """

    kind: Kind
    layers: tuple[int, ...]


Output: TypeAlias = Literal["logits", "features", "tokens"] | Layers


def shape_of(config: VimConfig, output: Output) -> tuple[int, ...]:
    """The shape of it."""
    channels = (config.num_classes if output == "logits" else 0) or config.embed_dim
    if isinstance(output, Layers):
        return len(output.layers), config.num_tokens, channels
    return (config.num_tokens, channels) if is_of_every_token(config, output) else (channels,)


def is_of_every_token(config: VimConfig, output: Output) -> bool:
    """Whether there is a row of it for each token."""
    return output == "tokens" or (
        config.reads_every_token and (output == "features" or config.final_pool_type == "all")
    )
