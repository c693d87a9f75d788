"""exp, softplus, silu and gelu of the kernels: their error over all of float32, and odd values."""

from __future__ import annotations

import numpy as np
import pytest

from vimnp.ops import reference
from vimnp.runtime import extension

NORMAL = 2.0**-100  # results below may be flushed to zero

WITH_FMA = {"avx512vnni", "avx512", "avxvnni", "avx2", "neondotprod", "neon"}


def largest_error(name: str, x: np.ndarray) -> np.ndarray:
    """In units in the last place, as exp.h and gelu.h state it."""
    if name == "gelu":
        below = 7.5 if extension.instruction_set() in WITH_FMA else 8.5
        return np.select([x > 0, x >= -1], [4.0, 5.1], below)
    slope = 0.25 if extension.instruction_set() in WITH_FMA else 1.25
    return (4.5 if name == "softplus" else 3.5) + slope * np.abs(x.astype(np.float64))


WORST = [
    *(-0.993122935, -0.990134895, 9.54086113, 9.56366539, 88.0295563, 87.3364639),  # exp
    *(-0.443214148, -0.43467322, -5.14721251, -6.94834518, -68.6217651, -68.62397),  # softplus
    *(-0.292292207, -0.288349062, -6.76325035, -6.77317047, -72.9115982, -72.9119034),  # silu
    *(-0.88699496, -0.9356902, -1.8308337, -3.455533, -3.645347, -11.456779, -11.396393),  # gelu
    *(0.0154317766, -0.897691786, -0.94090718, -2.78528047, -2.7877686, -4.01896, -5.0811553),
]

EXACT = {  # in float64
    "exp": np.exp,
    "softplus": reference.softplus,
    "silu": reference.silu,
    "gelu": reference.gelu,
}


@pytest.fixture(params=extension.usable_instruction_sets())
def compiled(request, monkeypatch):
    """The kernels of each instruction set of this machine in turn, which is then in use."""
    monkeypatch.setenv("VIMNP_ISA", request.param)
    assert extension.instruction_set() == request.param
    return extension.kernels()


def apply(compiled, name: str, x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    compiled.apply(name, x, out)
    return out


@pytest.fixture(scope="module")
def floats() -> np.ndarray:
    """Every 4,099th of all finite floats, denormals included: a prime, so all last digits occur.

    And those that bench/vector_accuracy.py found to be the worst of all.
    """
    values = np.arange(0, 1 << 32, 4099, dtype=np.uint32).view(np.float32)
    return np.append(values[np.isfinite(values)], np.array(WORST, np.float32))


@pytest.mark.parametrize("name", EXACT)
def test_errors_are_as_small_as_stated(compiled, floats, name):
    found = apply(compiled, name, floats).astype(np.float64)
    with np.errstate(over="ignore"):
        truth = EXACT[name](floats.astype(np.float64))
    assert np.isinf(found[truth >= 2.0**128]).all()
    # Without AVX-512, exp overflows half a binade early.
    within = truth < (2.0**127.5 if name == "exp" else 2.0**128)
    x, found, truth = floats[within], found[within], truth[within]
    error, normal = np.abs(found - truth), np.abs(truth) >= NORMAL
    unit = np.spacing(np.abs(truth[normal]).astype(np.float32)).astype(np.float64)
    assert (error[normal] / unit <= largest_error(name, x[normal])).all()
    assert error[~normal].max() <= NORMAL * 1e-5


ODD_VALUES = [
    ("exp", np.nan, np.nan),
    ("exp", np.inf, np.inf),
    ("exp", -np.inf, 0.0),
    ("exp", 0.0, 1.0),
    ("exp", -0.0, 1.0),
    ("exp", 3e38, np.inf),
    ("exp", -3e38, 0.0),
    ("exp", 1e-45, 1.0),
    ("softplus", np.nan, np.nan),
    ("softplus", np.inf, np.inf),
    ("softplus", -np.inf, 0.0),
    ("softplus", 3e38, 3e38),
    ("softplus", -3e38, 0.0),
    ("softplus", 20.5, 20.5),
    ("silu", np.nan, np.nan),
    ("silu", np.inf, np.inf),
    ("silu", -np.inf, np.nan),  # as PyTorch's: minus infinity times zero
    ("silu", 0.0, 0.0),
    ("silu", 3e38, 3e38),
    ("silu", -3e38, 0.0),
    ("gelu", np.nan, np.nan),
    ("gelu", np.inf, np.inf),
    ("gelu", -np.inf, np.nan),  # as PyTorch's: minus infinity times zero
    ("gelu", 0.0, 0.0),
    ("gelu", -0.0, 0.0),
    ("gelu", 3e38, 3e38),
    ("gelu", -3e38, 0.0),
    ("gelu", 15.0, 15.0),
    ("gelu", -15.0, 0.0),
    ("gelu", -1e20, 0.0),  # whose square is infinite
]


@pytest.mark.parametrize(("name", "x", "expected"), ODD_VALUES)
def test_odd_values(compiled, name, x, expected):
    found = apply(compiled, name, np.full(19, x, np.float32))  # full vectors and a tail
    np.testing.assert_array_equal(found, np.full(19, expected, np.float32))
