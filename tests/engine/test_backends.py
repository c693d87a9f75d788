"""Which backend runs a network, and where it says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import vimnp
from tests.support.commands import Command, facts
from tests.support.digits import SCANS
from tests.support.micro import MICRO, micro
from vimnp.ops.modes import SCAN_MODES
from vimnp.runtime import extension

needs_kernels = pytest.mark.skipif(extension.loaded() is None, reason="needs the compiled kernels")


@pytest.fixture(
    params=[(None, None), (None, ""), (None, "auto"), ("auto", None), ("auto", "numpy")]
)
def automatic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """The argument, beside a variable, of every way to leave the choice to vimnp."""
    argument, variable = request.param
    monkeypatch.delenv("VIMNP_BACKEND", raising=False)
    if variable is not None:
        monkeypatch.setenv("VIMNP_BACKEND", variable)
    return argument


# ---- The choice ----------------------------------------------------------------------------------


@needs_kernels
def test_the_native_backend_is_taken_where_its_kernels_are(automatic):
    assert micro(backend=automatic).backend == "native"
    assert micro(backend=automatic, scan="fused").backend == "native"


@pytest.mark.parametrize("scan", [mode for mode in SCAN_MODES if mode != "fused"])
def test_numpy_is_taken_for_the_scans_that_it_alone_has(scan, automatic):
    model = micro(backend=automatic, scan=scan)
    assert (model.backend, model.scan) == ("numpy", scan)


def test_numpy_is_taken_where_the_kernels_are_missing(automatic, monkeypatch):
    monkeypatch.setattr(extension, "_scan", None)
    assert micro(backend=automatic).backend == "numpy"


@pytest.mark.parametrize("variable", extension.FORCE_FALLBACK.values())
@pytest.mark.filterwarnings("ignore:vimnp runs .* in plain NumPy")
def test_numpy_is_taken_where_an_operation_is_forced_into_it(variable, automatic, monkeypatch):
    monkeypatch.setenv(variable, "TRUE")
    assert micro(backend=automatic).backend == "numpy"


@needs_kernels
@pytest.mark.parametrize("variable", extension.FORCE_FALLBACK.values())
def test_a_switch_that_means_nothing_is_named(variable, automatic, monkeypatch):
    monkeypatch.setenv(variable, "maybe")
    with pytest.raises(vimnp.ConfigError, match=f"{variable} is 'maybe'; expected TRUE or FALSE"):
        micro(backend=automatic)


@needs_kernels
def test_another_scan_of_a_model_that_runs_native_is_refused_in_words(automatic):
    with pytest.raises(vimnp.ConfigError, match="'fused' only: take backend 'numpy'"):
        micro(backend=automatic).with_settings(scan="fixlen")


# ---- Where it stands -----------------------------------------------------------------------------


@needs_kernels
def test_a_model_shows_how_it_runs(monkeypatch):
    monkeypatch.setenv("VIMNP_ISA", "scalar")
    text = repr(micro(num_threads=2))
    assert text == (
        "VisionMamba(32x32 pixels, 17 tokens, embed_dim 24, depth 2, 7 classes; "
        "native backend, fused scan, 2 threads, scalar)"
    )
    assert "numpy backend, fixlen scan, 1 thread, scalar" in repr(
        micro(backend="numpy", scan="fixlen", num_threads=1)
    )


def test_a_model_of_a_class_of_its_own_shows_that(monkeypatch):
    class Mine(vimnp.VisionMamba):
        pass

    monkeypatch.setattr(extension, "_scan", None)
    model = Mine.random(config=MICRO, num_threads=3)
    assert repr(model).startswith("Mine(32x32 pixels")
    assert repr(model).endswith("; numpy backend, fused scan, 3 threads, plain NumPy)")


@needs_kernels
def test_info_names_the_backend_that_runs(command: Command, monkeypatch):
    assert facts(command("info").out)["backend"] == "native"
    for asked, found in (("numpy", "numpy"), ("native", "native"), ("", "native")):
        monkeypatch.setenv("VIMNP_BACKEND", asked)
        assert facts(command("info").out)["backend"] == found
    monkeypatch.setenv(extension.FORCE_FALLBACK["causal_conv1d"], "TRUE")
    assert facts(command("info").out)["backend"] == "numpy"


@needs_kernels
@pytest.mark.parametrize("backend", ["auto", "numpy"])
def test_answers_in_json_say_how_they_were_found(backend, command: Command):
    options = ("--backend", backend, "--threads", 1, "--json")
    (answer,) = json.loads(command("predict", SCANS[0], *options).out)
    assert len(answer["predictions"]) == 5
    assert {name: answer[name] for name in ("backend", "scan", "threads", "instruction_set")} == {
        "backend": "native" if backend == "auto" else "numpy",
        "scan": "fused",
        "threads": 1,
        "instruction_set": extension.instruction_set(),
    }


@needs_kernels
def test_bench_names_the_backend_that_runs(command: Command, micro_npz: Path):
    run = command("bench", "--weights", micro_npz, "--backend", "auto", "--rounds", 1)
    assert "native backend if not set otherwise" in run.out
    assert {line.split("|")[1].strip() for line in run.out.splitlines() if "fused" in line} == {
        "native"
    }
