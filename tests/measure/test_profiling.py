"""Where the time of a pass goes: what is noted of it, what it has to do, and the trace of it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.implementations import COMPILED_WAYS, NATIVE_WAYS, Way
from tests.support.micro import MICRO
from tests.support.options import OPTIONS
from vimnp.config import VIM_TINY, VimConfig
from vimnp.measure import profiling
from vimnp.measure.profiling import Profile, Span, median_seconds, profile
from vimnp.measure.trace import write_trace
from vimnp.models.vim.model import VisionMamba
from vimnp.models.vim.program import operation_costs
from vimnp.storage.files import whole_file

MIXER = {"in_proj", "conv1d", "x_proj", "scan", "out_proj"}


def network(**options: Any) -> VimConfig:
    sizes = {"img_size": (32, 32), "patch_size": 8, "stride": 8, "embed_dim": 24, "d_state": 5}
    return VimConfig(**{**sizes, "depth": 2, "num_classes": 7, **options})


def noise(config: VimConfig, batch: int = 1) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((batch, 3, *config.img_size), np.float32)


def by_thread(found: Profile) -> list[list[Span]]:
    return [[s for s in found.spans if s.thread == t] for t in range(found.num_threads)]


# ---- Spans ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("way", COMPILED_WAYS, ids=str, indirect=True)
def test_every_layer_has_its_operations(way: Way, option: str) -> None:
    model = VisionMamba.random(config=network(**OPTIONS[option]), num_threads=1)
    found = profile(model, noise(model.config))
    for layer in range(model.config.num_active_layers):
        there = {span.operation for span in found.spans if span.layer == layer}
        assert there >= MIXER
        # In the native backend a block of two layers begins with the norms of both.
        assert "norm" in there or (layer % 2 and model.config.if_bidirectional)
    assert {"embed", "head"} <= {s.operation for s in found.spans if s.layer is None}
    assert {s.layer for s in found.spans} == {None, *range(model.config.num_active_layers)}


@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_spans_of_a_thread_follow_each_other_within_the_pass(
    way: Way, num_threads: int, small_work_is_split: None
) -> None:
    model = VisionMamba.random(config=MICRO, num_threads=num_threads)
    found = profile(model, noise(MICRO, batch=3))
    for spans in by_thread(found):
        assert spans
        times = [0.0, *(time for span in spans for time in (span.begin, span.end))]
        assert times == sorted(times)
        # The native kernels' clock is set to ours where a region begins.
        assert times[-1] <= found.seconds + 1e-4


@pytest.mark.parametrize("way", COMPILED_WAYS, ids=str, indirect=True)
def test_spans_add_up_to_the_pass(way: Way) -> None:
    config = network(img_size=(224, 224), patch_size=16, stride=16, embed_dim=192)
    model = VisionMamba.random(config=config, num_threads=1)
    # A disturbance between two operations is in no span; it does not come every time.
    passes = [profile(model, noise(config)) for _ in range(40)]
    missing = [1 - sum(p.seconds_by(lambda _: None).values()) / p.seconds for p in passes]
    assert min(missing) < 0.05
    assert min(missing) > -1e-6


def test_a_profiled_model_stays_as_it_is(way: Way) -> None:
    model = VisionMamba.random(config=MICRO)
    images = noise(MICRO)
    before, attributes = model(images), dict(vars(model))
    profile(model, images)
    assert vars(model) == attributes
    np.testing.assert_array_equal(model(images), before)


@pytest.mark.parametrize("way", NATIVE_WAYS, ids=str, indirect=True)
def test_no_span_is_lost_for_want_of_room(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    model = VisionMamba.random(config=MICRO, num_threads=1)
    images = noise(MICRO, batch=9)  # in two parts
    whole = [span.operation for span in profile(model, images).spans]
    monkeypatch.setattr(profiling, "_FIRST_ROOM", 3)
    assert [span.operation for span in profile(model, images).spans] == whole
    assert whole.count("head") == 9


def test_seconds_are_the_mean_of_the_threads() -> None:
    spans = [Span("scan", 0, 0, 0.0, 1.0), Span("wait", 0, 1, 0.0, 3.0), Span("scan", 1, 1, 3, 4)]
    found = Profile(4.0, 2, spans)
    assert found.seconds_by(lambda span: span.operation) == {"scan": 1.0, "wait": 1.5}
    longer = Profile(4.0, 2, [*spans, Span("head", None, 0, 1.0, 3.0)])
    medians = median_seconds([found, longer, longer], lambda span: span.operation)
    assert medians == {"scan": 1.0, "wait": 1.5, "head": 1.0}


# ---- Costs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", OPTIONS)
def test_products_cost_what_numpy_multiplies(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = network(**OPTIONS[option])
    model = VisionMamba.random(config=config, backend="numpy")
    multiplied = []

    def matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
        multiplied.append(2 * math.prod(a.shape) * b.shape[1])
        out[...] = a @ b
        return out

    monkeypatch.setattr(np, "matmul", matmul)
    model(noise(config))
    costs = operation_costs(config)
    products = sum(costs[name].flops for name in ("in_proj", "x_proj", "dt_proj", "out_proj"))
    tokens = config.num_tokens * config.embed_dim
    embedding = costs["embed"].flops - tokens  # the positions' sum
    pairs = config.num_active_layers // 2 * config.if_bidirectional * tokens  # the pairs' sums
    biases = config.bias * config.num_active_layers * config.num_tokens
    biases *= 2 * config.d_inner + config.embed_dim  # of in_proj and out_proj
    assert products + embedding == sum(multiplied) + pairs + biases


def test_the_costs_of_tiny() -> None:
    costs = operation_costs(VIM_TINY)
    products = ("embed", "in_proj", "x_proj", "dt_proj", "out_proj", "head")
    assert sum(costs[name].flops for name in products) == pytest.approx(2 * 1.28e9, rel=2e-3)
    states = 24 * 2 * 197 * 384 * 16
    assert states < costs["scan"].exponentials < 1.2 * states
    assert costs["conv1d"].bytes == 24 * 3 * 197 * 384 * 4


@pytest.mark.parametrize("option", OPTIONS)
def test_the_native_backend_does_no_more(option: str) -> None:
    config = network(**OPTIONS[option])
    numpy, native = (operation_costs(config, backend) for backend in ("numpy", "native"))
    assert {*native} == {*numpy} - {"dt_proj"}
    for name in native.keys() - {"scan", "out_proj"}:
        assert all(0 <= n <= m for n, m in zip(native[name], numpy[name], strict=True))
    assert sum(cost.bytes for cost in native.values()) < sum(cost.bytes for cost in numpy.values())


@pytest.mark.parametrize("option", OPTIONS)
def test_every_operation_that_takes_time_has_a_cost(option: str, way: Way) -> None:
    config = network(**OPTIONS[option])
    found = profile(VisionMamba.random(config=config), noise(config))
    operations = {span.operation for span in found.spans}
    assert operations - {"wait"} <= {*operation_costs(config, way.backend)}


# ---- Traces --------------------------------------------------------------------------------------


def traced(path: Path, found: Profile) -> list[dict[str, Any]]:
    write_trace(path, found, {"network": "micro"})
    content = json.loads(path.read_bytes())
    assert content["otherData"] == {"network": "micro"}
    return content["traceEvents"]


def test_a_trace_has_the_format_of_trace_events(way: Way, tmp_path: Path) -> None:
    model = VisionMamba.random(config=MICRO, num_threads=2)
    found = profile(model, noise(MICRO, batch=2))
    events = traced(tmp_path / "trace.json", found)
    names = {event["args"]["name"] for event in events if event["ph"] == "M"}
    assert names == {"vimnp", *(f"thread {t}" for t in range(found.num_threads))}
    complete = [event for event in events if event["ph"] == "X"]
    assert len(complete) + len(names) == len(events)
    for event in complete:
        assert {"name", "cat", "ph", "pid", "tid", "ts", "dur"} <= {*event}
        assert event["ts"] >= 0
        assert event["dur"] >= 0
        # 0 is no thread's number, but an idle processor's: Perfetto mixes it up with others.
        assert 1 <= event["tid"] <= found.num_threads
    whole = [event for event in complete if event["cat"] == "pass"]
    assert [event["dur"] for event in whole] == [pytest.approx(found.seconds * 1e6, abs=1e-3)]
    layers = [event["name"] for event in complete if event["cat"] == "layer"]
    assert layers == ["layer 0", "layer 1"] * 2
    operations = [event for event in complete if event["cat"] == "operation"]
    assert len(operations) == len(found.spans)


def test_events_lie_within_each_other_or_apart(way: Way, tmp_path: Path) -> None:
    """What viewers ask of the complete events of a thread."""
    model = VisionMamba.random(config=MICRO, num_threads=2)
    events = traced(tmp_path / "trace.json", profile(model, noise(MICRO)))
    for thread in {event["tid"] for event in events}:
        own = [e for e in events if e["ph"] == "X" and e["tid"] == thread]
        open_until: list[int] = []
        for event in sorted(own, key=lambda e: (e["ts"], -e["dur"])):
            begin = round(event["ts"] * 1e3)  # viewers count whole nanoseconds
            end = begin + round(event["dur"] * 1e3)
            while open_until and open_until[-1] <= begin:
                open_until.pop()
            assert not open_until or end <= open_until[-1]
            open_until.append(end)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), whole_file(path) as file:
        file.write(b"half" * (1 // 0))
    assert path.read_text() == "before"
    assert [*tmp_path.iterdir()] == [path]
