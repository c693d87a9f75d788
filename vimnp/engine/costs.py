"""What a forward pass has to compute and to move: arithmetic and bytes of each operation.

Letters as in :mod:`vimnp.models.vim.model`. Counted from the operations' definitions:

- A floating-point operation is an addition, a multiplication (so a multiply-add is two) or a
  division.
- Exponentials, logarithms and square roots are counted apart: each takes as long as ten or so.
- Bytes are those of float32 arrays which an operation reads or writes, each once. What stays in a
  cache never comes from memory, so that bytes a second may exceed what memory gives.
"""

from __future__ import annotations

from typing import NamedTuple

from vimnp.models.vim.config import CHANNELS, VimConfig

_FLOAT = 4  # bytes


class Cost(NamedTuple):
    """Of an operation, or of some.

    Parameters
    ----------
    flops : int
        Additions, multiplications and divisions.
    exponentials : int
        And logarithms.
    bytes : int
        Read and written.
    """

    flops: int
    exponentials: int
    bytes: int


def operation_costs(config: VimConfig, backend: str = "numpy") -> dict[str, Cost]:
    """Costs of an image's logits, all layers together, by the names of profiled operations.

    Parameters
    ----------
    config : VimConfig
    backend : {"numpy", "native"}
        The native one leaves out of the last layer what the pooled token does not need, adds a
        layer's output to the residual in out_proj, and has dt_proj in its scan.

    Returns
    -------
    dict of str to Cost
    """
    counts = _Counts(config, backend == "native")
    found = {
        "embed": counts.embed(),
        "norm": counts.norm(),
        "in_proj": counts.in_proj(),
        "conv1d": counts.conv1d(),
        "x_proj": counts.x_proj(),
        "dt_proj": counts.dt_proj(),
        "scan": counts.scan(),
        "out_proj": counts.out_proj(),
        "pool": counts.pool(),
        "head": counts.head(),
    }
    if config.if_rope:
        found["rotate"] = counts.rotate()
    if backend == "native":
        dt_proj, scan = found.pop("dt_proj"), found["scan"]
        # delta is computed for 32 tokens at a time and read at once.
        saved = 2 * _FLOAT * counts.scanned * config.d_inner
        found["scan"] = Cost(
            dt_proj.flops + scan.flops, scan.exponentials, dt_proj.bytes + scan.bytes - saved
        )
    return found


class _Counts:
    """Tokens that the layers pass through, and from them each operation's cost."""

    def __init__(self, config: VimConfig, is_native: bool) -> None:
        self.config = config
        self.is_native = is_native
        length = config.num_tokens
        block = 2 if config.if_bidirectional else 1
        pooled = config.pooled_tokens or ()
        short = block if is_native and len(pooled) == 1 else 0  # layers that hand on one token
        whole = config.num_active_layers - short
        self.tokens = config.num_active_layers * length
        self.needed = whole * length + short
        # Tokens that the directions' scans pass on their way to the needed ones.
        on_the_way = length + 1 if config.num_directions == 2 else pooled[0] + 1 if short else 0
        self.scanned = whole * config.num_directions * length + short * on_the_way
        computed = len(config.direction_suffixes)
        self.convolved = self.tokens * computed
        self.projected = self.scanned if computed == config.num_directions else self.convolved

    def _product(self, rows: int, inputs: int, outputs: int, matrices: int) -> Cost:
        numbers = rows * (inputs + outputs) + matrices * inputs * outputs
        return Cost(2 * rows * inputs * outputs, 0, _FLOAT * numbers)

    def embed(self) -> Cost:
        c = self.config
        height, width = c.img_size
        inputs = CHANNELS * c.patch_size**2
        tokens = c.num_tokens * c.embed_dim
        numbers = CHANNELS * height * width + inputs * c.embed_dim + 2 * tokens
        return Cost(2 * c.num_patches * inputs * c.embed_dim + tokens, 0, _FLOAT * numbers)

    def norm(self) -> Cost:
        """Residual addition, and RMSNorm (square, sum, scale, weight) or LayerNorm."""
        c = self.config
        rows = self.tokens + (len(c.pooled_tokens) if c.pooled_tokens else c.num_tokens)
        numbers = rows * c.embed_dim
        flops = 5 if c.rms_norm else 8
        return Cost(flops * numbers, rows, _FLOAT * (2 if self.is_native else 4) * numbers)

    def rotate(self) -> Cost:
        c = self.config
        numbers = c.num_active_layers * c.num_tokens * c.embed_dim
        return Cost(3 * numbers, 0, _FLOAT * 4 * numbers)

    def in_proj(self) -> Cost:
        c = self.config
        # x of every token, z of the needed ones; both read the same input.
        flops = 2 * (self.tokens + self.needed) * c.embed_dim * c.d_inner
        weights = c.num_active_layers * 2 * c.embed_dim * c.d_inner
        numbers = self.tokens * (c.embed_dim + c.d_inner) + self.needed * c.d_inner + weights
        return Cost(flops, 0, _FLOAT * numbers)

    def conv1d(self) -> Cost:
        """K taps and a bias, then SiLU."""
        c = self.config
        results = self.convolved * c.d_inner
        numbers = self.tokens * c.d_inner + results
        return Cost((2 * c.d_conv + 3) * results, results, _FLOAT * numbers)

    def x_proj(self) -> Cost:
        c = self.config
        assert c.dt_rank is not None
        matrices = c.num_active_layers * len(c.direction_suffixes)
        return self._product(self.projected, c.d_inner, c.dt_rank + 2 * c.d_state, matrices)

    def dt_proj(self) -> Cost:
        c = self.config
        assert c.dt_rank is not None
        matrices = c.num_active_layers * len(c.direction_suffixes)
        return self._product(self.projected, c.dt_rank, c.d_inner, matrices)

    def scan(self) -> Cost:
        """For each state delta A, its exponential, h and y; softplus, D u and the gate beside."""
        c = self.config
        channels = self.scanned * c.d_inner
        states = channels * c.d_state
        gated = self.needed * c.d_inner
        numbers = 2 * channels + 2 * self.scanned * c.d_state + 2 * gated
        exponentials = states + 2 * channels + gated  # softplus has a logarithm, too
        return Cost(6 * states + 6 * channels + 4 * gated, exponentials, _FLOAT * numbers)

    def out_proj(self) -> Cost:
        c = self.config
        cost = self._product(self.needed, c.d_inner, c.embed_dim, c.num_active_layers)
        added = self.needed * c.embed_dim if self.is_native else 0  # to the residual
        return cost._replace(flops=cost.flops + added, bytes=cost.bytes + _FLOAT * added)

    def pool(self) -> Cost:
        c = self.config
        rows = len(c.pooled_tokens) if c.pooled_tokens else c.num_tokens
        return Cost(rows * c.embed_dim, 0, _FLOAT * (rows + 1) * c.embed_dim)

    def head(self) -> Cost:
        c = self.config
        rows = c.num_tokens if c.reads_every_token else 1
        return self._product(rows, c.embed_dim, c.num_classes, 1)
