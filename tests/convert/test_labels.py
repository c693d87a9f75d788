"""Names of classes that a converted network gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support import torch_format
from vimnp import VimConfig, VisionMamba
from vimnp.convert import Conversion, convert_checkpoint
from vimnp.convert.labels import IMAGENET_CLASSES, IMAGENET_NAMES, read_labels


def convert(folder: Path, num_classes: int, **options: str) -> Conversion:
    config = VimConfig(
        img_size=(16, 16), patch_size=8, stride=8, embed_dim=8, depth=1, num_classes=num_classes
    )
    weights = {n: np.zeros(s, np.float32) for n, s in config.parameter_shapes().items()}
    torch_format.save(folder / "c.pth", {"model": weights})
    return convert_checkpoint(folder / "c.pth", folder / "w.npz", **options)


def test_there_is_a_name_for_each_of_imagenets_classes() -> None:
    names = read_labels(IMAGENET_NAMES, IMAGENET_CLASSES)
    assert len(set(names)) == 1000
    for index, name in {0: "tench, Tinca tinca", 281: "tabby, tabby cat", 999: None}.items():
        assert name is None or names[index] == name
    assert names[134] == "crane (bird)"  # two classes have the same one word
    assert names[517] == "crane (machine)"


def test_a_network_of_a_thousand_classes_gets_them_and_that_is_said(tmp_path: Path) -> None:
    conversion = convert(tmp_path, 1000)
    assert conversion.assumptions[-1].startswith("the classes are ImageNet's")
    names = read_labels(IMAGENET_NAMES, IMAGENET_CLASSES)
    assert VisionMamba.from_npz(tmp_path / "w.npz").labels == names


@pytest.mark.parametrize(("num_classes", "options"), [(1000, {"labels": "none"}), (999, {})])
def test_others_and_those_that_want_none_get_none(
    num_classes: int, options: dict[str, str], tmp_path: Path
) -> None:
    conversion = convert(tmp_path, num_classes, **options)
    assert conversion.metadata.labels is None
    assert not any("ImageNet" in text for text in conversion.assumptions)


def test_names_that_are_given_are_taken(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join(f"class {i}" for i in range(1000)))
    conversion = convert(tmp_path, 1000, labels=str(tmp_path / "names.txt"))
    assert conversion.metadata.labels is not None
    assert conversion.metadata.labels[7] == "class 7"
    assert not any("ImageNet" in text for text in conversion.assumptions)
