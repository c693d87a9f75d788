"""The language model: against a float64 oracle and the original, and the same bits however cut."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vimnp
from tests.support import golden_mamba, plain_mamba
from tests.support.implementations import COMPILED_WAYS, Way, only
from vimnp.models.mamba.config import MambaConfig
from vimnp.models.random_weights import random_reader
from vimnp.runtime import extension
from vimnp.weights import Metadata, WeightsFile, write_weights
from vimnp.weights.encodings import decode
from vimnp.weights.members import as_stored

pytestmark = pytest.mark.usefixtures("way")

MICRO = MambaConfig(
    d_model=24, n_layer=2, vocab_size=37, padded_vocab_size=40, d_state=5, eos_ids=(0,)
)
"""Runs in a moment; 5 states and 48 channels make tails in every vector width."""

OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "untied": {"tie_embeddings": False},
    "layer_norm": {"rms_norm": False},
    "bias": {"bias": True},
    "no_conv_bias": {"conv_bias": False},
    "falcon": {"mixer_rms_eps": 1e-6, "tie_embeddings": False},
    "sixteen_states": {"d_state": 16},
    "one_state": {"d_state": 1},
    "one_tap": {"d_conv": 1},
    "two_taps": {"d_conv": 2},
    "seven_taps": {"d_conv": 7},
    "expand_3": {"d_inner": 72},
    "narrow": {"d_inner": 13},
    "rank_7": {"dt_rank": 7},
    "rank_1": {"dt_rank": 1},
    "epsilon": {"norm_epsilon": 1e-2},
    "one_id": {"vocab_size": 1, "padded_vocab_size": 1},
}
"""Every option by itself: what differs from MICRO."""

DTYPES = ("bfloat16", "int8", "int4")

any_configuration = st.builds(
    MambaConfig,
    d_model=st.sampled_from([8, 20, 30, 32]),
    n_layer=st.integers(1, 4),
    vocab_size=st.sampled_from([1, 17, 40]),
    padded_vocab_size=st.sampled_from([40, 48]),
    d_state=st.sampled_from([1, 8, 16, 17]),
    d_conv=st.integers(1, 5),
    d_inner=st.sampled_from([16, 40, 45, 64]),
    dt_rank=st.sampled_from([1, 2, 5]),
    rms_norm=st.booleans(),
    norm_epsilon=st.sampled_from([1e-5, 1e-3]),
    bias=st.booleans(),
    conv_bias=st.booleans(),
    tie_embeddings=st.booleans(),
    mixer_rms_eps=st.sampled_from([None, 1e-6, 1e-2]),
)

examples = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

# Of float32 rounding through some layers, relative to the largest number.
TOLERANCE = 4e-6
USUAL_MAGNIFICATION = 4.0


def model_of(config: MambaConfig = MICRO, seed: int = 0, **settings: Any) -> vimnp.MambaLM:
    """Random weights, with embeddings large enough that every layer matters."""
    return vimnp.MambaLM(
        Metadata(config=config, preprocessing=None), reader_of(config, seed), **settings
    )


def reader_of(
    config: MambaConfig, seed: int = 0, *, decay: float = 0.0
) -> Callable[[str], np.ndarray]:
    """Random tensors; a larger embedding than that of an untrained network, and a faster decay."""
    read = random_reader(config, seed)

    def larger(name: str) -> np.ndarray:
        if name.endswith("A_log"):
            return read(name) + np.float32(decay)
        return read(name) * np.float32(20.0 if name == "backbone.embedding.weight" else 1.0)

    return larger


def ids_of(config: MambaConfig, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, config.padded_vocab_size, shape)


def assert_close(found: np.ndarray, truth: np.ndarray, magnification: float = 1.0) -> None:
    assert found.dtype == np.float32
    assert found.shape == truth.shape
    scale = max(1.0, np.abs(truth).max(initial=0.0)) * max(1.0, magnification / USUAL_MAGNIFICATION)
    assert np.abs(found - truth).max(initial=0.0) <= TOLERANCE * scale


def assert_is(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(found, expected, strict=True)


def through_a_pickle(model: vimnp.MambaLM) -> Any:
    return pickle.loads(pickle.dumps(model))


def assert_agrees(config: MambaConfig, seed: int = 0, length: int = 9) -> None:
    """Logits and states are those of float64."""
    model, ids = model_of(config, seed), ids_of(config, length, seed=seed)
    seen = plain_mamba.run(config, reader_of(config, seed), ids)
    times = plain_mamba.last_magnification(config, seen)
    state = model.new_state()
    assert_close(model(ids, state=state), seen.logits, times)
    assert_close(model(ids, last_only=True), seen.logits[-1], times)
    assert_close(model._forward_all(ids, "features")[0], seen.final[-1], times)
    assert state.ids == [ids.tolist()]
    for layer in range(config.n_layer):
        assert_close(state.conv[layer][0], seen.conv[layer], times)
        assert_close(state.ssm[layer][0], seen.ssm[layer], times)


# ---- The arithmetic ------------------------------------------------------------------------------


@pytest.mark.parametrize("option", OPTIONS)
def test_each_option_agrees_with_float64(option: str) -> None:
    assert_agrees(dataclasses.replace(MICRO, **OPTIONS[option]))


@pytest.mark.parametrize("option", [name for name in OPTIONS if name != "default"])
def test_each_option_changes_the_logits(option: str) -> None:
    """Otherwise the test above would prove nothing of it."""
    config = dataclasses.replace(MICRO, **OPTIONS[option])
    ids = ids_of(config, 9)
    found, others = (model_of(c)(ids % c.padded_vocab_size) for c in (config, MICRO))
    assert found.shape != others.shape or np.abs(found - others).max() > 1e-4


@examples
@given(config=any_configuration, seed=st.integers(0, 3), length=st.sampled_from([1, 2, 5, 40]))
def test_every_configuration_agrees_with_float64(
    config: MambaConfig, seed: int, length: int
) -> None:
    assert_agrees(config, seed, length)


def test_the_embedding_is_in_memory_once_where_it_is_the_head() -> None:
    tied, untied = (model_of(dataclasses.replace(MICRO, tie_embeddings=t)) for t in (True, False))
    assert tied._network._parameters.head is tied._network._parameters.embedding
    assert untied._network._parameters.head is not untied._network._parameters.embedding


# ---- The original --------------------------------------------------------------------------------


@pytest.fixture(params=golden_mamba.CASES)
def case(golden: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, vimnp.MambaLM, Any]]:
    """A recorded network, and what the original has made of it."""
    config = golden_mamba.CASES[request.param]
    with golden_mamba.weights(golden, request.param) as read:
        model = vimnp.MambaLM(Metadata(config=config, preprocessing=None), read)
    with golden_mamba.recorded(golden, request.param) as recorded:
        yield request.param, model, recorded


def test_logits_and_states_are_the_originals(case) -> None:
    """Within 1.5 times the original's own error in float32, at its largest."""
    name, model, recorded = case
    own = golden_mamba.ERRORS[name]
    for length in golden_mamba.LENGTHS:
        key = f"p{length}"
        state, ids = model.new_state(), recorded[f"{key}_ids"]
        logits = model(ids, state=state)
        error = np.abs(logits[recorded[f"{key}_rows"]] - recorded[f"{key}_logits64"]).max()
        assert error <= 1.5 * own
        conv = recorded[f"{key}_conv_state64"][..., 1:].transpose(0, 2, 1)
        ssm = recorded[f"{key}_ssm_state64"].transpose(0, 2, 1)
        for layer in range(model.config.n_layer):
            np.testing.assert_allclose(state.conv[layer][0], conv[layer], atol=1e-4)
            np.testing.assert_allclose(state.ssm[layer][0], ssm[layer], atol=1e-4, rtol=1e-4)
        if len(ids) > 1:
            logs = plain_mamba.log_probabilities(logits.astype(np.float64), ids)
            np.testing.assert_allclose(logs, recorded[f"{key}_logprob64"], atol=4 * own)


def test_greedy_tokens_are_the_originals(case) -> None:
    _, model, recorded = case
    for key, ids_that_exist in (
        ("gen_ids", model.config.vocab_size),
        ("gen_ids_padded_vocab", model.config.padded_vocab_size),
    ):
        if key not in recorded:
            continue
        state, ids = model.new_state(), list(recorded["gen_prompt_ids"])
        new = ids
        for _ in range(40):
            logits = model(new, state=state, last_only=True)
            new = [int(logits[:ids_that_exist].argmax())]
            ids = ids + new
        assert ids == recorded[key].tolist()


def test_batches_are_the_originals(case) -> None:
    _, model, recorded = case
    if "batch_ids" not in recorded:
        pytest.skip("there is no batch of this network")
    found = model(recorded["batch_ids"], last_only=True)
    assert np.abs(found - recorded["batch_last_logits64"]).max() < 4e-4


def test_streams_are_the_originals(case) -> None:
    """Of the NumPy network, which has them: after the embedding, and what the last norm gives."""
    _, model, recorded = case
    ids = recorded["p7_ids"]
    finals = [model._forward_all(ids[: end + 1], "features")[0] for end in range(7)]
    if "p7_final64" in recorded:
        np.testing.assert_allclose(finals, recorded["p7_final64"], atol=1e-4)


# ---- However it is cut ---------------------------------------------------------------------------

LONG = 150


def in_chunks(model: vimnp.MambaLM, ids: np.ndarray, chunk: int) -> tuple[np.ndarray, Any]:
    """Logits of some sequences (batch, length), and the state after them."""
    state = model.new_state(len(ids))
    parts = [model(ids[:, i : i + chunk], state=state) for i in range(0, ids.shape[1], chunk)]
    return np.concatenate(parts, axis=1), state


CUT = {
    "default": MICRO,
    "falcon": dataclasses.replace(MICRO, d_state=16, mixer_rms_eps=1e-6, bias=True),
    "layer_norm": dataclasses.replace(MICRO, rms_norm=False, d_conv=2, d_inner=45),
}


@pytest.mark.parametrize("option", CUT)
@pytest.mark.parametrize("chunk", [1, 7, 31, 32, 33, 64])
def test_no_chunk_changes_a_bit(chunk: int, option: str) -> None:
    model = model_of(CUT[option])
    ids = ids_of(MICRO, 1, LONG)
    whole, chunked = in_chunks(model, ids, LONG), in_chunks(model, ids, chunk)
    assert_is(chunked[0], whole[0])
    assert_is(chunked[1].memory, whole[1].memory)
    assert chunked[1].ids == whole[1].ids == ids.tolist()


def test_no_chunk_changes_a_bit_of_the_recorded_networks(case) -> None:
    _, model, recorded = case
    ids = recorded["p257_ids"][None]
    whole, state = in_chunks(model, ids, 257)
    for chunk in (7, 64):
        found, other = in_chunks(model, ids, chunk)
        assert_is(found, whole)
        assert_is(other.memory, state.memory)


@pytest.mark.parametrize("decay", [3.5, 4.0, 4.5])
def test_states_that_are_forgotten_at_once_change_nothing_of_it(decay: float) -> None:
    """Their exponentials are beyond what the kernels' fast way can do, in some tokens."""
    config = dataclasses.replace(MICRO, d_inner=96, d_state=16)
    model = vimnp.MambaLM(
        Metadata(config=config, preprocessing=None), reader_of(config, decay=decay)
    )
    ids = ids_of(config, 1, LONG)
    whole, state = in_chunks(model, ids, LONG)
    for chunk in (1, 7, 31, 33):
        found, other = in_chunks(model, ids, chunk)
        assert_is(found, whole)
        assert_is(other.memory, state.memory)


@examples
@given(config=any_configuration, cuts=st.sets(st.integers(1, 39)), seed=st.integers(0, 3))
def test_no_cutting_of_any_network_changes_a_bit(
    config: MambaConfig, cuts: set[int], seed: int
) -> None:
    model, ids = model_of(config, seed), ids_of(config, 1, 40, seed=seed)
    whole, state = in_chunks(model, ids, 40)
    other, parts = model.new_state(), np.split(ids[0], sorted(cuts))
    assert_is(np.concatenate([model(part, state=other) for part in parts]), whole[0])
    assert_is(other.memory, state.memory)


@pytest.mark.usefixtures("small_work_is_split")
@pytest.mark.parametrize("option", CUT)
def test_no_number_of_threads_changes_a_bit(option: str) -> None:
    ids = ids_of(MICRO, 2, 70)
    one = model_of(CUT[option], num_threads=1)
    whole, state = in_chunks(one, ids, 70)
    for num_threads in range(2, 9):
        model = one.with_settings(num_threads=num_threads)
        for chunk in (70, 33, 1):
            found, other = in_chunks(model, ids, chunk)
            assert_is(found, whole)
            assert_is(other.memory, state.memory)


@pytest.mark.parametrize("option", CUT)
def test_no_batch_changes_a_bit(option: str) -> None:
    model, ids = model_of(CUT[option]), ids_of(MICRO, 4, 70)
    whole, state = in_chunks(model, ids, 70)
    for row in range(4):
        alone, of_row = in_chunks(model, ids[row : row + 1], 70)
        assert_is(alone[0], whole[row])
        assert_is(of_row.memory[0], state.memory[row])
    last = model(ids, last_only=True)
    assert_is(last, whole[:, -1])
    for chunk in (1, 31):
        assert_is(in_chunks(model, ids, chunk)[0], whole)


@pytest.mark.usefixtures("small_work_is_split")
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_cutting_of_stored_matrices_changes_a_bit(dtype: str) -> None:
    config = dataclasses.replace(MICRO, d_model=40, d_state=16)
    one, ids = model_of(config, dtype=dtype, num_threads=1), ids_of(config, 4, LONG)
    whole, state = in_chunks(one, ids[:1], LONG)
    for chunk in (1, 7, 31, 32, 33, 64):
        for num_threads in (1, 2, 8) if chunk in (1, 33) else (2,):
            model = one.with_settings(num_threads=num_threads)
            found, other = in_chunks(model, ids[:1], chunk)
            assert_is(found, whole)
            assert_is(other.memory, state.memory)
    for chunk in (1, 33, LONG):
        batch, states = in_chunks(one, ids, chunk)
        assert_is(batch[:1], whole)
        assert_is(states.memory[:1], state.memory)


@pytest.mark.parametrize("dtype", DTYPES)
def test_stored_matrices_agree_with_float64(way: Way, dtype: str) -> None:
    """With the weights that they stand for; natively int8 and int4 round what they meet, too."""
    config = dataclasses.replace(MICRO, d_model=40, d_inner=96)
    read, tensors = reader_of(config), config.tensors()

    def decoded(name: str) -> np.ndarray:
        stored = as_stored(tensors[name], dtype, read(name))
        return stored if isinstance(stored, np.ndarray) else decode(stored)

    ids = ids_of(config, 20)
    seen, found = plain_mamba.run(config, decoded, ids), model_of(config, dtype=dtype)(ids)
    if way.backend == "numpy" or dtype == "bfloat16":
        assert_close(found, seen.logits, plain_mamba.last_magnification(config, seen))
    else:
        error = found - seen.logits
        assert np.sqrt((error**2).mean()) < 0.02 * np.sqrt((seen.logits**2).mean())


def test_sequences_of_different_lengths_go_on_together() -> None:
    model, ids = model_of(), ids_of(MICRO, 3, 40)
    states = []
    for row, length in enumerate((1, 9, 33)):
        states.append(model.new_state())
        model(ids[row, :length], state=states[-1])
    joined = vimnp.State.join(states)
    found = model(ids[:, :4], state=joined)
    for row, length in enumerate((1, 9, 33)):
        whole = model(np.concatenate([ids[row, :length], ids[row, :4]]))
        assert_is(found[row], whole[length:])
        model(ids[row, :4], state=states[row])
        assert_is(joined.memory[row], states[row].memory[0])
    assert joined.ids == [state.ids[0] for state in states]


def test_a_large_batch_is_the_same() -> None:
    """It goes through the network a few tokens at a time."""
    model, ids = model_of(), ids_of(MICRO, 40, 30)
    found = model(ids)
    for row in (0, 39):
        assert_is(found[row], model(ids[row]))


def test_what_is_saved_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    model, ids = model_of(), ids_of(MICRO, 2, 60)
    state = model.new_state(2)
    model(ids[:, :25], state=state)
    state.save(tmp_path / "state.npz")
    kept = state.copy()
    expected = model(ids[:, 25:], state=state)
    for found in (model.load_state(tmp_path / "state.npz"), kept):
        assert_is(model(ids[:, 25:], state=found), expected)
        assert_is(found.memory, state.memory)
        assert found.ids == state.ids


def test_models_that_run_at_once_give_the_same_bits() -> None:
    model, ids = model_of(), ids_of(MICRO, 8, 50)
    expected = [model(row) for row in ids]
    found: dict[int, np.ndarray] = {}

    def run(index: int) -> None:
        found[index] = model(ids[index])

    threads = [threading.Thread(target=run, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, logits in enumerate(expected):
        assert_is(found[index], logits)


# ---- How it is called ----------------------------------------------------------------------------


def test_shapes() -> None:
    model, padded = model_of(), MICRO.padded_vocab_size
    assert model([1, 2, 3]).shape == (3, padded)
    assert model((1, 2, 3), last_only=True).shape == (padded,)
    assert model([[1, 2, 3]]).shape == (1, 3, padded)
    assert model(np.array([[1, 2], [3, 4]], np.uint8)).shape == (2, 2, padded)
    assert model([[1, 2], [3, 4]], last_only=True).shape == (2, padded)


@pytest.mark.parametrize("make", [list, tuple, np.array, lambda ids: np.array(ids, np.uint64)])
def test_ids_may_be_of_any_kind(make) -> None:
    model, ids = model_of(), [3, 0, 39]
    assert_is(model(make(ids)), model(np.array(ids, np.intc)))


def test_ids_may_lie_anyhow() -> None:
    model, ids = model_of(), ids_of(MICRO, 6, 8)
    assert_is(model(ids[::-2, ::3]), model(np.ascontiguousarray(ids[::-2, ::3])))
    assert_is(model(np.asfortranarray(ids)), model(ids))


BAD_IDS: dict[str, tuple[Any, str]] = {
    "too large": ([1, 40], "id 40 at position 1 is not in .*; expected ids from 0 to 39"),
    "negative": ([-1], "id -1 at position 0 is not in"),
    "in a batch": ([[1, 2], [3, 99]], "id 99 at position 1 of sequence 1 is not in"),
    "huge": (np.array([1 << 40]), "id 1099511627776 at position 0"),
    "beyond any integer": ([1 << 80], "ids are of the dtype object"),
    "empty": ([], r"there are no ids \(an empty prompt\)"),
    "an empty batch": (np.empty((0, 3), np.intc), "there are no ids"),
    "rows without ids": ([[], []], "there are no ids"),
    "floats": ([1.0, 2.0], "ids are of the dtype float64; expected whole numbers from 0 to 39"),
    "truths": ([True], "ids are of the dtype bool"),
    "text": ("The with statement", r"ids are text; .*model\.tokenizer\.encode"),
    "bytes": (b"abc", "ids are text"),
    "a number": (5, r"ids have the shape \(\); expected .*\(length,\) or \(batch, length\)"),
    "three dimensions": ([[[1]]], r"ids have the shape \(1, 1, 1\)"),
    "ragged": ([[1, 2], [3]], "rows of different lengths|dtype object"),
    "none": (None, "ids have the shape|dtype object"),
}


@pytest.mark.parametrize("case_of_bad", BAD_IDS)
def test_ids_that_are_none_are_refused(case_of_bad: str) -> None:
    ids, problem = BAD_IDS[case_of_bad]
    model = model_of()
    state = model.new_state()
    before = state.memory.copy()
    with pytest.raises(vimnp.TextError, match=problem):
        model(ids, state=state)
    assert_is(state.memory, before)
    model([1], state=state)  # nothing is half-done


@pytest.mark.parametrize("batch", [0, -1, 1.5, True, None, "2"])
def test_a_state_of_no_sequences_is_refused(batch: Any) -> None:
    with pytest.raises(vimnp.ConfigError, match=r"batch is .*; expected a whole number from 1"):
        model_of().new_state(batch)


def test_states_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    model = model_of()
    model.new_state().save(tmp_path / "state.npz")
    others = {
        "other weights": model_of(seed=1),
        "other sizes": model_of(dataclasses.replace(MICRO, d_state=6)),
        "another vocabulary": model_of(dataclasses.replace(MICRO, vocab_size=36)),
        "another dtype": model_of(dtype="int8"),
    }
    for other in others.values():
        with pytest.raises(vimnp.StateError, match=r"the state is of .*model\.new_state"):
            model([1], state=other.new_state())
        with pytest.raises(vimnp.StateError, match=r"state\.npz: "):
            other.load_state(tmp_path / "state.npz")
    with pytest.raises(vimnp.StateError, match="is of 2 sequences, and the ids of 1; expected as"):
        model([1], state=model.new_state(2))
    with pytest.raises(vimnp.StateError, match="is of 1 sequences, and the ids of 2"):
        model([[1], [2]], state=model.new_state())
    with pytest.raises(vimnp.StateError, match=r"state is dict; expected what model\.new_state"):
        model([1], state={})  # type: ignore[arg-type]


def test_an_interrupted_pass_leaves_a_state_that_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = model_of()
    state, forward, passes = model.new_state(), model._network.forward, []

    def interrupted(*arguments: Any, **options: Any) -> None:
        passes.append(1)
        if len(passes) == 2:
            raise KeyboardInterrupt
        forward(*arguments, **options)

    monkeypatch.setattr(model._network, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model(ids_of(MICRO, LONG), state=state)
    assert len(passes) == 2
    monkeypatch.undo()
    for _ in range(2):
        with pytest.raises(vimnp.StateError, match="was interrupted"):
            model([1], state=state)
    model([1], state=model.new_state())


# ---- Files, pickles, settings --------------------------------------------------------------------


def written(path: Path, config: MambaConfig = MICRO, dtype: str = "float32", **about: Any) -> Path:
    read = reader_of(config)
    tensors = ((name, read(name)) for name in config.parameter_shapes())
    metadata = Metadata(config=config, dtype=dtype, preprocessing=None, **about)
    write_weights(path, metadata, tensors)
    return path


def test_a_file_is_loaded_by_its_family(tmp_path: Path) -> None:
    path, ids = written(tmp_path / "lm.npz"), ids_of(MICRO, 20)
    expected = model_of()(ids)
    for load in (vimnp.load, vimnp.MambaLM.from_npz):
        model = load(path)
        assert type(model) is vimnp.MambaLM
        assert_is(model(ids), expected)
    assert vimnp.load(path, backend="numpy", num_threads=1).way[:3] == ("numpy", "fused", 1)
    with pytest.raises(vimnp.ConfigError, match=r"lm\.npz is a language model; expected neither"):
        vimnp.load(path, img_size=32)
    with pytest.raises(vimnp.ConfigError, match="expected neither img_size nor scan"):
        vimnp.load(path, scan="fixlen")
    with pytest.raises(vimnp.ConfigError, match=r"is no language model; expected no dtype"):
        vimnp.load("digits", dtype="int8")
    with pytest.raises(vimnp.ConfigError, match="family 'mamba', which VisionMamba does not have"):
        vimnp.VisionMamba.from_npz(path)
    with WeightsFile(vimnp.weights.BUNDLED_DIGITS) as digits, pytest.raises(vimnp.ConfigError):
        vimnp.MambaLM.from_weights(digits)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_dtype_may_be_chosen_at_conversion_or_at_load(tmp_path: Path, dtype: str) -> None:
    ids = ids_of(MICRO, 20)
    stored = vimnp.load(written(tmp_path / "stored.npz", dtype=dtype))
    asked = vimnp.load(written(tmp_path / "plain.npz"), dtype=dtype)
    assert stored.dtype == asked.dtype == dtype
    found = stored(ids)
    assert_is(asked(ids), found)
    assert_is(vimnp.load(tmp_path / "stored.npz", dtype=dtype)(ids), found)
    error = np.abs(found - model_of()(ids)).max()
    assert 0 < error < {"bfloat16": 0.1, "int8": 0.2, "int4": 4}[dtype]


def test_a_dtype_that_means_nothing_is_refused() -> None:
    with pytest.raises(vimnp.ConfigError, match=r"dtype is 'float8'; expected one of \('float32'"):
        model_of(dtype="float8")


def test_weights_are_told_apart_by_what_is_in_them(tmp_path: Path) -> None:
    path = written(tmp_path / "a.npz")
    digests = {vimnp.load(path).digest, vimnp.load(written(tmp_path / "b.npz")).digest}
    assert len(digests) == 1
    assert model_of().digest == model_of().digest
    others = {
        vimnp.load(path).digest,
        vimnp.load(path, dtype="int8").digest,
        vimnp.load(written(tmp_path / "c.npz", dtype="float16")).digest,
        vimnp.load(written(tmp_path / "d.npz", dataclasses.replace(MICRO, vocab_size=36))).digest,
        model_of(seed=1).digest,
    }
    assert len(others) == 5


def test_a_tokenizer_that_needs_no_file(tmp_path: Path) -> None:
    config = dataclasses.replace(MICRO, vocab_size=256, padded_vocab_size=256)
    model = vimnp.load(written(tmp_path / "bytes.npz", config, tokenizer="bytes"))
    assert model.tokenizer is not None
    assert model.tokenizer.encode("né") == [110, 195, 169]
    assert model(model.tokenizer.encode("né")).shape == (3, 256)
    assert model_of().tokenizer is None
    other = through_a_pickle(model)
    assert other.tokenizer.decode([110]) == "n"
    assert vimnp.MambaLM.random(config, tokenizer="bytes").tokenizer is not None


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, through_a_pickle])
def test_copies_and_pickles_give_the_same_bits_and_know_the_states(again) -> None:
    model, ids = model_of(), ids_of(MICRO, 40)
    state = model.new_state()
    expected = [model(ids[:20], state=state.copy()), model(ids[20:])]
    other = again(model)
    assert_is(other(ids[:20], state=state), expected[0])
    assert_is(other(ids[20:]), expected[1])
    assert other.digest == model.digest


@only(COMPILED_WAYS)
def test_a_pickle_runs_without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIMNP_BACKEND")
    model, ids = model_of(), ids_of(MICRO, 40)
    content, logits = pickle.dumps(model), model(ids)
    monkeypatch.setattr(extension, "_scan", None)
    other = pickle.loads(content)
    assert other.backend == "numpy"
    assert_close(other(ids), logits.astype(np.float64))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_pickle_keeps_how_matrices_are_stored(dtype: str) -> None:
    model, ids = model_of(dtype=dtype), ids_of(MICRO, 40)
    other = through_a_pickle(model)
    assert other.dtype == dtype
    assert_is(other(ids), model(ids))
    assert_is(through_a_pickle(other)(ids), model(ids))


def test_random_weights_depend_on_the_seed() -> None:
    first, again, other = (vimnp.MambaLM.random(MICRO, seed) for seed in (0, 0, 1))
    ids = ids_of(MICRO, 5)
    assert_is(again(ids), first(ids))
    assert np.abs(other(ids) - first(ids)).max() > 1e-3


def test_a_model_needs_weights() -> None:
    with pytest.raises(TypeError, match=r"MambaLM needs weights; expected MambaLM\.from_npz"):
        vimnp.MambaLM()


def test_what_a_model_says_of_itself(way: Way) -> None:
    model = model_of()
    assert repr(model).startswith("MambaLM(d_model 24, 2 layers, 37 ids, float32; ")
    lines = model.summary().splitlines()
    assert "37 ids, in 40 rows, no tokenizer" in lines[1]
    assert f"{model.num_parameters:,}" in model.summary()
    assert model.backend == way.backend


def test_costs_grow_with_the_prompt_but_for_the_head() -> None:
    model = model_of()
    one, ten = model.costs(), model.costs(10)
    assert one["head"].flops == ten["head"].flops == 2 * MICRO.d_model * MICRO.padded_vocab_size
    assert ten["in_proj"].flops == 10 * one["in_proj"].flops
    assert sum(cost.bytes for cost in one.values()) > 4 * model.num_parameters
