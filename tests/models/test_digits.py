"""The bundled model: its accuracy on the scans that training never saw."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vimnp
from tests.support.implementations import every_scan_of_every_way
from tests.support.processes import run as run_python
from vimnp.weights import BUNDLED_DIGITS, WeightsFile

HELD_OUT = json.loads((Path(__file__).parents[2] / "bench" / "digits_held_out.json").read_text())


def test_it_is_small_and_of_half_precision():
    assert BUNDLED_DIGITS.stat().st_size <= 500_000
    with WeightsFile(BUNDLED_DIGITS) as file:
        assert file.metadata.dtype == "float16"
        assert file.metadata.labels == tuple("0123456789")


@every_scan_of_every_way
def test_it_reads_the_scans_of_this_repository(way, data: Path, scan):
    model = vimnp.VisionMamba.from_npz(BUNDLED_DIGITS, scan=scan)
    paths = sorted(data.glob("digit_*.png"))
    assert len(paths) == 10
    for path in paths:
        label, index = re.findall(r"\d+", path.name)
        assert int(index) in HELD_OUT["indices"]
        with Image.open(path) as image:
            assert model.predict(image, top_k=1)[0].label == label


def test_without_pytorch_the_training_script_says_where_it_comes_from():
    script = Path(__file__).parents[2] / "bench" / "train_digits.py"
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


def test_it_reads_held_out_scans_as_well_as_pytorch_does(held_out):
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
