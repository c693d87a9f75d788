"""Answers that come piece by piece, as server-sent events."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import StreamingResponse

from vimnp.errors import VimnpError
from vimnp.serve.errors import error_body

_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # the latter is for nginx

_log = logging.getLogger("vimnp.serve")


def event_stream(events: AsyncIterator[dict[str, Any]]) -> StreamingResponse:
    """Each event when it comes, and OpenAI's mark of the end.

    Parameters
    ----------
    events : iterator of JSON objects
        An error of theirs is the last event: the answer has begun already.
    """
    return StreamingResponse(_lines(events), media_type="text/event-stream", headers=_HEADERS)


async def _lines(events: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
    try:
        async for event in events:
            yield _line(event)
    except VimnpError as error:
        yield _line(error_body("/v1/", 500, str(error)))
        return
    except Exception:
        _log.exception("a text was not written to its end")
        yield _line(error_body("/v1/", 500, "something went wrong within the server"))
        return
    yield "data: [DONE]\n\n"


def _line(event: dict[str, Any]) -> str:
    return f"data: {json.dumps(event)}\n\n"
