"""What llama.cpp says of its work, which is a thousand lines, is not printed."""

from __future__ import annotations

import ctypes

import llama_cpp


@llama_cpp.llama_log_callback
def _drop(level: int, text: bytes, data: ctypes.c_void_p) -> None:
    """Take a line."""


def silence() -> None:
    llama_cpp.llama_log_set(_drop, ctypes.c_void_p())
