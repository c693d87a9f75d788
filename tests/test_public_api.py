"""What a user finds under ``vimnp`` and on a model."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import vimnp
from tests.support.digits import SCANS
from tests.support.labelled import LABELS
from tests.support.micro import MICRO
from tests.support.public_names import API, find, listed, public
from vimnp.engine.settings import BACKENDS, Backend, Scan
from vimnp.images.preprocessing import read_image
from vimnp.models.random_weights import random_reader
from vimnp.models.vim.model import VisionMamba
from vimnp.ops.modes import SCAN_MODES
from vimnp.weights import BUNDLED_DIGITS, Metadata

SUBMODULES = ("config", "costs", "errors", "evaluate", "image", "image_folder", "ops", "profiling")
SUBMODULES += ("reference", "results", "threads", "trace", "weights")
MOVED = {
    "costs": "vimnp.engine.costs",
    "image": "vimnp.images.preprocessing",
    "image_folder": "vimnp.evaluate.image_folder",
    "profiling": "vimnp.measure.profiling",
    "results": "vimnp.evaluate.results",
    "threads": "vimnp.runtime.threads",
    "trace": "vimnp.measure.trace",
}
"""Where the module is that an attribute of vimnp stands for, if not under that name."""


def test_the_bundled_network_has_a_name() -> None:
    model = vimnp.load("digits")
    assert type(model) is VisionMamba
    assert model.labels == tuple("0123456789")


def test_any_weights_file_is_loaded(micro_npz: Path) -> None:
    pixels = np.zeros((3, 32, 32), np.float32)
    expected = VisionMamba.from_npz(micro_npz)(pixels)
    for path in (micro_npz, str(micro_npz)):
        np.testing.assert_array_equal(vimnp.load(path)(pixels), expected)
    model = vimnp.load(micro_npz, img_size=64, scan="sequential", num_threads=1, backend="numpy")
    assert (model.config.img_size, model.scan, model.num_threads) == ((64, 64), "sequential", 1)
    assert model.backend == "numpy"
    with pytest.raises(vimnp.WeightsError, match="missing"):
        vimnp.load("missing.npz")


def test_a_file_may_have_the_bundled_networks_name(
    micro_npz: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(micro_npz.parent)
    shutil.copy(micro_npz, "digits")
    assert vimnp.load("./digits").config == vimnp.load(Path("digits")).config == MICRO
    assert vimnp.load("digits").num_parameters == vimnp.load(BUNDLED_DIGITS).num_parameters


def test_a_model_tells_its_labels_and_its_size() -> None:
    model = VisionMamba.random(config=MICRO)
    assert model.labels is None
    assert vimnp.VimTiny.random(num_threads=1).num_parameters == 7_148_008
    named = VisionMamba(Metadata(config=MICRO, labels=LABELS), random_reader(MICRO, 0))
    assert named.labels == LABELS


def test_preprocess_gives_what_the_network_sees() -> None:
    model = vimnp.load("digits")
    pixels = model.preprocess(SCANS[7])
    assert (pixels.shape, pixels.dtype) == ((3, *model.config.img_size), np.float32)
    np.testing.assert_array_equal(model.preprocess(read_image(SCANS[7])), pixels)
    np.testing.assert_array_equal(model(pixels), model(SCANS[7]))


def test_a_tensor_is_its_array() -> None:
    torch = pytest.importorskip("torch")
    model = VisionMamba.random(config=MICRO)
    batch = np.random.default_rng(0).standard_normal((2, 3, *MICRO.img_size)).astype(np.float32)
    np.testing.assert_array_equal(model(torch.tensor(batch)), model(batch))
    np.testing.assert_array_equal(model(torch.tensor(batch[0]).double()), model(batch[0]))
    np.testing.assert_array_equal(model([*torch.tensor(batch)]), model(batch))


def test_a_summary_tells_what_the_network_is_made_of_and_how_it_runs() -> None:
    config = dataclasses.replace(MICRO, img_size=(32, 48))
    model = VisionMamba.random(config=config, scan="sequential", num_threads=1, backend="numpy")
    size = config.num_parameters
    assert str(model.way).startswith("numpy backend, sequential scan, 1 thread, ")
    assert (
        model.summary()
        == f"""VisionMamba
  pictures    32x48 pixels, 0.875 of a picture's height or width
  patches     4x6 of 8x8 pixels, 8 pixels apart
  tokens      25, 1 of them class tokens
  layers      2, embed_dim 24, d_inner 48, d_state 5
  classes     7, without labels
  parameters  {size:,}, {4 * size / 1e6:.1f} MB in memory
  runs        {model.way}"""
    )


def test_a_summary_counts_the_labels_and_tokens_of_any_network() -> None:
    config = dataclasses.replace(MICRO, if_cls_token=False)
    named = VisionMamba(Metadata(config=config, labels=LABELS), random_reader(config, 0))
    assert "  tokens      16, 0 of them class tokens\n" in named.summary()
    assert "  classes     7, with labels\n" in named.summary()


@pytest.mark.parametrize("name", SUBMODULES)
def test_a_module_is_there_without_an_import_of_its_own(name: str) -> None:
    code = f"import vimnp; print(vimnp.{name}.__name__)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == MOVED.get(name, f"vimnp.{name}")
    assert name in dir(vimnp)


@pytest.mark.parametrize("name", ["config", "convert", "ops", "reference", "weights"])
def test_a_module_that_was_always_there_can_be_imported(name: str) -> None:
    """Whatever room holds what it gives."""
    subprocess.run([sys.executable, "-c", f"import vimnp.{name}"], check=True)


def test_choices_are_those_that_are_taken() -> None:
    assert {*get_args(Scan)} == {*SCAN_MODES}
    assert {*get_args(Backend)} == {"auto", *BACKENDS}


def test_importing_the_package_loads_nothing_that_a_first_prediction_does_not_need() -> None:
    late = [
        "argparse",
        "subprocess",
        "PIL",
        "vimnp.cli",
        "vimnp.measure.machine",
        "vimnp.engine.compiled",
        "vimnp.ops.checked",
        "vimnp.ops.reference",
        "vimnp.weights.writing",
        "vimnp.models.vim.resize",
        "vimnp.images.tiff",
        "vimnp.models.vim.network",
        "vimnp.runtime.blas",
        "numpy.random",
        "vimnp.convert",
    ]
    code = f"import numpy, sys; before = set(sys.modules); import vimnp; late = {late}; "
    code += "assert not {*late} & ({*sys.modules} - before), {*late} & {*sys.modules}; "
    code += "vimnp.causal_conv1d; assert 'vimnp.ops.checked' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_network_of_pictures_loads_nothing_of_language_models() -> None:
    late = ["vimnp.models.language", "vimnp.engine.state", "vimnp.models.mamba", "vimnp.text"]
    code = f"import sys, vimnp; vimnp.load('digits'); late = {late}; "
    code += "assert not {*late} & {*sys.modules}, {*late} & {*sys.modules}; "
    code += "vimnp.MambaLM; assert {*late[:3]} <= {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)


OPERATIONS = {
    "causal_conv1d": "x weight bias activation initial_states return_final_states",
    "causal_conv1d_update": "x conv_state weight bias activation",
    "cross_merge": "ys h w",
    "cross_scan": "x",
    "selective_scan_2d": "u delta A B C D delta_bias delta_softplus",
    "selective_scan": "u delta A B C D z delta_bias delta_softplus return_last_state initial_state",
    "selective_state_update": "state x dt A B C D z dt_bias dt_softplus",
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_takes_the_arguments_of_the_original(name: str) -> None:
    assert getattr(vimnp, name) is getattr(vimnp.ops, name)
    for module in (vimnp, vimnp.reference):
        taken = [*inspect.signature(getattr(module, name)).parameters]
        assert [other for other in taken if other not in ("method", "num_threads")] == (
            OPERATIONS[name].split()
        )


needs_the_manual = pytest.mark.skipif(not API.exists(), reason="the tests lie beside no checkout")


@needs_the_manual
def test_the_manual_lists_every_public_name_once() -> None:
    names = listed()
    assert sorted({*names}) == sorted(names)
    assert {name for name in names if "." not in name} - {*SUBMODULES} == {*vimnp.__all__}
    assert all(find(name) is not None for name in names)


@needs_the_manual
def test_type_checkers_look_at_every_public_name() -> None:
    """In what they are given to look at, each method and property, too."""
    examples = Path(__file__).with_name("typing_examples.py").read_text(encoding="utf-8")
    nodes = [*ast.walk(ast.parse(examples))]
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    used |= {node.id for node in nodes if isinstance(node, ast.Name)}
    names = {one.name: one.name.rpartition(".")[2] for one in public()}
    assert [name for name, last in names.items() if last not in used and last[0] != "_"] == []


def test_every_public_name_is_there() -> None:
    assert {*vimnp.__all__} <= {*dir(vimnp)}
    assert all(hasattr(vimnp, name) for name in vimnp.__all__)
    with pytest.raises(AttributeError, match="'vimnp' has no attribute 'selective_scam'"):
        vimnp.selective_scam  # noqa: B018
