"""The compiled functions themselves: they check little, but never what would read past an array."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from tests.support.micro import MICRO
from vimnp.engine.packing import PackedMatrix, Packing, pack
from vimnp.engine.trace import RECORD
from vimnp.models.random_weights import random_reader
from vimnp.models.vim.parameters import DirectionParameters, Parameters, load_parameters
from vimnp.models.vim.program import build
from vimnp.ops.kernels import Filter, ScanInputs
from vimnp.runtime import extension

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
    extension.kernels().causal_conv1d(x, filters, outs, silu=True, num_threads=1)


def add_norm(**changes):
    arguments = {"residual": TOKENS.copy(), "hidden": TOKENS, "weight": zeros(20)}
    arguments |= {"bias": zeros(20), "out": TOKENS.copy()} | changes
    extension.kernels().fused_add_norm(*arguments.values(), epsilon=1e-5, num_threads=1)


def scan(directions=(DIRECTION,), z=None, out=None, last_states=None):
    extension.kernels().selective_scan(
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


# ---- The network, and the product that it is made of ---------------------------------------------

# Which has all that a network may have.
CONFIG = dataclasses.replace(MICRO, rms_norm=False, if_rope=True)


def packed(packing=None) -> Parameters:
    """Parameters of a network, in panels for the instruction set in use, or laid out otherwise."""
    kernels = extension.kernels()
    packing = packing or Packing(kernels.width, kernels.panel)
    return load_parameters(CONFIG, random_reader(CONFIG, 0), packing.pack)


def network(parameters: Parameters, output="logits"):
    return extension.kernels().program(build(CONFIG, parameters, output))


def shortened(parameters, path: str):
    """The same without one number, of every array that `path` leads to."""
    name, _, rest = path.partition(".")
    part = getattr(parameters, name)
    if name in ("layers", "directions"):
        return parameters._replace(**{name: tuple(shortened(item, rest) for item in part)})
    if rest:
        shorter = shortened(part, rest)
    elif isinstance(part, PackedMatrix):
        shorter = dataclasses.replace(part, panels=part.panels[1:])
    else:
        shorter = np.array(part).reshape(-1)[1:]
    return parameters._replace(**{name: shorter})


def forward(output="logits", **changes) -> np.ndarray:
    compiled = network(packed(), output)
    arguments = {"images": [IMAGE] * 2, "out": zeros(2, 7), "num_threads": 2}
    arguments |= {"memory": zeros(compiled.workspace_size(2)), "spans": None} | changes
    compiled.forward(arguments.pop("images"), **arguments)
    return arguments["out"]


def multiply(**changes) -> np.ndarray:
    kernels = extension.kernels()
    panels = pack(kernels.width, kernels.panel, zeros(40, 20) + 1)
    arguments = {"x": X, "panels": panels, "addend": None}
    arguments |= {"out": zeros(5, 40), "rows": (0, 5), "columns": (0, 40)} | changes
    kernels.product(**arguments)
    return arguments["out"]


PARAMETERS = [
    *("patch_proj", "token_offset", "norm_f.weight", "norm_f.bias", "head", "head_bias"),
    *("rotation.cos", "rotation.sin"),
    *(f"layers.{name}" for name in ("norm.weight", "norm.bias", "in_proj", "out_proj")),
    *(f"layers.directions.{name}" for name in DirectionParameters._fields),
]

IMAGE = zeros(3, 32, 32)
FORWARD_MISTAKES = [
    *({"images": [IMAGE, zeros(c, *size)]} for c, *size in ((1, 32, 32), (4, 32, 32))),
    *({"images": [IMAGE, zeros(3, *size)]} for size in ((31, 32), (32, 31), (33, 32), (0, 32))),
    {"images": [IMAGE] * 9, "out": zeros(9, 7)},
    {"images": [IMAGE] * 3},
    {"out": zeros(2, 6)},
    {"output": "features"},
    {"output": "tokens"},
    {"memory": zeros(100)},
    {"num_threads": 3},
    {"num_threads": 0, "memory": zeros(1)},
    {"spans": np.zeros((1, 100), RECORD)},
    {"spans": np.zeros((2, 0), RECORD)},
]

X = zeros(5, 20) + 1
PRODUCT_MISTAKES = [
    {"x": zeros(4, 20)},
    {"x": zeros(5, 19)},
    {"x": zeros(5, 40)[:, ::2]},
    {"panels": zeros(799)},
    {"addend": zeros(4, 40)},
    {"addend": zeros(5, 39)},
    {"addend": zeros(5, 80)[:, ::2]},
    {"out": zeros(4, 40)},
    {"out": zeros(5, 80)[:, ::2]},
    {"out": zeros(5, 100)},
    *({"rows": rows} for rows in ((0, 6), (-1, 5), (3, 2))),
    *({"columns": columns} for columns in ((0, 41), (-16, 40), (32, 16))),
]


def test_a_pass_and_a_product_that_fit_are_computed():
    assert forward().all()
    assert forward(images=[], out=zeros(0, 7)).shape == (0, 7)
    assert forward(output="features", out=zeros(2, 24)).all()
    assert forward(output="tokens", out=zeros(2, 17 * 24)).all()
    assert (multiply() == 20).all()
    assert (multiply(addend=X[:, :1].repeat(40, 1)) == 21).all()


def test_a_pass_writes_as_many_spans_as_there_is_room_for():
    spans = np.zeros((3, 5), RECORD)
    forward(spans=spans)
    assert (spans["end"][:2] >= spans["begin"][:2]).all()
    assert spans["end"][0].all()
    assert not spans["end"][2].any()  # there are two threads


@pytest.mark.parametrize("path", PARAMETERS)
def test_a_network_is_refused_an_array_that_is_too_short(path):
    with pytest.raises(ValueError, match="a parameter does not fit"):
        network(shortened(packed(), path))


def test_a_network_is_refused_panels_for_other_vectors():
    with pytest.raises(ValueError, match="a parameter does not fit"):
        network(packed(Packing(5, 10)))


def test_an_instruction_set_that_is_not_there_is_refused():
    with pytest.raises(KeyError, match="avx1024"):
        extension.loaded().Kernels("avx1024")


def test_a_network_is_refused_no_kernels_at_all():
    with pytest.raises(TypeError, match="incorrect type"):
        extension.loaded().Program(None, build(CONFIG, packed(), "logits"))


@pytest.mark.parametrize("mistake", FORWARD_MISTAKES)
def test_a_pass_that_would_leave_its_arrays_is_refused(mistake):
    with pytest.raises(ValueError, match="does not fit"):
        forward(**mistake)


@pytest.mark.parametrize(
    "mistake",
    [
        {"images": [zeros(32, 32, 3).T]},
        {"out": zeros(2, 14)[:, ::2]},
        {"memory": zeros(200_000)[::2]},
    ],
    ids=lambda mistake: next(iter(mistake)),
)
def test_a_pass_is_refused_what_is_not_contiguous(mistake):
    with pytest.raises(ValueError, match="not C-contiguous"):
        forward(**mistake)


@pytest.mark.parametrize("mistake", PRODUCT_MISTAKES)
def test_a_product_that_would_leave_its_arrays_is_refused(mistake):
    with pytest.raises(ValueError, match="does not fit"):
        multiply(**mistake)


# ---- All of them ---------------------------------------------------------------------------------


def test_an_array_of_another_dtype_is_refused():
    with pytest.raises(ValueError, match="Buffer dtype mismatch"):
        convolve(x=np.zeros((LENGTH, CHANNELS)))
    with pytest.raises(ValueError, match="Buffer dtype mismatch"):
        forward(images=[np.zeros((3, 32, 32))])
    with pytest.raises(ValueError, match="Buffer dtype mismatch"):
        multiply(x=np.zeros((5, 20)))


def test_the_fastest_instruction_set_needs_no_choosing():
    code = """
import numpy as np
from vimnp import _scan
x, out = np.ones(3, np.float32), np.zeros(3, np.float32)
_scan.Kernels().apply("silu", x, out)
assert out.all()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
