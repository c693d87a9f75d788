"""The training of the bundled model: what it held out, and what the model makes of that."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

import vimnp
from tests.support.digits import SCANS
from tests.support.processes import run as run_python
from vimnp.weights import BUNDLED_DIGITS, WeightsFile

HELD_OUT = json.loads(Path(__file__).with_name("digits_held_out.json").read_text())


def test_the_scans_of_this_repository_are_held_out():
    """The tests show them to the bundled model."""
    label_of = dict(zip(HELD_OUT["indices"], HELD_OUT["labels"], strict=True))
    found = [map(int, re.findall(r"\d+", path.name)) for path in SCANS]
    assert len(found) == 10
    for label, index in found:
        assert label_of[index] == label


def test_without_pytorch_the_training_script_says_where_it_comes_from():
    script = Path(__file__).with_name("train_digits.py")
    run = run_python(
        "import runpy, sys; sys.modules['torch'] = None\n"
        f"runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == (
        "torch is missing: pip install '.[train]' --extra-index-url "
        "https://download.pytorch.org/whl/cpu (without that index, PyTorch comes with CUDA)\n"
    )


@pytest.fixture(scope="module")
def held_out():
    """The scans that were held out, as pictures, and their labels."""
    pytest.importorskip("sklearn", reason="the data set comes with scikit-learn")
    pytest.importorskip("torch", reason="the training script needs torch")
    import train_digits

    scans, labels = train_digits.load_scans()
    training, indices = train_digits.split(labels)
    assert not set(training) & set(indices)
    assert len(indices) == math.floor(0.2 * len(scans)) + 1
    return [scans[index] for index in indices], labels[indices]


def test_the_bundled_model_reads_held_out_scans_as_well_as_pytorch_does(held_out):
    import torch
    import train_digits

    scans, labels = held_out
    logits = vimnp.VisionMamba.from_npz(BUNDLED_DIGITS)(scans)
    assert (logits.argmax(1) == labels).mean() >= 0.97

    with WeightsFile(BUNDLED_DIGITS) as file:
        reference = train_digits.VisionMamba(file.metadata.config).eval()
        names = file.metadata.config.parameter_shapes()
        tensors = {name: torch.from_numpy(file.read(name).copy()) for name in names}
    reference.load_state_dict(tensors)
    expected = train_digits.torch_predictor(reference)(scans)
    np.testing.assert_array_equal(logits.argmax(1), expected.argmax(1))
    assert np.abs(logits - expected).max() < 2e-5  # both float32, logits up to 10
