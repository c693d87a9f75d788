"""Sizes of pictures: how they are written, how large they may be, and of how many channels."""

from __future__ import annotations

import re

MOST_PIXELS = 1 << 26
"""Of a picture, and of what it is resized to before it is cropped; as float32 these take 0.8 GB."""

MOST_CHANNELS = 64
"""Of what a network looks at."""


def parse_img_size(text: str) -> tuple[int, int]:
    """A picture's height and width, written as ``HEIGHTxWIDTH``, or as one number for a square.

    Raises
    ------
    ValueError
        If it is neither.
    """
    match = re.fullmatch(r"([0-9]{1,9})(?:x([0-9]{1,9}))?", text.strip().lower())
    if match is None:
        raise ValueError("one number of pixels, or HEIGHTxWIDTH")
    return int(match[1]), int(match[2] or match[1])
