"""Pictures: the original's transform bit for bit, every mode, and every file that is refused."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

import vimnp.images.preprocessing
from tests.support.processes import run
from vimnp.errors import ConfigError, ImageError
from vimnp.images import image_file
from vimnp.images.preprocessing import (
    FORMATS,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
    preprocess,
    read_image,
    to_input,
    to_rgb,
)

unix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")

IMAGENET = Preprocessing()
PLAIN = Preprocessing(crop_pct=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
"""Leaves the pixels as they are, divided by 255."""


def random_picture(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def pixels(image: Image.Image) -> np.ndarray:
    """(H, W, 3), 0 to 255, of what the network would see."""
    array = preprocess(image, (image.height, image.width), PLAIN)
    return np.rint(array.transpose(1, 2, 0) * 255).astype(int)


# ---- The transform -------------------------------------------------------------------------------


def test_numbers_worked_out_by_hand() -> None:
    """4 x 8 pixels -> 4 x 4: nothing to resize, the middle columns, (v / 255 - mean) / std."""
    picture = np.zeros((4, 8, 3), np.uint8)
    picture[:, 2:6] = [51, 102, 255]
    picture[0, 2] = [255, 0, 204]
    found = preprocess(
        Image.fromarray(picture), (4, 4), Preprocessing(1.0, (0.2, 0.0, 0.5), (0.5, 2.0, 0.25))
    )
    expected = np.empty((3, 4, 4))
    expected[0], expected[1], expected[2] = 0.0, 0.2, 2.0
    expected[:, 0, 0] = [1.6, 0.0, 1.2]
    assert found.shape == (3, 4, 4)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def torchvision_transform(image: Image.Image, side: int) -> np.ndarray:
    """Resize(side / 0.875, bicubic), CenterCrop(side), ToTensor, Normalize, from their manual.

    Resize: the shorter side becomes the size, the longer one ``int(size * longer / shorter)``.
    CenterCrop: offsets are ``int(round((length - side) / 2.0))``.
    """
    size = int(side / 0.875)
    width, height = image.size
    shorter, longer = sorted(image.size)
    long = int(size * longer / shorter)
    new = (size, long) if width <= height else (long, size)
    resized = image.resize(new, Image.Resampling.BICUBIC)
    left, top = (int(round((length - side) / 2.0)) for length in new)  # noqa: RUF046
    array = np.asarray(resized)[top : top + side, left : left + side]
    scaled = array.astype(np.float32).transpose(2, 0, 1) / np.float32(255)
    mean = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
    std = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)
    return (scaled - mean) / std


@settings(deadline=None, max_examples=60)
@given(width=st.integers(3, 150), height=st.integers(3, 150), side=st.sampled_from((32, 49, 56)))
def test_square_inputs_are_torchvisions_bit_for_bit(width: int, height: int, side: int) -> None:
    image = random_picture(width, height)
    expected = torchvision_transform(image, side)
    np.testing.assert_array_equal(preprocess(image, (side, side), IMAGENET), expected, strict=True)


def test_the_originals_inputs_bit_for_bit(golden: Path) -> None:
    with np.load(golden / "vim_tiny_patch16_224.npz") as archive:
        expected = archive["input"]
    for name, array in zip(("china.png", "flower.png"), expected, strict=True):
        found = preprocess(read_image(golden / name), (224, 224), IMAGENET)
        np.testing.assert_array_equal(found, array, strict=True)


@pytest.mark.parametrize(
    ("size", "img_size", "resized"),
    [  # sizes of pictures are (width, height), those of inputs (height, width)
        ((640, 427), (224, 224), (383, 256)),
        ((427, 640), (224, 224), (256, 383)),
        ((256, 256), (224, 224), (256, 256)),
        ((100, 100), (56, 56), (64, 64)),
        ((600, 10), (56, 56), (3840, 64)),
        ((100, 100), (56, 112), (128, 128)),  # the crop is twice as wide as high
        ((200, 100), (56, 112), (128, 64)),
        ((100, 200), (56, 112), (128, 256)),
        ((300, 100), (56, 112), (192, 64)),
        ((300, 100), (112, 56), (384, 128)),
    ],
)
def test_the_picture_is_scaled_until_the_enlarged_crop_just_fits(
    size: tuple[int, int],
    img_size: tuple[int, int],
    resized: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = [size]
    resize = Image.Image.resize

    def spy(image: Image.Image, size: tuple[int, int], resample: int) -> Image.Image:
        assert resample == Image.Resampling.BICUBIC
        seen.append(size)
        return resize(image, size, resample)

    monkeypatch.setattr(Image.Image, "resize", spy)
    assert preprocess(Image.new("RGB", size), img_size, IMAGENET).shape == (3, *img_size)
    assert seen[-1] == resized


def test_a_picture_of_the_inputs_size_is_left_alone_without_a_margin() -> None:
    image = random_picture(5, 7)
    np.testing.assert_array_equal(pixels(image), np.asarray(image))


def test_the_crop_is_the_middle() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[2:6, 2:6] = 255
    found = preprocess(Image.fromarray(picture), (4, 4), dataclasses.replace(PLAIN, crop_pct=0.5))
    np.testing.assert_array_equal(found, np.ones((3, 4, 4), np.float32))


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    img_size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    crop_pct=st.floats(0.2, 1.0),
    mode=st.sampled_from(("RGB", "L", "RGBA", "I;16")),
)
def test_any_sizes_give_a_finite_input(
    size: tuple[int, int], img_size: tuple[int, int], crop_pct: float, mode: str
) -> None:
    found = preprocess(Image.new(mode, size, 7), img_size, Preprocessing(crop_pct=crop_pct))
    assert found.shape == (3, *img_size)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert np.isfinite(found).all()
    assert np.ptp(found, axis=(1, 2)).max() < 1e-6  # one colour stays one colour


@pytest.mark.parametrize("size", [(1, 64), (64, 1), (1, 1), (2, 100)])
def test_narrow_pictures_are_taken(size: tuple[int, int]) -> None:
    assert preprocess(Image.new("RGB", size), (16, 16), PLAIN).shape == (3, 16, 16)


@pytest.mark.parametrize("size", [(1, 65), (65, 1), (1, 100_000), (100_000, 1)])
def test_extreme_aspects_are_refused_before_memory_is_taken(size: tuple[int, int]) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=f"{size[0]}x{size[1]} pixels.*factor of 64.*crop"):
            preprocess(Image.new("RGB", size), (16, 16), PLAIN)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_long_picture_for_a_large_network_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(ImageError, match=r"64x1 pixels.*524288x8192; expected at most .*crop it"):
        preprocess(Image.new("RGB", (64, 1)), (8192, 8192), PLAIN)


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
def test_empty_pictures_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match=f"{size[0]}x{size[1]} pixels; expected at least 1x1"):
        preprocess(Image.new("RGB", size), (16, 16), IMAGENET)


# ---- Modes and orientations ----------------------------------------------------------------------


def in_mode(mode: str, value: Any) -> Image.Image:
    return Image.new(mode, (4, 4), value)


def palette(transparency: bytes | int | None = None) -> Image.Image:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    if transparency is not None:
        image.info["transparency"] = transparency
    return image


def wide(value: int, mode: str = "I;16") -> Image.Image:
    kind = ">u2" if mode == "I;16B" else "<u2"
    data = np.full((4, 4), value, kind).tobytes()
    return Image.frombytes(mode, (4, 4), data)


# (name, picture, its colour as the network sees it)
MODES: list[tuple[str, Image.Image, tuple[int, int, int]]] = [
    ("1 black", in_mode("1", 0), (0, 0, 0)),
    ("1 white", in_mode("1", 1), (255, 255, 255)),
    ("L", in_mode("L", 77), (77, 77, 77)),
    ("LA", in_mode("LA", (77, 0)), (77, 77, 77)),
    ("RGB", in_mode("RGB", (10, 20, 30)), (10, 20, 30)),
    ("RGBX", in_mode("RGBX", (10, 20, 30, 0)), (10, 20, 30)),
    ("RGBA drops alpha", in_mode("RGBA", (10, 20, 30, 0)), (10, 20, 30)),
    ("P", palette(), (10, 20, 30)),
    ("P with a transparent colour", palette(1), (10, 20, 30)),
    ("P with an alpha for each colour", palette(b"\x80\x00"), (10, 20, 30)),
    ("PA", palette().convert("PA"), (10, 20, 30)),
    ("CMYK", in_mode("CMYK", (255, 0, 0, 0)), (0, 255, 255)),
    ("YCbCr", in_mode("YCbCr", (128, 128, 128)), (128, 128, 128)),
    ("HSV", in_mode("HSV", (0, 255, 255)), (255, 0, 0)),
    ("I", in_mode("I", 77), (77, 77, 77)),
    ("I is clipped above", in_mode("I", 70_000), (255, 255, 255)),
    ("I is clipped below", in_mode("I", -5), (0, 0, 0)),
    ("F", in_mode("F", 77.0), (77, 77, 77)),
    ("F is clipped", in_mode("F", 1e9), (255, 255, 255)),
    ("I;16 keeps the upper byte", wide(0x80FF), (128, 128, 128)),
    ("I;16 black", wide(0x00FF), (0, 0, 0)),
    ("I;16 white", wide(0xFFFF), (255, 255, 255)),
    ("I;16B", wide(0x80FF, "I;16B"), (128, 128, 128)),
]


@pytest.mark.parametrize(("image", "colour"), [pytest.param(*row[1:], id=row[0]) for row in MODES])
def test_every_mode_becomes_rgb(image: Image.Image, colour: tuple[int, int, int]) -> None:
    before = image.tobytes()
    converted = to_rgb(image)
    assert converted.mode == "RGB"
    assert (np.asarray(converted) == colour).all()
    assert (pixels(image) == colour).all()
    assert image.tobytes() == before


def test_a_mode_without_a_way_to_rgb_is_refused() -> None:
    with pytest.raises(ImageError, match="mode La, cannot be converted to RGB"):
        preprocess(Image.new("La", (4, 4)), (16, 16), IMAGENET)


def turned(image: Image.Image, orientation: int, kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))
    return file.getvalue()


# How a viewer turns what is stored, by the EXIF standard: where its first row and column belong.
ORIENTATIONS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,  # top, left
    2: lambda a: a[:, ::-1],  # top, right
    3: lambda a: a[::-1, ::-1],  # bottom, right
    4: lambda a: a[::-1],  # bottom, left
    5: lambda a: a.transpose(1, 0, 2),  # left, top
    6: lambda a: a.transpose(1, 0, 2)[:, ::-1],  # right, top
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],  # right, bottom
    8: lambda a: a.transpose(1, 0, 2)[::-1],  # left, bottom
    9: lambda a: a,  # no such orientation
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_pictures_are_turned_upright(orientation: int, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "turned"
    path.write_bytes(turned(random_picture(24, 16), orientation, kind))
    with Image.open(path) as image:
        stored = np.asarray(image)
    expected = ORIENTATIONS[orientation](stored)
    np.testing.assert_array_equal(np.asarray(to_rgb(read_image(path))), expected)
    size = expected.shape[:2]
    found = preprocess(read_image(path), size, PLAIN)
    np.testing.assert_allclose(found.transpose(1, 2, 0) * 255, expected, atol=1e-3)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16", "1"])
def test_pictures_of_any_mode_are_turned_upright(mode: str) -> None:
    image = Image.new("L", (4, 2))
    image.paste(255, (0, 0, 4, 1))  # the upper row is white
    image = wide_picture(image) if mode == "I;16" else image.convert(mode)
    image.getexif()[0x0112] = 6
    upright = np.asarray(to_rgb(image))[..., 0]
    np.testing.assert_array_equal(upright > 127, np.tile([False, True], (4, 1)))


def wide_picture(image: Image.Image) -> Image.Image:
    return Image.frombytes("I;16", image.size, (np.asarray(image).astype("<u2") * 257).tobytes())


BAD_EXIF = [
    b"Exif\0\0",
    b"Exif\0\0garbage",
    b"Exif\0\0II*\0\xff\xff\xff\xff",
    b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12\0\x03",
    b"garbage",
]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("exif", BAD_EXIF)
def test_damaged_exif_data_do_not_keep_a_picture_from_being_read(
    exif: bytes, kind: str, tmp_path: Path
) -> None:
    image = random_picture(24, 16)
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    image.save(tmp_path / "picture", kind, exif=exif, **options)
    found = to_rgb(read_image(tmp_path / "picture"))
    if kind == "JPEG":
        assert found.size == image.size
    else:
        np.testing.assert_array_equal(np.asarray(found), np.asarray(image))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_that_was_only_opened_may_prove_damaged_later(kind: str) -> None:
    image = Image.open(io.BytesIO(cut(kind, 0.5)))
    with pytest.raises(ImageError, match=r"cannot be read as a picture: .*truncated"):
        preprocess(image, (16, 16), IMAGENET)


@pytest.mark.parametrize("error", [SyntaxError, RuntimeError, struct.error, KeyError, MemoryError])
def test_whatever_a_decoder_raises_of_an_open_picture_is_an_image_error(
    error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error("broken")

    (tmp_path / "cat.png").write_bytes(encoded("PNG"))
    with Image.open(tmp_path / "cat.png") as image:
        monkeypatch.setattr(type(image), "load_prepare", fail)
        with pytest.raises(ImageError, match=r"cat\.png: cannot be read as a picture: .*broken"):
            preprocess(image, (16, 16), IMAGENET)


def test_an_open_picture_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in READ:
        if kind == "ICO":  # opening it has decoded it
            continue
        image = Image.open(io.BytesIO(encoded(kind)))
        with monkeypatch.context() as patch:
            patch.setattr(Image, "MAX_IMAGE_PIXELS", 4095)
            with pytest.raises(ImageError, match="too large: it has 64x64 = 4096 pixels"):
                preprocess(image, (16, 16), IMAGENET)
        assert np.isfinite(preprocess(image, (16, 16), IMAGENET)).all()


def test_a_limit_of_ones_own_stands_in_for_pillow_s(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in READ:
        data = encoded(kind)
        with pytest.raises(ImageError, match="= 4096 pixels; expected at most 4095: scale") as e:
            read_image(io.BytesIO(data), most_pixels=4095)
        assert "PIL" not in str(e.value)
        with monkeypatch.context() as patch:
            # Some of pillow's decoders hold pictures to its own limit, too.
            patch.setattr(Image, "MAX_IMAGE_PIXELS", 4095 if kind in ("JPEG", "PNG") else None)
            assert read_image(io.BytesIO(data), most_pixels=4096).size == (64, 64)


def test_a_vast_tile_of_an_open_picture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.open(io.BytesIO(tiff(8, 8, b"\x80" * 4096, (322, 64), (323, 64))))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4095)
    with pytest.raises(ImageError, match="too large: its tiles have 64x64 = 4096 pixels"):
        preprocess(image, (16, 16), IMAGENET)


def test_a_picture_of_ones_own_has_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    image = Image.new("RGB", (21, 20))
    assert preprocess(image, (16, 16), IMAGENET).shape == (3, 16, 16)


def test_a_closed_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(encoded("PNG"))
    with Image.open(tmp_path / "cat.png") as image:
        pass
    with pytest.raises(ImageError, match=r"cat\.png: cannot be read as a picture: "):
        preprocess(image, (16, 16), IMAGENET)


# ---- What the network takes ----------------------------------------------------------------------


def test_a_uint8_array_is_a_picture() -> None:
    image = random_picture(30, 20)
    expected = preprocess(image, (16, 16), IMAGENET)
    array = np.array(image)
    for given_array in (array, np.asfortranarray(array), array[::-1][::-1], np.asarray(image)):
        found = to_input(given_array, (16, 16), IMAGENET)
        np.testing.assert_array_equal(found, expected, strict=True)
    np.testing.assert_array_equal(to_input(image, (16, 16), IMAGENET), expected, strict=True)


def test_a_view_with_strides_is_the_picture_it_shows() -> None:
    array = np.array(random_picture(30, 20))
    mirrored = Image.fromarray(array.copy()).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    expected = preprocess(mirrored, (16, 16), IMAGENET)
    np.testing.assert_array_equal(to_input(array[:, ::-1], (16, 16), IMAGENET), expected)


def test_a_normalised_array_passes_through_untouched() -> None:
    array = np.full((3, 16, 24), np.pi, np.float32)
    assert to_input(array, (16, 24), IMAGENET) is array


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.longdouble, ">f4"])
def test_a_normalised_array_of_another_precision_is_converted(dtype: Any) -> None:
    array = np.random.default_rng(0).standard_normal((3, 16, 24)).astype(dtype)
    found = to_input(array, (16, 24), IMAGENET)
    np.testing.assert_array_equal(found, array.astype(np.float32), strict=True)


def test_what_float32_cannot_hold_becomes_infinite_without_a_warning() -> None:
    assert np.isinf(to_input(np.full((3, 16, 24), 1e300), (16, 24), IMAGENET)).all()


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1)])
def test_a_grey_array_is_a_grey_picture(shape: tuple[int, ...]) -> None:
    grey = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    expected = preprocess(Image.fromarray(grey.reshape(20, 30)), (16, 16), IMAGENET)
    np.testing.assert_array_equal(to_input(grey, (16, 16), IMAGENET), expected, strict=True)


def test_an_arrays_alpha_is_dropped_as_a_pictures_is() -> None:
    array = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    expected = preprocess(Image.fromarray(array[..., :3].copy()), (16, 16), IMAGENET)
    np.testing.assert_array_equal(to_input(array, (16, 16), IMAGENET), expected, strict=True)


class Tensor:
    """What is no array, and can become one: a stand-in for those of other libraries."""

    def __init__(self, array: np.ndarray | None) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.array is None:
            raise TypeError("can't convert it: it is on another device")
        return self.array


def test_what_can_become_an_array_is_taken_for_it() -> None:
    for array in (np.array(random_picture(30, 20)), np.ones((3, 16, 16)), np.ones((9, 9), "u1")):
        expected = to_input(array, (16, 16), IMAGENET)
        found = to_input(Tensor(array), (16, 16), IMAGENET)
        np.testing.assert_array_equal(found, expected, strict=True)


def test_what_cannot_become_an_array_says_why() -> None:
    with pytest.raises(
        ImageError, match=r"a Tensor \(can't convert it: .* device\); expected a PIL"
    ):
        to_input(Tensor(None), (16, 16), IMAGENET)


def test_a_tensor_of_torch_is_taken() -> None:
    torch = pytest.importorskip("torch")
    array = np.array(random_picture(30, 20))
    expected = to_input(array, (16, 16), IMAGENET)
    np.testing.assert_array_equal(to_input(torch.tensor(array), (16, 16), IMAGENET), expected)
    with pytest.raises(ImageError, match=r"a Tensor \(.*detach"):
        to_input(torch.ones(3, 16, 16, requires_grad=True), (16, 16), IMAGENET)


def test_a_path_and_an_open_file_are_the_picture_in_them(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    image = random_picture(30, 20)
    image.save(path)
    expected = preprocess(image, (16, 16), IMAGENET)

    def inputs() -> Iterator[Any]:
        yield path
        yield str(path)
        yield io.BytesIO(path.read_bytes())
        with open(path, "rb") as file:
            file.seek(5)  # a picture is read from its file's beginning
            yield file
            assert not file.closed

    for given_picture in inputs():
        found = to_input(given_picture, (16, 16), IMAGENET)
        np.testing.assert_array_equal(found, expected, strict=True)


def test_a_stream_is_read_as_a_file_is() -> None:
    content = encoded("PNG")
    reading, writing = os.pipe()

    def write() -> None:
        with open(writing, "wb") as file:
            file.write(content)

    writer = threading.Thread(target=write)  # since Windows' pipes hold less than a picture
    writer.start()
    with open(reading, "rb") as file:
        np.testing.assert_array_equal(
            to_input(file, (16, 16), IMAGENET), to_input(io.BytesIO(content), (16, 16), IMAGENET)
        )
    writer.join()


def test_what_is_wrong_with_a_file_is_said_with_its_name(tmp_path: Path) -> None:
    bad, long, text = (tmp_path / name for name in ("bad.png", "long.png", "text.png"))
    bad.write_bytes(b"no picture")
    Image.new("RGB", (3000, 1)).save(long)
    text.write_text("no picture")
    with pytest.raises(ImageError, match=r"^missing\.png: .*No such file"):
        to_input("missing.png", (16, 16), IMAGENET)
    for path, words in ((bad, "not a picture in a format"), (long, "the picture is 3000x1 pixels")):
        message = f"^{re.escape(str(path))}: {words}"
        with pytest.raises(ImageError, match=message):
            to_input(path, (16, 16), IMAGENET)
        with open(path, "rb") as file, pytest.raises(ImageError, match=message):
            to_input(file, (16, 16), IMAGENET)
    with open(text) as file, pytest.raises(ImageError, match=r"is open as text; .* 'rb'"):
        to_input(file, (16, 16), IMAGENET)
    with pytest.raises(ImageError, match=r"^<BytesIO>: not a picture"):
        to_input(io.BytesIO(b"no picture"), (16, 16), IMAGENET)


WRONG_PICTURES: list[tuple[Any, str]] = [
    (np.zeros((16, 24, 3), np.float32), r"float32 with shape \(16, 24, 3\)"),
    (np.zeros((3, 24, 16), np.float32), r"\(3, 24, 16\)"),
    (np.zeros((1, 3, 16, 24), np.float32), r"\(1, 3, 16, 24\)"),
    (np.zeros((3, 16, 25), np.float32), r"\(3, 16, 25\)"),
    (np.zeros((3, 16, 25)), r"float64 with shape \(3, 16, 25\)"),
    (np.zeros((3, 16, 24), complex), "complex128"),
    (np.zeros((16, 24, 2), np.uint8), r"uint8 with shape \(16, 24, 2\)"),
    (np.zeros((3, 16, 24), np.uint8), r"\(3, 16, 24\)"),
    (np.zeros((0, 24, 3), np.uint8), r"\(0, 24, 3\)"),
    (np.zeros((0, 24), np.uint8), r"\(0, 24\)"),
    (np.zeros((16, 24, 3), np.int64), "int64"),
    (np.zeros((16, 24, 3), np.uint16), "uint16"),
    (np.zeros((16, 24), bool), "bool"),
    (np.zeros((), np.uint8), r"shape \(\)"),
    (np.uint8(7), r"shape \(\)"),
    (np.array(None), "object"),
    (None, "a NoneType"),
    (b"\xff\xd8", "a bytes"),
    ([[0]], "a list"),
    (7, "a int"),
]


@pytest.mark.parametrize(("picture", "found"), WRONG_PICTURES)
def test_anything_else_is_refused_saying_what_was_found_and_expected(
    picture: Any, found: str
) -> None:
    with pytest.raises(ImageError, match=rf"{found}.*; expected .*uint8.*float32 .*\(3, 16, 24\)"):
        to_input(picture, (16, 24), IMAGENET)


@pytest.mark.parametrize(
    ("picture", "hint"),
    [
        (np.zeros((3, 20, 30), np.uint8), "array.transpose(1, 2, 0)"),
        (np.zeros((1, 20, 30), np.uint8), "array.transpose(1, 2, 0)"),
        (np.zeros((20, 30, 3), np.int64), "array.astype(np.uint8)"),
        (b"\xff\xd8", "io.BytesIO(data)"),
    ],
)
def test_a_way_to_what_is_expected_is_told(picture: Any, hint: str) -> None:
    with pytest.raises(ImageError) as caught:
        to_input(picture, (16, 24), IMAGENET)
    assert hint in str(caught.value)


# ---- Other channels than red, green and blue -----------------------------------------------------

IN_GREY = Preprocessing.of_channels(1)
FOUR = Preprocessing.of_channels(4)


def test_grey_numbers_worked_out_by_hand() -> None:
    """A grey is 0.299 red, 0.587 green and 0.114 blue, rounded: pillow's "L"."""
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[0], picture[1], picture[2] = [255, 0, 0], [0, 255, 0], [0, 0, 255]
    found = preprocess(Image.fromarray(picture), (4, 4), Preprocessing(1.0, (0.2,), (0.5,)))
    assert (found.shape, found.dtype) == ((1, 4, 4), np.float32)
    assert found.flags.c_contiguous
    grey = np.array([76, 150, 29, 0]) / 255
    np.testing.assert_allclose(found[0, :, 0], (grey - 0.2) / 0.5, atol=1e-6)


@pytest.mark.parametrize("image", [pytest.param(row[1], id=row[0]) for row in MODES])
def test_every_mode_becomes_grey(image: Image.Image) -> None:
    expected = np.asarray(to_rgb(image).convert("L"))
    found = preprocess(image, (4, 4), Preprocessing(1.0, (0.0,), (1.0,)))
    np.testing.assert_array_equal(np.rint(found[0] * 255), expected)


def test_a_grey_picture_is_one_channel_of_its_rgb() -> None:
    """Bit for bit, since resizing and normalising do to one channel what they do to three."""
    grey = random_picture(50, 40).convert("L")
    same = Preprocessing(0.875, (0.3,) * 3, (0.2,) * 3)
    expected = preprocess(grey, (16, 24), same)[:1]
    found = preprocess(grey, (16, 24), Preprocessing(0.875, (0.3,), (0.2,)))
    np.testing.assert_array_equal(found, expected, strict=True)


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 3), (20, 30, 4)])
def test_a_uint8_array_is_a_picture_that_is_turned_grey(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    image = Image.fromarray(array[..., 0] if shape[2:] == (1,) else array)
    expected = preprocess(image, (16, 16), IN_GREY)
    found = to_input(array, (16, 16), IN_GREY)
    np.testing.assert_array_equal(found, expected, strict=True)


def test_a_file_is_turned_grey(tmp_path: Path) -> None:
    image = random_picture(30, 20)
    image.save(tmp_path / "cat.png")
    expected = preprocess(image, (16, 16), IN_GREY)
    np.testing.assert_array_equal(to_input(tmp_path / "cat.png", (16, 16), IN_GREY), expected)


@pytest.mark.parametrize("channels", [1, 2, 4, 64])
def test_a_normalised_array_of_any_channels_passes_through(channels: int) -> None:
    preprocessing = Preprocessing.of_channels(channels)
    array = np.full((channels, 16, 24), np.pi, np.float32)
    assert to_input(array, (16, 24), preprocessing) is array
    found = to_input(array.astype(np.float64), (16, 24), preprocessing)
    np.testing.assert_array_equal(found, array, strict=True)


@pytest.mark.parametrize("channels", [1, 2, 4, 64])
@pytest.mark.parametrize("shape", [(3, 16, 24), (16, 24), (1, 16, 25), (1, 1, 16, 24)])
def test_a_normalised_array_of_other_channels_is_refused(
    channels: int, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ImageError, match=rf"; expected .* array \({channels}, 16, 24\)"):
        to_input(np.zeros(shape, np.float32), (16, 24), Preprocessing.of_channels(channels))


@pytest.mark.parametrize("channels", [2, 4, 64])
def test_a_picture_for_a_network_of_other_channels_is_refused(
    channels: int, tmp_path: Path
) -> None:
    words = (
        f"a picture has 1 or 3 channels, and the network takes {channels}; expected an array of "
        rf"floats \({channels}, height, width\) that is normalised already$"
    )
    preprocessing = Preprocessing.of_channels(channels)
    image = random_picture(30, 20)
    image.save(tmp_path / "cat.png")
    for picture in (image, np.asarray(image), np.zeros((20, 30), np.uint8)):
        with pytest.raises(ImageError, match=f"^{words}"):
            to_input(picture, (16, 24), preprocessing)
    for picture in (tmp_path / "cat.png", io.BytesIO(encoded("PNG")), tmp_path / "missing.png"):
        with pytest.raises(ImageError, match=f"png: {words}|<BytesIO>: {words}"):
            to_input(picture, (16, 24), preprocessing)


@pytest.mark.parametrize("picture", [np.zeros((4, 20, 30), np.uint8), None, b"\xff\xd8", [[0]]])
def test_what_is_no_picture_of_other_channels_either_is_refused(picture: Any) -> None:
    with pytest.raises(ImageError) as caught:
        to_input(picture, (16, 24), FOUR)
    assert "array (4, 16, 24)" in str(caught.value)
    assert "PIL" not in str(caught.value)
    assert "transpose" not in str(caught.value)


def test_what_is_done_if_nothing_else_is_said() -> None:
    assert Preprocessing.of_channels(3) == IMAGENET
    assert dataclasses.astuple(IN_GREY) == (0.875, (0.449,), (0.226,))
    np.testing.assert_allclose(IN_GREY.mean, np.mean(IMAGENET_MEAN))
    np.testing.assert_allclose(IN_GREY.std, np.mean(IMAGENET_STD))
    assert dataclasses.astuple(FOUR) == (0.875, (0.0,) * 4, (1.0,) * 4)
    given = Preprocessing.of_channels(1, crop_pct=1.0, std=(0.5,))
    assert given == Preprocessing(1.0, (0.449,), (0.5,))


# ---- Files ---------------------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int, height: int, rows: bytes, depth: int = 8, colour_type: int = 0, chunks: bytes = b""
) -> bytes:
    """A PNG, grey if nothing is said, of these raw rows, whatever size it declares."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunks + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + data + chunk(b"IEND", b"")


def tiff(
    width: int,
    height: int,
    data: bytes,
    *tags: tuple[int, int],
    order: str = "<",
    big: bool = False,
) -> bytes:
    """A grey TIFF of these bytes, deflated, in one strip or tile, whatever size it declares."""
    entries = [(256, width), (257, height), (258, 8), (259, 8), (262, 1), (277, 1), *tags]
    is_tiled = any(tag == 322 for tag, _ in tags)
    count = len(entries) + (2 if is_tiled else 3)
    head = ("HHHQQ", 43, 8, 0, 16, count) if big else ("HIH", 42, 8, count)
    start = (b"II" if order == "<" else b"MM") + struct.pack(order + head[0], *head[1:])
    begin = len(start) + (20 * count + 8 if big else 12 * count + 4)
    packed = zlib.compress(data)
    entries += [(324, begin), (325, len(packed))] if is_tiled else [(273, begin), (278, height)]
    entries += [] if is_tiled else [(279, len(packed))]
    for tag, value in sorted(entries, key=lambda entry: entry[0]):
        start += struct.pack(order + ("HHQII" if big else "HHII"), tag, 4, 1, value, *([0] * big))
    return start + bytes(8 if big else 4) + packed


def gif(width: int, height: int, frame: tuple[int, int] = (1, 1)) -> bytes:
    """A GIF of one red pixel in a first frame and on a screen of these sizes."""
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\xff\0\0\0\0\0"
    return screen + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x44\x01\0;"


def webp(width: int, height: int) -> bytes:
    """An animation of a single small frame on a canvas of this size."""
    frame = bytes(6) + (7).to_bytes(3, "little") * 2 + (100).to_bytes(3, "little") + b"\0"
    frame += saved(Image.new("RGB", (8, 8)), "WEBP", lossless=True)[12:]
    canvas = struct.pack("<I", 2) + b"".join(
        (side - 1).to_bytes(3, "little") for side in (width, height)
    )
    parts = [(b"VP8X", canvas), (b"ANIM", bytes(6)), (b"ANMF", frame)]
    body = b"".join(kind + struct.pack("<I", len(data)) + data for kind, data in parts)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def icon(inner: bytes) -> bytes:
    """An icon that declares 8x8 pixels of this picture."""
    entry = struct.pack("<BBBBHHII", 8, 8, 0, 0, 1, 32, len(inner), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + inner


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@functools.cache
def encoded(kind: str) -> bytes:
    return saved(random_picture(64, 64), kind)


def test_a_grey_file_stays_grey_until_the_network_sees_it(tmp_path: Path) -> None:
    grey = random_picture(20, 10).convert("L")
    grey.save(tmp_path / "picture.png")
    found = read_image(tmp_path / "picture.png")
    assert (found.mode, found.size) == ("L", (20, 10))
    np.testing.assert_array_equal(pixels(found), np.repeat(np.asarray(grey)[..., None], 3, axis=2))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_lossless_formats_are_read(kind: str, tmp_path: Path) -> None:
    image = random_picture(20, 10).quantize(50).convert("RGB")
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    image.save(tmp_path / "picture", kind, **options)
    found = read_image(tmp_path / "picture")
    np.testing.assert_array_equal(np.asarray(to_rgb(found)), np.asarray(image))


def test_the_file_is_closed_and_may_go_once_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(encoded("PNG"))
    image = read_image(path)
    path.unlink()
    np.testing.assert_array_equal(np.asarray(image), np.asarray(random_picture(64, 64)))


def test_16_bit_grey_files_keep_their_upper_byte(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    path.write_bytes(png(3, 1, b"\0" + struct.pack(">HHH", 0x0042, 0x8042, 0xFF42), depth=16))
    assert pixels(read_image(path))[0, :, 0].tolist() == [0, 128, 255]


def test_the_first_frame_of_an_animation_is_read(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    first.save(tmp_path / "moving.gif", save_all=True, append_images=[second])
    assert (pixels(read_image(tmp_path / "moving.gif")) == (255, 0, 0)).all()


def cut(kind: str, share: float) -> bytes:
    data = encoded(kind)
    return data[: int(len(data) * share)]


def dotted(data: bytes, position: int, replacement: bytes) -> bytes:
    """The same bytes but for some in the middle."""
    return data[:position] + replacement + data[position + len(replacement) :]


def without_adobe_marker(data: bytes) -> bytes:
    start = data.index(b"Adobe") - 4
    (length,) = struct.unpack(">H", data[start + 2 : start + 4])
    return data[:start] + data[start + 2 + length :]


def plain(mode: str, colour: Any, size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.new(mode, size, colour)


def coloured(transparency: bytes | int | None = None) -> Image.Image:
    """A picture of a palette, RED, which may have an alpha."""
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 255, *RED])
    if transparency is not None:
        image.info["transparency"] = transparency
    return image


def animated(kind: str, frames: int = 3, **options: Any) -> bytes:
    """A red frame and then other ones."""
    others = [plain("RGB", (0, 255, index % 256)) for index in range(1, frames)]
    return saved(plain("RGB", RED), kind, save_all=True, append_images=others, **options)


def oriented(orientation: int, kind: str, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(MARKED, kind, exif=exif, **options)


def zipped(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


RED = (255, 0, 0)
GREY = (128, 128, 128)
MARKED = random_picture(12, 10)  # no two corners are the same
ZEROS = bytes(1 << 25)  # 33 KB when they are deflated
BOMB = zlib.compress(ZEROS)
Image.init()
READ = [kind for kind in FORMATS if kind in Image.SAVE]  # older versions of pillow have no AVIF
OTHERS = ["EPS", "TGA", "PCX", "ICNS", "SGI", "DDS", "PDF", "SPIDER", "XBM"]
WRONG_KIND = f"not a picture in a format that is read; expected one of {', '.join(FORMATS)}"
CMYK_RED = saved(plain("CMYK", (0, 255, 255, 0)), "JPEG", quality=95)
# Transform 2: what was stored as C, M, Y is to be taken for Y, Cb, Cr, of which this is cyan.
YCCK = saved(plain("CMYK", (255 - 179, 255 - 171, 255 - 1, 0)), "JPEG", quality=95)
YCCK = dotted(YCCK, YCCK.index(b"Adobe") + 11, b"\x02")
TIFF_16 = saved(Image.fromarray(np.full((8, 8), 0x80FF, np.uint16)), "TIFF")
SIDES = struct.pack(">II", 64, 64)

# What must come of it: an array, the pixels; a colour, of all of them, about; or the error's words.
Expected = np.ndarray | tuple[int, int, int] | str
# (name, the file's content or what makes the file, what must come of it)
PICTURES: list[tuple[str, bytes | Callable[[Path], object], Expected]] = [
    # Formats
    *[(kind, saved(plain("RGB", RED, (64, 64)), kind), RED) for kind in READ],
    ("JPEG, progressive", saved(plain("RGB", RED), "JPEG", progressive=True), RED),
    ("JPEG, grey", saved(plain("L", 128), "JPEG"), GREY),
    ("MPO", saved(plain("RGB", RED), "MPO", save_all=True, append_images=[plain("RGB", 0)]), RED),
    ("PBM", b"P4 8 8\n" + bytes(8), (255, 255, 255)),
    ("PPM of text", b"P3 1 1 255\n255 0 0\n", RED),
    ("TIFF of JPEG", saved(plain("RGB", RED), "TIFF", compression="jpeg"), RED),
    ("TIFF of fax", saved(plain("1", 1), "TIFF", compression="group4"), (255, 255, 255)),
    ("TIFF in tiles", tiff(8, 8, b"\x80" * 4096, (322, 64), (323, 64)), GREY),
    ("TIFF in a big-endian strip", tiff(8, 8, b"\x80" * 64, order=">"), GREY),
    ("BigTIFF", tiff(8, 8, b"\x80" * 64, big=True), GREY),
    *[(f"other: {kind}", saved(plain("1" if kind == "XBM" else "RGB", 1), kind), WRONG_KIND)
      for kind in OTHERS],
    ("SVG", b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>',
     WRONG_KIND),
    ("PostScript", b"%!PS-Adobe-3.0\n(touch executed) system\n", WRONG_KIND),
    ("a program", b"#!/bin/sh\ntouch executed\n", WRONG_KIND),
    ("text", b"not a picture\n" * 100, WRONG_KIND),
    ("web page", b"<!DOCTYPE html><html></html>", WRONG_KIND),
    ("zip of a picture", zipped("red.png", saved(plain("RGB", RED), "PNG")), WRONG_KIND),
    ("weights", zipped("vimnp.json", b"{}"), WRONG_KIND),
    ("array of NumPy", b"\x93NUMPY\x01\0v\0{'descr': '|u1', 'fortran_order': False}", WRONG_KIND),
    ("zeros", bytes(1000), WRONG_KIND),
    ("empty", b"", WRONG_KIND),
    ("a folder", Path.mkdir, "a folder; expected a regular file"),
    ("nothing", lambda path: None, "No such file"),
    # Modes; test_every_mode_becomes_rgb has those that no file has
    ("CMYK", saved(plain("CMYK", (0, 255, 255, 0)), "TIFF"), RED),
    ("CMYK of Adobe, inverted", CMYK_RED, RED),
    ("CMYK without Adobe's marker", without_adobe_marker(CMYK_RED), RED),
    ("CMYK as YCCK", YCCK, RED),
    ("palette", saved(coloured(), "PNG"), RED),
    ("palette of 1 bit", saved(coloured(), "PNG", bits=1), RED),
    ("palette with a transparent colour", saved(coloured(1), "PNG"), RED),
    ("palette with alpha", saved(coloured(b"\xff\x40"), "PNG"), RED),
    ("palette that is too short", png(1, 1, b"\0\x07", 8, 3, chunk(b"PLTE", bytes(3))), (0, 0, 0)),
    ("GIF with a transparent colour", saved(coloured(), "GIF", transparency=1), RED),
    ("RGB with a transparent colour", saved(plain("RGB", RED), "PNG", transparency=RED), RED),
    ("alpha", saved(plain("RGBA", (*RED, 0)), "PNG"), RED),
    ("alpha in WEBP", saved(plain("RGBA", (*RED, 0)), "WEBP", lossless=True, exact=True), RED),
    ("grey with alpha", saved(plain("LA", (128, 0)), "PNG"), GREY),
    ("1 bit", saved(plain("1", 1), "PNG"), (255, 255, 255)),
    ("2 bits", png(4, 1, b"\0\xaa", 2), (170, 170, 170)),
    ("16 bits", png(1, 1, b"\0\x80\xff", 16), GREY),
    ("16 bits with a transparent one",
     png(1, 1, b"\0\x80\xff", 16, chunks=chunk(b"tRNS", b"\x80\xff")), GREY),
    ("16 bits of RGB", png(1, 1, b"\0\xff\xff\0\xff\0\xff", 16, 2), RED),
    ("16 bits of grey and alpha", png(1, 1, b"\0\x80\xff\0\0", 16, 4), GREY),
    ("16 bits of RGBA", png(1, 1, b"\0\xff\xff\0\xff\0\xff\0\0", 16, 6), RED),
    ("16 bits in TIFF", TIFF_16, GREY),
    ("16 bits in JPEG2000", saved(wide(0x80FF).resize((64, 64)), "JPEG2000"), GREY),
    ("16 bits in PPM", b"P5 1 1 65535\n\x80\xff", GREY),
    ("10 bits in PPM", b"P5 1 1 1023\n\x02\x01", GREY),
    ("16 bits of RGB in PPM", b"P6 1 1 65535\n\xff\xff\0\xff\0\xff", RED),
    ("32 bits in TIFF", saved(plain("I", 128), "TIFF"), GREY),
    ("floats in TIFF", saved(plain("F", 128.0), "TIFF"), GREY),
    ("NaN in TIFF", saved(plain("F", np.nan), "TIFF"), (0, 0, 0)),
    ("L*a*b*", saved(plain("LAB", (0, 128, 128)), "TIFF"), (0, 0, 0)),
    # Animations: the first frame
    ("moving GIF", animated("GIF"), RED),
    ("moving WEBP", animated("WEBP", lossless=True), RED),
    ("moving PNG", animated("PNG"), RED),
    ("moving TIFF", animated("TIFF"), RED),
    ("1,000 frames", animated("GIF", 1000), RED),
    ("damaged second frame", animated("GIF", 2)[:-8] + bytes(100), RED),
    # Sizes
    *[(f"{width}x{height}", saved(plain("RGB", RED, (width, height)), "PNG"), RED)
      for width, height in ((1, 1), (1, 2), (1, 64), (64, 1), (640, 10))],
    *[(f"{width}x{height}", saved(plain("RGB", RED, (width, height)), "PNG"), "factor of 64")
      for width, height in ((1, 65), (65, 1), (10_000, 1), (1, 10_000))],
    ("0x0", png(0, 0, b""), ""),
    ("0x5", png(0, 5, bytes(5)), ""),
    ("0x5 in PPM", b"P6 0 5 255\n", ""),
    ("0x0 in GIF", gif(0, 0, (0, 0)), ""),
    # Orientations; JPEG's are in test_pictures_are_turned_upright
    *[(f"{kind}, orientation {number}", oriented(number, kind, **options), turn(np.asarray(MARKED)))
      for kind, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True}))
      for number, turn in ORIENTATIONS.items() if number < 9],
    # Damage; test_damaged_files_give_a_picture_or_an_image_error makes more
    *[(f"{share:.0%} of {kind}", cut(kind, share), "cannot be read" if is_known else "")
      for kind in READ for share in (0.02, 0.1, 0.5, 0.9)
      for is_known in [share >= 0.5 and kind not in ("ICO", "AVIF")]],
    ("JPEG, first bytes", cut("JPEG", 0.005), ""),
    ("PNG, first bytes", encoded("PNG")[:20], ""),
    ("PNG without pixels", png(8, 8, b""), ""),
    ("PNG of too few rows", png(8, 8, bytes(20)), ""),
    ("PNG, damaged", encoded("PNG").replace(b"IDAT", b"IDAT\xff\xff", 1), ""),
    ("PNG of no such depth", png(8, 8, bytes(100), 7), ""),
    ("JPEG without tables", encoded("JPEG")[:2] + encoded("JPEG")[600:], ""),
    ("control characters", b"P6 \x1b[2J\x1b]0;owned\x07 1 255\n" + bytes(99), "cannot be read"),
    # Bombs
    ("PNG of 60,000 x 60,000", png(60_000, 60_000, bytes(100)), "too large"),
    ("PNG of 2^31 x 2^31", png(2**31 - 1, 2**31 - 1, bytes(100)), "too large"),
    ("PNG of more rows than it says", png(1, 1, b"\0\x80" + ZEROS), GREY),
    ("PNG with a text", png(1, 1, b"\0\x80", chunks=chunk(b"zTXt", b"a\0\0" + BOMB)),
     "Decompressed"),
    ("PNG with a text of Unicode",
     png(1, 1, b"\0\x80", chunks=chunk(b"iTXt", b"a\0\1\0\0\0" + BOMB)), "Decompressed"),
    ("PNG with a profile", png(1, 1, b"\0\x80", chunks=chunk(b"iCCP", b"a\0\0" + BOMB)),
     "Decompressed"),
    ("PNG with very many texts",
     png(1, 1, b"\0\x80", chunks=chunk(b"zTXt", b"a\0\0" + zlib.compress(ZEROS[: 1 << 20])) * 80),
     "Too much memory"),
    ("GIF of 65,535 x 65,535", gif(65535, 65535), "too large"),
    ("GIF of a frame beyond it", gif(8, 8, (65535, 65535)), "too large"),
    ("BMP of 60,000 x 60,000", dotted(encoded("BMP"), 18, struct.pack("<II", 60_000, 60_000)),
     "too large"),
    ("PPM of 60,000 x 60,000", b"P6 60000 60000 255\n", "too large"),
    ("JPEG of 65,500 x 65,500",
     encoded("JPEG").replace(struct.pack(">HH", 64, 64), struct.pack(">HH", 65_500, 65_500)),
     "too large"),
    ("WEBP of 16,000 x 16,000", webp(16_000, 16_000), ""),
    ("JPEG2000 of 60,000 x 60,000",
     encoded("JPEG2000").replace(SIDES, struct.pack(">II", 60_000, 60_000)), "too large"),
    ("JPEG2000 of more than it says",
     encoded("JPEG2000").replace(SIDES + bytes(8), struct.pack(">II", 60_000, 60_000) + bytes(8)),
     "cannot be read"),
    ("icon of more than it says", icon(png(60_000, 60_000, bytes(100))), "too large"),
    ("TIFF of 60,000 x 60,000", tiff(60_000, 60_000, bytes(100)), "too large"),
    ("TIFF of more rows than it says", tiff(8, 8, b"\x80" * 64 + ZEROS), GREY),
    ("TIFF of a vast tile", tiff(8, 8, ZEROS, (322, 16_384), (323, 16_384)), "too large"),
    ("TIFF of two tile sizes", tiff(8, 8, ZEROS, (322, 16_384), (323, 16_384), (322, 16)),
     "too large"),
    ("TIFF of a vast big-endian tile", tiff(8, 8, ZEROS, (322, 16_384), (323, 16_384), order=">"),
     "too large"),
    ("BigTIFF of a vast tile", tiff(8, 8, ZEROS, (322, 16_384), (323, 16_384), big=True),
     "too large"),
]  # fmt: skip


def write_picture(path: Path, content: bytes | Callable[[Path], object]) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What would have been started, had starting programs not been forbidden."""
    started: list[object] = []

    def refuse(*arguments: object, **options: object) -> None:
        started.append(arguments)
        raise OSError("started a program")

    for module, name in ((subprocess, "Popen"), (os, "system"), (os, "posix_spawn"), (os, "fork")):
        monkeypatch.setattr(module, name, refuse)
    return started


@pytest.mark.parametrize(
    ("content", "expected"), [pytest.param(*row[1:], id=row[0]) for row in PICTURES]
)
def test_a_picture_is_right_or_refused_by_name_and_takes_no_memory(
    content: bytes | Callable[[Path], object],
    expected: Expected,
    tmp_path: Path,
    programs: list[object],
) -> None:
    path = tmp_path / "picture"
    write_picture(path, content)
    tracemalloc.start()  # of Python's memory: pillow's own is measured below
    try:
        if isinstance(expected, str):
            assert_refused(path, expected)
        else:
            assert_pixels(read_image(path), expected)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert not programs


def assert_refused(path: Path, words: str) -> None:
    with pytest.raises(ImageError) as caught:
        preprocess(read_image(path), (16, 16), PLAIN)
    message = str(caught.value)
    assert words in message
    assert message.isprintable()
    if "factor of 64" not in message and "converted to RGB" not in message:  # of any picture
        assert message.startswith(f"{path}: ")


def assert_pixels(image: Image.Image, expected: np.ndarray | tuple[int, int, int]) -> None:
    if isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(pixels(to_rgb(image)), expected)
    else:  # a lossy format keeps a colour only about
        found = preprocess(image, (16, 16), PLAIN).transpose(1, 2, 0) * 255
        np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=3)


MEASURING = """
import sys
from pathlib import Path
from vimnp.errors import ImageError
from vimnp.images.preprocessing import Preprocessing, preprocess, read_image

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])

for path in sorted(Path.cwd().iterdir()):
    before = peak()
    try:
        preprocess(read_image(path), (16, 16), Preprocessing())
    except ImageError:
        pass
    print(f"{peak() - before} {path.name}")
"""


def test_pillows_own_memory_stays_small(tmp_path: Path) -> None:
    """The peak of a process, KB, that reads what decoders load with and then every row above."""
    for index, kind in enumerate(READ):
        (tmp_path / f"  0 {index}").write_bytes(encoded(kind))
    for index, (name, content, _) in enumerate(PICTURES):
        write_picture(tmp_path / f"{index:3} {name.replace('/', '')}", content)
    process = run(MEASURING, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    rises = [line.partition(" ") for line in process.stdout.splitlines()]
    assert len(rises) >= len(READ) + len(PICTURES) - 1
    assert not [name for rise, _, name in rises if int(rise) > 20_000]
    assert sum(int(rise) for rise, _, _ in rises[len(READ) :]) < 60_000


def test_pillow_itself_would_have_called_ghostscript(
    tmp_path: Path, programs: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "has_ghostscript", lambda: True)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "gs")
    path = tmp_path / "picture.eps"
    path.write_bytes(saved(plain("RGB", RED), "EPS"))
    with pytest.raises(ImageError, match=r"picture\.eps: not a picture .* JPEG, PNG.*: convert it"):
        read_image(path)
    assert not programs
    with pytest.raises(OSError, match="started a program"), Image.open(path) as image:
        image.load()
    assert programs


def test_only_the_plugins_that_are_needed_are_loaded(tmp_path: Path) -> None:
    def loaded_by(kind: str) -> set[str]:
        (tmp_path / kind).write_bytes(encoded(kind))
        code = f"""
import sys
from vimnp.images.preprocessing import read_image
read_image({str(tmp_path / kind)!r})
print(*(name.split(".")[1] for name in sys.modules if name.endswith("ImagePlugin")))
"""
        return set(run(code, cwd=tmp_path).stdout.split())

    assert "WebPImagePlugin" not in loaded_by("PNG") | loaded_by("JPEG")
    assert "JpegImagePlugin" not in loaded_by("PNG")
    assert "PngImagePlugin" not in loaded_by("JPEG")
    assert "WebPImagePlugin" in loaded_by("WEBP")
    assert not {"EpsImagePlugin", "PsdImagePlugin"} & loaded_by("WEBP")


def test_a_format_that_this_pillow_lacks_is_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_image_of = tmp_path / "picture"
    read_image_of.write_bytes(encoded("TIFF"))
    read_image(read_image_of)  # loads the plugins
    monkeypatch.delitem(Image.OPEN, "AVIF", raising=False)
    monkeypatch.setitem(sys.modules, "PIL.AvifImagePlugin", None)
    assert read_image(read_image_of).format == "TIFF"
    read_image_of.write_bytes(b"\0\0\0\x1cftypavif" + bytes(100))
    with pytest.raises(ImageError, match="not a picture"):
        read_image(read_image_of)


def test_formats_are_those_of_the_installed_pillow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "ICO", "JPEG2000", "AVIF")
    assert image_file.FORMATS == vimnp.image.FORMATS
    assert [kind for kind in every if kind in image_file.FORMATS] == [*image_file.FORMATS]
    (tmp_path / "picture").write_bytes(b"no picture")
    monkeypatch.delitem(Image.OPEN, "ICO")
    monkeypatch.setitem(sys.modules, "PIL.IcoImagePlugin", None)
    monkeypatch.setattr(features, "check", lambda feature: feature not in ("webp", "jpg_2000"))
    assert image_file.FORMATS == ("JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "AVIF")
    with pytest.raises(ImageError, match="expected one of JPEG, PNG, GIF, BMP, PPM, TIFF, AVIF:"):
        read_image(tmp_path / "picture")
    with pytest.raises(
        AttributeError, match=r"'vimnp\.images\.image_file' has no attribute 'FORMAT'"
    ):
        image_file.FORMAT  # noqa: B018


def test_runs_of_a_bitmap_do_not_take_more_than_the_picture(tmp_path: Path) -> None:
    """Four bytes step over 255 rows of 1,000,000 pixels: 500 MB, in older versions of pillow."""
    runs = b"\0\2\0\xff\0\1"
    header = struct.pack("<IiiHHIIiiII", 40, 1_000_000, 2, 1, 8, 1, len(runs), 0, 0, 256, 256)
    bitmap = header + bytes(1024) + runs
    start = struct.pack("<IHHI", 14 + len(bitmap), 0, 0, 14 + 40 + 1024)
    (tmp_path / "picture").write_bytes(b"BM" + start + bitmap)
    tracemalloc.start()
    try:
        with contextlib.suppress(ImageError):
            read_image(tmp_path / "picture")
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("\x1b[2J\n"), "?[2J?"),
        (ValueError("a" * 10_000), "a" * 200),
        (MemoryError(), "MemoryError"),
    ],
)
def test_any_reason_is_told_in_one_printable_line(
    error: Exception, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    (tmp_path / "picture").write_bytes(b"")
    monkeypatch.setitem(Image.OPEN, "PNG", (fail, None))
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / "picture")
    assert str(caught.value) == f"{tmp_path / 'picture'}: cannot be read as a picture: {reason}"


@unix_only
@pytest.mark.parametrize("kind", ["a pipe", "a device", "a socket"])
def test_what_is_no_regular_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    with contextlib.ExitStack() as stack:
        if kind == "a pipe":
            os.mkfifo(path)  # without a writer, whom opening it would wait for
        elif kind == "a device":
            path.symlink_to("/dev/zero")
        else:
            stack.enter_context(socket.socket(socket.AF_UNIX)).bind(str(path))
        with pytest.raises(ImageError, match=r"picture: cannot be read as a picture: \w+"):
            read_image(path)


@unix_only
def test_a_pipe_is_named_as_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="cannot be read as a picture: a pipe; expected a regular"):
        read_image(tmp_path / "pipe")


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"missing\.png: .*No such file"):
        read_image(tmp_path / "missing.png")
    with pytest.raises(ImageError, match=f"{tmp_path.name}: .*a folder; expected a regular file"):
        read_image(tmp_path)


@pytest.mark.parametrize("limit", [3000, 4095, 1000])
def test_more_pixels_than_pillows_limit_are_refused(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow itself refuses only from twice the limit on."""
    path = tmp_path / "large.png"
    path.write_bytes(encoded("PNG"))  # 4,096 pixels
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(ImageError, match=r"large\.png: too large: .*4096 pixels"):
        read_image(path)


def test_as_many_pixels_as_pillows_limit_are_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "large.png").write_bytes(encoded("PNG"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4096)
    assert read_image(tmp_path / "large.png").size == (64, 64)


def test_a_limit_met_only_while_decoding_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An icon says how large its pictures are, and then they are larger."""
    (tmp_path / "icon.ico").write_bytes(icon(png(64, 64, bytes(65) * 64)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    with pytest.raises(ImageError, match=r"icon\.ico: too large: .*4096 pixels"):
        read_image(tmp_path / "icon.ico")


@pytest.mark.parametrize("kind", READ)
def test_a_large_picture_is_refused_without_a_warning(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large"
    path.write_bytes(encoded(kind))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4095)
    for action in ("always", "ignore"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter(action)
            with pytest.raises(ImageError, match="large: too large: it has 64x64 = 4096 pixels"):
                read_image(path)
        assert not caught


def test_an_icon_is_measured_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bitmap = saved(random_picture(64, 64), "BMP")[14:]
    bitmap = bitmap[:8] + struct.pack("<I", 128) + bitmap[12:]  # with its mask, twice as high
    for inner in (png(64, 64, bytes(65) * 64), bitmap):
        (tmp_path / "icon.ico").write_bytes(icon(inner))
        with monkeypatch.context() as patch:
            patch.setattr(Image, "MAX_IMAGE_PIXELS", 4095)
            patch.setattr(Image.Image, "load", pytest.fail)
            with pytest.raises(ImageError, match=r"icon\.ico: too large: it has 64x"):
                read_image(tmp_path / "icon.ico")


def test_no_limit_means_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    for kind in READ:
        (tmp_path / "picture").write_bytes(encoded(kind))
        assert read_image(tmp_path / "picture").size == (64, 64)


@pytest.mark.parametrize("content", [encoded("PNG"), b"no picture"], ids=["sound", "none"])
def test_the_filters_of_warnings_are_left_alone(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are the process's: another thread would lose its own for good."""
    path = tmp_path / "picture"
    path.write_bytes(content)
    with monkeypatch.context() as patch:
        for name in ("catch_warnings", "simplefilter", "filterwarnings", "resetwarnings"):
            patch.setattr(warnings, name, pytest.fail)
        with contextlib.suppress(ImageError):
            read_image(path)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), kind=st.sampled_from(READ))
def test_damaged_files_give_a_picture_or_an_image_error(
    data: st.DataObject, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(encoded(kind))
    for _ in range(data.draw(st.integers(1, 6))):
        position = data.draw(st.integers(0, 100) | st.integers(0, len(content) - 1))
        content[min(position, len(content) - 1)] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = []
        with contextlib.suppress(ImageError):
            found.append(preprocess(read_image(path), (16, 16), IMAGENET))
        image = None
        with contextlib.suppress(Exception):  # what pillow raises here, it raises to the caller
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        if image is not None:
            with contextlib.suppress(ImageError):
                found.append(preprocess(image, (16, 16), IMAGENET))
    assert np.isfinite(found).all()
    # Of damage pillow may warn: whether that is shown is for the application's filters to say.
    assert not [w for w in caught if issubclass(w.category, Image.DecompressionBombWarning)]


# ---- Settings ------------------------------------------------------------------------------------


def test_the_defaults_are_imagenets() -> None:
    assert dataclasses.astuple(IMAGENET) == (0.875, IMAGENET_MEAN, IMAGENET_STD)
    assert IMAGENET_MEAN == (0.485, 0.456, 0.406)
    assert IMAGENET_STD == (0.229, 0.224, 0.225)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("crop_pct", 0.1),
        ("crop_pct", 1.0),
        ("crop_pct", 1),
        ("mean", (0, 0, 0)),
        ("mean", (-1.0, 0.5, 255)),
        ("std", (1, 1, 1)),
        ("std", (1e-6, 0.5, 255.0)),
    ],
)
def test_settings_that_are_taken(field: str, value: Any) -> None:
    preprocessing = dataclasses.replace(IMAGENET, **{field: value})
    assert getattr(preprocessing, field) == value
    assert np.isfinite(preprocess(random_picture(9, 9), (8, 8), preprocessing)).all()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("crop_pct", 0.0),
        ("crop_pct", 0.09),
        ("crop_pct", 1.1),
        ("crop_pct", -0.875),
        ("crop_pct", float("nan")),
        ("crop_pct", True),
        ("crop_pct", "0.875"),
        ("crop_pct", None),
        ("mean", (0.5, 0.5)),
        ("mean", (0.5, 0.5, 0.5, 0.5)),
        ("mean", ()),
        ("mean", (0.5,) * 65),
        ("mean", [0.5, 0.5, 0.5]),
        ("mean", 0.5),
        ("mean", None),
        ("mean", (0.5, 0.5, "0.5")),
        ("mean", (0.5, 0.5, True)),
        ("mean", (0.5, 0.5, float("nan"))),
        ("mean", (0.5, 0.5, float("inf"))),
        ("mean", (0.5, 0.5, 1e7)),
        ("std", (0.5, 0.5, 0.0)),
        ("std", (0.5, 0.5, 0)),
        ("std", (0.5, 0.5, -0.5)),
        ("std", (0.5, 0.5, 1e-300)),
        ("std", (0.5, 0.5, float("nan"))),
        ("std", (0.5, 0.5)),
        ("std", (0.5,)),
        ("std", ()),
        ("std", (0.5,) * 65),
    ],
)
def test_a_wrong_setting_is_named(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{field} is .*; expected"):
        dataclasses.replace(IMAGENET, **{field: value})
