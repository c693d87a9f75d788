"""The bundled language model's training: its text, its parts, and its way back after a stop."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import textwrap
from pathlib import Path

import numpy as np
import pytest

import vimnp
from tests.support.processes import run as run_python
from vimnp.weights import BUNDLED_PYDOC, WeightsFile


def test_without_pytorch_the_training_script_says_where_it_comes_from():
    script = Path(__file__).with_name("train_pydoc.py")
    run = run_python(
        "import runpy, sys; sys.modules['torch'] = None\n"
        f"runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("torch is missing: pip install '.[train]' --extra-index-url ")


@pytest.fixture(scope="module")
def script():
    """The training script, as a module."""
    pytest.importorskip("torch", reason="the training script needs torch")
    import train_pydoc

    return train_pydoc


@pytest.fixture
def small(script, monkeypatch):
    """The script with a network and batches that take no time; every step is a checkpoint."""
    monkeypatch.setattr(script, "SIZES", script.Sizes(d_model=16, n_layer=2, d_state=4))
    monkeypatch.setattr(script, "WINDOW", 32)
    monkeypatch.setattr(script, "WARM_UP", 5)
    monkeypatch.setattr(script, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    return script


@pytest.fixture
def text():
    """Some bytes, and two blocks that are held out."""
    rng = np.random.default_rng(0)
    return rng.integers(97, 101, 4096, np.uint8), rng.integers(97, 101, (2, 64), np.uint8)


def test_the_text_has_every_longer_docstring_once_and_none_of_the_tests():
    from python_text import SHORTEST, python_text

    text = python_text().decode()
    assert 1_000_000 < len(text) < 10_000_000
    docstring = inspect.getdoc(textwrap.wrap)
    assert len(docstring) >= SHORTEST
    assert text.count(f"\n\n{docstring}\n\n") == 1
    assert text.index('The "with" statement') < text.index(docstring)  # topics come first


def test_sources_are_sorted_and_tests_left_out(tmp_path):
    from python_text import sources

    names = ["b.py", "a/z.py", "a.py", "a/test/c.py", "site-packages/d/e.py", "a/notes.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in sources(tmp_path)]
    assert found == ["a/z.py", "a.py", "b.py"]


def test_held_out_blocks_are_no_part_of_what_is_trained_on(script):
    count = 2 * script.HELD_OUT_EVERY
    blocks = [bytes([index]) * script.BLOCK for index in range(count)]
    training, held_out = script.split(b"".join(blocks) + b"a rest")
    assert held_out[:, 0].tolist() == [12, 37]
    assert (held_out == held_out[:, :1]).all()
    assert len(training) == (count - 2) * script.BLOCK
    assert not set(training.tolist()) & {12, 37}


def test_bits_a_byte_of_what_is_known_and_of_what_is_not(script, text):
    _, blocks = text

    def know_nothing(ids):
        return np.zeros((len(ids), 256), np.float32)

    assert script.bits_a_byte(know_nothing, blocks) == pytest.approx(8)

    def know_the_four_letters(ids):
        logits = np.full((len(ids), 256), -100, np.float32)
        logits[:, 97:101] = 7
        return logits

    assert script.bits_a_byte(know_the_four_letters, blocks) == pytest.approx(2)


def test_the_learning_rate_warms_up_and_falls(script):
    rates = [script.learning_rate(step, step / 1000) for step in range(1001)]
    assert rates[0] < script.LEARNING_RATE / 50
    assert max(rates) == pytest.approx(script.LEARNING_RATE, rel=0.02)
    assert rates[-1] == pytest.approx(script.LEARNING_RATE * script.LAST_RATE)


def test_a_run_of_minutes_ends_when_they_are_over(script):
    budget = script.Budget(minutes=2)
    assert budget.fraction(script.Progress(step=9, seconds=30)) == 0.25
    assert budget.fraction(script.Progress(step=9, seconds=130)) == 1


def test_a_resumed_run_goes_on_as_if_nothing_had_been(small, text, tmp_path, monkeypatch):
    import torch

    training, held_out = text
    budget = small.Budget(steps=5)
    whole = small.Run(tmp_path / "whole", seed=3)
    whole.folder.mkdir()
    whole.train(training, held_out, budget)

    stopped = small.Run(tmp_path / "stopped", seed=3)
    stopped.folder.mkdir()
    take_step = small.take_step

    def stop_at_the_third(model, optimizer, windows):
        if stopped.progress.step == 2:
            raise KeyboardInterrupt
        return take_step(model, optimizer, windows)

    monkeypatch.setattr(small, "take_step", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        stopped.train(training, held_out, budget)
    monkeypatch.setattr(small, "take_step", take_step)
    resumed = small.Run(stopped.folder, seed=3)
    resumed.resume()
    assert resumed.progress.step == 2
    resumed.train(training, held_out, budget)

    assert resumed.progress.best_bits == whole.progress.best_bits
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], tensor), name

    with pytest.raises(SystemExit, match="was begun with --seed 3"):
        small.Run(stopped.folder, seed=4).resume()


def test_training_learns_and_keeps_the_best_checkpoint(small, text, tmp_path):
    training, held_out = text
    run = small.Run(tmp_path, seed=0)
    run.train(training, held_out, small.Budget(steps=60))
    assert run.progress.best_bits < 5  # of 8, on the way to 2
    kept = small.load_original(tmp_path)
    bits = small.bits_a_byte(small.torch_logits(kept), held_out)
    assert math.isclose(bits, run.progress.best_bits, abs_tol=1e-6)


def test_a_checkpoint_is_the_originals(small, tmp_path):
    import torch

    small.save_original(tmp_path, small.Run(tmp_path, seed=0).model)
    state = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    head, embedding = state["lm_head.weight"], state["backbone.embedding.weight"]
    assert head.data_ptr() == embedding.data_ptr()
    mixer = "backbone.layers.1.mixer."
    shapes = {name.removeprefix(mixer): tuple(state[name].shape) for name in state if mixer in name}
    assert shapes == {
        "in_proj.weight": (64, 16),
        "conv1d.weight": (32, 1, 4),
        "conv1d.bias": (32,),
        "x_proj.weight": (9, 32),
        "dt_proj.weight": (32, 1),
        "dt_proj.bias": (32,),
        "A_log": (32, 4),
        "D": (32,),
        "out_proj.weight": (16, 32),
    }


@pytest.fixture(scope="module")
def python_blocks(script):
    """Python's text, and its blocks that are held out."""
    text = script.python_text()
    return text, script.split(text)[1]


def test_the_bundled_model_tells_held_out_text_as_pytorch_does(script, python_blocks):
    import torch

    with WeightsFile(BUNDLED_PYDOC) as file:
        names = file.metadata.config.parameter_shapes()
        tensors = {name: torch.from_numpy(file.read(name).copy()) for name in names}
    tensors["lm_head.weight"] = tensors["backbone.embedding.weight"]
    reference = script.MambaLM(script.SIZES)
    reference.load_state_dict(tensors)

    block = python_blocks[1][:1]
    expected = script.bits_a_byte(script.torch_logits(reference), block)
    for backend in ("numpy", "native"):
        model = vimnp.MambaLM.from_npz(BUNDLED_PYDOC, dtype="float32", backend=backend)
        assert script.bits_a_byte(model, block) == pytest.approx(expected, abs=1e-4)
        model = vimnp.MambaLM.from_npz(BUNDLED_PYDOC, backend=backend)  # inputs of 8 bits, too
        assert script.bits_a_byte(model, block) == pytest.approx(expected, abs=0.01)


def test_the_record_is_of_the_bundled_model(script, python_blocks):
    text, held_out = python_blocks
    record = json.loads(script.RECORD.read_text())
    if hashlib.sha256(text).hexdigest() != record["text_sha256"]:
        pytest.skip(f"the text of Python {record['python']} was another one")
    bits = record["bits_a_byte"]
    measured = script.bits_a_byte(vimnp.MambaLM.from_npz(BUNDLED_PYDOC, backend="native"), held_out)
    assert measured == pytest.approx(bits["int8, vimnp, native"], abs=1e-3)
    assert bits["float32, vimnp, native"] == pytest.approx(bits["float32, PyTorch"], abs=1e-4)
    assert measured < 1.01 * bits["float32, PyTorch"]
