"""The number of threads: where it comes from, and calls from several threads at once."""

from __future__ import annotations

import dataclasses
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import vimnp
from tests.support.micro import MICRO
from vimnp.ops import kernels
from vimnp.runtime import extension, threads


def test_the_argument_comes_first_then_the_environment_then_the_cpus(monkeypatch):
    monkeypatch.setenv("VIMNP_NUM_THREADS", "3")
    assert threads.resolve_num_threads(5) == 5
    assert threads.resolve_num_threads() == 3
    monkeypatch.delenv("VIMNP_NUM_THREADS")
    monkeypatch.setattr(threads, "CPU_QUOTA", Path("/there/is/no/such/file"))
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert threads.resolve_num_threads() == cpus


def test_an_empty_variable_counts_as_unset(monkeypatch):
    monkeypatch.delenv("VIMNP_NUM_THREADS", raising=False)
    unset = threads.resolve_num_threads()
    monkeypatch.setenv("VIMNP_NUM_THREADS", "")
    assert threads.resolve_num_threads() == unset


@pytest.mark.parametrize("number", [np.int64(3), np.uint8(3), np.array(3)])
def test_numpys_whole_numbers_are_taken(number):
    found = threads.resolve_num_threads(number)
    assert (found, type(found)) == (3, int)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux's affinity")
def test_a_process_that_is_kept_to_one_cpu_uses_one_thread(monkeypatch):
    monkeypatch.delenv("VIMNP_NUM_THREADS", raising=False)
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert threads.resolve_num_threads() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [("150000 100000", 2), ("10000 100000", 1), ("300000 100000", 3), ("max 100000", 8), ("?", 8)],
)
def test_a_container_uses_no_more_threads_than_its_share_of_time(
    quota, cpus, tmp_path, monkeypatch
):
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(threads, "CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.delenv("VIMNP_NUM_THREADS", raising=False)
    assert threads.resolve_num_threads() == cpus


@pytest.mark.parametrize("value", [0, -1, 1.0, "2", True, np.True_, np.float32(2), 1025, 1 << 40])
def test_a_wrong_argument_is_named(value):
    with pytest.raises(vimnp.ConfigError, match="num_threads is"):
        threads.resolve_num_threads(value)


@pytest.mark.parametrize("text", ["0", "-1", "two", " ", "1.5", "1025", "9" * 5000])
def test_a_wrong_variable_is_named(text, monkeypatch):
    monkeypatch.setenv("VIMNP_NUM_THREADS", text)
    with pytest.raises(vimnp.ConfigError, match=f"VIMNP_NUM_THREADS is '{text}'"):
        threads.resolve_num_threads()


def test_the_wait_policy_is_set_only_while_the_extension_loads(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    with threads.sleeping_openmp():
        assert os.environ["OMP_WAIT_POLICY"] == "passive"
    assert "OMP_WAIT_POLICY" not in os.environ


@pytest.mark.parametrize("variable", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_a_wait_policy_of_the_users_is_left_alone(variable, monkeypatch):
    monkeypatch.setenv(variable, "ACTIVE")
    before = dict(os.environ)
    with threads.sleeping_openmp():
        assert dict(os.environ) == before
    assert dict(os.environ) == before


def test_little_work_stays_on_one_thread(monkeypatch):
    used = []

    class Extension:
        @staticmethod
        def causal_conv1d(*arrays, num_threads, **options):
            used.append(num_threads)

    monkeypatch.setattr(extension, "for_operation", lambda operation: Extension)
    for tokens in (10, 10_000):
        x = np.zeros((tokens, 64), np.float32)
        kernels.causal_conv1d(x, (kernels.Filter(x, None),), (x,), silu=True, num_threads=2)
    assert used == [1, 2]


def test_a_small_network_stays_on_one_thread(monkeypatch):
    used = []

    class Program:
        def workspace_size(self, num_threads):
            return 1

        def forward(self, *arrays, num_threads, **options):
            used.append(num_threads)

    compiled = SimpleNamespace(
        name="none", width=1, panel=1, inputs_at_once=1, program=lambda described: Program()
    )
    monkeypatch.setattr(extension, "for_network", lambda: compiled)
    for side in (32, 128):
        config = dataclasses.replace(MICRO, img_size=(side, side))
        model = vimnp.VisionMamba.random(config=config, num_threads=2, backend="native")
        model(np.zeros((3, side, side), np.float32))
    assert used == [1, 2]


def test_threads_are_tried_once_and_only_what_is_more(monkeypatch):
    tried = []
    monkeypatch.setattr(threads, "_can_start", lambda number: tried.append(number) or True)
    monkeypatch.setattr(threads, "_of_thread", threads._Tried())
    assert [threads.in_this_process(n) for n in (1, 2, 2, 5, 3, 5)] == [1, 2, 2, 5, 3, 5]
    assert tried == [1, 4]  # the calling thread is there
    with ThreadPoolExecutor(1) as pool:  # OpenMP gives every thread that calls it a team of its own
        assert pool.submit(threads.in_this_process, 5).result() == 5
    assert tried == [1, 4, 4]


def test_threads_that_cannot_be_started_are_tried_and_warned_of_once(monkeypatch):
    tried = []
    monkeypatch.setattr(threads, "_can_start", lambda number: bool(tried.append(number)))
    monkeypatch.setattr(threads, "_of_thread", threads._Tried())
    monkeypatch.setattr(threads, "_warned", False)
    with pytest.warns(RuntimeWarning, match="one thread.*7 threads") as caught:
        assert [threads.in_this_process(n) for n in (7, 7, 8)] == [1, 1, 1]
    assert len(caught) == 1
    assert tried == [6]


def test_a_forked_child_uses_threads_where_they_start_anew(monkeypatch):
    monkeypatch.setattr(threads, "_can_start", lambda number: True)
    monkeypatch.setattr(threads, "_of_thread", threads._Tried())
    monkeypatch.setattr(threads, "_process", 0)
    assert threads.in_this_process(3) == 1
    assert threads.in_this_process(3, start_anew=True) == 3


@pytest.mark.usefixtures("small_work_is_split")
def test_more_threads_than_there_are_channels_are_not_started():
    x = np.ones((1, 3, 5), np.float32)
    weight = np.ones((3, 2), np.float32)
    one = vimnp.causal_conv1d(x, weight, num_threads=1)
    np.testing.assert_array_equal(vimnp.causal_conv1d(x, weight, num_threads=1024), one)


@pytest.mark.usefixtures("small_work_is_split")
def test_more_threads_than_a_network_has_work_for_change_no_bit(way):
    pixels = np.ones((3, 32, 32), np.float32)
    one, many = (vimnp.VisionMamba.random(config=MICRO, num_threads=n) for n in (1, 64))
    with threadpool_limits(1, user_api="blas"):
        np.testing.assert_array_equal(many(pixels), one(pixels))


@pytest.mark.usefixtures("small_work_is_split")
def test_one_model_may_be_called_from_several_threads_at_once(way):
    config = dataclasses.replace(MICRO, embed_dim=96)
    model = vimnp.VisionMamba.random(config=config, num_threads=2)
    images = np.random.default_rng(0).standard_normal((24, 3, 32, 32)).astype(np.float32)
    start = threading.Barrier(4)

    def work(share):
        start.wait()
        return model(share)

    with threadpool_limits(1, user_api="blas"):
        in_turn = model(images)
        with ThreadPoolExecutor(4) as pool:
            at_once = np.concatenate(list(pool.map(work, np.split(images, 4))))
    np.testing.assert_array_equal(at_once, in_turn)
