"""The comparison of VMamba: that its networks agree, and what it makes of a record."""

from __future__ import annotations

import dataclasses
import json

import checkout  # noqa: F401  (finds tests.support)
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the networks are PyTorch's, too")
pytest.importorskip("onnxruntime", reason="runs some of the networks")
pytest.importorskip("openvino", reason="runs some of the networks")
pytest.importorskip("matplotlib", reason="draws the plots")

from peers.latency import TOLERANCE  # noqa: E402  (they import torch)
from peers.one import PIXELS  # noqa: E402
from peers.registry import ALL_NETWORKS  # noqa: E402
from peers.scans_torch import associative_scan, step_by_step_scan  # noqa: E402
from peers.vmamba import command  # noqa: E402
from peers.vmamba.networks import NETWORKS, VMAMBAS  # noqa: E402
from peers.vmamba.report import markdown  # noqa: E402
from peers.vmamba.sizes import SIZES  # noqa: E402
from peers.vmamba.steps import multiply_adds  # noqa: E402
from peers.vmamba.targets import LARGE_SIDE, PROTOTYPE_SCANS, USUAL_SIDE, targets  # noqa: E402
from peers.vmamba.vmamba_onnx import walks  # noqa: E402
from peers.vmamba.weights_files import write_all  # noqa: E402
from peers.vmamba.windows import relative_positions, shift_mask, window_order  # noqa: E402

from tests.support.plain_vmamba import outputs  # noqa: E402
from vimnp.errors import ConfigError  # noqa: E402
from vimnp.models.random_weights import random_reader  # noqa: E402

SIDE = 96  # pixels: 3x3 tokens in the last stage
MICRO, TINY = SIZES["micro"], SIZES["tiny"]
THREADS = (1, 2)


# ---- Networks ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The folder of all weights files."""
    path = tmp_path_factory.mktemp("weights")
    write_all(path, MICRO, SIDE, NETWORKS)
    return path


def logits(folder, name):
    network = NETWORKS[name]
    try:
        run = network.load(folder / network.weights, 1, "fused")
    except ConfigError as error:
        if "does not have" in str(error):
            pytest.skip(str(error))
        raise
    return run(np.load(folder / PIXELS))


def expected(folder, family):
    """Of a VMamba the network in NumPy and float64, of others PyTorch's."""
    if family not in VMAMBAS:
        return logits(folder, f"{family}-torch")
    config = dataclasses.replace(MICRO.vmambas[family], img_size=(SIDE, SIDE))
    pixels = np.load(folder / PIXELS)
    return outputs(config, random_reader(config, seed=0), pixels).logits


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_agrees_with_its_family(name, weights):
    family = NETWORKS[name].family
    truth = expected(weights, family)
    found = logits(weights, name)
    assert found.shape == (1000,)
    assert found.dtype == np.float32
    difference = np.abs(found - truth).max() / np.abs(truth).max()
    if NETWORKS[name].may_be_wrong:
        pytest.skip(f"may be wrong, and differs by {difference:.1e} of the largest")
    assert difference <= TOLERANCE / 10
    assert np.abs(truth).max() > 0.1  # there is something to compare


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 21])
@pytest.mark.parametrize("d_state", [1, 4])
def test_an_associative_scan_is_a_loop(length, d_state):
    generator = torch.Generator().manual_seed(length)
    u, delta = torch.rand(2, 4, 3, length, generator=generator)
    A = -torch.rand(4, 3, d_state, generator=generator)
    B, C = torch.rand(2, 4, d_state, length, generator=generator)
    expected = step_by_step_scan(u, delta, A, B, C)
    torch.testing.assert_close(associative_scan(u, delta, A, B, C), expected)


def test_walks_go_by_rows_by_columns_and_back():
    assert walks(2, 3).tolist() == [
        [0, 1, 2, 3, 4, 5],
        [0, 3, 1, 4, 2, 5],
        [5, 4, 3, 2, 1, 0],
        [5, 2, 4, 1, 3, 0],
    ]


def test_windows_part_the_picture():
    assert window_order(4, 2, 0).tolist() == [
        [0, 1, 4, 5],
        [2, 3, 6, 7],
        [8, 9, 12, 13],
        [10, 11, 14, 15],
    ]
    shifted = window_order(4, 2, 1)
    assert shifted[0].tolist() == [5, 6, 9, 10]
    assert shifted[3].tolist() == [15, 12, 3, 0]
    mask = shift_mask(4, 2, 1)
    assert not mask[0].any()
    assert (mask[3] == 0).sum() == 4  # each corner of the picture sees itself


def test_each_relative_position_has_a_row():
    positions = relative_positions(3)
    assert set(positions.ravel()) == set(range(25))
    assert set(positions.diagonal()) == {12}


def test_sizes_are_the_published_ones(tmp_path):
    """Parameters of the published files, in millions."""
    names = ["s1l8-torch-loop", "v0-torch-loop", "convnext-torch", "swin-torch"]
    found = write_all(tmp_path, TINY, 224, names)
    millions = {family: round(number / 1e6, 1) for family, number in found.items()}
    assert millions == {"s1l8": 30.2, "v0": 22.9, "convnext": 28.6, "swin": 28.3}


def test_multiply_adds_of_the_published_size():
    """Those of s1l8, dt_proj's among them, which steps have within the scan: 4.26 G."""
    config = TINY.vmambas["s1l8"]
    sizes = zip(config.grids, config.dt_rank, config.d_inner, config.depths, strict=True)
    dt_proj = sum(4 * h * w * rank * inner * depth for (h, w), rank, inner, depth in sizes)
    assert sum(multiply_adds(config)) + dt_proj == pytest.approx(4.26e9, rel=0.001)


# ---- A record ------------------------------------------------------------------------------------


def record(seconds=None, **steps):
    """A record in which every network takes a second for everything, but for what is given."""
    seconds = seconds or {}
    rows = [
        {"network": name, "side": side, "threads": number}
        | {"median": seconds.get((name, side), 1.0)}
        for name in NETWORKS
        for side in (USUAL_SIDE, LARGE_SIDE)
        for number in THREADS
        if side == USUAL_SIDE or not NETWORKS[name].smallest_only
    ]
    start = {"side": USUAL_SIDE, "threads": 2, "peak_memory": 100e6, "cold_start": 1.0}
    wrong = {"network": "s1l8-openvino-scans", "side": 224, "threads": 1, "difference": 0.5}
    usual = {"seconds": 1.0, "products": [0.9] * 4, "rest": 0.1}
    return {
        "date": "2026-01-01",
        "machine": ["machine: of the tests"],
        "lacks": ["AVX-512"],
        "versions": {"vimnp": "0"},
        "rounds": 1,
        "size": "tiny",
        "parameters": dict.fromkeys((n.family for n in NETWORKS.values()), 10**7),
        "latency": rows,
        "agreement": [{"family": "s1l8", "side": USUAL_SIDE, "difference": 1e-6}],
        "left_out": [wrong],
        "start": [{"network": name} | start for name in NETWORKS],
        "steps": [
            {"family": family, "side": USUAL_SIDE, "scans": PROTOTYPE_SCANS[family]} | usual | steps
            for family in VMAMBAS
        ],
    }


def figures(results):
    return {target.what: target.figure for target in targets(results)}


def test_targets_are_ratios_of_medians():
    seconds = {
        ("s1l8-native", 224): 0.5,
        ("s1l8-native", 448): 2.0,
        ("convnext-onnx", 224): 2.0,
        ("convnext-openvino", 224): 0.25,
        ("s1l8-openvino-doubling", 224): 0.1,
        ("s1l8-torch-associative", 224): 0.1,
    }
    found = figures(record(seconds, products=[0.1, 0.2, 0.3, 0.4]))
    assert len(found) == 18
    faster = "in the faster of ONNX Runtime and OpenVINO"
    assert found[f"s1l8 over ConvNeXt-T {faster}, 1 thread"] == 2.0
    assert found[f"s1l8 over Swin-T {faster}, 2 threads"] == 0.5
    assert found["s1l8 over itself in OpenVINO, unrolled scans, 1 thread"] == pytest.approx(5)
    assert found["s1l8 over itself in PyTorch, loop, 2 threads"] == 0.5
    assert found["s1l8, 448 over 224 pixels, 1 thread"] == 4.0
    assert found["s1l8, products of stage 3, share of the core's peak"] == 0.3
    assert found["s1l8, everything but products and scans, share of a pass"] == 0.1
    what = "v0, scan of a block over the prototype's, the largest of the stages' ratios"
    assert found[what] == 1.0
    assert found["peak memory of a prediction, s1l8"] == 100e6


def test_what_was_not_measured_is_said_so():
    results = record()
    for table in ("latency", "start", "steps"):
        results[table] = []
    assert {target.cells[2] for target in targets(results)} == {"not measured"}


def test_the_table_has_every_network_and_target():
    page = markdown(record())
    for network in NETWORKS.values():
        assert page.count(f"| {network.label} |") == len(THREADS) + 1
    for target in targets(record()):
        assert f"| {' | '.join(target.cells)} |" in page
    assert "this one has no AVX-512" in page
    words = " ".join(page.split())
    assert "wrong: VMamba-T s1l8, OpenVINO, Scans (by 5.0e-01 of the largest)" in words


def test_redraw_makes_the_table_of_a_record(tmp_path, capsys):
    results = record()
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert command.main(["--redraw", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == markdown(results)
    for name in ("latency_224.png", "latency_448.png", "memory.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_names_are_of_one_comparison_only():
    assert len(ALL_NETWORKS) > len(NETWORKS)
    assert all(ALL_NETWORKS[name] is network for name, network in NETWORKS.items())


# ---- The command, and what measures --------------------------------------------------------------


def test_all_is_measured_and_written(tmp_path, capsys):
    names = ["s1l8-numpy", "s1l8-onnx-associative", "s1l8-openvino-scans"]
    arguments = ["--size", "micro", "--rounds", "1", "--threads", "1", "--sides", str(SIDE)]
    arguments += ["--peers", ",".join(names), "--out", str(tmp_path)]
    assert command.main(arguments) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert capsys.readouterr().out == (tmp_path / "table.md").read_text() == markdown(results)
    left_out = {row["network"] for row in results["left_out"]}
    assert left_out <= {"s1l8-openvino-scans"}
    measured = [name for name in names if name not in left_out]
    for table in ("latency", "start"):
        assert [row["network"] for row in results[table]] == measured
    assert all(row["median"] > 0 for row in results["latency"])
    assert all(row["difference"] <= TOLERANCE for row in results["agreement"])
    assert results["size"] == "micro"
