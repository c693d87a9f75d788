"""The oracle of the language model's tests, held against the recorded outputs of the original."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support import golden_mamba, plain_mamba

LIMIT = 1e-9  # of float64 sums in another order, relative to the largest number


def assert_close(found: np.ndarray, truth: np.ndarray) -> None:
    limit = LIMIT if truth.dtype == np.float64 else 1e-6  # some states are recorded in float32
    assert found.shape == truth.shape
    assert np.abs(found - truth).max() < limit * max(1.0, np.abs(truth).max())


@pytest.mark.parametrize("case", golden_mamba.CASES)
def test_logits_states_and_streams_are_the_originals(golden: Path, case: str) -> None:
    config = golden_mamba.CASES[case]
    with (
        golden_mamba.weights(golden, case) as read,
        golden_mamba.recorded(golden, case) as recorded,
    ):
        for length in golden_mamba.LENGTHS:
            key = f"p{length}"
            ids = recorded[f"{key}_ids"]
            seen = plain_mamba.run(config, read, ids)
            assert_close(seen.logits[recorded[f"{key}_rows"]], recorded[f"{key}_logits64"])
            conv = recorded[f"{key}_conv_state64"][..., 1:].transpose(0, 2, 1)
            assert_close(seen.conv, conv)
            assert_close(seen.ssm, recorded[f"{key}_ssm_state64"].transpose(0, 2, 1))
            if length > 1:
                logs = plain_mamba.log_probabilities(seen.logits, ids)
                assert_close(logs, recorded[f"{key}_logprob64"])
            if length == 7:
                assert_close(seen.stream, recorded["p7_stream64"])
                assert_close(seen.final, recorded["p7_final64"])
