"""Files of a release, which lie at a plain address and not on the Hub."""

from __future__ import annotations

import http.client
import shutil
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from vimnp.errors import HubError, excerpt
from vimnp.storage.files import whole_file
from vimnp.version import __version__

_TIMEOUT = 30.0  # seconds without a byte
_PIECE = 1 << 20


def size_of(url: str) -> int | None:
    """What the server says that a file has, in bytes.

    Raises
    ------
    HubError
        If it cannot be asked.
    """
    with _open(url, "HEAD") as answer:
        return _length(answer)


def download(url: str, destination: Path) -> None:
    """Fetch a file, whole or not at all.

    Raises
    ------
    HubError
        If it cannot be fetched, or is cut off.
    OSError
        If it cannot be written.
    """
    with _open(url, "GET") as answer:
        expected = _length(answer)
        with whole_file(destination) as file:
            try:
                while piece := answer.read(_PIECE):
                    file.write(piece)
            except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
                raise _failed(url, error) from None
            if expected is not None and file.tell() != expected:
                raise _failed(url, f"cut off after {file.tell():,} of {expected:,} bytes")


def _open(url: str, method: str) -> http.client.HTTPResponse:
    request = urllib.request.Request(
        url, method=method, headers={"User-Agent": f"vimnp/{__version__}"}
    )
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        raise _failed(url, f"{error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise _failed(url, error.reason) from None
    except (http.client.HTTPException, OSError) as error:
        raise _failed(url, error) from None
    return answer


def _length(answer: http.client.HTTPResponse) -> int | None:
    value = answer.headers.get("Content-Length", "")
    return int(value) if value.isdecimal() else None


def _failed(url: str, reason: object) -> HubError:
    return HubError(
        f"{url}: cannot be fetched: {excerpt(reason, 200) or type(reason).__name__}; expected a "
        "connection that lasts: try again"
    )


def address(folder: str, file: str) -> str:
    """The address of a file in a folder."""
    return f"{folder}/{urllib.parse.quote(file)}"


def copy(source: Path, destination: Path) -> None:
    """Copy a file, whole or not at all."""
    with open(source, "rb") as file, whole_file(destination) as target:
        shutil.copyfileobj(file, target, _PIECE)
