"""Where VMamba's time goes, and what its operations cost."""

from __future__ import annotations

import dataclasses

import pytest

from tests.support.implementations import Way
from tests.support.vmamba_networks import MICRO, OPTIONS, network, normalised
from vimnp.measure.profiling import profile
from vimnp.models.vmamba.program import operation_costs
from vimnp.models.vmamba.published import PUBLISHED

CHOSEN = ("default", "with_mlp", "with_mlp_gated", "downsample_v2", "no_head")


@pytest.mark.parametrize("option", CHOSEN)
def test_every_operation_that_takes_time_has_a_cost(option: str, way: Way) -> None:
    config = dataclasses.replace(MICRO, **OPTIONS[option])
    model = network(config, num_threads=1)
    found = profile(model, normalised(config))
    operations = {span.operation for span in found.spans} - {"wait"}
    assert operations == {*model.costs()}
    assert {span.layer for span in found.spans} == {None, *range(sum(config.depths))}
    for layer in range(sum(config.depths)):
        there = {span.operation for span in found.spans if span.layer == layer}
        assert there >= {"in_proj", "conv2d", "x_proj", "scan", "norm", "out_proj"}


def test_the_costs_of_published_networks() -> None:
    """Multiplications and additions of products and dense convolutions, in billions."""
    for name, products in (("vmamba-tiny-s1l8", 4.26 + 0.54), ("vmamba-tiny", 3.63 + 0.04)):
        costs = operation_costs(PUBLISHED[name], "numpy")
        names = ("embed", "in_proj", "x_proj", "dt_proj", "out_proj", "fc1", "fc2")
        names += ("downsample", "head")
        flops = sum(costs[operation].flops for operation in names if operation in costs)
        assert flops == pytest.approx(2e9 * products, rel=0.02)


@pytest.mark.parametrize("option", OPTIONS)
def test_the_native_backend_does_no_more(option: str) -> None:
    config = dataclasses.replace(MICRO, **OPTIONS[option])
    numpy, native = (operation_costs(config, backend) for backend in ("numpy", "native"))
    assert {*native} == {*numpy} - {"dt_proj"}
    for name in native.keys() - {"scan"}:
        assert native[name] == numpy[name]
    assert sum(cost.bytes for cost in native.values()) < sum(cost.bytes for cost in numpy.values())
