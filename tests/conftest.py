"""Fixtures that several test files share."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.commands import command as command
from tests.support.implementations import implementation as implementation
from tests.support.implementations import way as way
from tests.support.micro import MICRO
from tests.support.random_weights import random_weights, write_random
from tests.support.signals import signals_as_usual as signals_as_usual
from tests.support.torch_format import save
from vimnp.ops import kernels

# What decides whether a change lands draws the same examples every time; `.ci/draw` draws others.
# Test files take their settings from here when they are imported, which comes later.
settings.register_profile("fixed", deadline=None, derandomize=True)
settings.register_profile("wide", deadline=None, derandomize=False)
# For another processor or compiler: what is drawn there has been drawn by the defaults, too.
settings.register_profile("few", deadline=None, derandomize=True, max_examples=12)
settings.load_profile("fixed")


@pytest.fixture(scope="session", autouse=True)
def away_from_the_checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """In a checkout's root, `python -m vimnp` would run the checkout, not what is installed."""
    with contextlib.chdir(tmp_path_factory.mktemp("elsewhere")):
        yield


@pytest.fixture(scope="session")
def golden() -> Path:
    """Outputs of the original PyTorch code; not part of the repository."""
    beside = Path(__file__).parents[2] / "shared" / "golden"
    folder = Path(os.environ.get("VIMNP_GOLDEN", beside))
    if not folder.is_dir():
        pytest.skip("needs the golden outputs of the original: set VIMNP_GOLDEN to their folder")
    return folder


@pytest.fixture
def micro_npz(tmp_path: Path) -> Path:
    """A weights file of random weights."""
    return write_random(tmp_path / "micro.npz", MICRO)


@pytest.fixture
def micro_pth(tmp_path: Path) -> Path:
    """A checkpoint of that network."""
    path = tmp_path / "micro.pth"
    save(path, {"model": random_weights(MICRO)})
    return path


@pytest.fixture
def small_work_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use every thread that is asked for, however little there is to do."""
    monkeypatch.setattr(kernels, "_LEAST_ELEMENTS", dict.fromkeys(kernels._LEAST_ELEMENTS, 0))
