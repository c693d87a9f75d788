"""Threads whose stack is small: the kernels keep within 48 KB of it, and the rest is Python's.

Each case runs in a process of its own, since a stack that is too small ends it.
"""

from __future__ import annotations

import sys
import threading

import pytest

from tests.support.processes import run
from vimnp.engine.settings import BACKENDS
from vimnp.runtime import extension

STACK = 56 * 1024  # bytes: the kernels', and Python's; musl gives a thread 128 KB


def is_allowed() -> bool:
    """Whether a thread may have so small a stack: Linux on 64-bit ARM gives it 128 KB at least."""
    before = threading.stack_size()
    try:
        threading.stack_size(STACK)
    except ValueError:
        return False
    threading.stack_size(before)
    return True


needs_small_stacks = pytest.mark.skipif(
    not is_allowed(), reason=f"no thread here can have a stack of {STACK} bytes"
)

# Defines small(work), which calls it in a thread of a small stack. What is called once before, with
# a stack of the usual size, imports whatever it needs.
SMALL = f"""
import threading
import numpy as np, vimnp
from vimnp.ops import kernels
from vimnp.ops.modes import SCAN_MODES
def small(work):
    expected, found = work(), []
    threading.stack_size({STACK})
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    threading.stack_size(0)
    np.testing.assert_array_equal(found[0], expected)
def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)
"""

# 700 channels: more than are scanned at once; 60 are not whole vectors.
SCANS = """
for channels, d_state in ((700, 16), (60, 256)):
    A = -np.exp(normal(channels, d_state))
    x, B = normal(1, channels, 70), normal(1, d_state, 70)
    for matrix in (B, normal(channels, d_state)):
        for large in (1, 1e30):  # with delta A beyond what one of the exponentials takes, too
            direction = vimnp.Direction(x, np.abs(x) * 0.1, A * np.float32(large), matrix, matrix)
            for method in SCAN_MODES:
                small(lambda: vimnp.selective_scan_bidirectional(
                    direction, direction, x, True, method=method, num_threads=1))
"""

WALKS = """
for channels, d_state in ((700, 16), (700, 1), (60, 256), (61, 1)):
    u, delta = normal(1, channels, 6, 11), normal(1, 4, channels, 6, 11)
    A, B = -np.exp(normal(4, channels, d_state)), normal(1, 4, d_state, 6, 11)
    for large in (1, 1e30):
        small(lambda: vimnp.selective_scan_2d(
            u, delta, A * np.float32(large), B, B, None, None, True, num_threads=1))
"""

CONVOLUTIONS = """
for taps in (4, 64):
    filters = (kernels.Filter(normal(taps, 60), normal(60)),) * 2
    def convolve():
        outs = (np.zeros((70, 60), np.float32), np.zeros((70, 60), np.float32))
        kernels.causal_conv1d(normal(70, 60), filters, outs, silu=True, num_threads=1)
        return np.stack(outs)
    small(convolve)
"""

NORMS = """
def norm():
    residual, out = normal(70, 60), np.zeros((70, 60), np.float32)
    kernels.fused_add_norm(
        residual, normal(70, 60), normal(60), normal(60), out, epsilon=1e-5, num_threads=1)
    return out
small(norm)
"""

NETWORKS = """
for d_state in (16, 256):
    config = vimnp.VimConfig(
        img_size=(32, 32), patch_size=8, stride=8, depth=2, embed_dim=48, d_state=d_state)
    model = vimnp.VisionMamba.random(config=config, num_threads=1)
    small(lambda: model(normal(3, 32, 32)))
"""

# OpenMP's own threads take the size of their stacks from the environment.
TEAMS = """
kernels._LEAST_ELEMENTS = dict.fromkeys(kernels._LEAST_ELEMENTS, 0)  # split all work
x, B = normal(1, 60, 70), normal(1, 256, 70)
direction = vimnp.Direction(x, np.abs(x), -np.exp(normal(60, 256)), B, B)
for method in SCAN_MODES:
    one, two = (vimnp.selective_scan_bidirectional(
        direction, direction, x, True, method=method, num_threads=n) for n in (1, 2))
    np.testing.assert_array_equal(one, two)
config = vimnp.VimConfig(
    img_size=(32, 32), patch_size=8, stride=8, depth=2, embed_dim=48, d_state=256)
one, two = (vimnp.VisionMamba.random(config=config, num_threads=n, backend="native")(
    normal(3, 32, 32)) for n in (1, 2))
np.testing.assert_array_equal(one, two)
"""

every_instruction_set = pytest.mark.parametrize("isa", extension.usable_instruction_sets())
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="stacks are Linux's here")


def assert_succeeds(code: str, **environment: str) -> None:
    result = run(code, OPENBLAS_NUM_THREADS="1", **environment)
    assert result.returncode == 0, result.stderr or f"ended by signal {-result.returncode}"


@needs_small_stacks
@needs_linux
@every_instruction_set
@pytest.mark.parametrize(
    "calls", [SCANS, WALKS, CONVOLUTIONS, NORMS], ids=["scans", "walks", "convolutions", "norms"]
)
def test_operations_run_in_a_thread_with_a_small_stack(calls, isa):
    assert_succeeds(SMALL + calls, VIMNP_ISA=isa)


@needs_small_stacks
@needs_linux
@every_instruction_set
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_network_runs_in_a_thread_with_a_small_stack(backend, isa):
    assert_succeeds(SMALL + NETWORKS, VIMNP_ISA=isa, VIMNP_BACKEND=backend)


@needs_linux
@every_instruction_set
def test_openmps_threads_may_have_small_stacks(isa):
    assert_succeeds(SMALL + TEAMS, VIMNP_ISA=isa, OMP_STACKSIZE="48k")
