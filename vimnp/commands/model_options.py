"""The options that say which picture network a command runs, and how."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
from collections.abc import Iterator
from typing import Any

from vimnp.commands.console import say
from vimnp.commands.options import as_given
from vimnp.commands.running_options import add_backend_and_threads
from vimnp.commands.weights_option import add_weights_and_model, weights_of
from vimnp.errors import VimnpError
from vimnp.images.sizes import parse_img_size
from vimnp.models import LATE_NETWORKS, network_of_pictures
from vimnp.models.model import Model, OtherFamilyError
from vimnp.models.precision import PRECISIONS
from vimnp.models.vim.model import VisionMamba
from vimnp.models.vim.published import PUBLISHED
from vimnp.models.vision import VisionModel
from vimnp.ops.modes import SCAN_MODES
from vimnp.weights.family import Configuration
from vimnp.weights.file import BUNDLED_DIGITS


def add_weights(parser: argparse.ArgumentParser) -> None:
    """A trained network: a weights file, weights by name, or the bundled one."""
    add_weights_and_model(parser, "; without it, the bundled model of handwritten digits")
    parser.set_defaults(random=None, default_random=None)
    add_img_size(parser)
    add_precision(parser)


def add_img_size(parser: argparse.ArgumentParser) -> None:
    """In which size a network looks at pictures."""
    parser.add_argument(
        "--img-size",
        metavar="HxW",
        help="the size of pictures in pixels, or N for NxN (as the network was trained)",
    )


def add_precision(parser: argparse.ArgumentParser, *, or_all: bool = False) -> None:
    """How a picture network multiplies; with `or_all`, ``all`` may be asked for, too."""
    every = "; all measures each beside the others" if or_all else ""
    parser.add_argument(
        "--precision",
        choices=("all", *PRECISIONS) if or_all else PRECISIONS,
        help="how a picture network multiplies its large matrices: int8 is faster, and rounds (as "
        f"in W.npz){every}",
    )


def precision_of(model: Model) -> dict[str, str]:
    """For JSON: of a network of pictures in int8. Others have said nothing of it."""
    return {"precision": "int8"} if getattr(model, "precision", None) == "int8" else {}


def add_way(parser: argparse.ArgumentParser) -> None:
    """How the network runs."""
    parser.add_argument("--scan", choices=SCAN_MODES, default="fused", help="the scan mode (fused)")
    add_backend_and_threads(parser)


def load_model(options: argparse.Namespace) -> VisionModel:
    """The network that the options ask for, run as they say."""
    return load_network(
        options, scan=options.scan, num_threads=options.threads, backend=options.backend
    )


def load_network(options: argparse.Namespace, **way: Any) -> VisionModel:
    """The network that the options ask for, run in a way of the caller's."""
    way = {"precision": options.precision, **way}
    img_size = _img_size(options.img_size)
    name = random_name(options)
    if name is None:
        return _load_weights(weights_of(options) or BUNDLED_DIGITS, img_size=img_size, **way)
    config: Any = published_of_pictures(name)
    if img_size is not None:
        config = dataclasses.replace(config, img_size=img_size)
    found: VisionModel = network_of_pictures(config.family.name).random(config=config, **way)
    return found


def _load_weights(path: Any, **settings: Any) -> VisionModel:
    """The network of a weights file; what is none of pictures Vision Mamba refuses."""
    try:
        return VisionMamba.from_npz(path, **settings)
    except OtherFamilyError as error:
        if error.family not in LATE_NETWORKS:
            raise
        network: Any = network_of_pictures(error.family)
    found: VisionModel = network.from_npz(path, **settings)
    return found


def published_of_pictures(name: str) -> Configuration | None:
    """The published network of pictures of this name; None if there is none.

    Those of another family load if no family before it has the name.
    """
    found = (networks[name] for networks in _later_networks() if name in networks)
    return PUBLISHED.get(name) or next(found, None)


def names_of_pictures() -> list[str]:
    """The names of all published networks of pictures."""
    return [*PUBLISHED, *(name for networks in _later_networks() for name in networks)]


def _later_networks() -> Iterator[dict[str, Configuration]]:
    for family in LATE_NETWORKS:
        yield importlib.import_module(f"vimnp.models.{family}.published").PUBLISHED


def say_if_bundled(options: argparse.Namespace) -> None:
    """Name the network that nobody asked for."""
    if weights_of(options) is None:
        say("no --weights given: using the bundled model of handwritten digits, 0 to 9")


def weights_settings(options: argparse.Namespace, model: VisionModel) -> dict[str, Any]:
    """What results depend on that come of a weights file: what it holds, and how it runs."""
    import hashlib

    with open(weights_of(options) or BUNDLED_DIGITS, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "weights_sha256": digest,
        "img_size": list(model.config.img_size),
        "scan": model.scan,
        "backend": model.backend,
        **precision_of(model),
    }


def random_name(options: argparse.Namespace) -> str | None:
    """The published network whose weights are to be random; None if there is a weights file."""
    return options.random or (options.default_random if weights_of(options) is None else None)


def _img_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        return parse_img_size(text)
    except ValueError as error:
        raise VimnpError(f"{as_given('--img-size', text)}: expected {error}") from None
