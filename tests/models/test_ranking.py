"""The order of classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vimnp.errors import ImageError
from vimnp.models.ranking import best_first


@given(values=st.lists(st.sampled_from([-1.0, 0.0, -0.0, 2.5, 3.4e38, -3.4e38]), min_size=1))
@settings(deadline=None)
def test_larger_logits_come_first_and_of_equal_ones_the_lower_index(values: list[float]) -> None:
    order = sorted(range(len(values)), key=lambda index: (-values[index], index))
    assert best_first(np.array(values, np.float32)).tolist() == order


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_have_no_order(value: float) -> None:
    words = "2 of the network's 5 logits are not finite; expected numbers"
    with pytest.raises(ImageError, match=words):
        best_first(np.array([1, value, 3, value, 5], np.float32))
