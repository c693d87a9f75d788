"""What type checkers must make of the public names: mypy and pyright look at it, nobody runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, assert_type

import numpy as np
from PIL import Image

import vimnp
from vimnp import MambaLM, Prediction, State, VimTiny, VisionMamba
from vimnp.evaluate.accuracy import Evaluation, evaluate
from vimnp.evaluate.image_folder import find_pictures
from vimnp.images.preprocessing import read_image
from vimnp.models.generation import Generation
from vimnp.text.protocol import TextCodec

One = list[Prediction]
Many = list[list[Prediction]]


def networks(path: Path) -> None:
    assert_type(vimnp.load("digits"), VisionMamba)
    assert_type(
        vimnp.load(path, img_size=(224, 320), scan="sequential", backend="numpy"), VisionMamba
    )
    assert_type(VimTiny.from_npz(path, num_threads=2, backend="native"), VimTiny)
    assert_type(VimTiny.random(0, scan="fixlen", backend="auto", precision="int8"), VimTiny)
    assert_type(VimTiny.random().with_settings(scan="fused_fixlen", num_threads=1), VimTiny)
    vimnp.load("digits", scan="parallel")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    vimnp.load("digits", backend="torch")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    VimTiny.from_npz(path, scan="parallel")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    VimTiny.random(backend="torch")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def what_a_network_tells(model: VisionMamba) -> None:
    assert_type(model.labels, tuple[str, ...] | None)
    assert_type(model.explain("cat.jpg", "tabby").label, str | None)
    assert_type(model.hidden_attention("cat.jpg"), np.ndarray)
    assert_type(model.num_parameters, int)
    assert_type(model.summary(), str)
    assert_type(model.preprocess("cat.jpg"), np.ndarray)
    assert_type(model.config, vimnp.VimConfig)


def one_picture(model: VisionMamba, path: Path, file: IO[bytes], image: Image.Image) -> None:
    assert_type(model.predict(image), One)
    assert_type(model.predict(read_image(path), top_k=1), One)
    assert_type(model.predict("cat.jpg"), One)
    assert_type(model.predict(path), One)
    assert_type(model.predict(file), One)
    assert_type(model(path), np.ndarray)
    for prediction in model.predict(path):
        assert_type(prediction.index, int)
        assert_type(prediction.label, str | None)
        assert_type(prediction.score, float)


def several_pictures(model: VisionMamba, paths: list[Path], images: Iterator[Image.Image]) -> None:
    assert_type(model.predict(paths), Many)
    assert_type(model.predict(("cat.jpg", "dog.jpg")), Many)
    assert_type(model.predict(images), Many)
    assert_type(model.predict(path.open("rb") for path in paths), Many)
    assert_type(model.predict(map(str, paths)), Many)
    assert_type(model.features(paths), np.ndarray)
    assert_type(model.forward_features(images), np.ndarray)
    assert_type(model.feature_map(["cat.jpg"]), np.ndarray)


def arrays(model: VisionMamba, array: np.ndarray) -> None:
    """Of one picture or of several: their dimensions say so, not their type."""
    assert_type(model.predict(array), One | Many)
    assert_type(model(array), np.ndarray)


def what_is_no_picture(model: VisionMamba) -> None:
    model.predict(7)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    model(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    model([7])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


def modules(model: VisionMamba, folder: Path) -> None:
    assert_type(vimnp.profiling.profile(model, folder / "cat.jpg"), vimnp.profiling.Profile)
    assert_type(vimnp.image.read_image(folder / "cat.jpg"), Image.Image)
    found = find_pictures(folder, model.metadata)
    assert_type(evaluate(model, found.path, found.samples), Evaluation)
    assert_type(vimnp.evaluate.evaluate(model, found.path, found.samples), Evaluation)


def texts(model: MambaLM, ids: np.ndarray, state: State) -> None:
    assert_type(model.tokenizer, TextCodec | None)
    assert_type(model.generate("a"), Generation)
    assert_type(model.generate([1, 2], temperature=0.7, stop=["a", "b"]), Generation)
    assert_type(model.generate(["a", "b"], max_new_tokens=3), list[Generation])
    assert_type(model.generate([[1], [2, 3]], state=state), list[Generation])
    assert_type(model.generate("a", num_samples=3), list[Generation])
    assert_type(model.generate(ids), Generation | list[Generation])
    assert_type(model.generate("a").text, str | None)
    assert_type(model.generate("a").state, State)
    for piece in model.stream("a", state=state, top_k=3):
        assert_type(piece, str)
    assert_type(model.stream("a").result, Generation)
    model.generate("a", temprature=1.0)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


def operations(x: np.ndarray, state: np.ndarray) -> None:
    assert_type(vimnp.causal_conv1d(x, x), np.ndarray)
    assert_type(vimnp.causal_conv1d(x, x, None, "silu", initial_states=state), np.ndarray)
    assert_type(vimnp.causal_conv1d(x, x, return_final_states=True), tuple[np.ndarray, np.ndarray])
    assert_type(vimnp.causal_conv1d_update(x, state, x, activation="silu"), np.ndarray)
    assert_type(vimnp.selective_state_update(state, x, x, x, x, x, dt_softplus=True), np.ndarray)
    assert_type(vimnp.reference.selective_state_update(state, x, x, x, x, x), np.ndarray)
    assert_type(
        vimnp.selective_scan(x, x, x, x, x, initial_state=state),
        np.ndarray | tuple[np.ndarray, ...],
    )
