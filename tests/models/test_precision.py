"""Networks of pictures in int8: from floats and from files, on what they share with float32."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vimnp
from tests.support import vmamba_networks
from tests.support.micro import MICRO, micro
from tests.support.neighbours import MEDMAMBA, VMUNET, lively
from tests.support.options import OPTIONS
from tests.support.processes import run
from tests.support.random_weights import write_random
from vimnp.engine.int8_product import Int8Matrix
from vimnp.engine.numpy_network import numpy_matrix
from vimnp.models import network_of_pictures
from vimnp.models.parameters import Loader
from vimnp.models.random_weights import random_reader
from vimnp.models.vim.parameters import load_parameters
from vimnp.runtime import extension
from vimnp.weights import BUNDLED_DIGITS, BUNDLED_PYDOC, Metadata, WeightsFile, write_weights
from vimnp.weights.encodings import PER_CHANNEL, encode
from vimnp.weights.quantization import Quantization

NUMPY: dict[str, Any] = {"backend": "numpy", "num_threads": 1}
NATIVE: dict[str, Any] = {"backend": "native", "num_threads": 1}
every_backend = pytest.mark.parametrize("backend", [NUMPY, NATIVE], ids=["numpy", "native"])


def pixels(config: Any, number: int = 3) -> np.ndarray:
    shape = (number, config.channels, *config.img_size)
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def write_int8(path: Path, model: vimnp.VisionMamba | vimnp.VMamba, **smoothing: Any) -> Path:
    """The weights of a model of random ones, in int8."""
    read = random_reader(model.config, 0)
    metadata = Metadata(
        config=model.config,
        dtype="int8",
        quantization=Quantization("noise" if smoothing else None),
    )
    names = model.config.tensors()
    write_weights(path, metadata, ((name, read(name)) for name in names), **smoothing)
    return path


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.sqrt(np.square(found - expected).mean() / np.square(expected).mean()))


@pytest.mark.parametrize("name", OPTIONS)
def test_every_vision_mamba_is_about_the_same_in_int8(name: str) -> None:
    config = dataclasses.replace(MICRO, **OPTIONS[name])
    exact, whole = (
        vimnp.VisionMamba.random(config=config, precision=precision, **NUMPY)
        for precision in ("float32", "int8")
    )
    images = pixels(config)
    found, expected = whole(images), exact(images)
    assert 0 < relative(found, expected) < 0.05
    native = vimnp.VisionMamba.random(config=config, precision="int8", **NATIVE)
    assert relative(native(images), found) < 0.02  # a rounding may fall out otherwise


@pytest.mark.parametrize("name", vmamba_networks.OPTIONS)
def test_every_vmamba_is_about_the_same_in_int8(name: str) -> None:
    config = dataclasses.replace(vmamba_networks.MICRO, **vmamba_networks.OPTIONS[name])
    read = vmamba_networks.lively(config)
    exact, whole = (
        vimnp.VMamba(Metadata(config=config), read, precision=precision, **NUMPY)
        for precision in ("float32", "int8")
    )
    images = pixels(config)
    found, expected = whole(images), exact(images)
    assert 0 < relative(found, expected) < 0.1
    native = vimnp.VMamba(Metadata(config=config), read, precision="int8", **NATIVE)
    assert relative(native(images), found) < 0.05  # a rounding may fall out otherwise


@pytest.mark.parametrize("config", [MEDMAMBA, VMUNET], ids=["medmamba", "vmunet"])
def test_networks_of_the_same_block_are_about_the_same_in_int8(config: Any) -> None:
    network = network_of_pictures(config.family.name)
    read = lively(config)
    exact, whole, native = (
        network(Metadata(config=config), read, precision=precision, **backend)
        for precision, backend in (("float32", NUMPY), ("int8", NUMPY), ("int8", NATIVE))
    )
    images = pixels(config)
    expected, found = exact(images), whole(images)
    assert 0 < relative(found, expected) < 0.1
    assert relative(native(images), found) < 0.05
    assert whole.costs()["in_proj"].bytes < exact.costs()["in_proj"].bytes


@every_backend
def test_bits_do_not_depend_on_the_batch(backend: dict[str, Any]) -> None:
    model = micro(precision="int8", **backend)
    images = pixels(MICRO)
    np.testing.assert_array_equal(model(images), [model(image) for image in images])


@every_backend
def test_a_file_of_floats_gives_what_a_file_of_int8_gives(
    backend: dict[str, Any], tmp_path: Path
) -> None:
    """Where it is not smoothed, and the other tensors are stored alike."""
    floats = write_random(tmp_path / "float16.npz", MICRO, "float16")
    read = random_reader(MICRO, 0)

    def as_float16(name: str) -> np.ndarray:
        return read(name).astype(np.float16).astype(np.float32)

    with WeightsFile(floats) as file:
        stored = {name: file.read(name) for name in MICRO.tensors()}
    path = tmp_path / "int8.npz"
    write_weights(path, Metadata(config=MICRO, dtype="int8"), stored.items())
    images = pixels(MICRO)
    expected = vimnp.VisionMamba.from_npz(floats, precision="int8", **backend)(images)
    for found in (
        vimnp.VisionMamba.from_npz(path, **backend),
        vimnp.VisionMamba.from_npz(path, precision="int8", **backend),
        vimnp.load(path, **backend),
        vimnp.load(floats, precision="int8", **backend),
        vimnp.VisionMamba(Metadata(config=MICRO), as_float16, precision="int8", **backend),
    ):
        assert found.precision == "int8"
        np.testing.assert_array_equal(found(images), expected)


def test_a_file_of_int8_can_be_multiplied_in_floats(tmp_path: Path) -> None:
    path = write_int8(tmp_path / "int8.npz", micro())
    model = vimnp.VisionMamba.from_npz(path, precision="float32", **NUMPY)
    assert model.precision == "float32"
    assert "int8" not in repr(model)
    with WeightsFile(path) as file:
        expected = vimnp.VisionMamba(Metadata(config=MICRO), file.read, **NUMPY)
        same = vimnp.VisionMamba(file.metadata, file.read, precision="float32", **NUMPY)
    images = pixels(MICRO)
    np.testing.assert_array_equal(model(images), expected(images))
    np.testing.assert_array_equal(same(images), expected(images))


@pytest.mark.parametrize(
    "config",
    [
        MICRO,
        dataclasses.replace(MICRO, if_bidirectional=True, depth=4),
        vmamba_networks.MICRO,
        dataclasses.replace(vmamba_networks.MICRO, **vmamba_networks.WITH_MLP),
    ],
    ids=["vim", "vim_in_pairs", "vmamba", "vmamba_with_mlp"],
)
def test_smoothing_leaves_the_network_as_it_is(config: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    smoothing = {
        name: np.exp2(rng.uniform(-1, 1, tensor.as_matrix[1])).astype(np.float32)
        for name, tensor in config.tensors().items()
        if tensor.as_matrix is not None
    }
    network = network_of_pictures(config.family.name)
    exact = network.random(config=config, **NUMPY)
    path = write_int8(tmp_path / "int8.npz", exact, smoothing=smoothing)
    images = pixels(config)
    expected = exact(images)
    found = network.from_npz(path, **NUMPY)(images)
    assert 0 < relative(found, expected) < 0.1
    assert relative(network.from_npz(path, **NATIVE)(images), found) < 0.02
    in_floats = network.from_npz(path, precision="float32", **NUMPY)
    assert 0 < relative(in_floats(images), expected) < 0.1


@pytest.mark.parametrize("norms", [True, False], ids=["rms_norm", "layer_norm"])
def test_what_smooths_in_proj_goes_into_its_norm(norms: bool, tmp_path: Path) -> None:
    config = dataclasses.replace(MICRO, rms_norm=norms)
    read = random_reader(config, 0)
    smoothing = {
        name: np.exp2(np.arange(tensor.as_matrix[1]) % 7 - 3).astype(np.float32)
        for name, tensor in config.tensors().items()
        if tensor.as_matrix is not None
    }
    model = vimnp.VisionMamba.random(config=config, **NUMPY)
    path = write_int8(tmp_path / "int8.npz", model, smoothing=smoothing)
    with WeightsFile(path) as file:
        found = load_parameters(config, file.read_stored, numpy_matrix)
    for index, layer in enumerate(found.layers):
        prefix = f"layers.{index}"
        smooth = smoothing[f"{prefix}.mixer.in_proj.weight"]  # powers of two, which cost nothing
        assert layer.in_proj.inverse_smooth is None
        assert layer.out_proj.inverse_smooth is not None
        weight = read(f"{prefix}.norm.weight").astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(layer.norm.weight * smooth, weight)
        if layer.norm.bias is not None:
            bias = read(f"{prefix}.norm.bias").astype(np.float16).astype(np.float32)
            np.testing.assert_array_equal(layer.norm.bias * smooth, bias)


@pytest.mark.parametrize(
    ("network", "config"),
    [
        (vimnp.VMamba, dataclasses.replace(vmamba_networks.MICRO, **vmamba_networks.WITH_MLP)),
        (vimnp.VMamba, dataclasses.replace(vmamba_networks.MICRO, downsample="v1")),
        (vimnp.MedMamba, MEDMAMBA),
        (vimnp.VMUNet, VMUNET),
    ],
    ids=["vmamba_with_mlp", "vmamba_merging", "medmamba", "vmunet"],
)
def test_what_smooths_a_matrix_after_a_norm_goes_into_it(
    network: Any, config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Powers of two cost nothing: with and without it the numbers are the same."""
    powers = {
        name: np.exp2(np.arange(tensor.as_matrix[1]) % 7 - 3).astype(np.float32)
        for name, tensor in config.tensors().items()
        if tensor.as_matrix is not None
    }
    of_floats = network.random(config=config, **NUMPY)
    path = write_int8(tmp_path / "int8.npz", of_floats, smoothing=powers)
    smoothed = []
    original = Int8Matrix.__init__

    def counted(self: Int8Matrix, encoded: Any) -> None:
        original(self, encoded)
        smoothed.append(self.inverse_smooth is not None)

    monkeypatch.setattr(Int8Matrix, "__init__", counted)
    images = pixels(config)
    found = [network.from_npz(path, **backend)(images) for backend in (NUMPY, NATIVE)]
    after_no_norm = ("x_proj_weight", "mlp.fc2.weight")
    assert len(smoothed) == len(powers)
    assert sum(smoothed) == sum(name.endswith(after_no_norm) for name in powers)

    monkeypatch.setattr(Loader, "_smoothed", lambda self, norm, name: (norm, self._matrix(name)))
    for outputs, backend in zip(found, (NUMPY, NATIVE), strict=True):
        np.testing.assert_array_equal(network.from_npz(path, **backend)(images), outputs)
    assert all(smoothed[len(powers) :])


@every_backend
@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_copies_have_the_same_numbers(copied: Any, backend: dict[str, Any]) -> None:
    config = dataclasses.replace(MICRO, if_layer_scale=True)  # scales are not those of encoding
    for model in (
        vimnp.VisionMamba.random(config=config, precision="int8", **backend),
        vimnp.VMamba.random(config=vmamba_networks.MICRO, precision="int8", **backend),
    ):
        found = copied(model)
        assert (found.precision, repr(found)) == ("int8", repr(model))
        images = pixels(model.config)
        np.testing.assert_array_equal(found(images), model(images))


def test_it_says_what_it_multiplies() -> None:
    model = micro(precision="int8", **NUMPY)
    assert model.precision == "int8"
    assert repr(model).endswith(", int8)")
    assert model.runs == f"{model.way}, int8"
    saved = sum(
        3 * outputs * inputs - 4 * outputs
        for outputs, inputs in (
            t.as_matrix for t in MICRO.tensors().values() if t.as_matrix is not None
        )
    )
    expected = (4 * MICRO.num_parameters - saved) / 1e6
    assert f"{expected:.1f} MB in memory" in model.summary()
    plain = micro(**NUMPY)
    assert plain.precision == "float32"
    assert "int8" not in f"{plain!r} {plain.runs} {plain.summary()}"


def test_it_goes_through_other_settings(tmp_path: Path) -> None:
    path = write_int8(tmp_path / "int8.npz", micro())
    model = vimnp.VisionMamba.from_npz(path, img_size=48, **NUMPY)
    assert model(pixels(model.config, 1)).shape == (1, 7)
    other = micro(precision="int8", **NUMPY).with_settings(scan="sequential")
    assert other.precision == "int8"


@pytest.mark.parametrize("precision", ["int4", "float16", "", 8])
def test_another_precision_is_refused(precision: Any) -> None:
    with pytest.raises(vimnp.ConfigError, match=r"precision is .*; expected one of \('float32',"):
        micro(precision=precision)
    with pytest.raises(vimnp.ConfigError, match=r"precision is .*; expected one of \('float32',"):
        vimnp.load(BUNDLED_DIGITS, precision=precision)


def test_language_models_have_a_dtype_instead() -> None:
    with pytest.raises(vimnp.ConfigError, match="a language model; expected dtype, no precision"):
        vimnp.load(BUNDLED_PYDOC, precision="int8")
    with pytest.raises(vimnp.ConfigError, match="expected no dtype, but precision"):
        vimnp.load(BUNDLED_DIGITS, dtype="int8")


def test_a_matrix_is_rounded_before_a_layer_scale_joins_it() -> None:
    """So that a file's codes are those that a file of floats is rounded to."""
    config = dataclasses.replace(MICRO, if_layer_scale=True)
    model = vimnp.VisionMamba.random(config=config, precision="int8", **NUMPY)
    read = random_reader(config, 0)
    encoded = encode(PER_CHANNEL, read("layers.0.mixer.out_proj.weight"))
    found = model._network.plain().layers[0].out_proj  # type: ignore[attr-defined]
    np.testing.assert_array_equal(found.codes, encoded.codes)
    gamma = read("layers.0.mixer.gamma")
    assert encoded.scales is not None
    expected = encoded.scales.reshape(-1)[: len(gamma)] * gamma
    np.testing.assert_array_equal(found.scales.reshape(-1)[: len(gamma)], expected)


def test_the_costs_are_those_of_bytes() -> None:
    exact, whole = (micro(precision=p, **NUMPY).costs() for p in ("float32", "int8"))
    assert whole["in_proj"].bytes < exact["in_proj"].bytes
    assert whole["scan"] == exact["scan"]


def test_a_pickle_goes_from_one_backend_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    images = pixels(MICRO)
    model = micro(precision="int8", num_threads=1)
    expected, travelled = model(images), pickle.dumps(model)
    monkeypatch.setattr(extension, "_scan", None)
    found = pickle.loads(travelled)
    assert (found.backend, found.precision) == ("numpy", "int8")
    assert relative(found(images), expected) < 0.02  # a rounding may fall out otherwise


def test_float32_loads_nothing_of_int8() -> None:
    code = (
        "import sys, vimnp\n"
        "from vimnp.weights import BUNDLED_DIGITS\n"
        "for backend in ('numpy', 'native'):\n"
        "    vimnp.load(BUNDLED_DIGITS, backend=backend)\n"
        "names = ('vimnp.weights.encodings', 'vimnp.engine.int8_product')\n"
        "print([name for name in names if name in sys.modules])"
    )
    assert run(code).stdout == "[]\n"
