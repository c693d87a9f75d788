"""What can be asked for of a picture.

"logits", of each class, or of each token and class, and of a backbone without a head what it would
read; "features", what the head reads; "tokens", all of them after the final norm.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from vimnp.models.vim.config import VimConfig

Output: TypeAlias = Literal["logits", "features", "tokens"]


def shape_of(config: VimConfig, output: Output) -> tuple[int, int]:
    """Rows and channels of it."""
    channels = (config.num_classes if output == "logits" else 0) or config.embed_dim
    return (config.num_tokens if is_of_every_token(config, output) else 1), channels


def is_of_every_token(config: VimConfig, output: Output) -> bool:
    """Whether there is a row of it for each token."""
    return output == "tokens" or (
        config.reads_every_token and (output == "features" or config.final_pool_type == "all")
    )
