"""Where the time of a forward pass goes: what each thread did, from when to when."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from vimnp.engine.trace import Span as Span
from vimnp.engine.trace import Trace
from vimnp.measure.machine import Rates, measure_rates

if TYPE_CHECKING:
    from vimnp.engine.state import State
    from vimnp.models.language import Ids, LanguageModel
    from vimnp.models.model import Model
    from vimnp.models.vision import Pictures, VisionModel

Key = TypeVar("Key")

_FIRST_ROOM = 1 << 13  # spans of each thread


class Profile(NamedTuple):
    """A forward pass.

    Parameters
    ----------
    seconds : float
        Of the whole pass.
    num_threads : int
        Threads that have spans. On the NumPy backend one: the others' work is inside its spans.
    spans : list of Span
        Times are seconds since the pass began. Those of a thread do not overlap.
    """

    seconds: float
    num_threads: int
    spans: list[Span]

    def seconds_by(self, key: Callable[[Span], Key]) -> dict[Key, float]:
        """Sum the seconds of spans with an equal key, in the mean of all threads.

        Parameters
        ----------
        key : callable
            Gives what spans are told apart by: ``lambda span: span.operation``.

        Returns
        -------
        dict of key to float
            Seconds. Summed over all keys they are the pass, but for what no span covers.
        """
        found: dict[Key, float] = {}
        for span in self.spans:
            share = (span.end - span.begin) / self.num_threads
            found[key(span)] = found.get(key(span), 0.0) + share
        return found


def profile(model: VisionModel, images: Pictures) -> Profile:
    """Run a model once and note what takes its time.

    Parameters
    ----------
    model : VisionMamba, VMamba, MedMamba or VMUNet
        Runs as it is set: threads, backend, precision.
    images
        As for :meth:`vimnp.VisionMamba.__call__`. They are read, scaled and normalised before the
        pass begins.

    Returns
    -------
    Profile
        What each thread did, from when to when.

    Raises
    ------
    ImageError
        As for calling the model.

    Examples
    --------
    >>> model = vimnp.load("digits", num_threads=1)
    >>> found = vimnp.profiling.profile(model, "tests/data/digit_3_45.png")
    >>> seconds = found.seconds_by(lambda span: span.operation)
    >>> 0 < seconds["scan"] < found.seconds
    True
    """
    inputs = list(model._inputs(images))
    return _profile(lambda: functools.partial(model._forward_inputs, inputs, len(inputs), "logits"))


def profile_tokens(model: LanguageModel, ids: Ids, *, state: State | None = None) -> Profile:
    """Run a language model once, for the logits after the last token, and note the same.

    Parameters
    ----------
    model : MambaLM
        Runs as it is set: threads, backend, dtype.
    ids
        As for :meth:`vimnp.MambaLM.__call__`.
    state : State, optional
        What the model goes on from; it stays as it is. Without it the ids are the beginning.

    Returns
    -------
    Profile
        What each thread did, from when to when.

    Raises
    ------
    TextError, StateError
        As for calling the model.
    """
    begin = model.new_state(len(ids) if np.ndim(ids) == 2 else 1) if state is None else state

    def prepare() -> Callable[[Trace], object]:
        return functools.partial(model._forward_all, ids, "last", state=begin.copy())

    return _profile(prepare)


def _profile(prepare: Callable[[], Callable[[Trace], object]]) -> Profile:
    """Run what is prepared, which notes its spans; again with more room if that was too little."""
    room = _FIRST_ROOM
    while True:
        run, trace = prepare(), Trace(room)
        begin = time.perf_counter()
        run(trace)
        end = time.perf_counter()
        if not trace.is_full:
            break
        room *= 2
    spans = [span._replace(begin=span.begin - begin, end=span.end - begin) for span in trace.spans]
    return Profile(end - begin, len({span.thread for span in spans}), spans)


def rates_in_reach(model: Model) -> Rates:
    """What the machine does at best of what a model does: on its threads, by its kernels or NumPy.

    Parameters
    ----------
    model : VisionMamba, VMamba or MambaLM
    """
    network = model._network
    with network.threads_of_products():
        return measure_rates(network.kernels, model.num_threads)


def median_seconds(profiles: Sequence[Profile], key: Callable[[Span], Key]) -> dict[Key, float]:
    """Give the seconds of spans with an equal key, the median of some passes.

    Parameters
    ----------
    profiles : sequence of Profile
        Of the same model and the same input, one for each pass.
    key : callable
        As for :meth:`Profile.seconds_by`.

    Returns
    -------
    dict of key to float
        Seconds. A pass without such a span counts with 0.
    """
    passes = [profile.seconds_by(key) for profile in profiles]
    keys = dict.fromkeys(key for one in passes for key in one)
    return {key: float(np.median([one.get(key, 0.0) for one in passes])) for key in keys}
