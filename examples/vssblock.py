"""A VMamba block for a machine without CUDA: as it was rewritten once, right in NumPy, and fast.

The rewrite of the block for Windows ("Effcient_vmamba_block" by Jacky-Android) replaces the scan's
loop by array operations. Its method is ``selective_scan(u, delta, A, B, C, D)``. Three with that
interface stand here: its own, the recurrence written out in NumPy, and
:func:`vimnp.selective_scan`, the same in compiled code. :class:`vimnp.SS2D` is the whole block.

    python examples/vssblock.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

import vimnp

DIRECTIONS = 4  # row by row, column by column, and both ways back
Tensors = dict[str, np.ndarray]
Scan = Callable[..., np.ndarray]


# ---- Three scans of one interface: u, delta (b, d, l), A (d, n), B, C (b, g, n, l), D (d,) -------


def rewritten(u, delta, A, B, C, D):
    """What the rewrite computes: no state goes on to the next token, and all have the last's C."""
    each = len(A) // B.shape[1]  # channels that share a B and a C
    B, C = np.repeat(B, each, axis=1), np.repeat(C, each, axis=1)
    decay = np.exp(delta[..., None] * A[:, None])
    states = decay * 0 + delta[..., None] * B.swapaxes(2, 3) * u[..., None]
    return np.einsum("bdln,bdn->bdl", states, C[..., -1]) + D[:, None] * u


def written_out(u, delta, A, B, C, D):
    """``h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t`` and ``y_t = C_t h_t + D u_t``."""
    each = len(A) // B.shape[1]
    B, C = np.repeat(B, each, axis=1), np.repeat(C, each, axis=1)
    h, y = np.zeros((*u.shape[:2], A.shape[1])), np.empty(u.shape)
    for t in range(u.shape[2]):
        step = delta[:, :, t, None]
        h = np.exp(step * A) * h + step * B[..., t] * u[:, :, t, None]
        y[:, :, t] = (h * C[..., t]).sum(-1) + D * u[:, :, t]
    return y


# ---- The block around them -----------------------------------------------------------------------


def block(tensors: Tensors, x: np.ndarray, scan: Scan, *, positive: bool = True) -> np.ndarray:
    """VMamba's SS2D (v0), tokens (b, h, w, c) -> the same, with one of the scans.

    `positive` steps are ``softplus(dt + dt_projs_bias)``; the rewrite takes dt as it is.
    """
    batch, height, width, _ = x.shape
    d_inner, d_state = len(tensors["out_norm.weight"]), tensors["A_logs"].shape[1]
    length, dt_rank = height * width, tensors["dt_projs_weight"].shape[2]
    x, z = np.split(x @ tensors["in_proj.weight"].T, 2, axis=-1)

    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = tensors["conv2d.weight"].reshape(d_inner, 9).T
    u = tensors["conv2d.bias"] + sum(
        tap * padded[:, i // 3 : i // 3 + height, i % 3 : i % 3 + width]
        for i, tap in enumerate(taps)
    )
    u = silu(u).transpose(0, 3, 1, 2)

    down = u.swapaxes(2, 3)
    walks = np.stack([u.reshape(batch, d_inner, length), down.reshape(batch, d_inner, length)], 1)
    walks = np.concatenate([walks, walks[..., ::-1]], axis=1)  # (b, 4, d, l)
    projected = tensors["x_proj_weight"] @ walks
    dt, B, C = np.split(projected, [dt_rank, dt_rank + d_state], axis=2)
    delta = tensors["dt_projs_weight"] @ dt
    if positive:
        delta = np.logaddexp(0, delta + tensors["dt_projs_bias"][..., None])
    y = scan(
        np.ascontiguousarray(walks).reshape(batch, -1, length),
        delta.reshape(batch, -1, length),
        -np.exp(tensors["A_logs"]),
        B,
        C,
        tensors["Ds"],
    ).reshape(batch, DIRECTIONS, d_inner, length)

    y = y[:, :2] + y[:, 2:, :, ::-1]
    by_columns = y[:, 1].reshape(batch, d_inner, width, height).swapaxes(2, 3)
    y = (y[:, 0].reshape(by_columns.shape) + by_columns).transpose(0, 2, 3, 1)
    centred = y - y.mean(-1, keepdims=True)
    y = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    y = y * tensors["out_norm.weight"] + tensors["out_norm.bias"]
    return (y * silu(z)) @ tensors["out_proj.weight"].T


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def initial(dim: int = 96, d_state: int = 16, seed: int = 0) -> Tensors:
    """The tensors that training begins with, of VMamba-T's first stage.

    But for x_proj, which is eight times as large: with the first B and C nearly all that a block
    gives is ``D u``, and hides what the states are.
    """
    rng = np.random.default_rng(seed)
    d_inner, dt_rank = 2 * dim, -(-dim // 16)

    def uniform(bound: float, *shape: int) -> np.ndarray:
        return rng.uniform(-bound, bound, shape).astype(np.float32)

    steps = np.exp(rng.uniform(np.log(1e-3), np.log(0.1), (DIRECTIONS, d_inner)))
    states = np.log(np.arange(1, d_state + 1, dtype=np.float32))
    return {
        "in_proj.weight": uniform(dim**-0.5, 2 * d_inner, dim),
        "conv2d.weight": uniform(1 / 3, d_inner, 1, 3, 3),
        "conv2d.bias": uniform(1 / 3, d_inner),
        "x_proj_weight": uniform(8 * d_inner**-0.5, DIRECTIONS, dt_rank + 2 * d_state, d_inner),
        "dt_projs_weight": uniform(dt_rank**-0.5, DIRECTIONS, d_inner, dt_rank),
        "dt_projs_bias": (steps + np.log(-np.expm1(-steps))).astype(np.float32),
        "A_logs": np.tile(states, (DIRECTIONS * d_inner, 1)),
        "Ds": np.ones(DIRECTIONS * d_inner, np.float32),
        "out_norm.weight": np.ones(d_inner, np.float32),
        "out_norm.bias": np.zeros(d_inner, np.float32),
        "out_proj.weight": uniform(d_inner**-0.5, dim, d_inner),
    }


def main() -> None:
    tensors = initial()
    x = np.random.default_rng(1).standard_normal((1, 14, 14, 96)).astype(np.float32)
    wide = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    truth = block(wide, x.astype(np.float64), written_out)
    ss2d = vimnp.SS2D(tensors)
    print(f"a VMamba block on {x.shape[1]}x{x.shape[2]} tokens: error of its output, and time")
    for name, run in {
        "as rewritten": lambda: block(tensors, x, rewritten, positive=False),
        "the recurrence, in NumPy": lambda: block(tensors, x, written_out),
        "vimnp.selective_scan": lambda: block(tensors, x, vimnp.selective_scan),
        "vimnp.SS2D": lambda: ss2d(x),
    }.items():
        run()  # what is made once is made
        begin = time.perf_counter()
        out = run()
        milliseconds = (time.perf_counter() - begin) * 1e3
        error = np.linalg.norm(out - truth) / np.linalg.norm(truth)
        print(f"  {name:<26} {100 * error:10.5f} %  {milliseconds:8.1f} ms")


if __name__ == "__main__":
    main()
