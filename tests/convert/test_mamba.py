"""Converting Mamba language models: both layouts, what lies beside the weights, what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import golden_mamba
from tests.support.arrays import assert_same
from tests.support.mamba_checkpoints import (
    CONFIG,
    EMBEDDING,
    HEAD,
    mamba_weights,
    original_config,
    safetensors,
    transformers_config,
    write_json,
    write_original,
    write_transformers,
)
from tests.support.micro import MICRO
from tests.support.random_weights import random_weights
from tests.support.torch_format import save
from vimnp.convert import convert_checkpoint
from vimnp.convert.mamba.infer import infer_config
from vimnp.errors import CheckpointError
from vimnp.models.mamba.config import MambaConfig
from vimnp.weights import WeightsFile, write_weights


def read_all(path: Path) -> dict[str, np.ndarray]:
    with WeightsFile(path) as file:
        return {name: file.read(name) for name in file.metadata.config.parameter_shapes()}


# ---- The recorded networks -----------------------------------------------------------------------


@pytest.mark.parametrize("name", golden_mamba.CASES)
def test_golden_configurations(name: str, golden: Path, tmp_path: Path) -> None:
    case = golden_mamba.convert_case(golden, name, tmp_path)
    assert case.recorded.is_file()
    with WeightsFile(case.weights) as file:
        assert file.metadata.config == golden_mamba.CASES[name]


@pytest.mark.parametrize(
    "name", [name for name, layouts in golden_mamba.LAYOUTS.items() if len(layouts) == 2]
)
def test_both_layouts_of_a_golden_case_hold_the_same_tensors(
    name: str, golden: Path, tmp_path: Path
) -> None:
    first, second = (
        read_all(golden_mamba.convert_case(golden, name, tmp_path, layout=layout).weights)
        for layout in golden_mamba.LAYOUTS[name]
    )
    assert_same(first, second)


# ---- Every option, in both layouts ---------------------------------------------------------------

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "untied": {"tie_embeddings": False},
    "LayerNorm": {"rms_norm": False},
    "biases": {"bias": True},
    "no bias of the convolution": {"conv_bias": False},
    "other sizes": {"d_state": 1, "d_conv": 2, "d_inner": 7, "dt_rank": 11},
    "nothing padded": {"vocab_size": 64},
    "an epsilon": {"norm_epsilon": 1e-3},
    "FalconMamba": {"mixer_rms_eps": 1e-4, "tie_embeddings": False},
    "ends": {"eos_ids": (0, 60)},
}
DTYPES = ("float32", "float16", "bfloat16")


@pytest.mark.parametrize("stored", DTYPES)
@pytest.mark.parametrize("option", OPTIONS)
def test_transformers_layout(option: str, stored: str, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, **OPTIONS[option])
    weights = mamba_weights(config)
    for shards in (1, 3):
        says = transformers_config(config, vocab_size=config.vocab_size)
        folder = write_transformers(
            tmp_path / f"{shards}", config, weights, dtype=stored, says=says, shards=shards
        )
        conversion = convert_checkpoint(folder, tmp_path / "out.npz")
        assert conversion.metadata.config == config
        untold = () if config.eos_ids else ("eos_ids=none, as no config.json tells",)
        assert conversion.assumptions == untold
        assert_same(read_all(tmp_path / "out.npz"), weights)


@pytest.mark.parametrize("stored", DTYPES)
@pytest.mark.parametrize("option", OPTIONS)
def test_original_layout(option: str, stored: str, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, **OPTIONS[option])
    weights = mamba_weights(config)
    folder = write_original(tmp_path / "in", config, weights, dtype=stored)
    conversion = convert_checkpoint(folder, tmp_path / "out.npz")
    of_original = {"norm_epsilon": 1e-5, "mixer_rms_eps": None, "eos_ids": ()}  # it has no others
    assert conversion.metadata.config == dataclasses.replace(config, **of_original)
    assert conversion.assumptions == ("eos_ids=none, as no config.json tells",)
    assert_same(read_all(tmp_path / "out.npz"), weights)


@settings(max_examples=40)
@given(
    config=st.builds(
        MambaConfig,
        d_model=st.integers(1, 40),
        n_layer=st.integers(1, 12),
        vocab_size=st.integers(1, 30),
        padded_vocab_size=st.integers(30, 40),
        d_state=st.integers(1, 20),
        d_conv=st.integers(1, 5),
        d_inner=st.integers(1, 50),
        dt_rank=st.integers(1, 9),
        rms_norm=st.booleans(),
        norm_epsilon=st.floats(0, 0.5),
        bias=st.booleans(),
        conv_bias=st.booleans(),
        tie_embeddings=st.booleans(),
        mixer_rms_eps=st.none() | st.floats(0, 0.5),
        eos_ids=st.lists(st.just(0), max_size=2).map(tuple),
    )
)
def test_any_configuration_is_found_again(config: MambaConfig) -> None:
    told = {name: getattr(config, name) for name in ("vocab_size", "norm_epsilon", "mixer_rms_eps")}
    shapes = config.parameter_shapes()
    assert infer_config(shapes, {**told, "eos_ids": config.eos_ids}) == (config, [])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8", "int4"])
def test_the_dtype_of_the_weights_file(dtype: str, tmp_path: Path) -> None:
    weights = mamba_weights(CONFIG)
    folder = write_transformers(tmp_path / "in", weights=weights)
    conversion = convert_checkpoint(folder, tmp_path / "out.npz", dtype=dtype)
    assert conversion.metadata.dtype == dtype
    write_weights(tmp_path / "expected.npz", conversion.metadata, weights.items())
    assert_same(read_all(tmp_path / "out.npz"), read_all(tmp_path / "expected.npz"))


# ---- Where the weights are -----------------------------------------------------------------------


def test_a_file_is_as_good_as_its_folder(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, norm_epsilon=1e-3)
    folder = write_transformers(tmp_path / "in", config, shards=2)
    index = folder / "model.safetensors.index.json"
    for source in (folder, index):
        conversion = convert_checkpoint(source, tmp_path / "out.npz")
        assert conversion.metadata.config == dataclasses.replace(config, vocab_size=64)
        assert conversion.metadata.source == index.name
    (folder / "model.safetensors").write_bytes(safetensors(mamba_weights(CONFIG, seed=5)))
    for source in (folder, folder / "model.safetensors"):  # which wins over an index
        metadata = convert_checkpoint(source, tmp_path / "out.npz").metadata
        assert (metadata.source, metadata.config.norm_epsilon) == ("model.safetensors", 1e-3)
    assert_same(read_all(tmp_path / "out.npz"), mamba_weights(CONFIG, seed=5))


def test_the_digest_of_shards_is_of_one_behind_the_other(tmp_path: Path) -> None:
    folder = write_transformers(tmp_path / "in", shards=3)
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(path.read_bytes())
    conversion = convert_checkpoint(folder, tmp_path / "out.npz")
    assert conversion.metadata.source_sha256 == digest.hexdigest()


def test_shards_of_torch(tmp_path: Path) -> None:
    weights = {f"module.{name}": array for name, array in mamba_weights(CONFIG).items()}
    index = {}
    for number in range(2):
        part = dict(list(weights.items())[number::2])
        save(tmp_path / f"pytorch_model-0000{number + 1}-of-00002.bin", part)
        index |= dict.fromkeys(part, f"pytorch_model-0000{number + 1}-of-00002.bin")
    write_json(tmp_path / "pytorch_model.bin.index.json", {"weight_map": index})
    conversion = convert_checkpoint(tmp_path, tmp_path / "out.npz", settings={"vocab_size": "61"})
    assert conversion.metadata.config == CONFIG
    assert_same(read_all(tmp_path / "out.npz"), mamba_weights(CONFIG))


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    """What lies beside the weights means nothing to a network of another family."""
    save(tmp_path / "pytorch_model.bin", {"model": random_weights(MICRO)})
    (tmp_path / "config.json").write_bytes(b"\xff")
    assert convert_checkpoint(tmp_path, tmp_path / "out.npz").metadata.config.family.name == "vim"


# ---- What the files beside the weights tell ------------------------------------------------------


def test_without_config_json_all_is_assumed(tmp_path: Path) -> None:
    folder = write_original(tmp_path / "in")
    (folder / "config.json").unlink()
    conversion = convert_checkpoint(folder, tmp_path / "out.npz")
    assert conversion.metadata.config == dataclasses.replace(CONFIG, vocab_size=64)
    assert conversion.assumptions == (
        "vocab_size=64, all rows of the embedding, as no config.json tells",
        "norm_epsilon=1e-05, as no config.json tells",
        "mixer_rms_eps=none, as no config.json tells",
        "eos_ids=none, as no config.json tells",
    )
    told = {"vocab_size": "61", "norm_epsilon": "1e-3", "mixer_rms_eps": "1e-6", "eos_ids": "0,7"}
    conversion = convert_checkpoint(folder, tmp_path / "out.npz", settings=told)
    assert conversion.assumptions == ()
    assert conversion.metadata.config == dataclasses.replace(
        CONFIG, norm_epsilon=1e-3, mixer_rms_eps=1e-6, eos_ids=(0, 7)
    )


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ({"mixer_rms_eps": 1e-3}, 1e-3),  # with the model_type of a Mamba
        ({"model_type": "falcon_mamba"}, 1e-6),
        ({"model_type": "falcon_mamba", "mixer_rms_eps": 0}, 0.0),
        ({"architectures": ["FalconMambaForCausalLM"]}, 1e-6),
        ({"architectures": ["MambaForCausalLM"]}, None),
        ({}, None),
    ],
)
def test_what_tells_a_falcon(says: dict[str, Any], expected: float | None, tmp_path: Path) -> None:
    folder = write_transformers(tmp_path / "in", says=transformers_config(CONFIG, **says))
    conversion = convert_checkpoint(folder, tmp_path / "out.npz")
    assert conversion.metadata.config.mixer_rms_eps == expected


def test_settings_win_over_config_json(tmp_path: Path) -> None:
    folder = write_transformers(tmp_path / "in", says=transformers_config(CONFIG, eos_token_id=5))
    told = {"vocab_size": "60", "eos_ids": "none", "mixer_rms_eps": "none"}
    config = convert_checkpoint(folder, tmp_path / "out.npz", settings=told).metadata.config
    assert (config.vocab_size, config.eos_ids) == (60, ())


@pytest.mark.parametrize("tied", [True, False, None])
def test_a_head_that_is_the_embedding_under_another_name(tied: bool | None, tmp_path: Path) -> None:
    weights = mamba_weights(CONFIG)
    weights |= {HEAD: weights[EMBEDDING].copy()}
    says = transformers_config(CONFIG, tie_word_embeddings=tied, vocab_size=61)
    sources = [
        write_transformers(tmp_path / "one", CONFIG, weights, says=says),
        write_transformers(tmp_path / "two", CONFIG, weights, says=says, shards=3),
        write_original(tmp_path / "three", CONFIG, weights, says=says),
    ]
    for source in sources:
        conversion = convert_checkpoint(source, tmp_path / "out.npz")
        assert conversion.metadata.config == CONFIG
        assert not any("left out" in assumption for assumption in conversion.assumptions)


def test_a_head_that_is_no_twin_and_nothing_says_so(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, tie_embeddings=False)
    says = original_config(config, tie_embeddings=None)  # as in the files of 2023
    folder = write_original(tmp_path / "in", config, says=says)
    assert convert_checkpoint(folder, tmp_path / "out.npz").metadata.config == config


# ---- Tokenizers ----------------------------------------------------------------------------------

TOKENIZER: dict[str, Any] = {
    "version": "1.0",
    "added_tokens": [{"id": 60, "content": "<|end|>", "special": True}],
    "model": {"type": "BPE", "vocab": {"a": 0, "é": 59}, "merges": []},
}


def test_the_tokenizer_travels_with_the_weights(tmp_path: Path) -> None:
    folder = write_original(tmp_path / "in")
    text = json.dumps(TOKENIZER, ensure_ascii=False)
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    write_json(
        folder / "tokenizer_config.json", {"chat_template": "{{ x }}", "eos_token": "<|end|>"}
    )
    conversion = convert_checkpoint(folder, tmp_path / "out.npz")
    assert conversion.assumptions == ()
    assert conversion.metadata.config.eos_ids == (60,)
    with WeightsFile(tmp_path / "out.npz") as file:
        assert file.metadata.tokenizer == "tokenizer.json"
        assert file.metadata.chat_template == "{{ x }}"
        assert file.tokenizer_text() == text
    (folder / "tokenizer.json").rename(tmp_path / "elsewhere.json")
    assert convert_checkpoint(folder, tmp_path / "out.npz").metadata.tokenizer is None
    conversion = convert_checkpoint(
        folder, tmp_path / "out.npz", tokenizer=tmp_path / "elsewhere.json"
    )
    assert conversion.metadata.tokenizer == "tokenizer.json"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, None),
        ({"chat_template": None}, None),
        ({"chat_template": [{"name": "tool", "template": "t"}]}, None),
        ({"chat_template": [{"name": "tool"}, {"name": "default", "template": "d"}]}, "d"),
    ],
)
def test_chat_templates(told: dict[str, Any], expected: str | None, tmp_path: Path) -> None:
    folder = write_original(tmp_path / "in")
    write_json(folder / "tokenizer.json", TOKENIZER)
    write_json(folder / "tokenizer_config.json", told)
    metadata = convert_checkpoint(folder, tmp_path / "out.npz").metadata
    assert metadata.chat_template == expected
    (folder / "chat_template.jinja").write_text("{{ é }}", encoding="utf-8")
    metadata = convert_checkpoint(folder, tmp_path / "out.npz").metadata
    assert metadata.chat_template == "{{ é }}"


def test_bytes_for_a_tokenizer(tmp_path: Path) -> None:
    config = MambaConfig(d_model=4, n_layer=1, vocab_size=256)
    folder = write_original(tmp_path / "in", config)
    write_json(folder / "tokenizer.json", TOKENIZER)
    metadata = convert_checkpoint(folder, tmp_path / "out.npz", tokenizer="bytes").metadata
    assert metadata.tokenizer == "bytes"
    with pytest.raises(CheckpointError, match="vocab_size 61; expected an id for each of the 256"):
        convert_checkpoint(
            write_original(tmp_path / "small"), tmp_path / "x.npz", tokenizer="bytes"
        )


def test_a_tokenizer_for_pictures_is_refused(micro_pth: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="takes no text; leave it out"):
        convert_checkpoint(micro_pth, tmp_path / "out.npz", tokenizer="bytes")


def test_a_golden_tokenizer(golden: Path, tmp_path: Path) -> None:
    tokenizer = golden_mamba.recorded_in(golden) / "20B_tokenizer.json"
    config = MambaConfig(d_model=2, n_layer=1, vocab_size=50277, padded_vocab_size=50280)
    folder = write_original(tmp_path / "in", config)
    convert_checkpoint(folder, tmp_path / "out.npz", tokenizer=tokenizer)
    with WeightsFile(tmp_path / "out.npz") as file:
        assert file.tokenizer_text() == tokenizer.read_text(encoding="utf-8")
    smaller = dataclasses.replace(config, vocab_size=50276)
    folder = write_original(tmp_path / "in", smaller)
    with pytest.raises(CheckpointError, match="ids up to 50276, but the network knows those below"):
        convert_checkpoint(folder, tmp_path / "other.npz", tokenizer=tokenizer)


# ---- What is refused -----------------------------------------------------------------------------

Change = Callable[[Path], object]
WEIGHTS = mamba_weights(CONFIG)
MIXER = "backbone.layers.0.mixer"


def saying(**changes: object) -> Change:
    """A folder of transformers' layout with another ``config.json``."""
    return lambda folder: write_json(folder / "config.json", transformers_config(CONFIG, **changes))


def originally(**changes: object) -> Change:
    """The same with the original's ``config.json``."""
    return lambda folder: write_json(folder / "config.json", original_config(CONFIG, **changes))


def named(name: str, data: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(data)


def holding(**changes: tuple[int, ...] | None) -> Change:
    """A folder with tensors added, replaced or (None) left out; a double underscore is a dot."""

    def change(folder: Path) -> None:
        tensors = dict(WEIGHTS)
        for name, shape in changes.items():
            tensors.pop(name.replace("__", "."), None)
            if shape is not None:
                tensors[name.replace("__", ".")] = np.ones(shape, np.float32)
        write_transformers(folder, CONFIG, tensors)

    return change


def in_mixer(name: str, shape: tuple[int, ...] | None = (2,)) -> Change:
    return holding(**{f"{MIXER}.{name}".replace(".", "__"): shape})


def with_index(values: object) -> Change:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "a.safetensors")
        text = values if isinstance(values, bytes) else json.dumps(values).encode()
        (folder / "model.safetensors.index.json").write_bytes(text)

    return change


def mapped(**places: object) -> Change:
    names = dict.fromkeys(
        (n.replace("embedding.", "embeddings.") for n in WEIGHTS), "a.safetensors"
    )
    return with_index({"weight_map": names | places})


def tokens(**changes: object) -> Change:
    return lambda folder: write_json(folder / "tokenizer.json", TOKENIZER | changes)


DEEP = b"[" * 100_000
HUGE = 10**400
REFUSED: dict[str, tuple[Change, str]] = {
    # Kin, by name
    "Mamba-2": (
        originally(ssm_cfg={"layer": "Mamba2"}),
        "ssm_cfg.layer is 'Mamba2'; expected Mamb",
    ),
    "Mamba-3": (originally(ssm_cfg={"layer": "Mamba3"}), "ssm_cfg.layer is 'Mamba3'"),
    "Mamba-2 of transformers": (
        saying(model_type="mamba2"),
        "model_type is 'mamba2'; expected mam",
    ),
    "Jamba": (saying(model_type="jamba"), "model_type is 'jamba'"),
    "hybrid": (originally(attn_layer_idx=[1]), "attn_layer_idx names layers with attention"),
    "MLPs": (originally(d_intermediate=64), "d_intermediate is 64, so its layers have an MLP"),
    "quantised": (saying(quantization_config={"quant_method": "x"}), "already quantised"),
    "other activation": (saying(hidden_act="gelu"), "hidden_act is 'gelu'; expected silu"),
    "tensors of Mamba-2": (
        in_mixer("dt_bias"),
        "'backbone.layers.0.mixer.dt_bias', so it is a Mam",
    ),
    "its norm": (in_mixer("norm.weight"), "so it is a Mamba-2 or Mamba-3 network"),
    "attention": (in_mixer("Wqkv.weight"), "so it is a hybrid network with attention"),
    "an MLP": (
        holding(backbone__layers__0__mlp__fc1__weight=(4, 4)),
        "a network with an MLP in it",
    ),
    "bitsandbytes, 4": (in_mixer("in_proj.weight.absmax"), "already quantised checkpoint"),
    "bitsandbytes, 8": (in_mixer("in_proj.SCB"), "already quantised checkpoint"),
    "GPTQ": (in_mixer("in_proj.qweight"), "already quantised checkpoint"),
    # config.json
    "of another width": (
        saying(hidden_size=24),
        "config.json has d_model 24, but the weights say 20",
    ),
    "of another depth": (originally(n_layer=3), "config.json has n_layer 3, but the weights say 2"),
    "too many ids": (saying(vocab_size=65), "vocab_size is 65, but the embedding has 64 rows"),
    "an id beyond": (saying(eos_token_id=64), "an id of eos_ids is 64"),
    "untied without a head": (
        saying(tie_word_embeddings=False),
        "the weights have no 'lm_head.wei",
    ),
    "not JSON": (named("config.json", b"{'d_model': 64}"), "config.json: not JSON"),
    "not UTF-8": (named("config.json", b'{"a": "\xff"}'), "config.json: not JSON"),
    "a list": (named("config.json", b"[]"), "config.json: holds no JSON object"),
    "deep": (named("config.json", DEEP), "config.json: not JSON .nested more than 64 deep"),
    "deep inside": (named("config.json", b'{"a": ' + DEEP), "nested more than 64 deep"),
    "long": (named("config.json", b" " * (1 << 20) + b"{}"), "config.json: has more than 1048576"),
    "many digits": (named("config.json", b'{"n_layer": 1' + b"0" * 9999), "config.json: not JSON"),
    "a huge number": (originally(n_layer=HUGE), "n_layer is a huge number; expected a whole"),
    "a huge vocabulary": (originally(vocab_size=HUGE), "vocab_size is a huge number"),
    "a huge id": (saying(eos_token_id=[HUGE]), "eos_token_id is a huge number"),
    "a negative id": (
        saying(eos_token_id=-1),
        "eos_token_id is -1; expected a whole number from 0",
    ),
    "an id of text": (saying(eos_token_id="0"), "eos_token_id is '0'"),
    "ids without end": (saying(eos_token_id=[0] * 2000), "eos_ids has 2000 ids"),
    "a fraction": (originally(n_layer=2.0), "n_layer is a value of type float"),
    "a vocabulary of true": (originally(vocab_size=True), "vocab_size is True"),
    "an epsilon of text": (saying(layer_norm_epsilon="1e-5"), "layer_norm_epsilon is '1e-5'"),
    "a negative epsilon": (saying(layer_norm_epsilon=-1e-5), "layer_norm_epsilon is -1e-05"),
    "NaN": (
        saying(layer_norm_epsilon=float("nan")),
        "layer_norm_epsilon is nan; expected a number",
    ),
    "infinity": (saying(mixer_rms_eps=float("inf")), "mixer_rms_eps is inf"),
    "an epsilon in lists": (saying(mixer_rms_eps=[[1]]), "mixer_rms_eps is a value of type list"),
    "tied in words": (saying(tie_word_embeddings="true"), "tie_word_embeddings is 'true'"),
    "a model_type in lists": (saying(model_type=["mamba"]), "model_type is a value of type list"),
    "ssm_cfg of text": (originally(ssm_cfg="Mamba1"), "ssm_cfg is 'Mamba1'; expected an object"),
    "a layer in lists": (originally(ssm_cfg={"layer": ["Mamba1"]}), "ssm_cfg.layer is a value of"),
    "an activation in lists": (saying(hidden_act=["silu"]), "hidden_act is a value of type list"),
    # The index
    "no map": (with_index({}), "index.json: has no 'weight_map'"),
    "an empty map": (with_index({"weight_map": {}}), "index.json: has no 'weight_map'"),
    "a map of lists": (with_index({"weight_map": []}), "index.json: has no 'weight_map'"),
    "an index of lists": (with_index([]), "index.json: holds no JSON object"),
    "a deep index": (with_index(DEEP), "index.json: not JSON .nested more than"),
    "a long index": (with_index(b" " * (4 << 20) + b"{}"), "index.json: has more than 4194304"),
    "a file above": (
        mapped(a="../secret.safetensors"),
        "has 'a' in '../secret.safetensors'; expect",
    ),
    "an absolute file": (mapped(a="/etc/passwd"), "has 'a' in '/etc/passwd'; expected the name"),
    "a file of Windows": (mapped(a="..\\a.safetensors"), "expected the name of a file beside it"),
    "a drive": (mapped(a="C:a.safetensors"), "expected the name of a file beside it"),
    "a folder above": (mapped(a=".."), "has 'a' in '..'; expected the name of a file"),
    "a zero byte": (mapped(a="a\0"), "expected the name of a file beside it"),
    "a place of numbers": (mapped(a=3), "has 'a' in 3; expected the name of a file"),
    "a file missing": (
        mapped(a="b.safetensors"),
        "its file 'b.safetensors' is missing; fetch that",
    ),
    "a tensor missing": (
        mapped(a="a.safetensors"),
        "'a' is not in 'a.safetensors', where the index",
    ),
    "files without end": (
        mapped(**{f"t{i}": f"f{i}.safetensors" for i in range(300)}),
        "index.json: has 301 files, 'a.safetensors', .*; expected at most 256",
    ),
    "itself": (
        mapped(a="model.safetensors.index.json"),
        "model.safetensors.index.json: not a complete zip archive",
    ),
    # The tensors
    "no x_proj": (in_mixer("x_proj.weight", None), "1 missing .'backbone.layers.0.mixer.x_proj.we"),
    "one too many": (holding(extra=(2,)), "1 not part of a Mamba language model .'extra'"),
    "another shape": (in_mixer("D", (23,)), "mixer.D' has .23,., expected .24,."),
    "a flat embedding": (
        holding(backbone__embedding__weight=(64,)),
        "embedding has 0 rows|dimensions",
    ),
    "no rows": (holding(backbone__embedding__weight=(0, 20)), "has 0 rows|none empty"),
    "a far layer": (holding(backbone__layers__99999__norm__weight=(20,)), "n_layer"),
    "half of LayerNorm": (holding(backbone__norm_f__bias=(20,)), "LayerNorm .*2 missing"),
    "a head of another shape": (
        holding(lm_head__weight=(63, 20)),
        "'lm_head.weight' has .63, 20., expected .64, 20.",
    ),
    "another head": (holding(lm_head__weight=(64, 20)), "config.json has tie_embeddings true, but"),
    # The tokenizer
    "no tokenizer": (
        named("tokenizer.json", b"{}"),
        "tokenizer.json: has no 'vocab' in its 'model'",
    ),
    "a tokenizer that is no JSON": (named("tokenizer.json", b"%PDF"), "tokenizer.json: not JSON"),
    "a tokenizer that is deep": (named("tokenizer.json", DEEP), "nested more than 64 deep"),
    "a tokenizer of lists": (
        named("tokenizer.json", b"[]"),
        "tokenizer.json: holds no JSON object",
    ),
    "a model of text": (tokens(model="BPE"), "has no 'vocab'"),
    "a larger tokenizer": (
        tokens(model={"vocab": {"a": 64}}),
        "its tokenizer gives ids up to 64, but the network knows those below 64",
    ),
    "a large Unigram": (tokens(model={"vocab": [["a", 0.0]] * 65}), "gives ids up to 64"),
    "a large added token": (
        tokens(added_tokens=[{"id": 99, "content": "x"}]),
        "gives ids up to 99",
    ),
    "an id of words": (
        tokens(model={"vocab": {"a": "b"}}),
        "the id of 'a' is 'b'; expected a whole",
    ),
    "a huge token": (tokens(model={"vocab": {"a": HUGE}}), "the id of 'a' is a huge number"),
    "a token of text": (tokens(added_tokens=["a"]), "an entry of its 'added_tokens' is 'a'"),
    "a token of numbers": (tokens(added_tokens=[3]), "an entry of its 'added_tokens' is 3"),
    "a template of numbers": (
        lambda folder: (
            tokens()(folder),
            named("tokenizer_config.json", b'{"chat_template": 3}')(folder),
        ),
        "tokenizer_config.json: its chat_template is 3; expected text",
    ),
    "a template that is no text": (
        lambda folder: (tokens()(folder), named("chat_template.jinja", b"\xff")(folder)),
        "chat_template.jinja: not UTF-8",
    ),
    "a long template": (
        lambda folder: (tokens()(folder), named("chat_template.jinja", b"x" * 200_000)(folder)),
        "chat_template has 200000 characters",
    ),
    # The folder
    "no weights": (
        lambda f: (f / "model.safetensors").unlink(),
        "a folder without weights; expected",
    ),
    "a folder for the weights": (
        lambda f: ((f / "model.safetensors").unlink(), (f / "model.safetensors").mkdir()),
        "model.safetensors: cannot be opened: a folder",
    ),
    "a folder for the config": (
        lambda f: ((f / "config.json").unlink(), (f / "config.json").mkdir()),
        "config.json: cannot be read: a folder",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str, tmp_path: Path) -> None:
    change, words = REFUSED[case]
    folder = write_transformers(tmp_path / "in")
    change(folder)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CheckpointError, match=words) as caught:
        convert_checkpoint(folder, tmp_path / "out.npz")
    message = str(caught.value)
    assert message.startswith(str(folder))
    assert message.count(str(folder)) <= 2
    assert message.isprintable()
    assert len(message) < 800
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "name",
    [
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "config.json",
        "tokenizer.json",
    ],
)
def test_nothing_is_written_over_what_is_read(name: str, tmp_path: Path) -> None:
    folder = write_transformers(tmp_path / "in", shards=2)
    write_json(folder / "tokenizer.json", TOKENIZER)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(CheckpointError, match=f"{name}: is the destination as well"):
        convert_checkpoint(folder, folder / name)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-2, 70)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["mamba", "falcon_mamba", "silu", "Mamba1", "a.safetensors", ".."]),
    lambda values: (
        st.lists(values, max_size=3)
        | st.dictionaries(st.sampled_from(["layer", "vocab", "content", "id"]), values, max_size=3)
    ),
    max_leaves=5,
)
KEYS = {
    "config.json": [*transformers_config(CONFIG), *original_config(CONFIG), "architectures"],
    "tokenizer.json": ["model", "added_tokens"],
    "tokenizer_config.json": ["chat_template", "eos_token"],
    "model.safetensors.index.json": ["weight_map"],
}
CHANGES = st.sampled_from(sorted(KEYS)).flatmap(
    lambda name: st.tuples(
        st.just(name), st.dictionaries(st.sampled_from(KEYS[name]), JSON, min_size=1, max_size=2)
    )
)


@settings(max_examples=200)
@given(changes=st.lists(CHANGES, min_size=1, max_size=3))
def test_whatever_lies_beside_the_weights(changes: list[tuple[str, dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        folder = write_transformers(Path(directory, "in"), shards=2)
        write_json(folder / "tokenizer.json", TOKENIZER)
        for name, values in changes:
            path = folder / name
            before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            write_json(path, before | values)
        out = Path(directory, "out.npz")
        try:
            convert_checkpoint(folder, out)
        except CheckpointError as error:
            message = str(error)
            assert message.isprintable()
            assert len(message) < 800 + len(directory)
            assert not out.exists()
        else:
            with WeightsFile(out) as file:
                file.verify()


@pytest.mark.parametrize(
    "name", ["model-00001-of-00002.safetensors", "pytorch_model-00002-of-00009.bin"]
)
def test_one_of_several_files_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    stem, suffix = name.split("-")[0], Path(name).suffix
    with pytest.raises(
        CheckpointError, match=f"expected their folder, or its '{stem}{suffix}.index"
    ):
        convert_checkpoint(tmp_path / name, tmp_path / "out.npz")


def test_a_tokenizer_that_is_not_there(tmp_path: Path) -> None:
    folder = write_transformers(tmp_path / "in")
    with pytest.raises(CheckpointError, match=r"no\.json: cannot be read: No such file"):
        convert_checkpoint(folder, tmp_path / "out.npz", tokenizer=tmp_path / "no.json")


def test_shards_have_no_moving_average(tmp_path: Path) -> None:
    folder = write_transformers(tmp_path / "in", shards=2)
    with pytest.raises(CheckpointError, match="has no model_ema among its files"):
        convert_checkpoint(folder, tmp_path / "out.npz", use_ema=True)


def test_a_shard_that_is_damaged_is_named(tmp_path: Path) -> None:
    folder = write_transformers(tmp_path / "in", shards=2)
    damaged = folder / "model-00002-of-00002.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002\.safetensors: not a sound"):
        convert_checkpoint(folder, tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


def test_numbers_that_are_not_finite_leave_nothing(tmp_path: Path) -> None:
    weights = mamba_weights(CONFIG)
    weights["backbone.layers.1.mixer.out_proj.weight"][3, 3] = np.nan
    for dtype in ("float32", "int8"):
        folder = write_transformers(tmp_path / "in", weights=weights)
        with pytest.raises(CheckpointError, match=r"layers\.1\.mixer\.out_proj\.weight: holds NaN"):
            convert_checkpoint(folder, tmp_path / "out.npz", dtype=dtype)
        assert [path.name for path in tmp_path.iterdir()] == ["in"]


# ---- Memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("kind", ["torch", "torch, twice", "safetensors", "shards"])
def test_memory_stays_below_the_largest_tensor(kind: str, dtype: str, tmp_path: Path) -> None:
    config = MambaConfig(d_model=512, n_layer=1, vocab_size=1 << 14, d_inner=16)
    weights = {
        n: np.full(shape, 0.25, np.float32) for n, shape in config.parameter_shapes().items()
    }
    largest = weights[EMBEDDING].nbytes
    twice = weights | {HEAD: weights[EMBEDDING]}
    folder = tmp_path / "in"
    if kind.startswith("torch"):
        write_original(folder, config, weights if kind == "torch" else twice)
    else:
        write_transformers(folder, config, twice, shards=2 if kind == "shards" else 1)
    tracemalloc.start()
    try:
        convert_checkpoint(folder, tmp_path / "out.npz", dtype=dtype)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    few = 24 << 20
    assert largest == 32 << 20
    assert peak < few + (largest if kind.startswith("torch") else 0)
