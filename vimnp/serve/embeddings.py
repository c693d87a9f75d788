"""``POST /v1/embeddings``: the features of pictures, as OpenAI's API has those of texts."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vimnp.serve.bodies import from_base64, read_json
from vimnp.serve.errors import RequestError
from vimnp.serve.limits import Limits
from vimnp.serve.served import Registry, ServedPictures

_KNOWN = ("model", "input", "encoding_format", "user", "dimensions")


async def embed(request: Request) -> Response:
    """Of one picture or several, in base64 or as ``data:`` addresses."""
    limits: Limits = request.app.state.limits
    registry: Registry = request.app.state.registry
    body = await read_json(request, 4 * limits.body_bytes // 3 + 1024)
    served = registry.pictures(body.get("model"))
    encoding = _encoding(body)
    rows = await asyncio.gather(
        *(_features(served, picture) for picture in _pictures(body.get("input"), limits))
    )
    data = [
        {"object": "embedding", "index": index, "embedding": encoding(row)}
        for index, row in enumerate(rows)
    ]
    usage = {"prompt_tokens": 0, "total_tokens": 0}
    return JSONResponse({"object": "list", "data": data, "model": served.name, "usage": usage})


async def _features(served: ServedPictures, picture: bytes) -> np.ndarray:
    found = await served.features((await served.read(picture)).pixels)
    if found.ndim != 1:
        raise RequestError(
            400, f"{served.name} has features of every token; expected one of a whole picture"
        )
    return found


def _pictures(found: Any, limits: Limits) -> list[bytes]:
    several = [found] if isinstance(found, str) else found
    if (
        not isinstance(several, list)
        or not 0 < len(several) <= limits.choices
        or not all(isinstance(each, str) for each in several)
    ):
        raise RequestError(
            400,
            f'expected "input": a picture in base64, or a list of 1 to {limits.choices} of them',
        )
    return [from_base64(each) for each in several]


def _encoding(body: dict[str, Any]) -> Any:
    for name, value in body.items():
        if name not in _KNOWN or (name == "dimensions" and value is not None):
            raise RequestError(
                400,
                f"the parameter {name[:100]!r} is unknown; expected one of {', '.join(_KNOWN[:4])}",
                code="unknown_parameter",
            )
    encoding = body.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise RequestError(400, f"encoding_format is {encoding!r:.100}; expected float or base64")
    return _as_base64 if encoding == "base64" else _as_list


def _as_list(row: np.ndarray) -> list[float]:
    found: list[float] = row.astype(float).tolist()
    return found


def _as_base64(row: np.ndarray) -> str:
    """As OpenAI's client asks for them: float32, the lowest byte first."""
    return base64.b64encode(row.astype("<f4").tobytes()).decode("ascii")
