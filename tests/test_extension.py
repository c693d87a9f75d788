"""The compiled functions themselves: they check little, but never what would read past an array."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from vimnp import extension
from vimnp.kernels import Filter, ScanInputs

LENGTH, CHANNELS, STATES = 5, 20, 3


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


TOKENS = zeros(LENGTH, CHANNELS)
COEFFICIENTS = zeros(LENGTH, STATES)
DIRECTION = ScanInputs(
    TOKENS, TOKENS, zeros(STATES, CHANNELS), COEFFICIENTS, COEFFICIENTS, zeros(20), zeros(20)
)
EVERY_SECOND = zeros(LENGTH, 2 * CHANNELS)[:, ::2]


FILTER = Filter(zeros(4, CHANNELS), zeros(20))
OUTS = zeros(LENGTH, CHANNELS), zeros(LENGTH, CHANNELS)


def convolve(x=TOKENS, filters=(FILTER, FILTER), outs=OUTS):
    extension.loaded().causal_conv1d(x, filters, outs, silu=True, num_threads=1)


def add_norm(**changes):
    arguments = {"residual": TOKENS.copy(), "hidden": TOKENS, "weight": zeros(20)}
    arguments |= {"bias": zeros(20), "out": TOKENS.copy()} | changes
    extension.loaded().fused_add_norm(*arguments.values(), epsilon=1e-5, num_threads=1)


def scan(directions=(DIRECTION,), z=None, out=None, last_states=None):
    extension.loaded().selective_scan(
        directions,
        z,
        TOKENS.copy() if out is None else out,
        delta_softplus=True,
        fixlen=False,
        fused=True,
        scale=1.0,
        last_states=last_states,
        num_threads=1,
    )


CONV_MISTAKES = [
    {"x": zeros(LENGTH, CHANNELS + 1)},
    {"x": EVERY_SECOND},
    {"filters": ()},
    {"filters": (FILTER,)},
    {"filters": (FILTER,) * 3, "outs": OUTS[:1] * 3},
    {"outs": OUTS[:1]},
    {"outs": (zeros(LENGTH - 1, CHANNELS), OUTS[1])},
    {"outs": (OUTS[0], EVERY_SECOND)},
    *(
        {"filters": (FILTER, FILTER._replace(**change))}
        for change in (
            {"weight": zeros(4, CHANNELS - 1)},
            {"weight": zeros(3, CHANNELS)},
            {"bias": zeros(CHANNELS - 1)},
        )
    ),
    *({"filters": (Filter(zeros(taps, CHANNELS), None),), "outs": OUTS[:1]} for taps in (0, 65)),
]

NORM_MISTAKES = [
    {"residual": zeros(LENGTH + 1, CHANNELS)},
    {"residual": EVERY_SECOND},
    {"hidden": zeros(LENGTH - 1, CHANNELS)},
    {"hidden": EVERY_SECOND},
    {"weight": zeros(CHANNELS - 1)},
    {"bias": zeros(CHANNELS + 1)},
    {"out": zeros(LENGTH, CHANNELS - 1)},
    {"out": EVERY_SECOND},
]

SCAN_MISTAKES = [
    {"directions": ()},
    {"directions": (DIRECTION,) * 3},
    {"z": zeros(LENGTH - 1, CHANNELS)},
    {"out": EVERY_SECOND},
    {"out": zeros(LENGTH + 1, CHANNELS)},
    {"last_states": (zeros(STATES, CHANNELS - 1),)},
    *(
        {"directions": (DIRECTION._replace(**change),)}
        for change in (
            {"u": zeros(LENGTH, CHANNELS - 1)},
            {"delta": EVERY_SECOND},
            {"A": zeros(0, CHANNELS)},
            {"A": zeros(257, CHANNELS)},
            {"A": zeros(STATES, CHANNELS - 1)},
            {"B": zeros(LENGTH - 1, STATES)},
            {"C": zeros(LENGTH, STATES - 1)},
            {"B": zeros(STATES, CHANNELS - 1), "B_constant": True},
            {"C_constant": True},
            {"D": zeros(CHANNELS - 1)},
            {"delta_bias": zeros(CHANNELS - 1)},
        )
    ),
]


def test_what_fits_is_computed():
    convolve()
    convolve(filters=(FILTER,), outs=OUTS[:1])
    add_norm()
    add_norm(hidden=None, bias=None)
    scan()
    scan((DIRECTION, DIRECTION), z=TOKENS, last_states=(zeros(STATES, CHANNELS),) * 2)


@pytest.mark.parametrize("mistake", CONV_MISTAKES)
def test_a_convolution_that_would_leave_its_arrays_is_refused(mistake):
    with pytest.raises(ValueError, match="does not fit"):
        convolve(**mistake)


@pytest.mark.parametrize("mistake", NORM_MISTAKES)
def test_a_norm_that_would_leave_its_arrays_is_refused(mistake):
    with pytest.raises(ValueError, match="does not fit"):
        add_norm(**mistake)


@pytest.mark.parametrize("mistake", SCAN_MISTAKES)
def test_a_scan_that_would_leave_its_arrays_is_refused(mistake):
    with pytest.raises(ValueError, match="does not fit"):
        scan(**mistake)


def test_an_array_of_another_dtype_is_refused():
    with pytest.raises(ValueError, match="Buffer dtype mismatch"):
        convolve(x=np.zeros((LENGTH, CHANNELS)))


def test_the_fastest_instruction_set_needs_no_choosing():
    code = """
import numpy as np
from vimnp import _scan
x, out = np.ones(3, np.float32), np.zeros(3, np.float32)
_scan.apply("silu", x, out)
assert out.all()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
