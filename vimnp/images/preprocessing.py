"""Pictures -> normalised arrays: the original's evaluation transform.

Bit for bit what torchvision's ``Resize(size / 0.875, bicubic)``, ``CenterCrop(size)``,
``ToTensor()`` and ``Normalize(mean, std)`` make of a PIL image (``build_transform`` in
``vim/datasets.py`` of hustvl/Vim). A network of one channel sees pictures in grey; what has other
numbers of channels than 1 and 3 is no picture that a file holds, and comes as an array.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias, TypeGuard

import numpy as np

from vimnp.errors import ConfigError, ImageError, excerpt
from vimnp.images import image_file
from vimnp.images.image_file import PictureFile, decode, is_picture_file, name_of, naming
from vimnp.images.image_file import read_image as read_image
from vimnp.images.sizes import MOST_CHANNELS

if TYPE_CHECKING:  # pillow loads when the first picture does, not with the package
    from PIL import Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Grey and RGB. In grey, red, green and blue have a part in each number.
_OF_PICTURES: dict[int, tuple[tuple[float, ...], tuple[float, ...]]] = {
    1: ((0.449,), (0.226,)),  # the average of ImageNet's three
    3: (IMAGENET_MEAN, IMAGENET_STD),
}

FORMATS: tuple[str, ...]
"""See :mod:`vimnp.images.image_file`: pillow loads when they are asked for."""

# Four times what a square one may be resized to; a longer one is cropped as much. 0.8 GB.
_MOST_RESIZED_PIXELS = 1 << 28

_ORIENTATION, _UPRIGHT = 0x0112, 1  # a tag of EXIF data, and its usual value


def __getattr__(name: str) -> object:
    if name != "FORMATS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return image_file.FORMATS


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the network's input.

    Parameters
    ----------
    crop_pct : float
        Share of the resized picture's side that the centre crop keeps, 0.1 to 1.
    mean, std : tuple of float
        One for each of the network's channels, on the scale 0 to 1: of red, green and blue, or of
        grey. Those of another number of channels are not applied, since pictures have none such:
        the network takes arrays that are normalised already.

    Raises
    ------
    ConfigError
        If a value is out of range, or there are not as many means as deviations.
    """

    crop_pct: float = 0.875
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    @classmethod
    def of_channels(cls, channels: int, **given: Any) -> Self:
        """Give what a network of so many channels does if nothing else is said.

        It normalises by ImageNet's numbers, in grey by their average, and by none where it takes no
        pictures.

        Parameters
        ----------
        channels : int
            Of the network's input: 1 of grey, 3 of RGB.
        **given : optional
            By name, the values of the class that are said.

        Raises
        ------
        ConfigError
            As for the class.
        """
        mean, std = _OF_PICTURES.get(channels) or ((0.0,) * channels, (1.0,) * channels)
        return cls(**{"mean": mean, "std": std, **given})

    def __post_init__(self) -> None:
        # The lower bound keeps a damaged file from asking for a picture that fills the memory.
        if not (_is_number(self.crop_pct) and 0.1 <= self.crop_pct <= 1.0):
            raise ConfigError(f"crop_pct is {self.crop_pct!r}; expected a number from 0.1 to 1")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if not (
                isinstance(values, tuple)
                and 1 <= len(values) <= MOST_CHANNELS
                and all(_is_number(value) and abs(value) < 1e6 for value in values)
                and (name == "mean" or min(values) >= 1e-6)
            ):
                raise ConfigError(
                    f"{name} is {values!r}; expected a number below 1e6 for each channel, of 1 to "
                    f"{MOST_CHANNELS}, std from 1e-6 up"
                )
        if len(self.mean) != len(self.std):
            name, other = ("std", "mean") if self.takes_pictures else ("mean", "std")
            raise ConfigError(
                f"{name} is {getattr(self, name)!r}; expected as many numbers as {other} has, "
                f"{len(getattr(self, other))}"
            )

    @property
    def channels(self) -> int:
        """Channels of the network's input."""
        return len(self.mean)

    @property
    def takes_pictures(self) -> bool:
        """Whether a picture has as many channels, and not only an array can have them."""
        return self.channels in _OF_PICTURES

    def expect_pictures(self) -> None:
        """Raise ImageError if a picture cannot become the input."""
        if not self.takes_pictures:
            raise ImageError(
                f"a picture has 1 or 3 channels, and the network takes {self.channels}; expected "
                f"an array of floats ({self.channels}, height, width) that is normalised already"
            )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def to_rgb(image: Image.Image) -> Image.Image:
    """Turn a picture upright by its EXIF orientation and convert any mode to RGB.

    Alpha is dropped, as the original's loader does. 16-bit greys keep their upper eight bits
    (pillow's own conversion would clip them); modes ``I`` and ``F`` declare no range and are
    clipped to 0..255. Where the EXIF data are damaged, the picture stays as it is stored.

    Raises
    ------
    ImageError
        If pillow knows no way from the picture's mode to RGB, or, where the picture is open and not
        decoded yet, what :func:`read_image` raises for its file.
    """
    from PIL import Image

    # pillow opens 16-bit grey PPM files in mode I, and its older versions PNG files, too.
    is_16_bit = image.mode.startswith("I;16") or (
        image.mode == "I" and image.format in ("PNG", "PPM")
    )
    decode(image)
    try:
        with contextlib.suppress(Exception):  # the parser of EXIF data raises almost anything
            if image.getexif().get(_ORIENTATION, _UPRIGHT) != _UPRIGHT:
                from PIL import ImageOps

                image = ImageOps.exif_transpose(image)
        if is_16_bit:
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")  # pillow asks for this step where the palette has alpha
        return image if image.mode == "RGB" else image.convert("RGB")
    except Exception as error:  # as decoders, converters raise almost anything
        raise ImageError(
            f"the picture, of mode {image.mode}, cannot be converted to RGB: {error}"
        ) from None


def preprocess(
    image: Image.Image, img_size: tuple[int, int], preprocessing: Preprocessing
) -> np.ndarray:
    """Resize, centre-crop and normalise a picture.

    Parameters
    ----------
    image : PIL.Image.Image
        Any size and mode.
    img_size : (height, width)
        Size of the result in pixels.
    preprocessing : Preprocessing
        Crop, mean and standard deviation.

    Returns
    -------
    ndarray of float32, shape (channels, height, width)

    Raises
    ------
    ImageError
        If the channels are those of no picture, its sides are out of proportion, or what
        :func:`to_rgb` raises.
    """
    preprocessing.expect_pictures()
    image = to_rgb(image) if preprocessing.channels == 3 else to_rgb(image).convert("L")
    image = _resize(image, img_size, preprocessing.crop_pct)
    pixels = np.atleast_3d(np.asarray(_centre_crop(image, img_size))).transpose(2, 0, 1)
    # The order and the dtype of these three steps are torchvision's: that makes the bits agree.
    array = pixels.astype(np.float32, order="C")
    array /= np.float32(255)
    array -= np.array(preprocessing.mean, np.float32)[:, None, None]
    array /= np.array(preprocessing.std, np.float32)[:, None, None]
    return array


class SupportsArray(Protocol):
    """What NumPy makes an array of, as of a tensor of another library."""

    def __array__(self) -> np.ndarray: ...


Picture: TypeAlias = "Image.Image | np.ndarray | SupportsArray | PictureFile"
"""A picture in any form that a network takes; see :func:`to_input`."""


def to_input(
    picture: Picture, img_size: tuple[int, int], preprocessing: Preprocessing
) -> np.ndarray:
    """One picture in any form that the network takes -> its input.

    Parameters
    ----------
    picture : PIL.Image.Image, ndarray, path-like, or binary file
        A picture of any size and mode, or the file that one is in; an array of uint8, which is
        treated as a picture: (H, W, 3), RGB, (H, W, 4), RGB with an alpha, which is dropped,
        (H, W) or (H, W, 1), grey; or an array of floats (channels, height, width) that is
        normalised already. What NumPy can make one of these arrays of is taken for it. For another
        number of channels than 1 or 3, only such an array of floats can be taken.
    img_size : (height, width)
    preprocessing : Preprocessing
        Has as many means as the network has channels.

    Returns
    -------
    ndarray of float32, shape (channels, height, width)

    Raises
    ------
    ImageError
        If it is none of these, or what :func:`read_image` and :func:`preprocess` raise.
    """
    channels = preprocessing.channels
    if _is_pil(picture):
        return preprocess(picture, img_size, preprocessing)
    if is_picture_file(picture):
        with naming(name_of(picture)):
            preprocessing.expect_pictures()
        image = read_image(picture)
        with naming(name_of(picture)):
            return preprocess(image, img_size, preprocessing)
    if not _is_array(picture):
        raise _no_picture(_described(picture), (channels, *img_size), _hint(picture))
    try:
        array = np.asarray(picture)
    except Exception as error:  # each library has exceptions of its own
        reason = f"{_described(picture)} ({excerpt(error, 200)})"
        raise _no_picture(reason, (channels, *img_size)) from None
    if array.dtype.kind == "f" and array.shape == (channels, *img_size):
        with np.errstate(over="ignore"):  # infinite values go through, as NaN does
            return array.astype(np.float32, copy=False)
    if array.dtype == np.uint8 and _is_picture_shaped(array):
        from PIL import Image

        pixels = array[..., 0] if array.shape[2:] == (1,) else array
        return preprocess(Image.fromarray(pixels), img_size, preprocessing)
    found = f"an array of {array.dtype} with shape {array.shape}"
    hint = _hint_of_array(array) if preprocessing.takes_pictures else ""
    raise _no_picture(found, (channels, *img_size), hint)


def is_batch(pictures: Picture | Iterable[Picture]) -> TypeGuard[Iterable[Picture]]:
    """Whether it is several pictures in an order, not a single one.

    Parameters
    ----------
    pictures : object
        Several are: an array of four dimensions, a list, and whatever else can be gone through, but
        for sets and mappings.
    """
    if _is_pil(pictures) or is_picture_file(pictures):
        return False
    if _is_array(pictures):
        return getattr(pictures, "ndim", None) == 4
    unordered = set | frozenset | Mapping
    return isinstance(pictures, Iterable) and not isinstance(pictures, unordered | bytes)


def _is_pil(picture: object) -> TypeGuard[Image.Image]:
    return hasattr(picture, "getexif")  # without loading pillow to ask


def _is_array(picture: object) -> TypeGuard[np.ndarray | SupportsArray]:
    return hasattr(picture, "__array__")


def _is_picture_shaped(array: np.ndarray) -> bool:
    """(H, W), or (H, W, channels) of a picture that is not empty."""
    is_shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    return is_shaped and array.size > 0


def _described(picture: object) -> str:
    return f"a {type(picture).__name__}"


def _hint(picture: object) -> str:
    return ": io.BytesIO(data) makes a file of it" if isinstance(picture, bytes) else ""


def _hint_of_array(array: np.ndarray) -> str:
    """How to make a picture of an array that nearly is one."""
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[0] in (1, 3, 4):
        return ": array.transpose(1, 2, 0) has the channels last"
    if array.dtype.kind in "iu" and _is_picture_shaped(array):
        return ": if its values are from 0 to 255, array.astype(np.uint8) is such an array"
    return ""


def _no_picture(found: str, shape: tuple[int, int, int], hint: str = "") -> ImageError:
    normalised = f"a normalised float64, float16 or float32 array {shape}"
    if shape[0] not in _OF_PICTURES:
        return ImageError(f"the picture is {found}; expected {normalised}{hint}")
    return ImageError(
        f"the picture is {found}; expected a PIL image, a uint8 array (H, W, 3), (H, W, 4), "
        f"(H, W, 1) or (H, W), {normalised}, or a path or binary file{hint}"
    )


def _resize(image: Image.Image, img_size: tuple[int, int], crop_pct: float) -> Image.Image:
    """Scale so that the crop, enlarged by 1 / crop_pct, just fits: the shorter side decides."""
    from PIL import Image

    width, height = image.size
    if min(image.size) < 1:
        raise ImageError(f"the picture is {width}x{height} pixels; expected at least 1x1")
    target_height, target_width = (int(side / crop_pct) for side in img_size)
    if width * target_height >= height * target_width:
        size = (max(int(target_height * width / height), target_width), target_height)
    else:
        size = (target_width, max(int(target_width * height / width), target_height))
    if max(size) > 64 * max(target_width, target_height):
        raise ImageError(
            f"the picture is {width}x{height} pixels; expected sides that differ by less than "
            "a factor of 64: crop it first"
        )
    if size[0] * size[1] > _MOST_RESIZED_PIXELS:
        raise ImageError(
            f"the picture is {width}x{height} pixels, and would be resized to {size[0]}x{size[1]}; "
            f"expected at most {_MOST_RESIZED_PIXELS} pixels: crop it first"
        )
    return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)


def _centre_crop(image: Image.Image, img_size: tuple[int, int]) -> Image.Image:
    height, width = img_size
    left = round((image.width - width) / 2.0)
    top = round((image.height - height) / 2.0)
    return image.crop((left, top, left + width, top + height))
