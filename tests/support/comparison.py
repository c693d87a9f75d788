"""How the operations' results are compared with float64, and arguments to call them with."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, settings

from tests.support.examples import examples_of
from vimnp.reference import Direction

# Relative to the largest output: float32 rounding (6e-8) accumulates over tokens and states, and
# exp costs another 1e-7. A mistake in the arithmetic is larger by orders of magnitude.
TOLERANCE = 2e-6

# The fixture sets the implementation once, which holds for all examples of a test.
examples = settings(
    deadline=None,
    max_examples=examples_of(40),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def assert_close(found: np.ndarray, truth: np.ndarray, terms: np.ndarray | None = None) -> None:
    """`terms` gives the magnitude of what was added up, where the sum may cancel to nearly zero."""
    assert found.dtype == np.float32
    assert found.shape == truth.shape
    largest = max(np.abs(truth if terms is None else terms).max(initial=0.0), 1e-30)
    assert np.abs(found - truth).max(initial=0.0) <= TOLERANCE * largest


def widened(values):
    """Arrays of float64 in place of float32, in a mapping or a Direction."""
    if isinstance(values, Direction):
        return Direction(*widened(values._asdict()).values())
    return {
        name: value.astype(np.float64) if isinstance(value, np.ndarray) else value
        for name, value in values.items()
    }


def plain_arguments(batch=2, channels=6, length=5, d_state=4, seed=0):
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    return {
        "u": normal(batch, channels, length),
        "delta": normal(batch, channels, length),
        "A": -np.exp(normal(channels, d_state)),
        "B": normal(batch, d_state, length),
        "C": normal(batch, d_state, length),
        "D": normal(channels),
        "z": normal(batch, channels, length),
        "delta_bias": normal(channels),
        "delta_softplus": True,
    }
