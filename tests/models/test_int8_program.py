"""Networks of pictures as programs of products with whole numbers."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.support.arrays import normal
from tests.support.micro import MICRO as VIM
from tests.support.vmamba_networks import MICRO as VMAMBA
from tests.support.vmamba_networks import WITH_MLP
from vimnp.engine.compiled import CompiledNetwork
from vimnp.engine.program import Product, Program, Quantise
from vimnp.models.random_weights import random_reader
from vimnp.models.vim import parameters as vim_parameters
from vimnp.models.vim import program as vim_program
from vimnp.models.vmamba import parameters as vmamba_parameters
from vimnp.models.vmamba import program as vmamba_program
from vimnp.runtime import extension
from vimnp.weights.encodings import PER_CHANNEL, encode


class Family(NamedTuple):
    """A small network, and how it is loaded and written down."""

    config: Any
    load: Callable[..., Any]
    build: Callable[..., Program]

    def network(self, *, quantised: bool, num_threads: int = 1) -> CompiledNetwork:
        """It, with every matrix of at least 8 inputs in whole numbers, but for the head."""
        read = random_reader(self.config, seed=0)

        def load(pack: Callable[..., Any]) -> Any:
            def packed(matrix: np.ndarray, empty: Callable[..., np.ndarray]) -> Any:
                is_head = matrix.shape[0] == self.config.num_classes
                if quantised and matrix.shape[1] >= 8 and not is_head:
                    return pack(encode(PER_CHANNEL, matrix), empty)
                return pack(matrix, empty)

            return self.load(self.config, read, packed)

        return CompiledNetwork(load, functools.partial(self.build, self.config), 64, num_threads)


FAMILIES = {
    "vim": Family(VIM, vim_parameters.load_parameters, vim_program.build),
    "vim-pairs": Family(
        dataclasses.replace(VIM, depth=4, if_bidirectional=True),
        vim_parameters.load_parameters,
        vim_program.build,
    ),
    "vmamba": Family(VMAMBA, vmamba_parameters.load_parameters, vmamba_program.build),
    "vmamba-mlp": Family(
        dataclasses.replace(VMAMBA, **WITH_MLP),
        vmamba_parameters.load_parameters,
        vmamba_program.build,
    ),
}

pytestmark = pytest.mark.skipif(extension.kernels() is None, reason="needs the compiled kernels")


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


def logits(network: CompiledNetwork, family: Family) -> np.ndarray:
    pixels = normal(family.config.channels, *family.config.img_size, seed=3)
    out = np.empty((1, family.config.num_classes), np.float32)
    network.forward([pixels], out, output="logits")
    return out[0]


def test_each_layer_quantises_for_in_proj_once(family: Family) -> None:
    described = family.network(quantised=True).described("logits")
    tasks = [op.task for stage in described.stages for op in stage.operations]
    quantised = [task for task in tasks if isinstance(task, Quantise)]
    readers = [task for task in tasks if isinstance(task, Product) and task.is_quantised]
    assert len(quantised) == len({id(task.weights) for task in quantised}) > 0
    assert {id(task.weights) for task in readers} == {id(task.weights) for task in quantised}
    assert described.costs["quantise"].flops > 0
    plain = family.network(quantised=False).described("logits")
    assert "quantise" not in plain.costs


def test_bits_do_not_depend_on_threads(family: Family) -> None:
    expected = logits(family.network(quantised=True), family)
    for num_threads in (2, 5):
        network = family.network(quantised=True, num_threads=num_threads)
        np.testing.assert_array_equal(logits(network, family), expected)


def test_logits_are_close_to_those_of_float32(family: Family) -> None:
    exact = logits(family.network(quantised=False), family)
    error = logits(family.network(quantised=True), family) - exact
    assert np.abs(error).max() > 0
    assert np.sqrt(np.mean(error**2)) < 0.1 * exact.std()
