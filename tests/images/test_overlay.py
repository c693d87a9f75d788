"""Heat maps over pictures."""

import numpy as np
import pytest
from PIL import Image

from vimnp.images.overlay import as_seen, overlay
from vimnp.images.preprocessing import Preprocessing, to_input


@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_as_seen_is_the_picture(channels):
    preprocessing = Preprocessing.of_channels(channels, crop_pct=1.0)
    grey = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    picture = Image.fromarray(grey).convert("RGB")
    seen = as_seen(to_input(picture, (20, 30), preprocessing), preprocessing)
    assert seen.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(seen), np.asarray(picture))


def test_red_where_positive_and_blue_where_negative():
    drawn = np.asarray(overlay(Image.new("RGB", (32, 32), "white"), np.array([[2.0, -2.0]])))
    assert drawn.shape == (448, 448, 3)
    left, right = drawn[224, 40].astype(int), drawn[224, -40].astype(int)
    assert left[0] - left[2] > 100
    assert right[2] - right[0] > 60


@pytest.mark.parametrize(("size", "drawn"), [((32, 40), (448, 560)), ((500, 600), (500, 600))])
def test_small_pictures_are_enlarged_and_nothing_is_drawn_without_values(size, drawn):
    picture = overlay(Image.new("RGB", size, (60, 60, 60)), np.zeros((3, 3)))
    assert picture.size == drawn
    assert (np.asarray(picture) == 60).all()
