"""A disk on which nothing has room."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process can grow beyond 1,000 bytes, the one with the tests' output neither.

    So nothing may be printed meanwhile but what is captured.
    """
    resource = pytest.importorskip("resource", reason="needs limits of the system's")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
