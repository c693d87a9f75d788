"""What vimnp does to the process that it runs in: nothing; and forks and other users of OpenMP.

Each case runs in a process of its own.
"""

from __future__ import annotations

import os
import sys

import pytest

from tests.support.processes import NO_MORE_THREADS, run
from vimnp.engine.settings import BACKENDS
from vimnp.runtime import extension

# Defines logits(), on two threads.
NETWORK = """
import numpy as np, vimnp
from vimnp.ops import kernels
kernels._LEAST_ELEMENTS = dict.fromkeys(kernels._LEAST_ELEMENTS, 0)  # split all work
config = vimnp.VimConfig(img_size=(64, 64), patch_size=8, stride=8, depth=2, embed_dim=96)
model = vimnp.VisionMamba.random(config=config, num_threads=2)
pixels = np.linspace(-1, 1, 3 * 64 * 64, dtype=np.float32).reshape(3, 64, 64)
def logits(_=None):
    return model(pixels).tobytes()
first = logits()
"""

every_instruction_set = pytest.mark.parametrize("isa", extension.usable_instruction_sets())
every_backend = pytest.mark.parametrize("backend", BACKENDS)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def assert_succeeds(code: str, blas_threads: int = 1, **environment: str) -> None:
    result = run(code, OPENBLAS_NUM_THREADS=str(blas_threads), **environment)
    assert result.returncode == 0, result.stderr


# ---- Forks ---------------------------------------------------------------------------------------

# A child that hangs is ended by its alarm, and its parent sees that.
FORK = """
import os, signal, sys
child = os.fork()
if child == 0:
    signal.alarm(30)
    os._exit(0 if logits() == first else 1)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
sys.exit(status or logits() != first)
"""

# One that Python does not know of. PyDLL keeps the interpreter locked meanwhile, as a fork needs.
FORK_IN_C = "import ctypes" + FORK.replace("os.fork()", "ctypes.PyDLL(None).fork()")

FORK_POOL = """
import multiprocessing
with multiprocessing.get_context("fork").Pool(3) as pool:
    assert pool.map_async(logits, range(9), chunksize=1).get(timeout=30) == [first] * 9
assert logits() == first
"""


@needs_fork
@every_instruction_set
@every_backend
@pytest.mark.parametrize("fork", [FORK, FORK_IN_C], ids=["python", "c"])
def test_a_forked_child_computes_the_same_and_does_not_hang(fork, backend, isa):
    assert_succeeds(NETWORK + fork, VIMNP_BACKEND=backend, VIMNP_ISA=isa)


@needs_fork
@every_backend
def test_a_pool_of_forked_workers_computes_the_same_and_does_not_hang(backend):
    assert_succeeds(NETWORK + FORK_POOL, VIMNP_BACKEND=backend)


# ---- Threads that cannot be created --------------------------------------------------------------

# A third thread, where two have worked.
THIRD_THREAD = f"""
import warnings
model = vimnp.VisionMamba.random(config=config, num_threads=3)
{NO_MORE_THREADS}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert logits() == first and logits() == first
assert [w.category for w in caught] == [RuntimeWarning], caught
assert "one thread" in str(caught[0].message)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limit of threads")
@every_backend
def test_where_no_thread_can_be_created_one_does_the_work(backend):
    result = run(NETWORK + THIRD_THREAD, OPENBLAS_NUM_THREADS="1", VIMNP_BACKEND=backend)
    if result.returncode == 77:
        pytest.skip("this system does not heed the limit of threads")
    assert result.returncode == 0, result.stderr


# ---- Settings of the process ---------------------------------------------------------------------

# Without a wait policy of the user's, vimnp sets its own while it loads. What C sees of the
# environment may differ from os.environ, and it is C that OpenMP asks. A thread takes its treatment
# of denormals from the one that starts it.
SETTINGS = """
import ctypes, os, warnings
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from threadpoolctl import threadpool_info
getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p
for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
    os.environ.pop(name, None)
def settings():
    return {
        "os.environ": dict(os.environ),
        "getenv": [getenv(name) for name in (b"OMP_WAIT_POLICY", b"OMP_NUM_THREADS")],
        "denormals": (np.full(19, 1e-45, np.float32) * np.float32(1)).tolist(),
        "BLAS": [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"],
        "affinity": os.sched_getaffinity(0),
        "warnings": list(warnings.filters),
        "errors": np.geterr(),
    }
def assert_unchanged(now):
    changed = [name for name in before if now[name] != before[name]]
    assert not changed, changed
def in_a_thread():
    logits()
    return settings()
before = settings()
assert all(before["denormals"])
import vimnp
assert_unchanged(settings())
"""

CALLS = """
assert_unchanged(settings())
with ThreadPoolExecutor(1) as pool:
    assert_unchanged(pool.submit(in_a_thread).result())
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs Linux's affinity")
@every_instruction_set
@every_backend
def test_an_import_and_a_forward_pass_leave_the_process_as_it_was(backend, isa):
    code = SETTINGS + NETWORK + CALLS
    assert_succeeds(code, blas_threads=2, VIMNP_BACKEND=backend, VIMNP_ISA=isa)


# ---- Other users of OpenMP -----------------------------------------------------------------------

# Work for another package's threads: two, where there are as many cores.
OTHERS = {
    "torch": """
import torch
torch.set_num_threads(2)
numbers = torch.linspace(-1, 1, 400 * 400).reshape(400, 400)
def others_work():
    assert torch.get_num_threads() == 2
    return (numbers @ numbers).numpy()
""",
    "sklearn": """
import numpy as np
from sklearn.cluster import KMeans
numbers = np.random.default_rng(0).standard_normal((2000, 8))
def others_work():
    return KMeans(3, n_init=1, max_iter=5, random_state=0).fit(numbers).cluster_centers_
""",
}

# Of every OpenMP and BLAS that is loaded when the other package has worked once.
POOLS = """
from threadpoolctl import threadpool_info
def pools():
    return {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}
expected = others_work()
others_pools = pools()
"""

ALTERNATE = """
for _ in range(10):
    assert logits() == first
    assert np.allclose(others_work(), expected, atol=1e-6)
assert others_pools.items() <= pools().items()
"""


@pytest.mark.parametrize("imported", ["before", "after"])
@pytest.mark.parametrize(("package", "name"), [("torch", "PyTorch"), ("sklearn", "scikit-learn")])
@every_backend
def test_another_user_of_openmp_is_left_in_peace_and_changes_no_bit(
    backend, package, name, imported
):
    pytest.importorskip(package, reason=f"needs {name}")
    other = OTHERS[package] + POOLS
    both = other + NETWORK if imported == "before" else NETWORK + other
    assert_succeeds(both + ALTERNATE, VIMNP_BACKEND=backend)
