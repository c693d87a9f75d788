"""``vimnp explain``."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vimnp
from tests.support.vmamba_networks import MICRO, lively
from vimnp.cli import main
from vimnp.weights import Metadata, write_weights

THREE = str(Path(__file__).parents[1] / "data" / "digit_3_45.png")


def test_it_says_which_patches_speak_for_the_class(capsys):
    assert main(["explain", THREE]) == 0
    out, err = capsys.readouterr()
    assert "bundled model" in err
    lines = out.splitlines()
    assert lines[0] == THREE
    assert lines[1].startswith("  3: its logit stands ")
    assert lines[2].split() == ["|", "row", "|", "column", "|", "contributions", "|"]
    assert len(lines) == 4 + 5


def test_json_has_every_layer(capsys):
    assert main(["explain", THREE, "--class", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = vimnp.load("digits").explain(THREE, 5)
    assert (found["index"], found["label"], found["shown"]) == (5, "5", "contributions")
    np.testing.assert_allclose(found["layers"], expected.contributions, rtol=1e-6)
    assert found["rest"] == expected.rest


@pytest.mark.parametrize(
    ("show", "method"), [("attention", "hidden_attention"), ("delta", "step_sizes")]
)
def test_what_else_is_shown(show, method, capsys):
    assert main(["explain", THREE, "--show", show, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = getattr(vimnp.load("digits"), method)(THREE)
    np.testing.assert_allclose(np.sum(found["layers"], axis=0), expected.mean(axis=0), rtol=1e-5)
    assert main(["explain", THREE, "--show", show]) == 0
    assert show in capsys.readouterr().out


def test_it_draws(tmp_path, capsys):
    drawn = tmp_path / "why.png"
    assert main(["explain", THREE, "--out", str(drawn)]) == 0
    with Image.open(drawn) as picture:
        assert (picture.format, picture.size) == ("PNG", (448, 448))
        seen = np.asarray(picture, np.int16)
    red, _, blue = np.moveaxis(seen, 2, 0)
    assert (red - blue > 50).any()


def test_nothing_is_written_where_the_picture_cannot_be_read(tmp_path, capsys):
    drawn = tmp_path / "why.png"
    assert main(["explain", str(tmp_path / "none.png"), "--out", str(drawn)]) == 2
    assert "none.png" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_options_that_contradict_each_other(capsys):
    assert main(["explain", THREE, "--class", "3", "--show", "delta"]) == 2
    assert "--class 3 with --show delta" in capsys.readouterr().err


def test_no_such_class(capsys):
    assert main(["explain", THREE, "--class", "33"]) == 2
    assert "target is 33" in capsys.readouterr().err


def test_other_families_are_refused_by_name(tmp_path, capsys):
    read = lively(MICRO)
    tensors = ((name, read(name)) for name in MICRO.parameter_shapes())
    write_weights(tmp_path / "w.npz", Metadata(config=MICRO), tensors)
    assert main(["explain", THREE, "--weights", str(tmp_path / "w.npz")]) == 2
    assert "are a VMamba's; expected a Vision Mamba's" in capsys.readouterr().err
