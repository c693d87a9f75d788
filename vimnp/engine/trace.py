"""What a pass notes of its time, where a trace is passed in to note it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np


class Span(NamedTuple):
    """What a thread did for a while.

    Parameters
    ----------
    operation : str
        Such as "in_proj" or "scan"; "wait" is a thread's waiting for the others.
    layer : int or None
        None before the first layer and after the last.
    thread : int
        0 is the calling one.
    begin, end : float
        Seconds, of the clock of ``time.perf_counter``.
    """

    operation: str
    layer: int | None
    thread: int
    begin: float
    end: float


RECORD = np.dtype(
    [("begin", np.float64), ("end", np.float64), ("label", np.intc), ("layer", np.intc)]
)
"""How the kernels note a span: an index of the program's labels, and -1 for no layer."""


class Trace:
    """Spans of one call, which may be several passes.

    Parameters
    ----------
    room : int
        Spans of each thread that a compiled pass has room for.
    """

    def __init__(self, room: int = 0) -> None:
        self._room = room
        self._spans: list[Span] = []
        self._records: list[tuple[float, np.ndarray, Sequence[str]]] = []
        self._last_end = 0.0

    def span(self, operation: str, layer: int | None) -> _OpenSpan:
        """Note what is done within, on the calling thread. A span within this one has its time."""
        return _OpenSpan(self, operation, layer)

    def close(self, operation: str, layer: int | None, begin: float) -> None:
        """Note a span that ends now."""
        end = time.perf_counter()
        self._spans.append(Span(operation, layer, 0, max(begin, self._last_end), end))
        self._last_end = end

    def records(self, num_threads: int, labels: Sequence[str]) -> np.ndarray:
        """Room for what the threads of a compiled pass note, which begins now: a row for each."""
        records = np.zeros((num_threads, self._room), RECORD)
        self._records.append((time.perf_counter(), records, labels))
        return records

    @property
    def is_full(self) -> bool:
        """Whether spans may have been lost for want of room."""
        return any(records["end"][:, -1].any() for _, records, _ in self._records)

    @property
    def spans(self) -> list[Span]:
        """What was noted, of each pass thread by thread."""
        return [*self._spans, *(span for part in self._records for span in _spans_of(*part))]


class _OpenSpan:
    """A class: a generator's context manager takes several times as long to enter and leave."""

    def __init__(self, trace: Trace, operation: str, layer: int | None) -> None:
        self._trace, self._operation, self._layer = trace, operation, layer

    def __enter__(self) -> None:
        self._begin = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        self._trace.close(self._operation, self._layer, self._begin)


def _spans_of(begin: float, records: np.ndarray, labels: Sequence[str]) -> Iterator[Span]:
    offset = begin - float(records["begin"][0, 0])  # the kernels' clock may be another one
    for thread, row in enumerate(records):
        for span_begin, end, label, layer in row[: np.count_nonzero(row["end"])].tolist():
            place = None if layer < 0 else layer
            yield Span(labels[label], place, thread, span_begin + offset, end + offset)
