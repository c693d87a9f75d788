"""Why a Vision Mamba says what it says: what each patch contributes to a class's logit.

A scan is linear in its inputs, once the step sizes, B and C of a picture are known. So is all that
follows it up to the head: the gate, ``out_proj``, the sum of layers, and the last norm, whose
divisor is known too. One sweep backwards through each scan finds how much of the logit comes from
each token: with the weights s_t that the logit gives to the scan's output y_t, and from the last
token to the first,

    v += s_j C_j,    contribution of j: delta_j u_j (v . B_j) + D u_j s_j,    v *= exp(delta_j A).

This is the hidden attention of Mamba (Ali, Zimerman & Wolf, "The Hidden Attention of Mamba Models",
2024) in the direction of one logit. It needs no gradients, and as much work as the scan itself. A
token of a layer stands for what the convolution and the layers before have gathered there.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vimnp.errors import ConfigError
from vimnp.models.parameters import Norm
from vimnp.models.vim import parameters
from vimnp.models.vim.config import VimConfig
from vimnp.models.vim.network import Direction, Layer, NumpyVim, ParameterSet, Pass
from vimnp.models.vim.outputs import shape_of


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What a picture's patches contribute to a class.

    Parameters
    ----------
    index : int
        The class.
    label : str or None
        Its name, where the weights file has some.
    score : float
        How far its logit stands above the mean of all logits, which is what can make a class win.
    contributions : ndarray of float32, shape (layers, h, w)
        What each layer takes from each patch into the score, in logits. h and w are
        ``config.grid_size``.
    rest : float
        What does not come through a scan's patches: class tokens, biases, and the tokens that the
        head reads as they were before the first layer. ``contributions.sum() + rest`` is `score`.
    """

    index: int
    label: str | None
    score: float
    contributions: np.ndarray
    rest: float

    @property
    def map(self) -> np.ndarray:
        """What each patch contributes through all layers, in logits: float32, shape (h, w)."""
        total: np.ndarray = self.contributions.sum(axis=0)
        return total


# ---- Within a layer -----------------------------------------------------------------------------


def sweep(direction: Direction, d: ParameterSet, seeds: np.ndarray, flips: bool) -> np.ndarray:
    """What each token of a scan contributes, by channel, to the sum of its outputs, weighted.

    Parameters
    ----------
    direction : DirectionParameters
    d : ParameterSet
        What the scan read: u, delta before its bias, B and C, in the sequence's order.
    seeds : ndarray, shape (L, Dn)
        The weight of each output y, in the sequence's order.
    flips : bool
        Whether the scan goes from the sequence's end to its beginning.

    Returns
    -------
    ndarray of float32, shape (L, Dn)
        Summed over the tokens, it is the sum of ``seeds * y`` over them.
    """
    step = -1 if flips else 1
    u, B, C, s = (array[::step] for array in (d.u, d.B, d.C, seeds))
    delta = step_sizes(direction, d)[::step]
    found = np.empty_like(d.u)
    in_time = found[::step]
    v = np.zeros_like(direction.A)  # (N, Dn)
    for j in range(len(u) - 1, -1, -1):
        v += C[j][:, None] * s[j]
        in_time[j] = u[j] * (delta[j] * (B[j] @ v) + direction.D * s[j])
        v *= np.exp(delta[j] * direction.A)
    return found


def step_sizes(direction: Direction, d: ParameterSet) -> np.ndarray:
    """The scan's delta, after bias and softplus: float32, shape (L, Dn)."""
    return np.logaddexp(np.float32(0), d.delta + direction.dt_bias)


def contributions_to_outputs(
    config: VimConfig, w: Pass, layer: Layer, weights: np.ndarray
) -> np.ndarray:
    """What each token contributes, by channel, to the sum of a mixer's gated outputs, weighted.

    Parameters
    ----------
    config : VimConfig
    w : Pass
        After the layer's scan.
    layer : Layer
    weights : ndarray, shape (L, Dn)
        Of ``w.y``.

    Returns
    -------
    ndarray of float32, shape (L, Dn)
    """
    with np.errstate(over="ignore"):  # where exp(-z) is infinite, SiLU is 0
        gates = w.z / (1 + np.exp(-w.z))
    seeds = weights * gates * np.float32(0.5 if config.halves_directions else 1)
    scans = enumerate(zip(layer.directions, w.directions, strict=True))
    found = [sweep(p, d, seeds, layer.is_flipped != bool(index)) for index, (p, d) in scans]
    total: np.ndarray = np.sum(found, axis=0)
    return total


class LookingVim(NumpyVim):
    """The network, that shows what each mixer has computed before its output is projected.

    Parameters
    ----------
    config : VimConfig
    load : callable
        As for :class:`vimnp.models.vim.network.NumpyVim`.
    num_threads : int
    look : callable
        Called after each layer's scan, with the pass and the layer.
    """

    def __init__(
        self,
        config: VimConfig,
        load: parameters.Load,
        num_threads: int,
        look: Callable[[Pass, Layer], None],
    ) -> None:
        super().__init__(config, load, num_threads, "fused")
        self._look = look

    def _out_proj(self, w: Pass, layer: Layer, out: np.ndarray) -> None:
        self._look(w, layer)
        super()._out_proj(w, layer, out)


# ---- Of a whole network --------------------------------------------------------------------------


def linear_reading(norm: Norm, token: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, float]:
    """What ``weights @ norm(token)`` is of a token: a product with it, and a constant.

    Parameters
    ----------
    norm : Norm
    token, weights : ndarray, shape (E,)

    Returns
    -------
    ndarray of float64, shape (E,), and float
    """
    x, scaled = token.astype(np.float64), weights.astype(np.float64) * norm.weight
    if norm.bias is None:
        return scaled / np.sqrt(np.mean(x**2) + norm.epsilon), 0.0
    centred = scaled - scaled.mean()
    return centred / np.sqrt(x.var() + norm.epsilon), float(weights @ norm.bias)


class Subject(NamedTuple):
    """A picture, and the network that looks at it."""

    config: VimConfig
    plain: parameters.Parameters[np.ndarray]  # matrices are (inputs, outputs)
    lay_out: Callable[..., parameters.Parameters]  # for a backend, from `plain`
    num_threads: int
    pixels: np.ndarray  # (channels, H, W), normalised


class Reading(NamedTuple):
    """How a class's score follows from the tokens after the last layer."""

    weights: np.ndarray  # (L, E): of each token, where those that the head does not read have 0
    constant: float


def reading_of(subject: Subject, stream: np.ndarray, index: int) -> Reading:
    """The reading of a class's score, the logit less the mean of all logits.

    Parameters
    ----------
    subject : Subject
    stream : ndarray of float32, shape (L, E)
        The tokens after the last layer, before the last norm.
    index : int
        The class.
    """
    plain, pooled = subject.plain, subject.config.pooled_tokens
    assert plain.head is not None
    assert plain.head_bias is not None
    of_features = plain.head[:, index] - plain.head.mean(axis=1)
    constant = float(plain.head_bias[index] - plain.head_bias.mean())
    rows = range(len(stream)) if pooled is None else pooled
    weights = np.zeros(stream.shape)
    for row in rows:
        of_token, addend = linear_reading(plain.norm_f, stream[row], of_features)
        weights[row] = of_token / len(rows)
        constant += addend / len(rows)
    return Reading(weights.astype(np.float32), constant)


def contributions(subject: Subject, reading: Reading) -> tuple[np.ndarray, float]:
    """What each token of each layer contributes to a reading, and what comes past the scans.

    Parameters
    ----------
    subject : Subject
    reading : Reading

    Returns
    -------
    ndarray of float32, shape (L, layers), and float
    """
    past = [reading.constant]

    def look(w: Pass, layer: Layer) -> np.ndarray:
        if w.layer == 0:  # the residual stream is what the picture was embedded in
            past.append(float(np.vdot(reading.weights, w.residual)))
        if layer.out_proj_bias is not None:
            past.append(float(reading.weights.sum(axis=0) @ layer.out_proj_bias))
        weights = reading.weights @ _out_proj(layer).T
        of_tokens: np.ndarray = contributions_to_outputs(subject.config, w, layer, weights)
        return of_tokens.sum(axis=1)

    found = _look_at(subject, look)
    return found, sum(past)


def hidden_attention(subject: Subject) -> np.ndarray:
    """Shares of the tokens in what each layer adds to the tokens that the head reads.

    Parameters
    ----------
    subject : Subject

    Returns
    -------
    ndarray of float32, shape (L, layers)
        Of absolute values, summed over the layer's channels: 0 or more, and 1 in a layer's sum.
    """
    config = subject.config
    rows = config.pooled_tokens
    assert rows is not None

    def look(w: Pass, layer: Layer) -> np.ndarray:
        shares = np.zeros(config.num_tokens)
        for row in rows:
            weights = np.zeros_like(w.z)
            weights[row] = 1
            of_row = contributions_to_outputs(config, w, layer, weights) @ _out_proj(layer)
            shares += np.abs(of_row).sum(axis=1) / np.abs(of_row).sum()
        return shares / len(rows)

    return _look_at(subject, look)


def mean_step_sizes(subject: Subject) -> np.ndarray:
    """The step size delta of each token and layer, in the mean of channels and directions.

    Parameters
    ----------
    subject : Subject

    Returns
    -------
    ndarray of float32, shape (L, layers)
    """

    def look(w: Pass, layer: Layer) -> np.ndarray:
        scans = zip(layer.directions, w.directions, strict=True)
        mean: np.ndarray = np.mean([step_sizes(p, d).mean(axis=1) for p, d in scans], axis=0)
        return mean

    return _look_at(subject, look)


def _out_proj(layer: Layer) -> np.ndarray:
    """The layer's last matrix, (Dn, E)."""
    assert isinstance(layer.out_proj, np.ndarray)  # `expect_linear_products` saw to that
    return layer.out_proj


def _look_at(subject: Subject, look: Callable[[Pass, Layer], np.ndarray]) -> np.ndarray:
    """What `look` gives, (L,), in each layer: float32, shape (L, layers)."""
    config = subject.config
    found = np.empty((config.num_tokens, config.num_active_layers), np.float32)

    def keep(w: Pass, layer: Layer) -> None:
        found[:, w.layer] = look(w, layer)

    load = functools.partial(subject.lay_out, subject.plain)
    features = np.empty((1, *shape_of(config, "features")), np.float32)
    network = LookingVim(config, load, subject.num_threads, keep)
    network.forward([subject.pixels], features, output="features")
    return found


def expect_unrotated(config: VimConfig) -> None:
    """Raise ConfigError if layers turn what others have added, so that it cannot be told apart."""
    if config.if_rope:
        raise ConfigError(
            "this network has if_rope, which turns what layers have added to the tokens; expected "
            "one without it, to explain"
        )


def expect_linear_products(precision: str) -> None:
    """Raise ConfigError if products round, so that the sum of parts is not the whole."""
    if precision != "float32":
        raise ConfigError(
            f"this model has precision {precision!r}, in which products are rounded; expected "
            "'float32', to explain: load the float file of the same network"
        )
