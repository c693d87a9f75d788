"""MambaConfig: defaults, the tensors it implies, and every value it refuses."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from vimnp.errors import ConfigError
from vimnp.models.mamba.config import MambaConfig
from vimnp.models.random_weights import random_reader
from vimnp.weights.family import family_named

COUNTS = {
    "d_model": 1 << 15,
    "n_layer": 512,
    "vocab_size": 1 << 20,
    "padded_vocab_size": 1 << 20,
    "d_state": 256,
    "d_conv": 64,
    "d_inner": 1 << 16,
    "dt_rank": 1 << 14,
}
SMALL = {"d_model": 10, "n_layer": 1, "vocab_size": 7}
LAYER = "backbone.layers.0."


def small(**changes: Any) -> MambaConfig:
    return MambaConfig(**SMALL | changes)


def test_what_follows_from_other_sizes() -> None:
    config = small(d_model=24)
    assert (config.padded_vocab_size, config.d_inner, config.dt_rank) == (7, 48, 2)
    assert (config.d_state, config.d_conv, config.norm_epsilon) == (16, 4, 1e-5)
    given = small(padded_vocab_size=8, d_inner=30, dt_rank=5)
    assert (given.padded_vocab_size, given.d_inner, given.dt_rank) == (8, 30, 5)


def test_the_size_of_a_published_network() -> None:
    config = MambaConfig(d_model=768, n_layer=24, vocab_size=50277, padded_vocab_size=50280)
    assert config.num_parameters == 129_135_360


def test_every_tensor_of_a_network_with_its_shape() -> None:
    config = small(padded_vocab_size=8, d_state=3, d_conv=2, d_inner=30, dt_rank=7)
    assert config.parameter_shapes() == {
        "backbone.embedding.weight": (8, 10),
        "backbone.layers.0.norm.weight": (10,),
        "backbone.layers.0.mixer.in_proj.weight": (60, 10),
        "backbone.layers.0.mixer.conv1d.weight": (30, 1, 2),
        "backbone.layers.0.mixer.conv1d.bias": (30,),
        "backbone.layers.0.mixer.x_proj.weight": (13, 30),
        "backbone.layers.0.mixer.dt_proj.weight": (30, 7),
        "backbone.layers.0.mixer.dt_proj.bias": (30,),
        "backbone.layers.0.mixer.A_log": (30, 3),
        "backbone.layers.0.mixer.D": (30,),
        "backbone.layers.0.mixer.out_proj.weight": (10, 30),
        "backbone.norm_f.weight": (10,),
    }


@pytest.mark.parametrize(
    ("changes", "gone", "come"),
    [
        ({"rms_norm": False}, set(), {f"{LAYER}norm.bias", "backbone.norm_f.bias"}),
        ({"bias": True}, set(), {f"{LAYER}mixer.in_proj.bias", f"{LAYER}mixer.out_proj.bias"}),
        ({"conv_bias": False}, {f"{LAYER}mixer.conv1d.bias"}, set()),
        ({"tie_embeddings": False}, set(), {"lm_head.weight"}),
        ({"mixer_rms_eps": 1e-6}, set(), set()),
        ({"n_layer": 1, "eos_ids": (0,)}, set(), set()),
    ],
)
def test_tensors_that_depend_on_an_option(
    changes: dict[str, Any], gone: set[str], come: set[str]
) -> None:
    before, after = (set(small(**c).parameter_shapes()) for c in ({}, changes))
    assert before - after == gone
    assert after - before == come


@pytest.mark.parametrize("changes", [{}, {"eos_ids": (0, 6), "mixer_rms_eps": 0.0, "bias": True}])
def test_a_configuration_survives_json(changes: dict[str, Any]) -> None:
    config = small(**changes)
    assert MambaConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.family is family_named("mamba")


@pytest.mark.parametrize("value", [0, -1, 1.0, "4", True, [4], math.nan, 1 << 70])
@pytest.mark.parametrize("name", COUNTS)
def test_sizes_that_are_none(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{name} is .*expected a whole number from 1 to"):
        small(**{name: value})


@pytest.mark.parametrize(("name", "most"), COUNTS.items())
def test_sizes_beyond_any_network(name: str, most: int) -> None:
    room = {"padded_vocab_size": COUNTS["padded_vocab_size"], "dt_rank": 1}
    assert getattr(small(**room | {name: most}), name) == most
    with pytest.raises(ConfigError, match=f"{name} is {most + 1}; expected a whole number from 1"):
        small(**room | {name: most + 1})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"padded_vocab_size": 6}, "padded_vocab_size is 6, and vocab_size 7; expected a row for"),
        ({"rms_norm": 1}, "rms_norm is 1; expected true or false"),
        ({"tie_embeddings": None}, "tie_embeddings is None; expected true or false"),
        ({"norm_epsilon": -1e-5}, "norm_epsilon is -1e-05; expected a number from 0"),
        ({"norm_epsilon": math.nan}, "norm_epsilon is nan"),
        ({"norm_epsilon": True}, "norm_epsilon is True"),
        ({"mixer_rms_eps": 1.0}, "mixer_rms_eps is 1.0; expected a number from 0 to below 1"),
        ({"mixer_rms_eps": "1e-6"}, "mixer_rms_eps is '1e-6'"),
        ({"eos_ids": (7,)}, "an id of eos_ids is 7; expected a whole number from 0 to 6"),
        ({"eos_ids": [True]}, "an id of eos_ids is True"),
        ({"eos_ids": 0}, "eos_ids is 0; expected whole numbers"),
        ({"eos_ids": "0"}, "eos_ids is '0'"),
        ({"eos_ids": None}, "eos_ids is None"),
        ({"eos_ids": [0] * 1025}, "eos_ids has 1025 ids; expected at most 1024"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        small(**changes)


def test_random_weights_have_the_shapes_and_are_finite() -> None:
    config = small(rms_norm=False, bias=True, tie_embeddings=False, d_inner=6)
    read = random_reader(config, 0)
    for name, shape in config.parameter_shapes().items():
        tensor = read(name)
        assert tensor.shape == shape
        assert tensor.dtype == np.float32
        assert np.isfinite(tensor).all()


def test_a_network_of_pictures_does_not_wait_for_this_family() -> None:
    code = (
        "import vimnp, sys; vimnp.load('digits'); "
        "print([name for name in sys.modules if name.startswith('vimnp.models.mamba')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
