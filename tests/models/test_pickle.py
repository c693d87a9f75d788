"""Models that are pickled and copied: joblib, pools of spawned processes and Dask do that."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest

import vimnp
from tests.support.implementations import NATIVE_WAYS, Way, only
from tests.support.micro import MICRO
from tests.support.options import OPTIONS
from tests.support.processes import run
from vimnp.config import VIM_TINY
from vimnp.runtime import extension
from vimnp.weights import Metadata

PIXELS = np.random.default_rng(0).standard_normal((3, 32, 32)).astype(np.float32)


class Mine(vimnp.VisionMamba):
    """A class of the user's, with an attribute."""

    note: str = ""


def pickled(model: vimnp.VisionMamba) -> vimnp.VisionMamba:
    return pickle.loads(pickle.dumps(model))


every_copy = pytest.mark.parametrize("copied", [pickled, copy.deepcopy, copy.copy])


def assert_same(found: vimnp.VisionMamba, model: vimnp.VisionMamba) -> None:
    assert type(found) is type(model)
    assert found.way == model.way
    assert (found.config, found.metadata) == (model.config, model.metadata)
    np.testing.assert_array_equal(found(PIXELS), model(PIXELS))


# ---- All that is copied --------------------------------------------------------------------------


@every_copy
@pytest.mark.parametrize("option", OPTIONS)
def test_a_copy_gives_the_same_bits(option, copied, way):
    config = dataclasses.replace(MICRO, **OPTIONS[option])
    pixels = np.random.default_rng(0).standard_normal((3, *config.img_size)).astype(np.float32)
    model = vimnp.VisionMamba.random(config=config, num_threads=1)
    np.testing.assert_array_equal(copied(model)(pixels), model(pixels))


@every_copy
def test_settings_and_metadata_travel(copied, way: Way):
    metadata = Metadata(config=MICRO, labels=tuple("abcdefg"), source="vim.pth")
    read = vimnp.models.random_weights.random_reader(MICRO, 0)
    model = vimnp.VisionMamba(metadata, read, scan=way.scans[0], num_threads=2)
    assert_same(copied(model), model)
    assert_same(copied(model.with_settings(num_threads=1)), model.with_settings(num_threads=1))
    assert_same(copied(copied(model)), model)


@every_copy
def test_a_model_that_was_set_to_another_scan_stays_on_its_backend(copied, monkeypatch):
    monkeypatch.delenv("VIMNP_BACKEND", raising=False)
    model = vimnp.VisionMamba.random(config=MICRO, scan="fixlen").with_settings(scan="fused")
    assert model.backend == "numpy"
    assert_same(copied(model), model)


@every_copy
def test_a_class_of_its_own_and_its_attributes_travel(copied, way):
    model = Mine.random(config=MICRO)
    model.note = "mine"
    found = copied(model)
    assert_same(found, model)
    assert found.note == "mine"


@every_copy
@pytest.mark.parametrize("backend", ["numpy", "auto"])
def test_a_named_network_can_be_copied(backend, copied):
    config = dataclasses.replace(VIM_TINY, img_size=(32, 32))
    model = vimnp.VimTiny.random(config=config, backend=backend)
    assert_same(copied(model), model)


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy])
def test_a_copy_shares_the_weights_which_nothing_writes(copied, way):
    model = vimnp.VisionMamba.random(config=MICRO)
    found = copied(model)
    assert found._network is model._network


# ---- Pickles alone -------------------------------------------------------------------------------


def test_a_pickle_holds_the_weights_once(way):
    config = dataclasses.replace(MICRO, embed_dim=192, depth=3)
    model = vimnp.VisionMamba.random(config=config)
    model(PIXELS)
    weights = 4 * config.num_parameters
    assert 0.9 * weights <= len(pickle.dumps(model)) <= 1.1 * weights


@only(NATIVE_WAYS)
def test_a_native_model_travels_between_instruction_sets(way, monkeypatch):
    """Its panels do not: they are as wide as a vector."""
    content = pickle.dumps(vimnp.VisionMamba.random(config=MICRO))
    for isa in extension.usable_instruction_sets():
        monkeypatch.setenv("VIMNP_ISA", isa)
        found = pickle.loads(content)
        assert found.way.instruction_set == isa
        assert_same(found, vimnp.VisionMamba.random(config=MICRO))


def test_a_pickle_needs_neither_its_file_nor_its_process(micro_npz: Path, tmp_path: Path, way):
    model = vimnp.VisionMamba.from_npz(micro_npz)
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
    np.save(tmp_path / "logits.npy", model(PIXELS))
    np.save(tmp_path / "pixels.npy", PIXELS)
    micro_npz.unlink()
    code = """
import pickle, numpy as np
with open("model.pickle", "rb") as file:
    model = pickle.load(file)
np.testing.assert_array_equal(model(np.load("pixels.npy")), np.load("logits.npy"))
"""
    result = run(code, tmp_path, **({"VIMNP_ISA": way.isa} if way.isa else FORCED))
    assert result.returncode == 0, result.stderr


FORCED = dict.fromkeys(extension.FORCE_FALLBACK.values(), "TRUE")  # runs the same plain NumPy


@only(NATIVE_WAYS)
def test_without_kernels_only_the_models_that_may_choose_are_loaded(way, monkeypatch):
    native = pickle.dumps(vimnp.VisionMamba.random(config=MICRO, backend="native"))
    monkeypatch.setenv("VIMNP_BACKEND", "auto")
    model = vimnp.VisionMamba.random(config=MICRO)
    automatic, logits = pickle.dumps(model), model(PIXELS)
    assert model.backend == "native"
    monkeypatch.setattr(extension, "_scan", None)
    with pytest.raises(vimnp.ConfigError, match="'native' needs the compiled kernels"):
        pickle.loads(native)
    found = pickle.loads(automatic)
    assert found.backend == "numpy"
    np.testing.assert_allclose(found(PIXELS), logits, atol=2e-6)


def test_a_pickle_of_another_version_is_refused_in_words(monkeypatch):
    content = pickle.dumps(vimnp.VisionMamba.random(config=MICRO))
    monkeypatch.setattr(vimnp.models.model, "__version__", "99.0")
    with pytest.raises(vimnp.WeightsError, match=r"pickled by vimnp .*, and this is 99\.0"):
        pickle.loads(content)
