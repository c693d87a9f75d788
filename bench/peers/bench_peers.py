"""The comparison on the smallest of settings: that all of it runs, and compares like with like.

pytest bench/peers
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the networks are PyTorch's, too")
pytest.importorskip("matplotlib", reason="draws the plots")

from peers import requirements, weights_files  # noqa: E402  (they import torch)
from peers.command import main  # noqa: E402
from peers.latency import TOLERANCE, Seconds, interval  # noqa: E402
from peers.networks import FAMILIES, NETWORKS  # noqa: E402
from peers.one import PIXELS  # noqa: E402
from peers.processes import Case  # noqa: E402
from peers.units import milliseconds  # noqa: E402

COMMAND = Path(__file__).parent
SIDE = 48  # pixels: ten tokens, and a ResNet's last stage has more than one
CHOSEN = ("vim-native", "vim-torch-loop", "deit-onnx-blockwise", "resnet-onnx")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What one run of the command wrote."""
    path = tmp_path_factory.mktemp("results")
    command = [sys.executable, str(COMMAND), "--out", str(path), "--peers", ",".join(CHOSEN)]
    command += ["--rounds", "1", "--sides", f"32,{SIDE}", "--threads", "1"]
    done = subprocess.run(command, cwd=path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (path / "table.md").read_text()
    assert "round 1 of 1" in done.stderr
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The folder of weights files for pictures of SIDE, and the numbers of parameters."""
    path = tmp_path_factory.mktemp("weights")
    return path, weights_files.write_all(path, SIDE)


def test_the_table_has_the_records_medians(folder):
    results = json.loads((folder / "results.json").read_text())
    table = (folder / "table.md").read_text()
    for name in CHOSEN:
        medians = [row["median"] for row in results["latency"] if row["network"] == name]
        assert len(medians) == 2  # pictures
        cells = " | ".join(map(milliseconds, medians))
        assert f"| {NETWORKS[name].label} |" in table
        assert f"| 1 | {cells} |" in table
    for row in results["start"]:
        cells = f"{row['peak_memory'] / 1e6:.0f} MB | {milliseconds(row['cold_start'])}"
        assert f"| {NETWORKS[row['network']].label} | {cells} |" in table
    for scan in ("sequential", "fixlen", "fused", "fused_fixlen"):
        medians = [row["median"] for row in results["scan_modes"] if row["scan"] == scan]
        assert f"| {scan} | {' | '.join(map(milliseconds, medians))} |" in table
        assert len(medians) == 3  # numbers of threads


def test_the_record_says_what_was_measured_where(folder):
    results = json.loads((folder / "results.json").read_text())
    assert set(results["versions"]) == {"vimnp", "numpy", "torch", "onnxruntime"}
    assert results["machine"][0].startswith("machine: ")
    assert {row["network"] for row in results["start"]} == set(CHOSEN)
    for row in [*results["latency"], *results["scan_modes"]]:
        assert 0 < row["lower_quartile"] <= row["median"] <= row["upper_quartile"]
        assert row["passes"] == 2
    assert {row["tokens"] for row in results["latency"] if "tokens" in row} == {5, 10}
    assert all(row["difference"] <= TOLERANCE for row in results["agreement"])


def test_plots_are_drawn(folder):
    for name in ("latency.png", "tokens.png", "scan_modes.png"):
        picture = (folder / name).read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert len(picture) > 10_000


def test_redraw_makes_the_same_table(folder, tmp_path, capsys):
    (tmp_path / "results.json").write_bytes((folder / "results.json").read_bytes())
    assert main(["--redraw", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == (folder / "table.md").read_text()
    assert len(list(tmp_path.glob("*.png"))) == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_networks_of_a_family_agree(weights, family):
    path, _ = weights
    pixels = np.load(path / PIXELS)
    found = {}
    for name, network in NETWORKS.items():
        if network.family == family:
            found[name] = network.load(path / network.weights, 1, "fused")(pixels)
    first, *others = found.values()
    assert others
    for logits in others:
        assert logits.shape == (1000,)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, first, rtol=0, atol=TOLERANCE * np.abs(first).max())
    assert np.abs(first).max() > 0.1  # there is something to compare
    assert np.isfinite(first).all()


@pytest.mark.parametrize(("family", "millions"), [("vim", 7.1), ("deit", 5.7), ("resnet", 7.0)])
def test_sizes_are_alike(weights, family, millions):
    _, parameters = weights
    assert parameters[family] == pytest.approx(millions * 1e6, rel=0.02)


def test_what_is_not_installed_is_named(monkeypatch, capsys):
    monkeypatch.setattr(requirements, "NEEDED", ("numpy", "no_such_package"))
    assert main([]) == 2
    error = capsys.readouterr().err
    assert "not installed: no_such_package; pip install" in error
    assert error.count("\n") == 1


def test_a_fixed_blas_core_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert main([]) == 2
    assert "OPENBLAS_CORETYPE" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--rounds=0", "--sides=224,x", "--threads=-1", "--peers=vgg"])
def test_options_that_mean_nothing_are_refused(option, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([option])
    assert option.split("=")[0] in capsys.readouterr().err


def test_nothing_to_redraw(tmp_path, capsys):
    assert main(["--redraw", "--out", str(tmp_path)]) == 2
    assert "results.json" in capsys.readouterr().err


@pytest.mark.parametrize(("rounds", "turns"), [(1, 1), (3, 3), (6, 3), (20, 5), (40, 10)])
def test_loops_have_fewer_turns_but_three(rounds, turns):
    assert len(range(0, rounds, interval(Case("vim-torch-loop", 1), rounds))) == turns
    assert interval(Case("vim-native", 1), rounds) == 1


def test_quartiles():
    assert Seconds.of([4.0, 1.0, 2.0, 3.0, 5.0]) == (3.0, 2.0, 4.0, 5)
