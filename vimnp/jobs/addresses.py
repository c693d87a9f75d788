"""Pictures at addresses, as ``s3://bucket/a.png`` and ``zip://*.png::pictures.zip``: by fsspec."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from vimnp.errors import ConfigError, ImageError, excerpt
from vimnp.images.image_file import naming, read_image

if TYPE_CHECKING:
    from PIL import Image

MOST_BYTES = 1 << 28
"""Of a picture's file at an address, which is read whole."""

_CHAIN = "::"
_HTTP = ("http", "https")
_T = TypeVar("_T")


def is_address(name: str) -> bool:
    """Whether it is no file's name, but says by which protocol a picture is to be read."""
    return "://" in name and not os.path.lexists(name)


def find_at(address: str, endings: tuple[str, ...]) -> list[str]:
    """The pictures at an address.

    Parameters
    ----------
    address : str
        Of a picture; with ``*`` or ``[`` in it, of all files that it fits; or of a folder, which
        stands for the pictures in it and below it, but hidden ones. Of a page (``https://``) that
        is one whose address ends in a slash.
    endings : tuple of str
        What the names of pictures in a folder end in.

    Raises
    ------
    ConfigError
        If fsspec is missing, or what it takes for the protocol.
    ImageError
        If there is no such folder, nothing in it, or nothing that the pattern fits.
    """
    address = _with_whole_path(address)
    files, path = _asking(address, lambda: _open(address))
    last = path.rpartition("/")[2].lower()
    is_pattern = "*" in path or "[" in path
    if not is_pattern and (last.endswith(endings) or not _is_folder(address, files, path)):
        return [address]

    def names() -> list[str]:
        if is_pattern:
            return [name for name in files.glob(path) if not files.isdir(name)]
        return [name for name in files.find(path) if _is_picture(name, path, endings)]

    found = sorted(_asking(address, names))
    if not found:
        raise ImageError(f"{address}: there is no picture; expected an address of some")
    rest = address.partition(_CHAIN)[1:]
    return ["".join((files.unstrip_protocol(name), *rest)) for name in found]


def read_picture(name: str) -> Image.Image:
    """Open a picture by its file's name, or its address, and decode it whole.

    Raises
    ------
    ImageError
        As from :func:`vimnp.images.image_file.read_image`, or if the address cannot be read.
    ConfigError
        If fsspec is missing, or what it takes for the protocol.
    """
    if not is_address(name):
        return read_image(name)
    with naming(name):
        content = _asking("", lambda: _read(name))
        if len(content) > MOST_BYTES:
            raise ImageError(f"too large: the file has more than {MOST_BYTES:,} bytes")
        try:
            return read_image(io.BytesIO(content))
        except ImageError as error:
            raise ImageError(str(error).removeprefix("<BytesIO>: ")) from None


def _read(address: str) -> bytes:
    files, path = _open(address)
    with files.open(path, "rb") as file:
        return bytes(file.read(MOST_BYTES + 1))


def _with_whole_path(address: str) -> str:
    """An archive on the disk keeps its meaning in a process with another working folder."""
    first, chain, last = address.rpartition(_CHAIN)
    return f"{first}{chain}{os.path.abspath(last)}" if chain and "://" not in last else address


def _open(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    first, _, container = address.partition(_CHAIN)
    protocol, _, path = first.partition("://")
    if container and path:
        return _archive(protocol, container), path
    return _resolve(address)


@functools.lru_cache(maxsize=16)
def _archive(protocol: str, container: str) -> Any:
    """One for all pictures of an archive, whose list of files is then read once."""
    return _resolve(f"{protocol}://{_CHAIN}{container}")[0]


def _resolve(address: str) -> tuple[Any, str]:
    protocol = address.partition(":")[0]
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise ConfigError(
            f"{address}: fsspec is missing, which reads pictures at addresses: "
            "pip install 'vimnp[distributed]'"
        ) from None
    try:
        found: tuple[Any, str] = url_to_fs(address)
    except ImportError as error:  # of the protocol's own library
        raise ConfigError(
            f"{address}: {excerpt(error, 200)}: "
            f"pip install 'fsspec[{'http' if protocol in _HTTP else protocol}]'"
        ) from None
    return found


def _is_folder(address: str, files: Any, path: str) -> bool:
    if address.partition("://")[0] in _HTTP:  # to ask would be to read it as a page of links
        return path.endswith("/")
    return bool(_asking(address, lambda: files.isdir(path)))


def _is_picture(name: str, folder: str, endings: tuple[str, ...]) -> bool:
    inner = name.removeprefix(folder).split("/")
    return inner[-1].lower().endswith(endings) and not any(part.startswith(".") for part in inner)


def _asking(address: str, ask: Callable[[], _T]) -> _T:
    """What fsspec answers; any error of a protocol's own library is an ImageError."""
    try:
        return ask()
    except (ConfigError, ImageError):
        raise
    except Exception as error:
        raise ImageError(f"{address and address + ': '}{_reason(error)}") from None


def _reason(error: Exception) -> str:
    reason = str(getattr(error, "strerror", None) or error) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        reason = "there is no such file"
    return f"cannot be read: {excerpt(reason, 200)}"
