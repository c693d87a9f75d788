"""A heat map over a picture: red speaks for something, and blue against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vimnp.images.preprocessing import Preprocessing

if TYPE_CHECKING:
    from PIL import Image

_RED, _BLUE = (214, 39, 40), (31, 119, 180)
_LEAST_SIDE = 448  # pixels: a smaller picture is enlarged, so that its patches can be seen
_STRONGEST = 0.75  # how much of the picture the largest value covers


def as_seen(pixels: np.ndarray, preprocessing: Preprocessing) -> Image.Image:
    """The picture as a network sees it: cropped, and in its size.

    Parameters
    ----------
    pixels : ndarray of float32, shape (3, H, W) or (1, H, W)
        Normalised.
    preprocessing : Preprocessing
        How that was done.
    """
    from PIL import Image

    mean, std = (
        np.array(v, np.float32)[:, None, None] for v in (preprocessing.mean, preprocessing.std)
    )
    shown = np.clip(np.rint(255 * (pixels * std + mean)), 0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(shown.transpose(1, 2, 0)).squeeze()).convert("RGB")


def overlay(picture: Image.Image, values: np.ndarray) -> Image.Image:
    """The picture in grey, with each patch's value over it.

    Parameters
    ----------
    picture : PIL.Image.Image
    values : ndarray, shape (h, w)
        Red where positive, blue where negative, and stronger the larger; the largest of them sets
        the scale.

    Returns
    -------
    PIL.Image.Image
        RGB, of 448 pixels or more on its shorter side.
    """
    from PIL import Image

    times = max(1, -(-_LEAST_SIDE // min(picture.size)))
    size = picture.width * times, picture.height * times
    base = np.asarray(picture.convert("L").resize(size, Image.Resampling.BICUBIC), np.float32)
    largest = np.abs(values).max() or 1
    smooth = Image.fromarray((values / largest).astype(np.float32)).resize(
        size, Image.Resampling.BICUBIC
    )
    share = np.clip(np.asarray(smooth), -1, 1)[..., None]
    cover = np.abs(share) * np.float32(_STRONGEST)
    colour = np.where(share > 0, np.array(_RED, np.float32), np.array(_BLUE, np.float32))
    return Image.fromarray(np.rint(base[..., None] * (1 - cover) + colour * cover).astype(np.uint8))
