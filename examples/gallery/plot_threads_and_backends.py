"""
Backends, threads and bits
==========================

The native backend takes a picture through the network in one compiled region; NumPy's is there to
be read and compared.
"""

import time

import numpy as np

import vimnp

picture = np.random.default_rng(0).standard_normal((3, 224, 224), np.float32)


def milliseconds(model):
    """The least of five passes, after one that makes the workspace."""
    model(picture)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        model(picture)
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


# %%
# A Vim-tiny of random weights. How long it takes depends on the machine that built this page.

logits = {}
for backend in ("numpy", "native"):
    for threads in (1, 2):
        model = vimnp.VimTiny.random(backend=backend, num_threads=threads)
        logits[backend, threads] = model(picture)
        print(f"{model.runs}: {milliseconds(model):.0f} ms")

# %%
# The number of threads changes no bit. Two backends add up in another order, and differ in the
# last digits.

assert np.array_equal(logits["native", 1], logits["native", 2])
print(np.abs(logits["native", 1] - logits["numpy", 1]).max())
