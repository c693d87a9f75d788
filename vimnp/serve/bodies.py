"""What a request brings: read within its limits, and taken apart."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any, NamedTuple

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from vimnp.errors import excerpt
from vimnp.serve.admission import Place
from vimnp.serve.errors import RequestError
from vimnp.serve.limits import Limits

_DRAINED = 4  # times the limit: a body that is refused is received all the same, up to here
_MOST_FIELDS = 16
_MOST_DIGITS = 40
_FIELD_BYTES = 1 << 16
_FILES = ("image", "file", "image1")  # DeepStack's clients number them


class Sent(NamedTuple):
    """A picture, and what was said of it.

    Parameters
    ----------
    picture : bytes
    parameters : mapping
        As JSON or a form has them.
    """

    picture: bytes
    parameters: Mapping[str, Any]


async def read_body(request: Request, most: int) -> bytes:
    """The whole body of a request.

    A body that is too long is received, up to a point, before it is refused: a client that is
    still sending would not look at the answer.

    Parameters
    ----------
    request : Request
    most : int
        Bytes.

    Raises
    ------
    RequestError
        413 if it is longer, 408 if it takes too long to arrive, 503 if there is no memory for it.
    ClientDisconnect
        If the connection breaks off.
    """
    limits: Limits = request.app.state.limits
    place: Place = request.scope["vimnp.place"]
    announced = request.headers.get("content-length", "")
    is_too_long = announced.isdecimal() and int(announced) > most
    waits = request.headers.get("expect", "").lower() == "100-continue"
    if is_too_long and (waits or int(announced) > _DRAINED * most):
        raise _too_long(most)
    data = bytearray()
    received = 0
    try:
        async with asyncio.timeout(limits.receive_seconds):
            async for chunk in request.stream():
                received += len(chunk)
                if received > most:
                    is_too_long = True
                    data.clear()
                if received > _DRAINED * most:
                    break
                if not is_too_long:
                    place.hold(len(chunk))
                    data += chunk
    except TimeoutError:
        raise RequestError(
            408,
            f"the body did not arrive within {limits.receive_seconds:g} seconds: send a smaller "
            "one, or over a faster connection",
            code="timeout",
            headers={"Connection": "close"},
        ) from None
    if is_too_long:
        raise _too_long(most)
    return bytes(data)


def _too_long(most: int) -> RequestError:
    return RequestError(
        413,
        f"the body is too long; expected at most {most:,} bytes: send a smaller picture or text",
        code="too_large",
    )


async def read_json(request: Request, most: int) -> dict[str, Any]:
    """The body as a JSON object. Raises RequestError, 400, if it is none."""
    return as_object(await read_body(request, most))


def as_object(data: bytes) -> dict[str, Any]:
    """JSON text -> an object. Raises RequestError, 400, if it is none."""
    try:
        found = json.loads(data, parse_constant=_no_number, parse_int=_whole_number)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the body is no JSON ({excerpt(error)})") from None
    if not isinstance(found, dict):
        raise RequestError(
            400, f"the body is JSON of the kind {type(found).__name__}; expected an object"
        )
    return found


def _whole_number(text: str) -> int:
    """Of a length that a float can take, too: what is asked for is at most of 64 bits."""
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


async def read_picture(request: Request) -> Sent:
    """The picture of a request, and its parameters, in any form that clients send it in.

    These are: the bytes themselves; JSON, ``{"inputs": base64, "parameters": {...}}``; and a form
    whose part "image" or "file" is the file.

    Raises
    ------
    RequestError
        400 if it is none of these, or as for :func:`read_body`.
    """
    limits: Limits = request.app.state.limits
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    data = await read_body(request, limits.body_bytes)
    if kind == "multipart/form-data":
        return await _of_form(request, data, limits)
    if kind == "application/json":
        return _of_json(as_object(data))
    if not data:
        raise RequestError(400, "the body is empty; expected a picture's bytes")
    return Sent(data, {})


def _of_json(body: dict[str, Any]) -> Sent:
    inputs, parameters = body.get("inputs"), body.get("parameters") or {}
    if not isinstance(inputs, str) or not isinstance(parameters, dict):
        raise RequestError(
            400, 'expected {"inputs": a picture in base64, "parameters": {"top_k": 5}}'
        )
    return Sent(from_base64(inputs), parameters)


def from_base64(text: str) -> bytes:
    """Base64, or a ``data:`` address that holds it, -> bytes. Raises RequestError, 400."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(
            400, f"the picture is no base64 ({excerpt(error)}); expected a file's bytes in base64"
        ) from None


async def _of_form(request: Request, data: bytes, limits: Limits) -> Sent:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield data

    parser = MultiPartParser(
        request.headers,
        stream(),
        max_files=1,
        max_fields=_MOST_FIELDS,
        max_part_size=_FIELD_BYTES,
    )
    parser.spool_max_size = limits.body_bytes  # all of it is in memory already
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise RequestError(400, f"the form cannot be read ({excerpt(error)})") from None
    try:
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        for name in _FILES:
            part = form.get(name)
            if isinstance(part, UploadFile):
                return Sent(await part.read(), fields)
    finally:
        await form.close()
    raise RequestError(400, "the form has no file 'image'; expected a picture under that name")
