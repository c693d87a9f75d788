"""Families of networks: what a weights file says of its own, and another one beside Vim's."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vimnp
from tests.support.micro import MICRO
from tests.support.random_weights import random_weights
from tests.support.torch_format import save
from vimnp import VimConfig, VisionMamba, models
from vimnp.convert import Conversion, convert_checkpoint, network
from vimnp.convert.family import Converter, Shapes
from vimnp.errors import CheckpointError, ConfigError, WeightsError
from vimnp.models.random_weights import fan_in, random_reader, small
from vimnp.weights import BUNDLED_DIGITS, METADATA, Metadata, WeightsFile, write_weights
from vimnp.weights import family as registry
from vimnp.weights.family import Configuration, Family, Tensor

Convert = Callable[..., Conversion]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToyConfig(Configuration):
    """Of a language model: it takes no pictures and knows no classes."""

    width: int = 2


def toy_tensors(config: ToyConfig) -> dict[str, Tensor]:
    table = Tensor((config.width,), small, is_weight=False)
    return {"embedding": Tensor((3, config.width), fan_in), "table": table}


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> ToyConfig:
    monkeypatch.setattr(registry, "_families", dict(registry._families))
    registry.register(Family("toy", ToyConfig, toy_tensors))
    return ToyConfig(width=4)


def write(path: Path, config: Configuration, **metadata: object) -> Path:
    read = random_reader(config, 0)
    tensors = [(name, read(name)) for name in config.parameter_shapes()]
    write_weights(path, Metadata(config=config, **metadata), tensors)  # type: ignore[arg-type]
    return path


def as_version_2(path: Path) -> None:
    """Rewrite a file as earlier versions wrote it."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    values = json.loads(members[METADATA])
    assert (values.pop("format_version"), values.pop("family")) == (3, "vim")
    members[METADATA] = json.dumps({"format_version": 2} | values).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_a_file_says_its_family(tmp_path: Path) -> None:
    path = write(tmp_path / "micro.npz", MICRO)
    with zipfile.ZipFile(path) as archive:
        values = json.loads(archive.read(METADATA))
    assert list(values)[:2] == ["format_version", "family"]
    assert (values["format_version"], values["family"]) == (3, "vim")


def test_a_file_of_version_2_is_of_vim(tmp_path: Path) -> None:
    path = write(tmp_path / "micro.npz", MICRO)
    pixels = np.random.default_rng(0).standard_normal((3, *MICRO.img_size)).astype(np.float32)
    expected = vimnp.load(path)(pixels)
    as_version_2(path)
    with WeightsFile(path) as file:
        assert file.metadata == Metadata(config=MICRO)
        assert file.metadata.config.family.name == "vim"
    np.testing.assert_array_equal(vimnp.load(path)(pixels), expected)


def test_another_family_comes_back(toy: ToyConfig, tmp_path: Path) -> None:
    path = write(tmp_path / "toy.npz", toy, preprocessing=None)
    with WeightsFile(path) as file:
        assert file.metadata == Metadata(config=toy, preprocessing=None)
        assert file.metadata.config.family.name == "toy"
        assert file.read("embedding").shape == (3, 4)
        assert file.metadata.config.num_parameters == 12  # a table is no weight


@pytest.mark.parametrize("of_pictures", [{}, {"preprocessing": None, "labels": ("a",)}])
def test_a_network_that_takes_no_pictures_has_nothing_of_theirs(
    toy: ToyConfig, of_pictures: dict[str, object]
) -> None:
    with pytest.raises(ConfigError, match="the family 'toy', which takes no pictures"):
        Metadata(config=toy, **of_pictures)  # type: ignore[arg-type]


def test_a_network_of_pictures_has_preprocessing() -> None:
    with pytest.raises(ConfigError, match="preprocessing is null"):
        Metadata(config=MICRO, preprocessing=None)


def test_the_file_chooses_the_class(
    toy: ToyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Toy:
        @classmethod
        def from_weights(cls, file: WeightsFile, **settings: object) -> tuple[object, object]:
            return file.metadata.config, settings["num_threads"]

    monkeypatch.setitem(models.NETWORKS, "toy", Toy)
    path = write(tmp_path / "toy.npz", toy, preprocessing=None)
    assert vimnp.load(path, num_threads=3) == (toy, 3)
    assert type(vimnp.load(write(tmp_path / "vim.npz", MICRO))) is VisionMamba


def test_a_class_refuses_another_family(toy: ToyConfig, tmp_path: Path) -> None:
    path = write(tmp_path / "toy.npz", toy, preprocessing=None)
    for load in (VisionMamba.from_npz, vimnp.VimTiny.from_npz):
        with pytest.raises(ConfigError, match=r"of the family 'toy', .* vimnp\.load"):
            load(path)
        with pytest.raises(ConfigError, match="of the family 'toy'"):
            load(path, img_size=64)


def test_a_family_that_is_not_there_is_refused_by_name(
    toy: ToyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "toy.npz", toy, preprocessing=None)
    monkeypatch.delitem(registry._families, "toy")
    with pytest.raises(WeightsError, match=r"family is 'toy'; this vimnp reads 'vim'"):
        WeightsFile(path)
    with pytest.raises(TypeError, match="ToyConfig belongs to no family"):
        toy.parameter_shapes()


def test_the_files_alone_know_every_family() -> None:
    """Whatever is imported first."""
    code = (
        "from vimnp.weights import WeightsFile; import sys; "
        "print(WeightsFile(sys.argv[1]).metadata.config.num_classes)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(BUNDLED_DIGITS)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "10\n"


def test_the_bundled_network_is_of_version_2() -> None:
    """Nothing has changed in it, so that it is as old users' files are."""
    with zipfile.ZipFile(BUNDLED_DIGITS) as archive:
        assert json.loads(archive.read(METADATA))["format_version"] == 2


def test_every_config_belongs_to_its_family() -> None:
    assert {name: f.name for name, f in registry._families.items()} == {"vim": "vim"}
    assert VimConfig().family.configuration is VimConfig


# ---- Conversion ----------------------------------------------------------------------------------


def infer_toy(shapes: Shapes, settings: Mapping[str, Any], model: str | None) -> Any:
    return ToyConfig(**{"width": shapes["embedding"][1], **settings}), ["this is a toy"]


def rename_toy(names: Collection[str]) -> dict[str, str]:
    return {name.removeprefix("toy."): name for name in names if name.startswith("toy.")}


TOYS = Converter(
    title="Toy",
    example="toy.embedding",
    configuration=ToyConfig,
    published={"toy-large": ToyConfig(width=9)},
    rename=rename_toy,
    recognise=lambda shapes: "embedding" in shapes,
    infer=infer_toy,
    examine=lambda config, read, settings, model: [f"{read('table').sum():g}"],
)


@pytest.fixture
def convert(toy: ToyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Convert:
    """Convert a state dict where toys can be converted, too."""
    monkeypatch.setattr(network, "FAMILIES", (*network.FAMILIES, TOYS))

    def run(weights: dict[str, np.ndarray], **options: Any) -> Conversion:
        save(tmp_path / "checkpoint.pth", weights)
        return convert_checkpoint(tmp_path / "checkpoint.pth", tmp_path / "out.npz", **options)

    return run


TOY = {"toy.embedding": np.ones((3, 4), np.float32), "toy.table": np.full(4, 2, np.float32)}


def test_the_tensors_choose_the_family(convert: Convert, tmp_path: Path) -> None:
    conversion = convert(TOY | {"of.another": np.zeros(2, np.float32)})
    assert conversion.metadata.config == ToyConfig(width=4)
    assert conversion.metadata.preprocessing is None
    assert conversion.parameters == 12
    left_out = "1 tensor can be left out, as no part of the network: 'of.another'"
    assert conversion.assumptions == ("this is a toy", "8", left_out)
    with WeightsFile(tmp_path / "out.npz") as file:
        assert file.metadata == conversion.metadata
        np.testing.assert_array_equal(file.read("table"), TOY["toy.table"])
    assert isinstance(convert(random_weights(MICRO)).metadata.config, VimConfig)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"settings": {"crop_pct": "1"}}, "the setting crop_pct is of pictures"),
        ({"settings": {"stride": "1"}}, "unknown setting 'stride'; expected one of width, "),
        ({"model": "huge"}, "no model 'huge'; expected one of tiny, .*, tiny-rope, .*, toy-large"),
        ({"labels": "labels.txt"}, "labels.txt: labels for a network without classes"),
    ],
)
def test_what_means_nothing_to_a_family_is_refused(
    convert: Convert, options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=words):
        convert(TOY, **options)
    assert not (tmp_path / "out.npz").exists()


def test_what_no_family_recognises_is_refused_with_all_of_them(convert: Convert) -> None:
    expected = (
        r"no Vision Mamba or Toy: it has 'of.another'; "
        r"expected names such as 'layers.0.mixer.in_proj.weight' or 'toy.embedding'"
    )
    with pytest.raises(CheckpointError, match=expected):
        convert({"of.another": np.zeros(2, np.float32)})
