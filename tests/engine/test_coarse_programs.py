"""Programs whose scans and convolutions have functions of four digits, as those of int8 mode."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.arrays import normal
from tests.support.implementations import NATIVE_WAYS, only
from tests.support.micro import MICRO
from tests.support.options import OPTIONS
from tests.support.programs import run
from vimnp.engine.packing import PackedMatrix, Packing
from vimnp.engine.program import Conv1d, Program, Scan
from vimnp.models.random_weights import random_reader
from vimnp.models.vim.config import VimConfig
from vimnp.models.vim.parameters import Parameters, load_parameters
from vimnp.models.vim.program import build
from vimnp.runtime import extension


def parameters_of(config: VimConfig) -> Parameters[PackedMatrix]:
    kernels = extension.kernels()
    assert kernels is not None
    pack = Packing(kernels.width, kernels.panel).pack
    return load_parameters(config, random_reader(config, 0), pack)


def coarse_ones(program: Program) -> list[bool]:
    """Of each scan and each convolution, whether it is coarse."""
    tasks = [operation.task for stage in program.stages for operation in stage.operations]
    return [task.coarse for task in tasks if isinstance(task, Conv1d | Scan)]


@only(NATIVE_WAYS)
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("option", OPTIONS)
def test_a_network_comes_out_the_same_but_for_four_digits(option: str) -> None:
    config = dataclasses.replace(MICRO, **OPTIONS[option])
    parameters = parameters_of(config)
    pixels = normal(config.channels, *config.img_size)
    usual = run(build(config, parameters, "tokens", coarse=False), pixels, 1)
    coarse = build(config, parameters, "tokens", coarse=True)
    found = run(coarse, pixels, 1)
    assert np.abs(found - usual).max() <= 1e-3 * np.abs(usual).max()
    assert (found != usual).any()
    for num_threads in (2, 3):
        np.testing.assert_array_equal(run(coarse, pixels, num_threads), found)


@only(NATIVE_WAYS)
@pytest.mark.usefixtures("way")
def test_int8_is_coarse_and_nothing_else() -> None:
    parameters = parameters_of(MICRO)
    assert not any(coarse_ones(build(MICRO, parameters, "logits")))
    patch_proj = parameters.patch_proj
    for dtype, is_coarse in (("int8", False), ("int8_per_channel", True)):
        sizes = {name: getattr(patch_proj, name) for name in ("inputs", "outputs", "packing")}
        small = SimpleNamespace(**sizes, dtype=dtype, bits=8.0)
        program = build(MICRO, parameters._replace(patch_proj=small), "logits")
        assert coarse_ones(program) == [is_coarse] * (2 * MICRO.depth)
