"""Selective scans in plain PyTorch, as users without a GPU have them.

Shapes: ... any axes that stand first, D channels, L tokens, N states.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def step_by_step_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """State and output of one token after the other; algorithm 2 of Mamba (Gu & Dao 2023).

    Parameters
    ----------
    u, delta : Tensor, shape (..., D, L)
        Input and step size, the latter after its softplus.
    A : Tensor, shape (..., D, N)
    B, C : Tensor, shape (..., N, L)

    Returns
    -------
    Tensor, shape (..., D, L)
        What the states give, without the input's way around them.
    """
    A_bar = torch.exp(delta[..., None] * A[..., None, :])  # (..., D, L, N)
    B_bar_u = (delta * u)[..., None] * B.transpose(-2, -1)[..., None, :, :]  # (..., D, L, N)
    h = torch.zeros_like(A_bar[..., 0, :])  # (..., D, N)
    outputs = []
    for t in range(u.shape[-1]):
        h = A_bar[..., t, :] * h + B_bar_u[..., t, :]  # (..., D, N)
        outputs.append(torch.einsum("...dn,...n->...d", h, C[..., t]))
    return torch.stack(outputs, dim=-1)


def associative_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """The same without a loop over tokens: neighbours are joined, pairs of them, and so on.

    Blelloch 1990, "Prefix Sums and Their Applications", section 1.4.1. Arguments and output are
    those of :func:`step_by_step_scan`.
    """
    delta, u = delta.transpose(-2, -1), u.transpose(-2, -1)  # (..., L, D)
    A_bar = torch.exp(delta[..., None, :] * A.transpose(-2, -1)[..., None, :, :])  # (..., L, N, D)
    B_bar_u = (delta * u)[..., None, :] * B.transpose(-2, -1)[..., None]  # (..., L, N, D)
    h = _states(A_bar, B_bar_u)
    y = torch.einsum("...lnd,...nl->...ld", h, C)
    return y.transpose(-2, -1)


def _states(kept: Tensor, added: Tensor) -> Tensor:
    """Of h = kept h + added, along the third axis from the end."""
    length = kept.shape[-3]
    if length == 1:
        return added
    even = length - length % 2
    first, second = (x[..., :even, :, :].unflatten(-3, (-1, 2)).unbind(-3) for x in (kept, added))
    # What two tokens do at once, and from that the states after every second one.
    pairs = _states(first[1] * first[0], first[1] * second[0] + second[1])
    before = functional.pad(pairs, (0, 0, 0, 0, 1, 0))  # those that the first of each pair finds
    firsts, last = before[..., : even // 2, :, :], before[..., -1:, :, :]
    odd = torch.stack((first[0] * firsts + second[0], pairs), dim=-3).flatten(-4, -3)
    if even == length:
        return odd
    rest = kept[..., -1:, :, :] * last + added[..., -1:, :, :]
    return torch.cat((odd, rest), dim=-3)
