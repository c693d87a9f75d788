"""What type checkers must make of the public names: mypy and pyright look at it, nobody runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal, assert_type

import numpy as np
from PIL import Image

import vimnp
import vimnp.convert
import vimnp.hub
import vimnp.models.generation
import vimnp.models.sampling
import vimnp.models.vim.explain
from vimnp import MambaLM, Prediction, State, Tokenizer, VimTiny, VisionMamba
from vimnp.engine.settings import Way
from vimnp.engine.state import Layout
from vimnp.evaluate.accuracy import Evaluation, evaluate
from vimnp.evaluate.image_folder import find_pictures
from vimnp.images.preprocessing import Preprocessing, read_image
from vimnp.models.generation import Generation, GenerationStream
from vimnp.models.sampling import TokenLogprob
from vimnp.models.vim.explain import Explanation
from vimnp.text.protocol import TextCodec
from vimnp.text.tokenizer import TokenStream
from vimnp.weights.encodings import Encoded
from vimnp.weights.family import Family, Tensor

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


def how_a_network_is_made(path: Path, file: vimnp.weights.WeightsFile) -> None:
    assert_type(vimnp.VimSmall.from_pretrained("vim-small", refresh=True), vimnp.VimSmall)
    assert_type(vimnp.VimBase.random(config=vimnp.VimConfig(embed_dim=768)), vimnp.VimBase)
    assert_type(vimnp.VMamba.from_npz(path, img_size=512), vimnp.VMamba)
    assert_type(vimnp.MedMamba.from_weights(file, precision="float32"), vimnp.MedMamba)
    assert_type(vimnp.VMUNet.random(num_threads=1), vimnp.VMUNet)
    assert_type(MambaLM.from_weights(file, dtype="int8"), MambaLM)
    assert_type(MambaLM.from_npz(path, backend="numpy"), MambaLM)
    config = vimnp.MambaConfig(d_model=16, n_layer=2, vocab_size=256)
    assert_type(MambaLM.random(config, tokenizer="bytes"), MambaLM)
    assert_type(MambaLM.from_pretrained("mamba-130m").with_settings(num_threads=1), MambaLM)


def how_it_runs(model: VisionMamba, other: MambaLM) -> None:
    assert_type(model.precision, Literal["float32", "int8"])
    assert_type(other.dtype, str)
    assert_type(model.way, Way)
    assert_type(model.runs, str)
    assert_type(other.runs, str)
    assert_type(other.digest, str)
    assert_type(model.costs(), dict[str, vimnp.costs.Cost])
    assert_type(other.costs(length=120), dict[str, vimnp.costs.Cost])


def what_parts_of_a_network_give(model: VisionMamba, logits: np.ndarray) -> None:
    assert_type(model.best_of(logits, 5), One)
    assert_type(model.intermediate_features("cat.jpg", [11, 23], kind="residual"), np.ndarray)
    assert_type(model.step_sizes("cat.jpg"), np.ndarray)
    assert_type(model.explain("cat.jpg", 281), Explanation)
    assert_type(model.explain("cat.jpg").map, np.ndarray)
    assert_type(vimnp.models.vim.explain.Explanation, type[Explanation])


def other_families(backbone: vimnp.VMamba, segmenter: vimnp.VMUNet, array: np.ndarray) -> None:
    assert_type(backbone.feature_maps("cat.jpg", stages=[1, 2]), list[np.ndarray])
    assert_type(backbone.costs(), dict[str, vimnp.costs.Cost])
    assert_type(segmenter.segment(["cat.jpg"]), np.ndarray)
    assert_type(segmenter(array), np.ndarray)
    block = vimnp.SS2D({"in_proj.weight": array}, prefix="op.", num_threads=1)
    assert_type(block(array), np.ndarray)


def configurations(
    vim: vimnp.VimConfig, vmamba: vimnp.VMambaConfig, unet: vimnp.VMUNetConfig
) -> None:
    assert_type(vimnp.VimConfig.from_dict(vim.to_dict()), vimnp.VimConfig)
    assert_type(vimnp.MedMambaConfig(dims=(96, 192, 384, 768)).op_dims, tuple[int, ...])
    assert_type(vim.family, Family)
    assert_type(vim.tensors(), dict[str, Tensor])
    assert_type(vim.parameter_shapes(), dict[str, tuple[int, ...]])
    assert_type(vim.grid_size, tuple[int, int])
    assert_type(vim.patch, tuple[int, int])
    assert_type(vim.class_tokens, dict[str, int])
    assert_type(vim.pooled_tokens, tuple[int, ...] | None)
    assert_type(vim.direction_suffixes + vim.stored_suffixes, tuple[str, ...])
    assert_type(vim.num_patches + vim.num_tokens + vim.num_active_layers, int)
    assert_type(vim.d_inner + vim.num_directions + vim.num_parameters, int)
    assert_type(vim.flips_sequence or vim.halves_directions or vim.reads_every_token, bool)
    assert_type(vmamba.grids, tuple[tuple[int, int], ...])
    assert_type(vmamba.half_grid, tuple[int, int])
    assert_type(vmamba.mlp_channels, tuple[int, ...])
    assert_type(vmamba.num_stages + vmamba.dbc_channels(0) + unet.num_features, int)


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


def pictures(preprocessing: vimnp.image.Preprocessing) -> None:
    assert_type(preprocessing, Preprocessing)
    assert_type(vimnp.image.Preprocessing(crop_pct=1.0), Preprocessing)
    assert_type(Preprocessing.of_channels(1, crop_pct=0.9), Preprocessing)
    assert_type(preprocessing.channels, int)
    assert_type(preprocessing.takes_pictures, bool)
    preprocessing.expect_pictures()


def accuracy(evaluation: Evaluation, samples: list[vimnp.image_folder.Sample]) -> None:
    found = vimnp.image_folder.ImageFolder(Path("scans"), {"7": 7}, tuple(samples))
    assert_type(found.samples[0].target, int)
    assert_type(evaluation.top(1), vimnp.evaluate.Accuracy)
    assert_type(evaluation.top_by_class(5), dict[int, vimnp.evaluate.Accuracy])
    assert_type(evaluation.top(1).share, float)
    assert_type(evaluation.top(1).interval, tuple[float, float])
    with vimnp.results.ResultsFile("results.jsonl", {"model": "digits"}, {"7": 7}) as results:
        results.append({samples[0]: 0, samples[1]: "cannot be read"})
        results.add([{"file": "7/a.png", "class": 7, "rank": 0}])
    results.close()


def times(model: MambaLM, profile: vimnp.profiling.Profile) -> None:
    found = vimnp.profiling.profile_tokens(model, [1, 2], state=model.new_state())
    assert_type(found, vimnp.profiling.Profile)
    assert_type(profile.seconds_by(lambda span: span.operation), dict[str, float])
    assert_type(
        vimnp.profiling.median_seconds([profile], lambda span: span.layer), dict[int | None, float]
    )
    assert_type(profile.spans, list[vimnp.profiling.Span])
    vimnp.trace.write_trace("trace.json", profile, {"model": "pydoc"})
    cost = vimnp.costs.Cost(flops=2)
    assert_type(cost.plus(cost).times(3), vimnp.costs.Cost)
    assert_type(vimnp.threads.resolve_num_threads(2), int)


def weights(file: vimnp.weights.WeightsFile, array: np.ndarray) -> None:
    assert_type(vimnp.hub.find_weights("vim-tiny", dtype="int8"), Path)
    found = vimnp.convert.convert_checkpoint("vim.pth", "vim.npz", settings={"stride": "8"})
    assert_type(found, vimnp.convert.Conversion)
    assert_type(found.assumptions, tuple[str, ...])
    assert_type(file.read("head.weight"), np.ndarray)
    assert_type(file.read_stored("head.weight"), np.ndarray | Encoded)
    assert_type(file.read_encoded("head.weight"), Encoded)
    assert_type(file.is_encoded("head.weight"), bool)
    assert_type(file.checksum("head.weight"), int)
    assert_type(file.checksums(), dict[str, int])
    assert_type(file.tokenizer_text(), str | None)
    file.verify()
    metadata = vimnp.weights.Metadata(config=vimnp.VimConfig(), labels=None)
    assert_type(metadata, vimnp.weights.Metadata[vimnp.VimConfig])
    assert_type(metadata.is_smoothed, bool)
    vimnp.weights.Metadata.from_json(metadata.to_json())
    rows = vimnp.weights.Rows((10, 64), lambda begin, end: array[begin:end])
    assert_type(vimnp.weights.write_weights("out.npz", metadata, [("head.weight", rows)]), int)


def errors(error: vimnp.VimnpError) -> str:
    match error:
        case vimnp.CheckpointError() | vimnp.WeightsError() | vimnp.HubError():
            return "weights"
        case vimnp.ImageError() | vimnp.TextError() | vimnp.StateError():
            return "input"
        case vimnp.ConfigError():
            return "settings"
    return str(error)


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


def streams(model: MambaLM, stream: GenerationStream) -> None:
    assert_type(model.stream("a", max_new_tokens=3), GenerationStream)
    assert_type(vimnp.models.generation.GenerationStream, type[GenerationStream])
    assert_type(stream.advance(), bool)
    assert_type(stream.pieces(), list[str])
    assert_type(stream.prompt_ids, list[int])
    assert_type(stream.num_written, int)
    assert_type(stream.finish_reason, Literal["stop", "length"] | None)
    assert_type(stream.logprobs_from(0), list[tuple[int, TokenLogprob | None]])
    assert_type(vimnp.models.sampling.TokenLogprob(7, -0.5).top, tuple[tuple[int, float], ...])


def states(model: MambaLM, state: State, ids: np.ndarray, path: Path) -> None:
    assert_type(model(ids, state=state, last_only=True), np.ndarray)
    assert_type(model([1, 2]), np.ndarray)
    assert_type(model.new_state(2), State)
    assert_type(model.load_state(path), State)
    assert_type(state.save(path), int)
    assert_type(State.load(path, state.sizes, digest=model.digest, num_ids=256), State)
    assert_type(State.join([state.copy(), state[0]]), State)
    assert_type(State.layout(state.sizes), Layout)
    assert_type(state.batch, int)
    state.check_weights(state.sizes, state.digest)
    state.check_whole()
    with state.advance(ids):
        pass


def tokenizers(tokenizer: Tokenizer) -> None:
    assert_type(Tokenizer.from_file("tokenizer.json"), Tokenizer)
    assert_type(Tokenizer.from_text(b"{}"), Tokenizer)
    assert_type(tokenizer.encode("a", add_special_tokens=False), list[int])
    assert_type(tokenizer.decode([1, 2]), str)
    assert_type(tokenizer.stream(), TokenStream)
    assert_type(tokenizer.knows(1) and tokenizer.is_byte(1), bool)
    assert_type(tokenizer.vocab_size, int)


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
    way = vimnp.Direction(x, x, x, x, x, delta_bias=x)
    assert_type(way.reversed(), vimnp.Direction)
    assert_type(
        vimnp.selective_scan_bidirectional(way, way.reversed(), method="fused"),
        np.ndarray | tuple[np.ndarray, ...],
    )
    assert_type(vimnp.selective_scan_2d(x, x, x, x, x, num_threads=1), np.ndarray)
    assert_type(vimnp.cross_merge(vimnp.cross_scan(x), 7, 7), np.ndarray)
    assert_type(vimnp.conv2d(x, x, activation="silu"), np.ndarray)
    assert_type(vimnp.layer_norm(x, x, x, eps=1e-6), np.ndarray)
    assert_type(vimnp.gelu(x), np.ndarray)


def operations_in_numpy(x: np.ndarray, way: vimnp.Direction) -> None:
    reference = vimnp.reference
    found = reference.scan_directions([way], x, True, False, "fused")
    assert_type(found, vimnp.reference.ScanResult)
    assert_type(
        reference.selective_scan_bidirectional(way, way), np.ndarray | tuple[np.ndarray, ...]
    )
    assert_type(reference.selective_scan_2d(x, x, x, x, x), np.ndarray)
    assert_type(reference.cross_merge(reference.cross_scan(x), 7, 7), np.ndarray)
    assert_type(reference.conv2d(x, x), np.ndarray)
    assert_type(reference.layer_norm(x, x, x), np.ndarray)
    assert_type(reference.norm(x, x, None, 1e-5), np.ndarray)
    assert_type(reference.gelu(x), np.ndarray)
    assert_type(reference.softplus(reference.silu(x)), np.ndarray)
    reference.refuse_complex("x", x)
