"""NumPy's BLAS has one thread in a pass of the NumPy backend, and before and after what it had."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import vimnp
from tests.support.micro import MICRO
from vimnp.runtime import blas

needs_openblas = pytest.mark.skipif(not blas.can_be_set(), reason="NumPy's BLAS cannot be set")

PIXELS = np.ones((3, 32, 32), np.float32)


def blas_threads() -> int:
    """As threadpoolctl sees them, which looks for the library in its own way.

    Other packages may have one, too. NumPy's lies in its folder, or is the only one.
    """
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    of_numpy = [pool for pool in pools if "numpy" in pool["filepath"]]
    (found,) = {pool["num_threads"] for pool in of_numpy or pools}
    return int(found)


@pytest.fixture(autouse=True)
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    with threadpool_limits(3, user_api="blas"):
        yield


def model_with(
    step: Callable[[], object], monkeypatch: pytest.MonkeyPatch, backend: str = "numpy"
) -> vimnp.VisionMamba:
    """One that calls this in every pass."""
    model = vimnp.VisionMamba.random(config=MICRO, backend=backend)
    pool = model._network._pool

    def pooled(*arguments: object) -> np.ndarray:
        step()
        return pool(*arguments)

    monkeypatch.setattr(model._network, "_pool", pooled)
    return model


@needs_openblas
def test_a_pass_has_one_thread_and_leaves_as_many_as_it_found(monkeypatch):
    seen = []
    model = model_with(lambda: seen.append(blas_threads()), monkeypatch)
    model([PIXELS, PIXELS])
    assert seen == [1, 1]
    assert blas_threads() == 3


@needs_openblas
def test_a_pass_within_a_pass_does_not_end_it(monkeypatch):
    other, seen = vimnp.VisionMamba.random(config=MICRO, backend="numpy"), []

    def step() -> None:
        other(PIXELS)
        seen.append(blas_threads())

    model_with(step, monkeypatch)(PIXELS)
    assert seen == [1]
    assert blas_threads() == 3


@needs_openblas
def test_a_pass_that_fails_leaves_as_many_as_it_found(monkeypatch):
    def step() -> None:
        raise KeyboardInterrupt

    model = model_with(step, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        model(PIXELS)
    assert blas_threads() == 3


@needs_openblas
def test_passes_at_once_have_one_thread_until_the_last_is_through(monkeypatch):
    """The first to begin ends first."""
    inside, may_end, seen = threading.Event(), threading.Event(), []

    def first_step() -> None:
        inside.set()
        assert may_end.wait(30)

    def second_step() -> None:
        assert inside.wait(30)
        may_end.set()
        first_thread.join(30)
        seen.append(blas_threads())

    first, second = (model_with(step, monkeypatch) for step in (first_step, second_step))
    first_thread = threading.Thread(target=first, args=(PIXELS,))
    first_thread.start()
    second(PIXELS)
    assert not first_thread.is_alive()
    assert seen == [1]
    assert blas_threads() == 3


@needs_openblas
def test_what_is_set_during_a_pass_stays(monkeypatch):
    limits = []
    step = lambda: limits.append(threadpool_limits(2, user_api="blas"))  # noqa: E731
    model_with(step, monkeypatch)(PIXELS)
    assert blas_threads() == 2


@pytest.mark.parametrize("value", ["3", "1"])
def test_whoever_sets_the_variable_decides(value, monkeypatch):
    seen = []
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", value)
    model_with(lambda: seen.append(blas_threads()), monkeypatch)(PIXELS)
    assert seen == [3]  # what the library has: it reads the variable once, when it loads
    assert "OPENBLAS_NUM_THREADS" in blas.policy()


def test_a_variable_that_is_set_later_changes_no_model(monkeypatch):
    seen = []
    model = model_with(lambda: seen.append(blas_threads()), monkeypatch)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    model(PIXELS)
    assert seen == [1 if blas.can_be_set() else 3]


def test_a_blas_that_cannot_be_set_is_left_alone_and_named(monkeypatch):
    seen = []
    monkeypatch.setattr(blas, "_find", lambda: None)
    model_with(lambda: seen.append(blas_threads()), monkeypatch)(PIXELS)
    assert seen == [3]
    assert "cannot be set" in blas.policy()


@needs_openblas
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_child_forked_during_a_pass_has_as_many_as_before_it(monkeypatch):
    children = []

    def step() -> None:
        child = os.fork()
        if child == 0:
            found = 99
            try:
                found = blas_threads()
            finally:  # whatever happens, it does not go on with the tests
                os._exit(found)
        children.append(child)

    model_with(step, monkeypatch)(PIXELS)
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 3
    assert blas_threads() == 3
