"""The threads of NumPy's BLAS, which only threadpoolctl can set while Python runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

BlasLimit = Callable[[int], contextlib.AbstractContextManager[Any]]


def blas_limit() -> BlasLimit | None:
    """What limits the threads of NumPy's BLAS, given their number; None without threadpoolctl."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    controller = ThreadpoolController().select(user_api="blas")

    def limit(num_threads: int) -> contextlib.AbstractContextManager[Any]:
        return controller.limit(limits=num_threads)

    return limit
