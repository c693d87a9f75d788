"""What is decided when a model is made stays: the environment changes no model after that."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.implementations import COMPILED_WAYS, NATIVE_WAYS, NUMPY_WAYS, only
from tests.support.micro import MICRO, micro
from vimnp.ops import reference
from vimnp.runtime import extension

PIXELS = np.random.default_rng(0).standard_normal((3, 32, 32)).astype(np.float32)

REFERENCES = {
    "causal_conv1d": "convolve",
    "fused_add_norm": "norm",
    "selective_scan": "scan_directions",
}
"""Each operation's function in plain NumPy."""

every_operation = pytest.mark.parametrize("operation", extension.FORCE_FALLBACK)


@only(NATIVE_WAYS)
def test_a_native_model_says_how_many_threads_it_uses(way, monkeypatch):
    """A vector of channels for each, at most; there are 48 channels."""
    most = -(-MICRO.d_inner // extension.kernels().width)
    assert micro(num_threads=64).num_threads == most
    assert micro(num_threads=1).with_settings(num_threads=64).num_threads == most
    assert micro(num_threads=2).num_threads == min(2, most)
    monkeypatch.setenv("VIMNP_NUM_THREADS", "64")
    assert micro().num_threads == most


@only(COMPILED_WAYS)
@pytest.mark.parametrize("later", [*extension.usable_instruction_sets(), "avx1024"])
def test_a_model_stays_on_its_instruction_set(later, way, monkeypatch):
    model = micro()
    logits = model(PIXELS)
    monkeypatch.setenv("VIMNP_ISA", later)
    np.testing.assert_array_equal(model(PIXELS), logits)
    assert model.way.instruction_set == way.isa


@only(NUMPY_WAYS)
@every_operation
@pytest.mark.parametrize("later", ["TRUE", "maybe"])
def test_what_is_forced_later_changes_no_model(later, operation, way, monkeypatch):
    model = micro()
    logits = model(PIXELS)
    monkeypatch.setenv(extension.FORCE_FALLBACK[operation], later)
    np.testing.assert_array_equal(model(PIXELS), logits)


@only([way for way in NUMPY_WAYS if way.isa])
@every_operation
@pytest.mark.filterwarnings("ignore:vimnp runs .* in plain NumPy")
def test_a_model_stays_with_what_was_forced(operation, way, monkeypatch):
    variable, calls = extension.FORCE_FALLBACK[operation], []
    original = getattr(reference, REFERENCES[operation])

    def counted(*arguments):
        calls.append(operation)
        return original(*arguments)

    monkeypatch.setattr(reference, REFERENCES[operation], counted)
    compiled = micro()
    compiled(PIXELS)
    assert not calls
    monkeypatch.setenv(variable, "TRUE")
    forced = micro()
    compiled(PIXELS)
    assert not calls
    monkeypatch.delenv(variable)
    forced(PIXELS)
    assert calls
    assert forced.way.instruction_set == way.isa  # of the other operations


@pytest.mark.filterwarnings("ignore:vimnp runs .* in plain NumPy")
def test_a_model_of_which_nothing_is_compiled_has_no_instruction_set(monkeypatch):
    for variable in extension.FORCE_FALLBACK.values():
        monkeypatch.setenv(variable, "TRUE")
    assert micro(backend="auto").way.instruction_set is None


@pytest.mark.skipif(extension.loaded() is None, reason="needs the compiled kernels")
def test_an_empty_variable_is_as_one_that_is_not_set(monkeypatch):
    names = ("VIMNP_ISA", "VIMNP_BACKEND", *extension.FORCE_FALLBACK.values())
    for name in names:
        monkeypatch.delenv(name, raising=False)
    way = micro(num_threads=1).way
    for name in names:
        monkeypatch.setenv(name, "")
    assert micro(num_threads=1).way == way
    assert way.instruction_set == extension.usable_instruction_sets()[0]
    assert way.backend == "native"
