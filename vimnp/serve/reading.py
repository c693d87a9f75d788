"""A picture's bytes -> what a network takes, by the same bounded reader as everywhere."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np

from vimnp.images.image_file import read_image
from vimnp.models.vision import VisionModel


class Read(NamedTuple):
    """A picture that was read.

    Parameters
    ----------
    pixels : ndarray of float32, shape (channels, H, W)
        As the network takes it.
    width, height : int
        Of the picture itself.
    """

    pixels: np.ndarray
    width: int
    height: int


class _Sent(io.BytesIO):
    """The bytes that a client sent, with a name for messages."""

    name = "the picture"


def read_picture(model: VisionModel, data: bytes, most_pixels: int) -> Read:
    """Decode a picture of no more than so many pixels, and make of it what a network takes.

    Raises
    ------
    ImageError
        If it is damaged, too large, or in none of the formats that are read.
    """
    image = read_image(_Sent(data), most_pixels=most_pixels)
    return Read(model.preprocess(image), *image.size)
