"""A picture's file, decoded whole or refused, whatever it holds.

pillow's decoders raise almost anything for a damaged file, and of a picture between once and twice
its limit of pixels pillow only warns: here both are an :class:`vimnp.ImageError`. The filters of
warnings are left alone. They belong to the whole process, and to change them for a while is not
safe where there are threads.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import struct
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeAlias, TypeGuard, cast

from vimnp.errors import ImageError, excerpt
from vimnp.storage.files import open_regular

if TYPE_CHECKING:  # pillow loads when the first picture does, not with the package
    from PIL import Image

# What people keep pictures in and pillow decodes by itself, not all that it knows: an EPS file is a
# program, for which pillow calls Ghostscript, and any decoder more is one more that a hostile file
# may choose. They are tried in this order, and a plugin loads when it is tried.
_PLUGINS = {
    "JPEG": "JpegImagePlugin",
    "PNG": "PngImagePlugin",
    "GIF": "GifImagePlugin",
    "BMP": "BmpImagePlugin",
    "PPM": "PpmImagePlugin",
    "WEBP": "WebPImagePlugin",
    "TIFF": "TiffImagePlugin",
    "ICO": "IcoImagePlugin",
    "JPEG2000": "Jpeg2KImagePlugin",
    "AVIF": "AvifImagePlugin",
}
# How a JPEG begins: for any other file its plugin need not load, which takes longest of all.
_JPEG_BEGINNING = b"\xff\xd8\xff"
# Libraries that pillow may have been built without.
_NEEDED = {"JPEG": "jpg", "PNG": "zlib", "WEBP": "webp", "JPEG2000": "jpg_2000", "AVIF": "avif"}

FORMATS: tuple[str, ...]
"""Names that pillow has for the formats which :func:`read_image` reads: those of the installed
pillow, which loads when they are asked for."""


def __getattr__(name: str) -> object:
    if name != "FORMATS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return tuple(name for name, _, _ in _plugins())


class BinaryFile(Protocol):
    """What is open for reading bytes."""

    def read(self, size: int = ..., /) -> bytes: ...


PictureFile: TypeAlias = "str | os.PathLike[str] | BinaryFile"
"""A path, or an open file that is read from its beginning."""


def is_picture_file(picture: object) -> TypeGuard[PictureFile]:
    """Whether it is a path or an open file, whatever is in it."""
    return isinstance(picture, str | os.PathLike) or hasattr(picture, "read")


def name_of(file: PictureFile) -> str:
    """What messages call a file."""
    if isinstance(file, str | os.PathLike):
        return os.fspath(file)
    name = getattr(file, "name", None)  # which may be a number
    return name if isinstance(name, str) else f"<{type(file).__name__}>"


@contextlib.contextmanager
def naming(picture: str) -> Iterator[None]:
    """An ImageError that is raised herein begins with the picture's name."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{picture}: {error}") from None


def read_image(file: PictureFile, *, most_pixels: int | None = None) -> Image.Image:
    """Read a picture file and decode it whole.

    Parameters
    ----------
    file : path-like, or binary file
        A regular file, or what is open already, in one of :data:`FORMATS`. A picture of any other
        kind can be opened with pillow and given to the network as it is.
    most_pixels : int, optional
        A limit in the place of pillow's, which is the whole process'. pillow's stands all the same
        where a format's own decoder looks at it, as in GIF files and icons.

    Returns
    -------
    PIL.Image.Image
        The decoded first frame, in the file's own mode.

    Raises
    ------
    ImageError
        If the file is missing or not regular, is no picture in one of these formats, is cut short,
        or declares more pixels than `most_pixels`, or than ``PIL.Image.MAX_IMAGE_PIXELS``,
        pillow's limit against decompression bombs.

    Warns
    -----
    UserWarning
        Of damage that does not keep pillow from decoding. Where the application has warnings
        raised as errors, most of these are an ImageError as well.
    """
    with _refused_as_an_image_error(f"{name_of(file)}: "):
        if not isinstance(file, str | os.PathLike):
            return _read(_seekable(file), most_pixels)
        with open(open_regular(file), "rb") as opened:
            return _read(opened, most_pixels)


def _seekable(file: BinaryFile) -> IO[bytes]:
    """The file itself, or what is left of a stream, which can be looked at only once."""
    if not isinstance(file.read(0), bytes):
        raise ValueError("it is open as text; expected a file that is open as binary, with 'rb'")
    seekable = getattr(file, "seekable", None)
    if seekable is not None and seekable():
        return cast("IO[bytes]", file)
    return io.BytesIO(file.read())


def _read(file: IO[bytes], most_pixels: int | None) -> Image.Image:
    image = _open(file, most_pixels)
    _decode(image, most_pixels)
    with contextlib.suppress(Exception):  # damaged EXIF data; TIFF has them in the file
        image.getexif()
    return image


def decode(image: Image.Image) -> None:
    """Decode a picture that somebody else has opened, as :func:`read_image` would.

    Parameters
    ----------
    image : PIL.Image.Image
        It stays as it is if it has been decoded.

    Raises
    ------
    ImageError
        If it is damaged, closed, or declares more pixels than pillow's limit.
    """
    name = getattr(image, "filename", "")
    with _refused_as_an_image_error(f"{os.fsdecode(name)}: " if name else ""):
        _decode(image, None)


@contextlib.contextmanager
def _refused_as_an_image_error(name: str) -> Iterator[None]:
    """Whatever pillow raises becomes an ImageError that begins with this name."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except UnidentifiedImageError:
        raise ImageError(
            f"{name}not a picture in a format that is read; expected one of "
            f"{', '.join(name for name, _, _ in _plugins())}: convert it"
        ) from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ImageError(f"{name}too large: {error}") from None
    except Exception as error:  # damaged files make pillow's decoders raise almost anything
        reason = str(getattr(error, "strerror", None) or error) or type(error).__name__
        raise ImageError(f"{name}cannot be read as a picture: {excerpt(reason, 200)}") from None


def _open(file: IO[bytes], most_pixels: int | None) -> Image.Image:
    """Open, without decoding, a picture in one of the formats that are read.

    PIL.Image.open would do so as well, and warn of large pictures.
    """
    from PIL import UnidentifiedImageError

    file.seek(0)
    beginning = file.read(16)
    for name, factory, accepts in _plugins(beginning):
        # PIL.Image.open, too, goes on to the next format after these exceptions.
        with contextlib.suppress(SyntaxError, IndexError, TypeError, struct.error):
            if accepts is None or accepts(beginning) is True:  # it may be a reason why not
                if name == "ICO":
                    _expect_inner_picture_within_limit(file, most_pixels)
                file.seek(0)
                return factory(file, "")
    raise UnidentifiedImageError


def _plugins(
    beginning: bytes = _JPEG_BEGINNING,
) -> Iterator[tuple[str, Callable[..., Image.Image], Callable[[bytes], Any] | None]]:
    """Name, opener and test of the first bytes of each format that this pillow has.

    JPEG is left out for a file that begins otherwise.
    """
    from PIL import Image, features

    for name, plugin in _PLUGINS.items():
        if name == "JPEG" and not beginning.startswith(_JPEG_BEGINNING):
            continue
        if name in _NEEDED and not features.check(_NEEDED[name]):
            continue
        with contextlib.suppress(ImportError):
            importlib.import_module(f"PIL.{plugin}")
        if name not in Image.OPEN:
            continue
        factory, accepts = Image.OPEN[name]
        if name == "JPEG":
            from vimnp.images.jpeg import JpegFile

            factory = JpegFile
        yield name, factory, accepts


def _decode(image: Image.Image, most_pixels: int | None) -> None:
    """Decode a picture that is open, unless it, or what is in it, is too large."""
    from PIL import ImageFile

    if isinstance(image, ImageFile.ImageFile):  # and not made in memory
        _expect_within_limit(image.size, most_pixels)
        if image.tile:  # there is something to decode
            if image.fp is None:
                raise ValueError("its file is closed")
            if image.format == "TIFF":
                from vimnp.images.tiff import largest_tile

                tile = largest_tile(image.fp, image.tag_v2.offset)  # type: ignore[attr-defined]
                _expect_within_limit(tile, most_pixels, "its tiles have")
    image.load()


def _expect_inner_picture_within_limit(file: IO[bytes], most_pixels: int | None) -> None:
    """Look at the picture in an icon, which pillow decodes as soon as it opens the icon."""
    from PIL import BmpImagePlugin, IcoImagePlugin, PngImagePlugin

    file.seek(0)
    start = IcoImagePlugin.IcoFile(file).entry[0].offset
    file.seek(start)
    is_png = file.read(8) == b"\x89PNG\r\n\x1a\n"
    file.seek(start)
    kind = PngImagePlugin.PngImageFile if is_png else BmpImagePlugin.DibImageFile
    _expect_within_limit(kind(file).size, most_pixels)


def _expect_within_limit(
    size: tuple[int, int], most_pixels: int | None, subject: str = "it has"
) -> None:
    """Hold a size against a limit that was given, or the one that pillow has for pictures."""
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS if most_pixels is None else most_pixels
    width, height = size
    if limit is not None and width * height > limit:
        raising = ", or raise PIL.Image.MAX_IMAGE_PIXELS" if most_pixels is None else ""
        raise Image.DecompressionBombError(
            f"{subject} {width}x{height} = {width * height} pixels; expected at most {limit}: "
            f"scale it down{raising}"
        )
