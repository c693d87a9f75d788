"""What is in a picture: as Hugging Face's inference and DeepStack have it; and why."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vimnp.models.vision import Prediction
from vimnp.serve.bodies import read_picture
from vimnp.serve.errors import RequestError
from vimnp.serve.guard import no_key
from vimnp.serve.served import Registry, ServedPictures

_TOP_K = 5
_DEEPSTACK_LIST = "list"


async def classify(request: Request) -> Response:
    """``POST /models/NAME``: Hugging Face's task "image-classification"."""
    served = _registry(request).pictures(request.path_params["name"])
    sent = await read_picture(request)
    asked = {**request.query_params, **sent.parameters}
    top_k, apply = _top_k(asked), asked.get("function_to_apply") or "softmax"
    if apply not in _SCORES:
        raise RequestError(
            400, f"function_to_apply is {apply!r:.100}; expected one of {', '.join(_SCORES)}"
        )
    read = await served.read(sent.picture)
    logits = await served.logits(read.pixels)
    best = served.model.best_of(logits, top_k)
    return JSONResponse(
        [{"label": _label(each), "score": _SCORES[apply](each, logits)} for each in best]
    )


async def classify_as_deepstack(request: Request) -> Response:
    """``POST /v1/vision/custom/NAME``: what Home Assistant and Blue Iris ask.

    They know detections alone, in a box: it is the whole picture.
    """
    registry, name = _registry(request), request.path_params["name"]
    begin = time.perf_counter()
    sent = await read_picture(request) if name != _DEEPSTACK_LIST else None
    _check_key_of_form(request, {} if sent is None else sent.parameters)
    if sent is None:
        names = [each.name for each in registry.values() if isinstance(each, ServedPictures)]
        return JSONResponse({"success": True, "models": names})
    served = registry.pictures(name)
    least = _number(sent.parameters, "min_confidence", 0.0)
    read = await served.read(sent.picture)
    asked = time.perf_counter()
    logits = await served.logits(read.pixels)
    seconds = time.perf_counter() - asked
    box = {"x_min": 0, "y_min": 0, "x_max": read.width, "y_max": read.height}
    found = [
        {"label": _label(each), "confidence": each.score, **box}
        for each in served.model.best_of(logits, _TOP_K)
        if each.score >= least
    ]
    return JSONResponse(
        {
            "success": True,
            "code": 200,
            "predictions": found,
            "count": len(found),
            "command": "custom",
            "moduleId": "vimnp",
            "inferenceMs": round(1e3 * seconds),
            "processMs": round(1e3 * (time.perf_counter() - begin)),
        }
    )


async def explain(request: Request) -> Response:
    """``POST /explain/NAME``: what each patch contributes to a class, the likeliest if none."""
    served = _registry(request).pictures(request.path_params["name"])
    sent = await read_picture(request)
    read = await served.read(sent.picture)
    asked = request.query_params.get("class", sent.parameters.get("class"))
    found = await served.explain(read, _target(served, asked))
    total = found.map
    rows, columns = total.shape
    return JSONResponse(
        {
            "class": found.index,
            "label": str(found.index) if found.label is None else found.label,
            "score": found.score,
            "rest": found.rest,
            "rows": rows,
            "columns": columns,
            "contributions": total.astype(float).tolist(),
        }
    )


def _registry(request: Request) -> Registry:
    found: Registry = request.app.state.registry
    return found


def _check_key_of_form(request: Request, fields: Mapping[str, Any]) -> None:
    """DeepStack's clients send the key as a field."""
    if request.scope["vimnp.authorized"]:
        return
    key = fields.get("api_key")
    if not isinstance(key, str) or not request.scope["vimnp.accepts"](key.encode()):
        raise no_key()


def _label(prediction: Prediction) -> str:
    return str(prediction.index) if prediction.label is None else prediction.label


def _sigmoid(prediction: Prediction, logits: np.ndarray) -> float:
    with np.errstate(over="ignore"):  # far below 0 the share is 0
        return float(1 / (1 + np.exp(-np.float64(logits[prediction.index]))))


_SCORES: dict[str, Any] = {
    "softmax": lambda prediction, logits: prediction.score,
    "sigmoid": _sigmoid,
    "none": lambda prediction, logits: float(logits[prediction.index]),
}


def _top_k(asked: Mapping[str, Any]) -> int:
    found = asked.get("top_k")
    if found is None:
        return _TOP_K
    if isinstance(found, str) and found.isdecimal() and len(found) < 10:
        found = int(found)
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise RequestError(400, f"top_k is {found!r:.100}; expected a whole number from 1 up")
    return found


def _number(fields: Mapping[str, Any], name: str, default: float) -> float:
    try:
        return float(fields.get(name, default))
    except (TypeError, ValueError):
        raise RequestError(
            400, f"{name} is {fields[name]!r:.100}; expected a number from 0 to 1"
        ) from None


def _target(served: ServedPictures, asked: object) -> int | str | None:
    """A class by its label, or by its index where that is no label."""
    if asked is None or isinstance(asked, int):
        return asked
    text = str(asked)
    if text in (served.model.labels or ()) or not text.isdecimal() or len(text) > 9:
        return text
    return int(text)
