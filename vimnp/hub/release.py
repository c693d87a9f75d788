"""Files of a release, which lie at a plain address and not on the Hub."""

from __future__ import annotations

import http
import http.client
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import IO

from vimnp.errors import HubError, excerpt
from vimnp.storage.files import whole_file
from vimnp.version import __version__

_TIMEOUT = 30.0  # seconds without a byte
_PIECE = 1 << 20
_SECURE = "https://"
_ATTEMPTS = 3  # that bring nothing more
_PAUSE = 1.0  # seconds between them


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
    """Fetch a file, whole or not at all; after a cut it goes on with the rest.

    Raises
    ------
    HubError
        If it cannot be fetched, or is cut off again and again.
    OSError
        If it cannot be written.
    """
    with whole_file(destination) as file:
        left, tag = _ATTEMPTS, None
        while True:
            begin = file.tell()
            with _open(url, "GET", begin, tag) as answer:
                if answer.status != http.HTTPStatus.PARTIAL_CONTENT:  # from its beginning
                    file.seek(0)
                    file.truncate()
                length = _length(answer)
                whole = None if length is None else file.tell() + length
                tag = answer.headers.get("ETag")
                reason = _copy(answer, file)
            if reason is None and whole in (None, file.tell()):
                return
            left = left - 1 if file.tell() <= begin else _ATTEMPTS
            if left == 0:
                raise _failed(url, reason or f"cut off after {file.tell():,} of {whole:,} bytes")
            time.sleep(_PAUSE)


def _copy(answer: http.client.HTTPResponse, file: IO[bytes]) -> Exception | None:
    """Write what comes into a file; what cut it off, if something did."""
    while True:
        try:
            piece = answer.read1(_PIECE)
        except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
            return error
        if not piece:
            return None
        file.write(piece)


def _open(
    url: str, method: str, begin: int = 0, tag: str | None = None
) -> http.client.HTTPResponse:
    """Ask for a file, or for its rest if it is still the same, by its tag."""
    headers = {"User-Agent": f"vimnp/{__version__}"}
    if begin and tag and not tag.startswith("W/"):
        headers |= {"Range": f"bytes={begin}-", "If-Range": tag}
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        raise _failed(url, f"{error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise _failed(url, error.reason) from None
    except (http.client.HTTPException, OSError) as error:
        raise _failed(url, error) from None
    if url.startswith(_SECURE) and not answer.url.startswith(_SECURE):
        answer.close()
        raise _failed(url, "leads to an address that anybody between could change")
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
