"""The threads that go through a region together: OpenMP's, or where there is none the kernels' own.

Cases that change the process, or must not inherit from others, run in one of their own.
"""

from __future__ import annotations

import os
import platform
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.processes import NO_MORE_THREADS, run
from vimnp.engine.settings import BACKENDS
from vimnp.runtime import extension

compiled = extension.loaded()
pytestmark = pytest.mark.skipif(
    compiled is None or not (compiled.OPENMP or compiled.POOL),
    reason="the kernels were built for one thread",
)
needs_pool = pytest.mark.skipif(
    not extension.has_pool(), reason="the kernels' threads are OpenMP's, which are not ours to test"
)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into Linux's /proc")
every_backend = pytest.mark.parametrize("backend", BACKENDS)

LONG = 60.0  # seconds that threads have to come, which they do at once


def assert_succeeds(code: str, **environment: str) -> None:
    result = run(code, OPENBLAS_NUM_THREADS="1", **environment)
    if result.returncode == 77:
        pytest.skip("this system does not heed the limit of threads")
    assert result.returncode == 0, result.stderr or f"ended by signal {-result.returncode}"


def test_as_many_threads_come_as_are_asked_for():
    # They wait for each other, so that each is a thread by itself.
    for number in (1, 2, 3, 8, 2):
        assert compiled.threads_that_come(number, LONG) == number


def test_a_region_of_no_threads_is_refused():
    with pytest.raises(ValueError, match="num_threads does not fit"):
        compiled.threads_that_come(0, LONG)


def test_several_threads_may_have_a_region_at_once():
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: compiled.threads_that_come(3, 1e-3), range(200)))
    assert set(found) <= {1, 2, 3}
    assert compiled.threads_that_come(3, LONG) == 3  # nobody is lost


def test_nobody_waits_for_who_does_not_come():
    # A member that has nothing to do leaves at once: the others are not yet there.
    for _ in range(2000):
        assert 1 <= compiled.threads_that_come(3, 0.0) <= 3


# ---- The system's side ---------------------------------------------------------------------------

# Only those that were not there before: NumPy's BLAS may have some.
WORKERS = """
import os, signal, sys
from vimnp import _scan
def tasks():
    return set(os.listdir("/proc/self/task"))
before = tasks()
assert _scan.threads_that_come(4, 60.0) == 4
workers = tasks() - before
assert len(workers) == 3, workers
"""

MORE_OF_THEM = """
assert _scan.threads_that_come(2, 60.0) == 2
assert _scan.threads_that_come(4, 60.0) == 4
assert tasks() - before == workers
assert _scan.threads_that_come(6, 60.0) == 6
assert len(tasks() - before) == 5
"""

SIGNALS = """
for worker in workers:
    with open(f"/proc/self/task/{worker}/status") as file:
        status = dict(line.split(":", 1) for line in file)
    blocked = int(status["SigBlk"], 16)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD, signal.SIGUSR1):
        assert blocked >> (number - 1) & 1, number
    assert not blocked >> (signal.SIGSEGV - 1) & 1
assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
"""


@needs_pool
@needs_linux
@pytest.mark.parametrize("more", [MORE_OF_THEM, SIGNALS], ids=["reused", "signals"])
def test_workers_are_kept_and_leave_signals_to_python(more):
    assert_succeeds(WORKERS + more)


# One worker where three are asked for.
ONE_WORKER = f"""
from vimnp import _scan
assert _scan.threads_that_come(2, 60.0) == 2
{NO_MORE_THREADS}
for _ in range(3):
    assert _scan.threads_that_come(4, 0.1) <= 2
assert _scan.threads_that_come(2, 60.0) == 2
"""


@needs_pool
@needs_linux
def test_a_region_has_fewer_members_where_no_more_can_be_started():
    assert_succeeds(ONE_WORKER)


# ---- Forks ---------------------------------------------------------------------------------------

FORK = """
import os, signal, sys
from vimnp import _scan
from vimnp.ops import kernels
def assert_threads_come():
    assert kernels.threads_for("forward", 1 << 30, 3) == 3
    assert _scan.threads_that_come(3, 60.0) == 3
def in_a_child(work):
    child = FORK_OF
    if child == 0:
        signal.alarm(30)  # ends a child that hangs
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return child
def assert_good(child):
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
def nested():
    assert_threads_come()
    assert_good(in_a_child(assert_threads_come))
    assert_threads_come()
assert_threads_come()
assert_good(in_a_child(nested))
assert_threads_come()
"""
# One that Python does not know of. PyDLL keeps the interpreter locked meanwhile, as a fork needs.
FORKS = {"python": "os.fork()", "c": "__import__('ctypes').PyDLL(None).fork()"}


@needs_pool
@needs_fork
@pytest.mark.parametrize("fork", FORKS)
def test_a_forked_child_starts_threads_of_its_own(fork):
    assert_succeeds(FORK.replace("FORK_OF", FORKS[fork]))


# Children of a thread that has no pass, while two others have one.
FORK_DURING_PASSES = """
import os, signal, sys, threading
import numpy as np, vimnp
from vimnp.ops import kernels
kernels._LEAST_ELEMENTS = dict.fromkeys(kernels._LEAST_ELEMENTS, 0)  # split all work
config = vimnp.VimConfig(img_size=(64, 64), patch_size=8, stride=8, depth=2, embed_dim=96)
model = vimnp.VisionMamba.random(config=config, num_threads=3)
pixels = np.linspace(-1, 1, 3 * 64 * 64, dtype=np.float32).reshape(3, 64, 64)
expected, over, wrong = model(pixels).tobytes(), threading.Event(), []
def passes():
    while not over.is_set():
        if model(pixels).tobytes() != expected:
            wrong.append(True)
others = [threading.Thread(target=passes) for _ in range(2)]
for other in others:
    other.start()
statuses = []
for _ in range(20):
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        os._exit(0 if model(pixels).tobytes() == expected else 1)
    statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
over.set()
for other in others:
    other.join()
assert statuses == [0] * 20, statuses
assert not wrong and model(pixels).tobytes() == expected
"""


@needs_fork
@every_backend
def test_a_fork_during_passes_of_other_threads_harms_nobody(backend):
    assert_succeeds(FORK_DURING_PASSES, VIMNP_BACKEND=backend, PYTHONWARNINGS="ignore")


# ---- Denormals -----------------------------------------------------------------------------------

# On x86-64 the fenv_t of glibc and of musl holds MXCSR at byte 28; its bits 15 and 6 flush
# denormals to zero.
FLUSHED = """
import ctypes, ctypes.util
import numpy as np
from vimnp.ops import kernels
kernels._LEAST_ELEMENTS = dict.fromkeys(kernels._LEAST_ELEMENTS, 0)  # split all work
libm = ctypes.CDLL(ctypes.util.find_library("m"))
def flush(on):
    environment = (ctypes.c_uint32 * 8)()
    assert libm.fegetenv(environment) == 0
    environment[7] = environment[7] & ~0x8040 | 0x8040 * on
    assert libm.fesetenv(environment) == 0
x, weight = np.full((2000, 960), 1e-40, np.float32), np.ones((1, 960), np.float32)
def convolved():
    out = np.empty_like(x)
    kernels.causal_conv1d(x, (kernels.Filter(weight, None),), (out,), silu=False, num_threads=3)
    return set(out.view(np.uint32).reshape(-1).tolist())
bits = int(x.view(np.uint32)[0, 0])
for _ in range(5):
    flush(False)
    assert convolved() == {bits}
    flush(True)
    found = convolved()
    flush(False)
    assert found == {0}, found
"""


@needs_pool
@pytest.mark.skipif(
    platform.machine() != "x86_64" or sys.platform != "linux", reason="needs its fenv_t"
)
def test_a_worker_treats_denormals_as_the_calling_thread_does():
    assert_succeeds(FLUSHED)
