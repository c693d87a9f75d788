"""A model may be called while a pass of it runs: on the same thread too, as signal handlers do."""

from __future__ import annotations

import signal
import threading

import numpy as np
import pytest

import vimnp
from tests.support.implementations import NUMPY_WAYS, only
from tests.support.micro import MICRO
from vimnp.engine.arena import SpareMemory, Spares

PIXELS, OTHER_PIXELS = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)

STEPS = ("_embed", "_rotate", "_add_norm", "_in_proj", "_conv1d", "_x_proj", "_dt_proj", "_scan")
STEPS += ("_out_proj", "_pool", "_head")


@pytest.mark.usefixtures("way")
@only(NUMPY_WAYS)
@pytest.mark.parametrize("step", STEPS)
def test_a_pass_between_the_steps_of_another_changes_neither(step, monkeypatch):
    model = vimnp.VisionMamba.random(config=MICRO)
    expected, other_expected = model(PIXELS), model(OTHER_PIXELS)
    original, nested, is_nested = getattr(model._network, step), [], []

    def interrupted(*arguments, **options):
        if not is_nested:
            is_nested.append(True)
            nested.append(model(OTHER_PIXELS))
            is_nested.clear()
        return original(*arguments, **options)

    monkeypatch.setattr(model._network, step, interrupted)
    np.testing.assert_array_equal(model(PIXELS), expected)
    assert nested
    for logits in nested:
        np.testing.assert_array_equal(logits, other_expected)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer")
def test_a_signal_handler_may_use_the_model(way):
    model = vimnp.VisionMamba.random(config=MICRO, num_threads=1)
    expected, other_expected = model(PIXELS), model(OTHER_PIXELS)
    found = []
    before = signal.signal(signal.SIGALRM, lambda *_: found.append(model(OTHER_PIXELS)))
    try:
        for i in range(40):
            signal.setitimer(signal.ITIMER_REAL, 5e-5 * (1 + i))
            np.testing.assert_array_equal(model(PIXELS), expected)
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
    for logits in found:
        np.testing.assert_array_equal(logits, other_expected)


def test_threads_that_come_and_go_leave_one_workspace(way):
    model = vimnp.VisionMamba.random(config=MICRO, num_threads=1)
    for _ in range(3):
        thread = threading.Thread(target=model, args=(PIXELS,))
        thread.start()
        thread.join()
    assert len(model._network._spares) == 1


def test_a_networks_programs_share_what_the_largest_needs():
    spares = SpareMemory()
    with spares.one(100) as small:
        assert len(small) == 100
    with spares.one(300) as large:
        assert len(large) == 300
    with spares.one(100) as again:
        assert again is large
    assert len(spares) == 1


def test_as_many_spares_are_made_as_are_in_use_at_once():
    spares = Spares(object)
    with spares.one() as first:
        with spares.one() as second:
            assert first is not second
        with spares.one() as third:
            assert third is second
    with spares.one() as again:
        assert again is first
    assert len(spares) == 2


def test_a_spare_comes_back_from_a_pass_that_fails():
    spares = Spares(object)
    with pytest.raises(KeyboardInterrupt), spares.one():
        raise KeyboardInterrupt
    assert len(spares) == 1
