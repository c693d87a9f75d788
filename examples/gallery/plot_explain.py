"""
Why the network says so
=======================

``model.explain`` says what each patch contributes to a class's logit. It follows the scans of every
layer exactly, without gradients.
"""

import matplotlib.pyplot as plt

import vimnp

PICTURE = "../../tests/data/digit_3_45.png"

model = vimnp.load("digits")
found = model.explain(PICTURE)
print(f"{found.label}: {found.score:.2f} above the mean of all logits")
print(f"{found.map.sum():.2f} of it from the patches, {found.rest:.2f} from all else")

# %%
# Each layer takes what it needs from other patches. Red speaks for the class, blue against it.

largest = abs(found.contributions).max()
figure, places = plt.subplots(1, 5, figsize=(9, 2.2), layout="constrained")
places[0].imshow(plt.imread(PICTURE), cmap="gray")
places[0].set_title("the picture", fontsize=9)
for layer, (place, values) in enumerate(zip(places[1:], found.contributions, strict=True)):
    place.imshow(values, cmap="RdBu_r", vmin=-largest, vmax=largest)
    place.set_title(f"layer {layer}", fontsize=9)
for place in places:
    place.set_axis_off()

# %%
# The same question for another class: why is it no 8?

other = model.explain(PICTURE, 8)
print(f"{other.label}: {other.score:.2f}")
