"""
int8 beside float32
===================

``precision="int8"`` rounds a network as it is loaded. What that costs in accuracy is a question
that only your pictures can answer.
"""

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

import vimnp

data = load_digits()
scans = [Image.fromarray(np.round(scan * 255 / 16).astype(np.uint8)) for scan in data.images]

exact = vimnp.load("digits")(scans)
rounded = vimnp.load("digits", precision="int8")(scans)

# %%
# Of all scans of scikit-learn's digits, how many change their class?

changed = exact.argmax(axis=1) != rounded.argmax(axis=1)
print(f"{changed.sum()} of {len(scans):,} scans change their class")
print(f"logits move by {np.std(rounded - exact) / np.std(exact):.2%} of what they vary by")

# %%
# The logits of both, a point for each scan and class.

figure, place = plt.subplots(figsize=(4, 4), layout="constrained")
place.plot(exact.ravel(), rounded.ravel(), ".", markersize=1)
place.axline((0, 0), slope=1, color="black", linewidth=0.5)
place.set_xlabel("logit in float32")
place.set_ylabel("logit in int8")
