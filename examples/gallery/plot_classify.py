"""
Classify pictures
=================

The bundled network ``digits`` reads handwritten digits. Any other weights file is asked in the
same way.
"""

from pathlib import Path

import matplotlib.pyplot as plt

import vimnp

model = vimnp.load("digits")
print(model.summary())

# %%
# A picture is a path, an open file, a PIL image or an array. ``predict`` gives the likeliest
# classes, best first.

scans = sorted(Path("../../tests/data").glob("digit_*.png"))
for prediction in model.predict(scans[3], top_k=3):
    print(f"{prediction.score:7.2%}  {prediction.label}")

# %%
# Many pictures go through the network together. Their logits have the same bits as one by one.

logits = model(scans)
print(logits.shape, logits.dtype)

figure, places = plt.subplots(2, 5, figsize=(7, 3.4), layout="constrained")
for place, scan, row in zip(places.flat, scans, logits, strict=True):
    place.imshow(plt.imread(scan), cmap="gray")
    place.set_title(f"it reads {model.labels[row.argmax()]}", fontsize=9)
    place.set_axis_off()
