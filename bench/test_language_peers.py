"""The comparison of language models: that its networks agree, and what it makes of a record."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from children import seconds_to_output
from memory_rate import Memory
from peers import requirements
from peers.conversation import Conversation
from peers.language.command import main
from peers.language.networks import NETWORKS, TOLERANCES
from peers.language.one import check
from peers.language.report import markdown
from peers.language.sizes import SIZES
from peers.language.starts import COMMAND
from peers.language.targets import Target, targets
from peers.language.weights_files import write_all
from peers.language.workloads import BATCH, LONGEST, WORKLOADS
from peers.units import times

CONFIG = SIZES["tiny"]
THREADS = (1, 2)


# ---- Networks ------------------------------------------------------------------------------------


class Double:
    """The network in NumPy and float64, a token at a time: what all others are compared with."""

    def __init__(self, read):
        self._weights = {name: np.float64(read(name)) for name in CONFIG.tensors()}
        self.begin(1)

    def begin(self, batch):
        d_inner = CONFIG.d_inner
        self._conv = np.zeros((CONFIG.n_layer, batch, CONFIG.d_conv, d_inner))
        self._ssm = np.zeros((CONFIG.n_layer, batch, d_inner, CONFIG.d_state))

    def read(self, ids):
        self.begin(1)
        return [self.step(ids[index : index + 1]) for index in range(len(ids))][-1][0]

    def step(self, ids):
        embedding = self._weights["backbone.embedding.weight"]
        x = embedding[ids]
        for index in range(CONFIG.n_layer):
            x = x + self._mixer(x, index)
        return self._norm(x, "backbone.norm_f") @ embedding.T

    def _mixer(self, x, index):
        def weight(name):
            return self._weights[f"backbone.layers.{index}.mixer.{name}"]

        hidden = self._norm(x, f"backbone.layers.{index}.norm")
        u, z = np.split(hidden @ weight("in_proj.weight").T, 2, axis=1)
        conv = self._conv[index] = np.concatenate([self._conv[index][:, 1:], u[:, None]], axis=1)
        u = silu((conv * weight("conv1d.weight")[:, 0].T).sum(axis=1) + weight("conv1d.bias"))
        ends = [CONFIG.dt_rank, CONFIG.dt_rank + CONFIG.d_state]
        dt, B, C = np.split(u @ weight("x_proj.weight").T, ends, axis=1)
        delta = np.logaddexp(0, dt @ weight("dt_proj.weight").T + weight("dt_proj.bias"))
        A_bar = np.exp(delta[..., None] * -np.exp(weight("A_log")))
        h = A_bar * self._ssm[index] + (delta * u)[..., None] * B[:, None]
        self._ssm[index] = h
        y = (h @ C[..., None])[..., 0] + weight("D") * u
        return (y * silu(z)) @ weight("out_proj.weight").T

    def _norm(self, x, name):
        root = np.sqrt((x**2).mean(axis=1, keepdims=True) + CONFIG.norm_epsilon)
        return x / root * self._weights[f"{name}.weight"]


def silu(x):
    return x / (1 + np.exp(-x))


@pytest.fixture(scope="module")
def ids():
    return np.random.default_rng(1).integers(0, CONFIG.vocab_size, (BATCH, LONGEST))


@pytest.fixture(scope="module")
def expected(ids):
    from vimnp.models.random_weights import random_reader

    return check(Double(random_reader(CONFIG, seed=0)), ids)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_agrees_with_float64(name, tmp_path, ids, expected):
    network = NETWORKS[name]
    for module in network.needs:
        pytest.importorskip(module)
    write_all(tmp_path, CONFIG, [network.weights])
    found = check(network.load(tmp_path / network.weights, 1), ids)
    assert found.shape == (2 + BATCH, CONFIG.padded_vocab_size)
    scale = np.abs(expected).max(axis=1)
    difference = (np.abs(found - expected).max(axis=1) / scale).max()
    assert difference <= TOLERANCES[network.storage]
    if network.storage == "float32":
        assert difference <= 1e-5


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_go_on_from_a_prompt(name, tmp_path, ids):
    network = NETWORKS[name]
    for module in network.needs:
        pytest.importorskip(module)
    write_all(tmp_path, CONFIG, [network.weights])
    runner = network.load(tmp_path / network.weights, 1)
    runner.read(ids[0, :20])
    runner.step(ids[:1, 20])
    (after,) = runner.step(ids[:1, 21])
    whole = runner.read(ids[0, :22])
    tolerance = TOLERANCES["int8" if network.storage == "dynamic int8" else "float32"]
    np.testing.assert_allclose(after, whole, rtol=0, atol=tolerance * np.abs(whole).max())


# ---- A record ------------------------------------------------------------------------------------


def record(tokens=None, **starts):
    """A record in which every network takes a second for everything, but for what is given."""
    tokens = tokens or {}
    speed = [
        {"network": name, "threads": number, "workload": workload, "median": 1.0}
        | {"tokens": tokens.get((name, workload), 10)}
        for name in NETWORKS
        for number in THREADS
        for workload in WORKLOADS
    ]
    start = {name: {"peak_memory": 100e6, "first_token": 1.0} for name in NETWORKS} | starts
    return {
        "date": "2026-01-01",
        "machine": ["machine: of the tests"],
        "lacks": ["VNNI"],
        "versions": {"vimnp": "0"},
        "rounds": 1,
        "size": "tiny",
        "parameters": 10,
        "weight_bytes": 40,
        "speed": speed,
        "memory_rate": [{"threads": number, "bytes": 500, "median": 1.0} for number in THREADS],
        "start": [{"network": name, "threads": 2} | row for name, row in start.items()],
        "agreement": [{"network": name, "threads": 1, "difference": 1e-6} for name in NETWORKS],
    }


def figures(results):
    return {target.what: target.figure for target in targets(results)}


def test_targets_are_ratios_of_medians():
    tokens = {
        ("vimnp-int8", "decode"): 30,
        ("vimnp-int8", "decode_batch"): 120,
        ("vimnp-float32", "decode"): 5,
    }
    command = {COMMAND: {"peak_memory": None, "first_token": 0.3}}
    found = figures(record(tokens, **command))
    assert found["decoding, int8, over llama.cpp Q8_0, 2 threads"] == 3.0
    assert found["decoding 4 sequences at once, int8, tokens/s over those of one, 1 thread"] == 4.0
    share = "decoding, float32, bytes of weights x tokens/s over the memory rate, 1 thread"
    assert found[share] == pytest.approx(40 * 5 / 500)
    assert found["peak memory, int8"] == 100e6
    what = "`vimnp generate`, int8, from the start of its process to the first token"
    assert found[what] == 0.3


def test_what_was_not_measured_is_said_so():
    results = record()
    for table in ("speed", "start", "memory_rate"):
        results[table] = []
    found = list(targets(results))
    assert len(found) == 13
    assert all(target.cells[2] == "not measured" for target in found)
    assert not any(target.is_reached for target in found)


@pytest.mark.parametrize(
    ("is_most", "figure", "cell"),
    [(True, 2.0, "2.00x"), (True, 2.1, "**2.10x**"), (False, 1.9, "**1.90x**")],
)
def test_what_misses_its_target_is_bold(is_most, figure, cell):
    assert Target("", 2.0, is_most, figure, times).cells[2] == cell


def test_the_table_has_every_network_and_target():
    page = markdown(record())
    for network in NETWORKS.values():
        assert page.count(f"| {network.label} |") == len(THREADS) + 1
    for target in targets(record()):
        assert f"| {' | '.join(target.cells)} |" in page
    assert "this one has no VNNI" in page


def test_redraw_makes_the_table_of_a_record(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    pytest.importorskip("threadpoolctl")
    results = record()
    (tmp_path / "results.json").write_text(json.dumps(results))
    arguments = ["--redraw", "--peers", "vimnp-int8", "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert capsys.readouterr().out == markdown(results)
    for name in ("decoding.png", "prompt.png", "memory.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


# ---- The command, and what measures --------------------------------------------------------------


def test_a_network_of_others_that_is_not_installed_is_named(monkeypatch, capsys):
    monkeypatch.setattr(requirements, "find_spec", lambda name: None)
    assert main(["--peers", "llama-F32"]) == 2
    error = capsys.readouterr().err
    assert "not installed: matplotlib, threadpoolctl, llama_cpp, gguf; pip install" in error
    assert "openvino" not in error


def test_all_is_measured_and_written(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    pytest.importorskip("threadpoolctl")
    names = "vimnp-int8,vimnp-numpy"
    arguments = ["--size", "tiny", "--rounds", "1", "--threads", "1", "--peers", names]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert capsys.readouterr().out == (tmp_path / "table.md").read_text() == markdown(results)
    assert len(results["speed"]) == 2 * len(WORKLOADS)
    assert all(row["median"] > 0 for row in results["speed"])
    named = [row["network"] for row in results["start"]]
    assert named[:2] == names.split(",")
    assert all(row["first_token"] > 0 for row in results["start"])
    assert {row["network"] for row in results["agreement"]} == set(names.split(","))


def test_memory_is_read_by_threads():
    for number in (1, 2, 3):
        assert Memory(number, size=1001).read() > 0


def test_time_is_taken_to_the_first_output_of_a_process():
    python = [sys.executable, "-c"]
    found = seconds_to_output({"says": [*python, "print(1)"]}, rounds=1)
    assert found["says"] > 0
    for code in ("pass", "print(1); raise SystemExit(3)"):
        with pytest.raises(subprocess.CalledProcessError):
            seconds_to_output({"fails": [*python, code]}, rounds=1)


def test_a_process_that_ends_is_named():
    with Conversation("print(1)", [], "nobody") as conversation:
        assert conversation.answer() == 1
        with pytest.raises(RuntimeError, match="the process of nobody has ended"):
            conversation.ask()
