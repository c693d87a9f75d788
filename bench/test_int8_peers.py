"""The comparison of int8 with float32: that its networks agree, and what it makes of a record."""

from __future__ import annotations

import collections
import json
import subprocess

import checkout  # noqa: F401  (finds tests.support)
import numpy as np
import pytest

pytest.importorskip("torch", reason="writes the weights of float32's comparison")
pytest.importorskip("matplotlib", reason="draws the plots")
onnx = pytest.importorskip("onnx", reason="writes some of the networks")
pytest.importorskip("onnxruntime", reason="runs some of the networks")

from onnx import numpy_helper  # noqa: E402
from onnx_graph import Graph  # noqa: E402
from onnx_int8 import in_int8  # noqa: E402
from peers.int8 import command  # noqa: E402
from peers.int8.boards import estimates  # noqa: E402
from peers.int8.digits import changed_classes  # noqa: E402
from peers.int8.networks import DEITS, NETWORKS, VIM_FILE, VIM_INT8_FILE  # noqa: E402
from peers.int8.report import markdown  # noqa: E402
from peers.int8.targets import USUAL_SIDE, targets  # noqa: E402
from peers.int8.weights_files import write_all  # noqa: E402
from peers.latency import Agreement, agreement  # noqa: E402
from peers.networks import TOLERANCES  # noqa: E402
from peers.one import PIXELS  # noqa: E402
from peers.processes import Case  # noqa: E402
from peers.registry import ALL_NETWORKS  # noqa: E402

import vimnp  # noqa: E402

SIDE = 48  # pixels: ten tokens
SIDES, THREADS = (224, 448, 672), (1, 2)


# ---- Networks ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The folder of all weights files."""
    path = tmp_path_factory.mktemp("weights")
    write_all(path, SIDE)
    return path


def logits(folder, name):
    network = NETWORKS[name]
    return network.load(folder / network.weights, 1, "fused")(np.load(folder / PIXELS))


@pytest.mark.parametrize("name", [name for name in NETWORKS if "int8" in NETWORKS[name].precision])
def test_a_rounded_network_is_near_float32(name, weights):
    truth = logits(weights, {"vim": "vim-native", "deit": "deit-onnx"}[NETWORKS[name].family])
    found = logits(weights, name)
    assert found.shape == (1000,)
    assert found.dtype == np.float32
    difference = np.abs(found - truth).max() / np.abs(truth).max()
    tolerance = TOLERANCES[NETWORKS[name].precision]
    assert TOLERANCES["float32"] < difference <= tolerance  # it is rounded, and not wrong


def test_files_in_int8_are_a_third_of_the_size(weights):
    files = {name: (weights / network.weights).stat().st_size for name, network in NETWORKS.items()}
    assert files["vim-native-rounded"] == files["vim-native"]
    assert files["vim-native-int8"] < 0.36 * files["vim-native"]
    for name in DEITS:
        assert files[f"{name}-int8"] < 0.36 * files[name]


def test_the_file_is_as_the_converter_makes_it(weights):
    model = vimnp.load(weights / VIM_INT8_FILE)
    assert model.precision == "int8"
    assert model.metadata.dtype == "int8"
    assert model.metadata.quantization.calibration == "noise"
    assert vimnp.load(weights / VIM_FILE).precision == "float32"


def test_names_are_of_one_comparison_only():
    assert all(ALL_NETWORKS[name] is network for name, network in NETWORKS.items())
    assert len({network.label for network in ALL_NETWORKS.values()}) == len(ALL_NETWORKS)


@pytest.mark.parametrize("name", DEITS)
def test_products_with_weights_are_in_int8_and_attention_is_not(name, weights):
    graph = onnx.load(weights / NETWORKS[f"{name}-int8"].weights).graph
    kinds = collections.Counter(node.op_type for node in graph.node)
    assert kinds["MatMulInteger"] == 12 * 6 + 1  # q, k, v, proj, fc1 and fc2, and the head
    assert kinds["Gemm"] == 0
    assert kinds["Conv"] == 1
    attention = {"deit-onnx": {"MatMul": 24}, "deit-onnx-blockwise": {"MultiHeadAttention": 12}}
    for kind in ("MatMul", "MultiHeadAttention"):
        assert kinds[kind] == attention[name].get(kind, 0)


@pytest.mark.parametrize(("lacks", "most"), [([], 127), (["VNNI"], 64)])
def test_weights_are_signed_and_have_a_scale_for_each_output(lacks, most, monkeypatch):
    monkeypatch.setattr("onnx_int8.lacking", lambda wanted: lacks)
    graph = Graph(0)
    graph.linear(graph.reshape("pixels", 1, 3 * SIDE**2), "head", 3 * SIDE**2, 1000, "logits")
    rounded = onnx.load_from_string(in_int8(graph.model("head", SIDE))).graph
    arrays = {array.name: numpy_helper.to_array(array) for array in rounded.initializer}
    codes = next(array for name, array in arrays.items() if name.endswith("_quantized"))
    scales = next(array for name, array in arrays.items() if name.endswith("weight_scale"))
    assert codes.dtype == np.int8
    assert np.abs(codes.astype(int)).max() in (most, most - 1)
    assert scales.shape == (1000,)


class Finished:
    """A peer that has given its logits."""

    def __init__(self, name, values):
        self.case, self.logits = Case(name, 1), np.array(values, np.float32)


def test_agreement_is_of_each_precision():
    exact = Finished("vim-native", [1.0, -2.0])
    near, far = [1.0, -1.9], [1.0, -1.0]
    found = agreement([exact, Finished("vim-native-int8", near)])
    assert found == Agreement(
        {("vim", "float32"): 0.0, ("vim", "int8"): pytest.approx(0.05, rel=1e-3)}, {}
    )
    with pytest.raises(SystemExit, match=r"differ by 5\.0e-01.* at most 0\.15"):
        agreement([exact, Finished("vim-native-int8", far)])
    with pytest.raises(SystemExit, match=r"at most 0\.0001"):
        agreement([exact, Finished("vim-numpy", near)])


# ---- A record ------------------------------------------------------------------------------------


def record(seconds=None):
    """A record in which every network takes a second for everything, but for what is given."""
    seconds = seconds or {}
    rows = [
        {"network": name, "side": side, "threads": number}
        | {"median": seconds.get((name, side), 1.0)}
        for name in NETWORKS
        for side in SIDES
        for number in THREADS
    ]
    of_all = {"side": USUAL_SIDE, "threads": 2}
    scans = {"float32": 400e-6, "int8": 300e-6}
    return {
        "date": "2026-01-01",
        "machine": ["machine: of the tests"],
        "lacks": ["AVX-512", "VNNI"],
        "versions": {"vimnp": "0"},
        "rounds": 1,
        "parameters": {"vim": 7 * 10**6, "deit": 6 * 10**6},
        "latency": rows,
        "agreement": [
            {"family": family, "precision": precision, "side": USUAL_SIDE, "difference": 1e-6}
            for family, precision in (("vim", "float32"), ("vim", "int8"), ("deit", "float32"))
        ],
        "start": [
            {"network": name, "peak_memory": 100e6, "cold_start": 1.0} | of_all for name in NETWORKS
        ],
        "files": [
            {"network": name, "file_size": 9_000_000, "load": 0.02 if "int8" in name else 0.04}
            | of_all
            for name in NETWORKS
        ],
        "predict": [
            {"precision": "float32", "side": USUAL_SIDE, "peak_memory": 70e6},
            {"precision": "int8", "side": USUAL_SIDE, "peak_memory": 45e6},
        ],
        "steps": [
            {"isa": isa, "side": USUAL_SIDE, "scans": scans, "in_proj": 0.8}
            | {"float32": 40e-3, "int8": 30e-3}
            for isa in ("avx512vnni", "avx512", "avx2", "baseline")
        ],
        "digits": {"scans": 1797, "changed": 0},
    }


def figures(results):
    return {target.what: target.figure for target in targets(results)}


def test_targets_are_ratios_of_medians():
    seconds = {
        ("vim-native-int8", 224): 0.5,
        ("deit-onnx", 224): 2.0,
        ("deit-onnx-blockwise-int8", 224): 0.25,
        ("deit-onnx-int8", 672): 0.1,
        ("vim-native-rounded", 224): 0.01,
    }
    found = figures(record(seconds))
    assert len(found) == 17
    assert found["int8 over float32, 1 thread"] == 0.5
    assert found["int8 over float32, AVX2, 1 thread"] == pytest.approx(0.75)
    deit = "int8 over DeiT-tiny, ONNX Runtime"
    assert found[f"{deit} float32, 224 pixels, 2 threads"] == 0.5
    assert found[f"{deit} int8 per channel, 224 pixels, 1 thread"] == 2.0
    assert found[f"{deit} int8 per channel, 448 pixels, 1 thread"] == 1.0
    assert found[f"{deit} int8 per channel, 672 pixels, 1 thread"] == pytest.approx(10)
    assert found["in_proj, share of the core's int8 multiply-adds"] == 0.8
    assert found["scan of one layer, int8's over float32's, SSE2"] == pytest.approx(0.75)
    assert found["peak memory of `vimnp predict`, int8"] == 45e6
    assert found["loading an int8 file over a float32 file"] == 0.5
    assert found["estimate for a Raspberry Pi 4"] is None
    assert found["digits, of 1,797 scans those whose class changes"] == 0


def test_what_misses_is_bold_and_no_change_is_none():
    cells = {target.what: target.cells for target in targets(record())}
    assert cells["int8 over float32, 2 threads"][1:] == ("at most 0.56x", "**1.00x**")
    what = "digits, of 1,797 scans those whose class changes"
    assert cells[what][1:] == ("at most 0", "0")


def test_what_was_not_measured_is_said_so():
    results = record()
    for table in ("latency", "steps", "files", "predict"):
        results[table] = []
    results["digits"] = None
    assert {target.cells[2] for target in targets(results)} == {"not measured"}


def test_the_table_has_every_network_and_target():
    page = markdown(record())
    for network in NETWORKS.values():
        assert page.count(f"| {network.label} |") == len(THREADS) + 1
    for target in targets(record()):
        assert f"| {' | '.join(target.cells)} |" in page
    assert "this one has no AVX-512 or VNNI" in page
    words = " ".join(page.split())
    assert "have 7 bits" in words
    assert "1.0e-06 (float32), 1.0e-06 (int8) of the largest" in words
    assert "`vimnp predict`: 70 MB with a file in float32, 45 MB with a file in int8." in words
    assert "| SSE2 | 40.0 ms | 30.0 ms | 0.75x | 400 us | 300 us | 0.75x | 80% |" in page


def test_estimates_of_boards_are_targets():
    results = record() | {"boards": {"Pi 4": 80e-3, "Pi 5": 30e-3}}
    cells = {target.what: target.cells for target in targets(results)}
    assert cells["estimate for a Raspberry Pi 4"][1:] == ("at most 85.0 ms", "80.0 ms")
    assert cells["estimate for a Raspberry Pi 5"][1:] == ("at most 27.0 ms", "**30.0 ms**")


def test_files_and_memory_are_told_for_every_side():
    results = record()
    for table in ("start", "files", "predict"):
        results[table] += [row | {"side": 448} for row in results[table]]
    page = markdown(results)
    assert "Files for pictures of 224, 448 pixels, 2 threads" in page
    for network in NETWORKS.values():
        for side in (224, 448):
            assert page.count(f"| {network.label} | {side} | 9.0 MB |") == 1
    assert "45 MB with a file in int8; 448 pixels: 70 MB with" in " ".join(page.split())


def test_redraw_makes_the_table_of_a_record(tmp_path, capsys):
    results = record()
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert command.main(["--redraw", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == markdown(results)
    for name in ("latency_224.png", "latency_448.png", "latency_672.png", "memory.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


# ---- The command, and what measures --------------------------------------------------------------


def test_all_is_measured_and_written(tmp_path, capsys):
    names = ["vim-native", "vim-native-int8", "deit-onnx", "deit-onnx-int8"]
    arguments = ["--rounds", "1", "--threads", "1", "--sides", str(SIDE)]
    arguments += ["--peers", ",".join(names), "--out", str(tmp_path)]
    assert command.main(arguments) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert capsys.readouterr().out == (tmp_path / "table.md").read_text() == markdown(results)
    for table in ("latency", "start", "files"):
        assert [row["network"] for row in results[table]] == names
    assert all(row["load"] > 0 for row in results["files"])
    precisions = {(row["family"], row["precision"]) for row in results["agreement"]}
    expected = {("vim", "float32"), ("vim", "int8"), ("deit", "float32"), ("deit", "dynamic int8")}
    assert precisions == expected
    assert [row["precision"] for row in results["predict"]] == ["float32", "int8"]
    for row in results["steps"]:
        assert 0 < row["scans"]["int8"] < row["int8"]
        assert row["in_proj"] > 0
    if results["digits"] is not None:
        assert results["digits"] == {"scans": 1797, "changed": 0}


def test_without_tools_no_board_is_estimated(monkeypatch):
    monkeypatch.setattr("peers.int8.boards.LLVM_MCA", ["nowhere-mca"])
    assert estimates() == {"Pi 4": None, "Pi 5": None}


def test_without_the_scans_no_class_is_counted(monkeypatch):
    monkeypatch.setattr("peers.int8.digits.find_spec", lambda name: None)
    assert changed_classes() is None


def test_what_llvm_mca_says_of_another_core_is_no_estimate(monkeypatch):
    said = "model:    A57, for want of one for neoverse-n1: these are not its figures\n"
    said += "expected  99.9\n"
    done = subprocess.CompletedProcess([], 0, said, "")
    monkeypatch.setattr("peers.int8.boards.subprocess.run", lambda *_, **options: done)
    assert estimates() == {"Pi 4": None, "Pi 5": None}
