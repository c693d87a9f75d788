"""
A network as a backbone
=======================

``model.features`` is what goes into the head: a vector for each picture. Pictures that look alike
to the network lie near each other, whatever their classes are called. Here k-means groups 600
scans, which are scikit-learn's, by their features alone.
"""

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import vimnp

data = load_digits()
scans = [Image.fromarray(np.round(scan * 255 / 16).astype(np.uint8)) for scan in data.images[:600]]

model = vimnp.load("digits")
features = model.features(scans)
print(features.shape)

# %%
# The groups are found without a label. How often a group's scans agree on their digit says how
# good they are.

groups = KMeans(n_clusters=10, n_init=5, random_state=0).fit_predict(features)
agree = sum(np.bincount(data.target[:600][groups == group]).max() for group in range(10))
print(f"{agree / 600:.1%} of the scans are with others of their digit")

# %%
# The first two principal components, with each scan drawn as its digit.

across, up = PCA(2, random_state=0).fit_transform(features).T
figure, place = plt.subplots(figsize=(6, 5), layout="constrained")
for x, y, digit, group in zip(across, up, data.target, groups, strict=False):
    place.text(x, y, str(digit), color=plt.cm.tab10(group), fontsize=8, ha="center", va="center")
place.set_xlim(across.min() - 0.2, across.max() + 0.2)
place.set_ylim(up.min() - 0.2, up.max() + 0.2)
place.set_xlabel("first component")
place.set_ylabel("second")
