"""What clients are told of requests that fail, in the form that each of them knows."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

from vimnp.errors import VimnpError

DEEPSTACK = "/v1/vision/"
OPENAI = "/v1/"

_RETRY = {"Retry-After": "1"}


class RequestError(VimnpError):
    """A request is not answered.

    Parameters
    ----------
    status : int
        HTTP's, from 400 up.
    message : str
        Why, and what was expected.
    code : str, optional
        The reason in a word, for programs.
    headers : mapping of str to str, optional
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, dict(headers or {})


def busy(message: str) -> RequestError:
    """The server has enough to do."""
    return RequestError(503, f"{message}: try again in a moment", code="overloaded", headers=_RETRY)


def error_response(path: str, error: RequestError) -> JSONResponse:
    """The answer of a request to this path, as those who ask there expect errors."""
    return JSONResponse(
        error_body(path, error.status, str(error), error.code),
        status_code=error.status,
        headers=error.headers,
    )


def error_body(path: str, status: int, message: str, code: str | None = None) -> dict[str, Any]:
    """DeepStack's form, OpenAI's, or Hugging Face's."""
    if path.startswith(DEEPSTACK):
        return {"success": False, "error": message, "code": status}
    if path.startswith(OPENAI) or "/v1/" in path:
        kind = "server_error" if status >= 500 else "invalid_request_error"
        error = {"message": message, "type": kind, "param": None, "code": code}
        return {"error": error}
    return {"error": message}


def phrase(status: int) -> str:
    """HTTP's words for a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"status {status}"
