"""Profiles as trace events, which Perfetto, chrome://tracing and viztracer's viewer show.

The format: Google, *Trace Event Format*, "complete events" (``ph`` "X") in the JSON object format.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from vimnp.measure.profiling import Profile
from vimnp.storage.files import whole_file

_PROCESS = 1


def write_trace(
    path: str | os.PathLike[str], profile: Profile, about: Mapping[str, object]
) -> None:
    """Write a pass, its layers and every thread's operations.

    Parameters
    ----------
    path : path-like
        Written whole or not at all; an existing file is replaced.
    profile : Profile
        What :func:`vimnp.profiling.profile` has noted.
    about : mapping
        What to keep beside the events: the machine, the network.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    events = [
        _name("process_name", 0, "vimnp"),
        *(_name("thread_name", t, f"thread {t}") for t in range(profile.num_threads)),
        _event("pass", "pass", 0, 0.0, profile.seconds),
        *_layers(profile),
    ]
    for span in profile.spans:
        event = _event(span.operation, "operation", span.thread, span.begin, span.end)
        events.append(event | {"args": {"layer": span.layer}})
    content = {"traceEvents": events, "displayTimeUnit": "ms", "otherData": dict(about)}
    with whole_file(path) as file:
        file.write(json.dumps(content).encode())


def _layers(profile: Profile) -> list[dict[str, object]]:
    """An event for each layer of each image, on the calling thread."""
    events = []
    present, begin, end = None, 0.0, 0.0
    own = sorted((span for span in profile.spans if span.thread == 0), key=lambda s: s.begin)
    for layer, span_begin, span_end in [*((s.layer, s.begin, s.end) for s in own), (None, 0, 0)]:
        if layer != present:
            if present is not None:
                events.append(_event(f"layer {present}", "layer", 0, begin, end))
            present, begin = layer, span_begin
        end = span_end
    return events


def _event(name: str, category: str, thread: int, begin: float, end: float) -> dict[str, object]:
    """A complete event. Its times are microseconds, of whole nanoseconds as viewers have them."""
    first, last = round(begin * 1e9), round(end * 1e9)
    times = {"ts": first / 1000, "dur": (last - first) / 1000}
    return {"name": name, "cat": category, "ph": "X", "pid": _PROCESS, **_number(thread), **times}


def _name(kind: str, thread: int, name: str) -> dict[str, object]:
    return {"name": kind, "ph": "M", "pid": _PROCESS, **_number(thread), "args": {"name": name}}


def _number(thread: int) -> dict[str, int]:
    return {"tid": thread + 1}  # 0 stands for an idle processor
