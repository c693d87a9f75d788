"""Vision Mamba in plain PyTorch: what vimnp is measured against and what trains its demo model.

Written to be read beside the papers, not to be fast:

- Mamba: Gu & Dao 2023, https://arxiv.org/abs/2312.00752 (algorithm 2, the selective scan)
- Vision Mamba: Zhu et al. 2024, https://arxiv.org/abs/2401.09417 (algorithm 1, the block)

Names are those of the original, hustvl/Vim, so that a checkpoint of either loads into the other.

Glossary (the original's name, and the papers' letter where they use one):

    B   batch size
    L   tokens: the patches and the class tokens, if there are any
    M   patches
    E   embed_dim, channels of a token between the layers (D in Vision Mamba)
    D   d_inner = expand * embed_dim, channels inside a mixer (D in Mamba, E in Vision Mamba)
    N   d_state, states per channel
    R   dt_rank, rank of the step size's projection
    K   d_conv, taps of the causal convolution
    G   groups of channels that share one B and C (the papers' networks have one group)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from vimnp.config import VimConfig

DT_MIN, DT_MAX = 1e-3, 1e-1  # initial step sizes, section 3.6 of Mamba
ROPE_BASE = 10000.0  # the slowest pair of channels turns by almost 1 / ROPE_BASE per position


def causal_conv1d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str | None = None
) -> Tensor:
    """Convolve every channel over time with taps of its own; no output sees a later input.

    ``causal_conv1d_ref`` of Dao-AILab/causal-conv1d, which the original calls.

    Parameters
    ----------
    x : Tensor, shape (B, D, L)
    weight : Tensor, shape (D, K)
        The last tap falls on the present.
    bias : Tensor, shape (D,), optional
    activation : {None, "silu"}

    Returns
    -------
    Tensor, shape (B, D, L)
    """
    channels, taps = weight.shape
    padded = functional.pad(x, (taps - 1, 0))  # (B, D, L + K - 1), zeros before the first token
    out = functional.conv1d(padded, weight[:, None], bias, groups=channels)  # (B, D, L)
    return functional.silu(out) if activation == "silu" else out


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Run the selective state space model over a sequence, one token after the other.

    Lines 5 and 6 of algorithm 2 of Mamba; ``selective_scan_ref`` of the original. With the
    discretisation that both use, which is exact for A and Euler's for B:

        h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t        h_{-1} = 0
        y_t = C_t . h_t + D u_t

    Parameters
    ----------
    u, delta : Tensor, shape (B, D, L)
        Input and step size.
    A : Tensor, shape (D, N)
    B, C : Tensor, shape (D, N), (B, N, L) or (B, G, N, L)
        Constant, per token, or per token and group of neighbouring channels.
    D : Tensor, shape (D,), optional
        Weight of the input's way around the states.
    z : Tensor, shape (B, D, L), optional
        Gate: the output is multiplied by silu(z).
    delta_bias : Tensor, shape (D,), optional
        Added to delta before the softplus.
    delta_softplus : bool
        Whether delta passes through softplus.
    return_last_state : bool
        Whether to return the state after the last token as well.

    Returns
    -------
    out : Tensor, shape (B, D, L)
    last_state : Tensor, shape (B, D, N)
        Only if asked for.
    """
    if delta_bias is not None:
        delta = delta + delta_bias[:, None]  # (B, D, L)
    if delta_softplus:
        delta = functional.softplus(delta)  # (B, D, L)
    channels = u.shape[1]
    delta_t = delta.permute(2, 0, 1)[..., None]  # (L, B, D, 1): time first, as the loop reads it
    u_t = u.permute(2, 0, 1)[..., None]  # (L, B, D, 1)
    A_bar = torch.exp(delta_t * A)  # (L, B, D, N)
    B_bar_u = delta_t * u_t * _time_first(B, channels)  # (L, B, D, N)

    h = torch.zeros_like(A_bar[0])  # (B, D, N)
    states = []
    # unbind, and not [t]: the gradient of L slices would fill L tensors of the whole size.
    for A_bar_t, B_bar_u_t in zip(A_bar.unbind(), B_bar_u.unbind(), strict=True):
        h = torch.addcmul(B_bar_u_t, A_bar_t, h)  # (B, D, N)
        states.append(h)
    y = (torch.stack(states) * _time_first(C, channels)).sum(-1)  # (L, B, D)

    y = y.permute(1, 2, 0)  # (B, D, L)
    if D is not None:
        y = y + u * D[:, None]  # (B, D, L)
    if z is not None:
        y = y * functional.silu(z)  # (B, D, L)
    return (y, h) if return_last_state else y


def _time_first(matrix: Tensor, channels: int) -> Tensor:
    """Bring B or C, in any of its three layouts, to one that broadcasts against (L, B, D, N)."""
    if matrix.ndim == 2:
        return matrix[None, None]  # (D, N) -> (1, 1, D, N)
    if matrix.ndim == 3:
        return matrix.permute(2, 0, 1)[:, :, None]  # (B, N, L) -> (L, B, 1, N)
    groups = matrix.shape[1]
    matrix = matrix.repeat_interleave(channels // groups, dim=1)  # (B, G, N, L) -> (B, D, N, L)
    return matrix.permute(3, 0, 1, 2)  # (L, B, D, N)


class PatchEmbed(nn.Module):
    """Project every patch of the picture, row by row; ``PatchEmbed`` of the original."""

    def __init__(self, config: VimConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(config.channels, config.embed_dim, config.patch, config.stride)
        std = 1.0 / math.sqrt(self.proj.weight[0].numel())  # LeCun's: keeps the variance
        nn.init.trunc_normal_(self.proj.weight, std=std, a=-2 * std, b=2 * std)
        nn.init.zeros_(self.proj.bias)

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, M, E)."""
        patches = self.proj(images)  # (B, E, rows, columns)
        return patches.flatten(2).transpose(1, 2)  # (B, M, E)


class RotaryEmbedding(nn.Module):
    """Turn every pair of neighbouring channels by an angle that tells where the patch is.

    RoFormer's embedding (Su et al. 2021, https://arxiv.org/abs/2104.09864, equation 34) in two
    dimensions: the first half of the channels tells the row, the second half the column.
    ``VisionRotaryEmbeddingFast`` in ``vim/rope.py`` of the original, which is for square pictures.

    Parameters
    ----------
    config : VimConfig
    """

    def __init__(self, config: VimConfig) -> None:
        super().__init__()
        self.skipped = config.num_tokens - config.num_patches
        rows, columns = config.grid_size
        row_angles = _angles(rows, config)  # (rows, E/2)
        column_angles = _angles(columns, config)  # (columns, E/2)
        angles = torch.cat(
            (row_angles.repeat_interleave(columns, dim=0), column_angles.repeat(rows, 1)), dim=1
        )  # (M, E): patches row by row
        self.register_buffer("freqs_cos", angles.cos())
        self.register_buffer("freqs_sin", angles.sin())

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, E) -> (B, L, E).

        With a class token there is one row more than the table has. The first one is left out,
        wherever the class token stands: if it is in the middle, then it and the patches before it
        are turned by the angles of the patch that precedes them. So it is in the original.
        """
        first, x = tokens[:, : self.skipped], tokens[:, self.skipped :]  # (B, M, E): the latter
        even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)  # (B, M, E/2) each
        rotate_half = torch.stack((-odd, even), dim=-1).flatten(-2)  # (B, M, E)
        x = x * self.freqs_cos + rotate_half * self.freqs_sin  # (B, M, E)
        return torch.cat((first, x), dim=1)  # (B, L, E)


def _angles(count: int, config: VimConfig) -> Tensor:
    """Angles (count, E/2) of the patches along one side, each for two neighbouring channels.

    However many patches there are, they spread over the ``pt_hw_seq_len`` positions of the
    pretraining: a finer grid has positions in between.
    """
    half = config.embed_dim // 2  # channels of one coordinate
    freqs = 1.0 / ROPE_BASE ** (torch.arange(0, half, 2) / half)  # (E/4,)
    position = torch.arange(count) / count * config.pt_hw_seq_len  # (count,)
    return torch.outer(position, freqs).repeat_interleave(2, dim=1)  # (count, E/2)


class Mamba(nn.Module):
    """The mixer: algorithm 1 of Vision Mamba between its norm and its sum.

    ``Mamba`` in ``mamba_ssm/modules/mamba_simple.py`` of the original. Algorithm 1 is its
    ``bimamba_type="v2"``: a forward and a backward direction, with a set of parameters each, whose
    names differ in a ``_b``. In "v1" both share one set but for A, and the one convolution, which
    looks back in forward time; in "none" there is no backward direction. Without
    ``use_fast_path``, the original takes another way through its code, in which only the forward
    direction is run, whatever parameters there are.

    Parameters
    ----------
    config : VimConfig
    """

    def __init__(self, config: VimConfig) -> None:
        super().__init__()
        d_inner, d_state, dt_rank = config.d_inner, config.d_state, config.dt_rank
        self.sizes = [dt_rank, d_state, d_state]  # of delta, B and C in the output of x_proj
        self.bimamba_type = config.bimamba_type if config.use_fast_path else "none"
        self.if_divide_out = config.if_divide_out
        self.if_layer_scale = config.if_layer_scale
        self.in_proj = nn.Linear(config.embed_dim, 2 * d_inner, bias=config.bias)
        self.out_proj = nn.Linear(d_inner, config.embed_dim, bias=config.bias)
        A_log = torch.log(torch.arange(1.0, d_state + 1)).repeat(d_inner, 1)  # (D, N)
        for suffix in ("", "_b") if config.bimamba_type == "v2" else ("",):
            conv1d = nn.Conv1d(
                d_inner, d_inner, config.d_conv, groups=d_inner, bias=config.conv_bias
            )
            self.register_module(f"conv1d{suffix}", conv1d)
            self.register_module(f"x_proj{suffix}", nn.Linear(d_inner, sum(self.sizes), bias=False))
            self.register_module(f"dt_proj{suffix}", _init_dt_proj(nn.Linear(dt_rank, d_inner)))
            self.register_parameter(f"A{suffix}_log", nn.Parameter(A_log.clone()))
            self.register_parameter(f"D{suffix}", nn.Parameter(torch.ones(d_inner)))
        if config.bimamba_type == "v1":
            self.A_b_log = nn.Parameter(A_log.clone())
        if config.if_layer_scale:
            self.gamma = nn.Parameter(torch.ones(config.embed_dim))
        with torch.no_grad():  # every layer adds to one residual: keep its variance at the end
            self.out_proj.weight /= math.sqrt(config.depth)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, L, E) -> (B, L, E)."""
        xz = self.in_proj(hidden).transpose(1, 2)  # (B, 2D, L)
        x, z = xz.chunk(2, dim=1)  # (B, D, L) each
        inputs = self._scan_inputs(x, "")
        y = self._scan(inputs, self.A_log, z, "")  # (B, D, L)
        if self.bimamba_type == "v1":
            inputs_b = [tensor.flip(-1) for tensor in inputs]
            y = y + self._scan(inputs_b, self.A_b_log, z.flip(-1), "").flip(-1)  # (B, D, L)
        elif self.bimamba_type == "v2":
            inputs_b = self._scan_inputs(x.flip(-1), "_b")
            y = y + self._scan(inputs_b, self.A_b_log, z.flip(-1), "_b").flip(-1)  # (B, D, L)
            if self.if_divide_out:
                y = y / 2
        out = self.out_proj(y.transpose(1, 2))  # (B, L, E)
        return out * self.gamma if self.if_layer_scale else out

    def _scan_inputs(self, x: Tensor, suffix: str) -> list[Tensor]:
        """(B, D, L) -> u and delta (B, D, L), B and C (B, N, L)."""
        conv1d = getattr(self, f"conv1d{suffix}")
        x_proj = getattr(self, f"x_proj{suffix}")
        dt_proj = getattr(self, f"dt_proj{suffix}")
        u = causal_conv1d(x, conv1d.weight[:, 0], conv1d.bias, "silu")  # (B, D, L)
        projected = x_proj(u.transpose(1, 2)).transpose(1, 2)  # (B, R + 2N, L)
        dt, B, C = projected.split(self.sizes, dim=1)  # (B, R, L), (B, N, L), (B, N, L)
        delta = dt_proj.weight @ dt  # (B, D, L); the scan adds the bias, as the original's does
        return [u, delta, B, C]

    def _scan(self, inputs: list[Tensor], A_log: Tensor, z: Tensor, suffix: str) -> Tensor:
        """Scan what ``_scan_inputs`` gave, gated by z (B, D, L) -> (B, D, L)."""
        u, delta, B, C = inputs
        A = -torch.exp(A_log)  # (D, N)
        D = getattr(self, f"D{suffix}")  # (D,)
        dt_bias = getattr(self, f"dt_proj{suffix}").bias  # (D,)
        return selective_scan(u, delta, A, B, C, D, z, dt_bias, delta_softplus=True)


def _init_dt_proj(dt_proj: nn.Linear) -> nn.Linear:
    """Make the initial step sizes log-uniform in [DT_MIN, DT_MAX].

    As in the original, but in both directions: there only the forward one starts like this.
    """
    bound = dt_proj.in_features**-0.5
    nn.init.uniform_(dt_proj.weight, -bound, bound)
    spread = torch.empty(dt_proj.out_features).uniform_(math.log(DT_MIN), math.log(DT_MAX))
    step = torch.exp(spread)
    with torch.no_grad():
        dt_proj.bias.copy_(step + torch.log(-torch.expm1(-step)))  # the inverse of softplus
    return dt_proj


class Block(nn.Module):
    """Add to the residual, normalise, mix; ``Block`` of the original.

    Like there, a block hands on two streams, what its mixer gave and the residual, and the next one
    adds them: what stands between two blocks may treat them differently.
    """

    def __init__(self, config: VimConfig) -> None:
        super().__init__()
        self.mixer = Mamba(config)
        self.norm = _norm(config)

    def forward(self, hidden: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor]:
        """Two of (B, L, E) -> two of (B, L, E); the first block has no residual yet."""
        residual = hidden if residual is None else residual + hidden  # (B, L, E)
        return self.mixer(self.norm(residual)), residual


def _norm(config: VimConfig) -> nn.Module:
    kind = nn.RMSNorm if config.rms_norm else nn.LayerNorm
    return kind(config.embed_dim, eps=config.norm_epsilon)


class VisionMamba(nn.Module):
    """The whole network: ``VisionMamba`` in ``vim/models_mamba.py`` of the original.

    Parameters
    ----------
    config : VimConfig
        The original's constructor arguments, checked.
    """

    def __init__(self, config: VimConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        for name in config.class_tokens:  # cls_token, or cls_token_head and cls_token_tail
            self.register_parameter(name, _init_tokens(1, config.embed_dim))
        if config.if_abs_pos_embed:
            self.pos_embed = _init_tokens(config.num_tokens, config.embed_dim)
        if config.if_rope:
            self.rope = RotaryEmbedding(config)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm_f = _norm(config)
        self.head: nn.Module = nn.Identity()
        if config.num_classes:
            self.head = head = nn.Linear(config.embed_dim, config.num_classes)
            nn.init.trunc_normal_(head.weight, std=0.02)
            nn.init.zeros_(head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised pictures (B, 3, H, W) -> logits (B, classes).

        With ``final_pool_type`` "all" and no class token: those of every token, (B, L, classes).
        """
        logits = self.head(self.forward_features(images))  # (B, classes) or (B, L, classes)
        if self.config.final_pool_type == "max":  # which goes without class tokens only
            return logits.amax(dim=1)  # (B, classes)
        return logits

    def forward_features(self, images: Tensor) -> Tensor:
        """Normalised pictures (B, 3, H, W) -> what the head reads, (B, E).

        Without a class token, and with ``final_pool_type`` "max" or "all", the head reads every
        token: (B, L, E).
        """
        tokens = self.forward_tokens(images)  # (B, L, E)
        if self.config.class_tokens:
            positions = list(self.config.class_tokens.values())
            return tokens[:, positions].mean(dim=1)  # (B, E)
        if self.config.final_pool_type == "none":
            return tokens[:, -1]  # (B, E)
        return tokens.mean(dim=1) if self.config.final_pool_type == "mean" else tokens

    def forward_tokens(self, images: Tensor) -> Tensor:
        """Normalised pictures (B, 3, H, W) -> every token after the last norm, (B, L, E)."""
        hidden, residual = self._embed(images), None  # (B, L, E)
        if self.config.flip_img_sequences_ratio == 1:
            hidden = hidden.flip(1)  # (B, L, E)
        if self.config.if_bidirectional:
            # The last of an odd number of layers has no partner and stays idle.
            for layer_f, layer_b in zip(self.layers[0::2], self.layers[1::2], strict=False):
                hidden, residual = self._rotate(hidden, residual)  # (B, L, E) each
                hidden, residual = _both_ways(layer_f, layer_b, hidden, residual)
        else:
            for layer in self.layers:
                hidden, residual = self._rotate_picture(hidden, residual)  # (B, L, E) each
                hidden, residual = layer(hidden, residual)  # (B, L, E) each
        return self.norm_f(residual + hidden)  # (B, L, E)

    def _embed(self, images: Tensor) -> Tensor:
        tokens = self.patch_embed(images)  # (B, M, E)
        for name, position in self.config.class_tokens.items():
            cls_token = getattr(self, name).expand(len(tokens), -1, -1)  # (B, 1, E)
            parts = (tokens[:, :position], cls_token, tokens[:, position:])
            tokens = torch.cat(parts, dim=1)  # (B, L, E) after the last one
        return tokens + self.pos_embed if self.config.if_abs_pos_embed else tokens  # (B, L, E)

    def _rotate_picture(
        self, hidden: Tensor, residual: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Rotate in the picture's order, to which a reversed sequence is put for the moment.

        Layers in pairs do not: so it is in the original.
        """
        if self.config.flip_img_sequences_ratio == 0:
            return self._rotate(hidden, residual)
        hidden, residual = self._rotate(hidden.flip(1), _flipped(residual))
        return hidden.flip(1), _flipped(residual)

    def _rotate(self, hidden: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if self.config.if_rope:
            hidden = self.rope(hidden)  # (B, L, E)
            if self.config.if_rope_residual and residual is not None:
                residual = self.rope(residual)  # (B, L, E)
        return hidden, residual


def _both_ways(
    layer_f: Block, layer_b: Block, hidden: Tensor, residual: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Run two layers on the same tokens, the second one on their reverse, and add both up.

    Both residuals are the same, so the residual doubles with every pair.
    """
    hidden_f, residual_f = layer_f(hidden, residual)  # (B, L, E) each
    hidden_b, residual_b = layer_b(hidden.flip(1), _flipped(residual))  # (B, L, E) each
    return hidden_f + hidden_b.flip(1), residual_f + residual_b.flip(1)  # (B, L, E) each


def _flipped(residual: Tensor | None) -> Tensor | None:
    return None if residual is None else residual.flip(1)  # (B, L, E)


def _init_tokens(count: int, embed_dim: int) -> nn.Parameter:
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(1, count, embed_dim), std=0.02))
