"""Programs whose scans and convolutions have functions of four digits, as those of int8 mode."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.support.arrays import normal
from tests.support.implementations import NATIVE_WAYS, only
from tests.support.micro import MICRO
from tests.support.options import OPTIONS
from tests.support.programs import reading_tokens, run
from tests.support.vmamba_networks import MICRO as MICRO_VMAMBA
from vimnp.engine.packing import PackedMatrix, Packing, sizes_only
from vimnp.engine.program import Conv1d, Conv2d, Filter, Program, Scan
from vimnp.models.random_weights import random_reader
from vimnp.models.vim.config import VimConfig
from vimnp.models.vim.parameters import Parameters, load_parameters
from vimnp.models.vim.program import build
from vimnp.models.vmamba.parameters import load_parameters as load_vmamba
from vimnp.models.vmamba.program import build as build_vmamba
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


class Small(PackedMatrix):
    """The size of a matrix that is stored small, for a program that does not run."""

    dtype = "int8_per_channel"
    bits = 8.0


def small(matrix: np.ndarray, empty: object = None) -> PackedMatrix:
    outputs, inputs = matrix.shape
    return Small(inputs, outputs, None, Packing(1, 1))


def test_convolutions_in_two_dimensions_are_coarse_in_int8() -> None:
    for pack, is_coarse in ((sizes_only, False), (small, True)):
        parameters = load_vmamba(MICRO_VMAMBA, random_reader(MICRO_VMAMBA, 0), pack)
        program = build_vmamba(MICRO_VMAMBA, parameters, "logits")
        tasks = [operation.task for stage in program.stages for operation in stage.operations]
        found = [task.coarse for task in tasks if isinstance(task, Conv2d)]
        assert found == [is_coarse] * sum(MICRO_VMAMBA.depths)


@only(NATIVE_WAYS)
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("kernel", [3, 5])
def test_a_program_convolves_a_grid_to_four_digits(kernel: int) -> None:
    grid, channels = (6, 7), 21
    x = normal(grid[0] * grid[1], channels)
    weight, bias = normal(kernel * kernel, channels, seed=1), normal(channels, seed=2)

    def convolved(*, coarse: bool, num_threads: int = 1) -> np.ndarray:
        b, tokens = reading_tokens(*x.shape, x.shape, coarse=coarse)
        with b.columns(channels, len(x)):
            b.conv2d(tokens, Filter(weight, bias, b.out), grid=grid)
        return run(b.program(), x[None], num_threads)

    usual, found = convolved(coarse=False), convolved(coarse=True)
    assert (np.abs(found - usual) <= 2e-4 * np.abs(usual) + 1e-30).all()
    assert (found != usual).any()
    np.testing.assert_array_equal(convolved(coarse=True, num_threads=3), found)


def test_networks_in_int8_are_coarse() -> None:
    vim, vmamba = random_reader(MICRO, 0), random_reader(MICRO_VMAMBA, 0)
    for pack, is_coarse in ((sizes_only, False), (small, True)):
        program = build(MICRO, load_parameters(MICRO, vim, pack), "logits")
        assert coarse_ones(program) == [is_coarse] * (2 * MICRO.depth)
        parameters = load_vmamba(MICRO_VMAMBA, vmamba, pack)
        program = build_vmamba(MICRO_VMAMBA, parameters, "logits")
        assert coarse_ones(program) == [is_coarse] * sum(MICRO_VMAMBA.depths)
