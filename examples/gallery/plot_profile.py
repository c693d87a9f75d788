"""
Where the time goes
===================

``vimnp.profiling`` times every operation of a pass. ``vimnp profile`` prints the same, with rates
and limits.
"""

import matplotlib.pyplot as plt
import numpy as np

import vimnp

model = vimnp.VimTiny.random(num_threads=1)
picture = np.random.default_rng(0).standard_normal((3, 224, 224), np.float32)
model(picture)
profiles = [vimnp.profiling.profile(model, picture) for _ in range(5)]

# %%
# A span is one operation in one layer.

seconds = vimnp.profiling.median_seconds(profiles, lambda span: span.operation)
for name, value in sorted(seconds.items(), key=lambda item: -item[1]):
    print(f"{name:12} {1000 * value:6.2f} ms")

figure, place = plt.subplots(figsize=(6, 2.8), layout="constrained")
names = sorted(seconds, key=seconds.get)
place.barh(names, [1000 * seconds[name] for name in names])
place.set_xlabel("milliseconds of a pass")
