"""Converting Mamba language models: both layouts, what lies beside the weights, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support import golden_mamba
from tests.support.arrays import assert_same
from vimnp.weights import WeightsFile


def read_all(path: Path) -> dict[str, np.ndarray]:
    with WeightsFile(path) as file:
        return {name: file.read(name) for name in file.metadata.config.parameter_shapes()}


# ---- The recorded networks -----------------------------------------------------------------------


@pytest.mark.parametrize("name", golden_mamba.CASES)
def test_golden_configurations(name: str, golden: Path, tmp_path: Path) -> None:
    case = golden_mamba.convert_case(golden, name, tmp_path)
    assert case.recorded.is_file()
    with WeightsFile(case.weights) as file:
        assert file.metadata.config == golden_mamba.CASES[name]


@pytest.mark.parametrize(
    "name", [name for name, layouts in golden_mamba.LAYOUTS.items() if len(layouts) == 2]
)
def test_both_layouts_of_a_golden_case_hold_the_same_tensors(
    name: str, golden: Path, tmp_path: Path
) -> None:
    first, second = (
        read_all(golden_mamba.convert_case(golden, name, tmp_path, layout=layout).weights)
        for layout in golden_mamba.LAYOUTS[name]
    )
    assert_same(first, second)
