"""Where the time of a forward pass goes: what each thread did, from when to when.

A model that is not profiled has no trace of this: the NumPy backend's steps are methods, watched on
a copy of the model, and the native backend's threads keep the time where they are given room for
it.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from vimnp.engine.compiled import SPAN, NativeNetwork
from vimnp.measure.machine import Rates, measure_rates
from vimnp.models.vim.model import VisionMamba
from vimnp.runtime import extension

if TYPE_CHECKING:
    from vimnp.models.vim.config import VimConfig
    from vimnp.models.vim.model import Pictures

Key = TypeVar("Key")

# Of a pass on the NumPy backend. A scan's dt_proj is in the native backend's "scan".
_OPERATIONS = {
    "_embed": "embed",
    "_rotate": "rotate",
    "_add_norm": "norm",
    "_in_proj": "in_proj",
    "_convolve": "conv1d",
    "_x_proj": "x_proj",
    "_dt_proj": "dt_proj",
    "_scan": "scan",
    "_out_proj": "out_proj",
    "_pool": "pool",
    "_head": "head",
}
_FIRST_ROOM = 1 << 13  # spans of each thread


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
        Seconds since the pass began.
    """

    operation: str
    layer: int | None
    thread: int
    begin: float
    end: float


class Profile(NamedTuple):
    """A forward pass.

    Parameters
    ----------
    seconds : float
        Of the whole pass.
    num_threads : int
        Threads that have spans. On the NumPy backend one: the others' work is inside its spans.
    spans : list of Span
        Those of a thread do not overlap.
    """

    seconds: float
    num_threads: int
    spans: list[Span]

    def seconds_by(self, key: Callable[[Span], Key]) -> dict[Key, float]:
        """Seconds of the spans with an equal key, summed, in the mean of all threads."""
        found: dict[Key, float] = {}
        for span in self.spans:
            share = (span.end - span.begin) / self.num_threads
            found[key(span)] = found.get(key(span), 0.0) + share
        return found


def profile(model: VisionMamba, images: Pictures) -> Profile:
    """Run a model once and note what takes its time.

    Parameters
    ----------
    model : VisionMamba
        It stays as it is.
    images
        As for calling the model.
    """
    if model._native is None:
        return _profile_with(_NumpyRecorder(), model, images)
    room = _FIRST_ROOM
    while True:
        recorder = _NativeRecorder(model._native, room)
        found = _profile_with(recorder, model, images)
        if not recorder.is_full:
            return found
        room *= 2


def _profile_with(
    recorder: _NumpyRecorder | _NativeRecorder, model: VisionMamba, images: Pictures
) -> Profile:
    watched = recorder.watched(model)
    begin = time.perf_counter()
    watched(images)
    end = time.perf_counter()
    spans = [
        span._replace(begin=span.begin - begin, end=span.end - begin) for span in recorder.spans
    ]
    return Profile(end - begin, len({span.thread for span in spans}), spans)


def rates_in_reach(model: VisionMamba) -> Rates:
    """What the machine does at best of what a model does: on its threads, by its kernels or NumPy.

    Parameters
    ----------
    model : VisionMamba
    """
    if model._native is not None:
        return measure_rates(model._native.kernels, model.num_threads)
    with model._threads_of_blas():
        return measure_rates()


def median_seconds(profiles: Sequence[Profile], key: Callable[[Span], Key]) -> dict[Key, float]:
    """Seconds of the spans with an equal key, the median of some passes."""
    passes = [profile.seconds_by(key) for profile in profiles]
    keys = dict.fromkeys(key for one in passes for key in one)
    return {key: float(np.median([one.get(key, 0.0) for one in passes])) for key in keys}


class _NumpyRecorder:
    """Watches the NumPy backend's steps, by the clock of ``time.perf_counter``."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._layer = 0
        self._last_end = 0.0

    def watched(self, model: VisionMamba) -> VisionMamba:
        """A copy of a model that notes its steps here."""
        watched = copy.copy(model)
        mixer, embed = watched._mixer, watched._embed

        def counted(*arguments: Any) -> None:
            mixer(*arguments)
            self._layer += 1  # what follows belongs to the next layer

        def beginning(*arguments: Any) -> None:
            embed(*arguments)
            self._layer = 0

        # The methods that call these find them on the instance, before the class.
        watched.__dict__ |= {"_mixer": counted, "_embed": beginning}
        for method, operation in _OPERATIONS.items():
            if operation != "rotate" or model.config.if_rope:
                step = self._timed(operation, getattr(watched, method), model.config)
                watched.__dict__[method] = step
        return watched

    def _timed(
        self, operation: str, step: Callable[..., Any], config: VimConfig
    ) -> Callable[..., Any]:
        is_in_layer = operation not in ("embed", "pool", "head")

        def timed(*arguments: Any, **options: Any) -> Any:
            begin = time.perf_counter()
            result = step(*arguments, **options)
            end = time.perf_counter()
            has_layer = is_in_layer and self._layer < config.num_active_layers
            layer = self._layer if has_layer else None
            # A step within this one has had its time.
            self.spans.append(Span(operation, layer, 0, max(begin, self._last_end), end))
            self._last_end = end
            return result

        return timed


class _NativeRecorder:
    """Stands for a model's NativeNetwork, and gives its threads room for their spans."""

    def __init__(self, network: NativeNetwork, room: int) -> None:
        self.images_at_once = network.images_at_once
        self._network = network
        self._room = room
        self._parts: list[tuple[float, np.ndarray]] = []  # when each part of a batch began

    def watched(self, model: VisionMamba) -> VisionMamba:
        """A copy of a model whose network this is."""
        watched = copy.copy(model)
        watched.__dict__["_native"] = self
        return watched

    def forward(self, images: Sequence[np.ndarray], out: np.ndarray, *, output: str) -> None:
        """As NativeNetwork's."""
        spans = np.zeros((self._network.num_threads, self._room), SPAN)
        self._parts.append((time.perf_counter(), spans))
        self._network.forward(images, out, output=output, spans=spans)

    @property
    def is_full(self) -> bool:
        """Whether spans may have been lost."""
        return any(spans["end"][:, -1].any() for _, spans in self._parts)

    @property
    def spans(self) -> list[Span]:
        """By the clock of ``time.perf_counter``."""
        compiled = extension.loaded()
        assert compiled is not None
        found = []
        for begin, spans in self._parts:
            offset = begin - float(spans["begin"][0, 0])  # the kernels' clock may be another one
            for thread, row in enumerate(spans):
                for span_begin, end, step, layer in row[: np.count_nonzero(row["end"])].tolist():
                    name = compiled.STEP_NAMES[step]
                    place = None if layer < 0 else layer
                    found.append(Span(name, place, thread, span_begin + offset, end + offset))
        return found
