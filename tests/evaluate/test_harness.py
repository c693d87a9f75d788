"""Language models as lm_eval asks for them."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.support.micro_language import MICRO_LANGUAGE, write_language_model
from vimnp.errors import ConfigError, TextError
from vimnp.evaluate import likelihood
from vimnp.models.mamba.model import MambaLM
from vimnp.models.random_weights import random_reader
from vimnp.weights import Metadata, write_weights

NAME = "vimnp.evaluate.harness"


@pytest.fixture(scope="module")
def harness() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what lm_eval's own packages warn of
        pytest.importorskip("lm_eval.api.model", reason="needs the package lm_eval")
        return importlib.import_module(NAME)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_language_model(tmp_path / "w.npz")


def requests(*arguments: tuple[Any, ...]) -> list[Any]:
    return [SimpleNamespace(args=each) for each in arguments]


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.setitem(sys.modules, "lm_eval.api.model", None)
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    with pytest.raises(ImportError, match=r"lm_eval.*pip install 'vimnp\[lm_eval\]'"):
        importlib.import_module(NAME)


def test_lm_eval_finds_it_by_name(harness: ModuleType, weights: Path) -> None:
    from lm_eval.api.registry import get_model

    found = get_model("vimnp")
    assert found is harness.VimnpLM
    model = found.create_from_arg_string(
        f"weights={weights},dtype=int8,num_threads=1,max_length=100",
        {"batch_size": "3", "max_batch_size": None, "device": "cuda:0"},
    )
    assert (model.model.dtype, model.model.num_threads) == ("int8", 1)
    assert (model.max_length, model.batch_size) == (100, 3)


def test_likelihoods_are_those_of_the_model(harness: ModuleType, weights: Path) -> None:
    pairs = [("A list", " has items"), ("A list", " sings"), ("", "x"), ("long " * 30, "er")]
    adapter = harness.VimnpLM(weights, max_length=40)
    expected = [likelihood.loglikelihood(adapter.model, *pair, max_length=40) for pair in pairs]
    found = adapter.loglikelihood(requests(*pairs), disable_tqdm=True)
    assert found == [(each.logprob, each.is_greedy) for each in expected]
    text = "A state is what a sequence leaves behind."
    (rolling,) = adapter.loglikelihood_rolling(requests((text,)), disable_tqdm=True)
    assert rolling == likelihood.loglikelihood_rolling(adapter.model, text, max_length=40)


@pytest.mark.parametrize("batch_size", [None, 1, 2, "3"])
def test_texts_are_those_of_the_model(
    batch_size: int | str | None, harness: ModuleType, weights: Path
) -> None:
    short, long = {"max_gen_toks": 3, "until": "e"}, {"max_gen_toks": 6, "do_sample": False}
    asked = [("A list", short), ("of", short), ("x" * 50, short), ("", long), ("A list", long)]
    adapter = harness.VimnpLM(weights, max_length=20, batch_size=batch_size)
    model = MambaLM.from_npz(weights)
    prompts = [list(b"A list"), list(b"of"), [ord("x")] * 17, [0], list(b"A list")]
    expected = [
        model.generate(
            prompt, max_new_tokens=options["max_gen_toks"], stop=options.get("until"), temperature=0
        ).text
        for prompt, (_, options) in zip(prompts, asked, strict=True)
    ]
    assert adapter.generate_until(requests(*asked), disable_tqdm=True) == expected


def test_results_are_handed_to_lm_evals_cache(harness: ModuleType, weights: Path) -> None:
    kept: list[tuple[Any, ...]] = []
    adapter = harness.VimnpLM(weights)
    adapter.set_cache_hook(SimpleNamespace(add_partial=lambda *row: kept.append(row)))
    (one,) = adapter.loglikelihood(requests(("a", "b")), disable_tqdm=True)
    (two,) = adapter.loglikelihood_rolling(requests(("ab",)), disable_tqdm=True)
    asked = ("a", {"max_gen_toks": 2})
    (three,) = adapter.generate_until(requests(asked), disable_tqdm=True)
    assert kept == [
        ("loglikelihood", ("a", "b"), one),
        ("loglikelihood_rolling", ("ab",), two),
        ("generate_until", asked, three),
    ]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, {"stop": [], "max_new_tokens": 256, "temperature": 0.0}),
        ({"until": "\n", "max_new_tokens": 5}, {"stop": ["\n"], "max_new_tokens": 5}),
        ({"max_tokens": 5, "max_gen_toks": 7}, {"max_new_tokens": 7}),
        ({"do_sample": True}, {"temperature": 1.0}),
        ({"temperature": 0.5, "top_k": 3, "seed": 1}, {"temperature": 0.5, "top_k": 3, "seed": 1}),
        ({"do_sample": False, "temperature": 0.5, "top_p": None}, {"temperature": 0.0}),
    ],
)
def test_what_a_task_asks_for(
    asked: dict[str, Any], expected: dict[str, Any], harness: ModuleType
) -> None:
    found = harness.generation_options(asked)
    assert found == {"stop": [], "max_new_tokens": 256, "temperature": 0.0} | expected


def test_what_nobody_can_give_is_refused(harness: ModuleType, weights: Path) -> None:
    with pytest.raises(ConfigError, match="asks for num_beams; expected some of until"):
        harness.generation_options({"num_beams": 4})
    with pytest.raises(ConfigError, match="batch_size is 'auto'"):
        harness.VimnpLM(weights, batch_size="auto")
    with pytest.raises(ConfigError, match="max_length is 0"):
        harness.VimnpLM(weights, max_length=0)


def test_other_weights_are_refused(harness: ModuleType, micro_npz: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="looks at pictures"):
        harness.VimnpLM(micro_npz)
    mute = tmp_path / "mute.npz"
    write_without_tokenizer(mute)
    with pytest.raises(TextError, match="no tokenizer"):
        harness.VimnpLM(mute)


def write_without_tokenizer(path: Path) -> None:
    read = random_reader(MICRO_LANGUAGE, seed=0)
    metadata = Metadata(config=MICRO_LANGUAGE, preprocessing=None)
    write_weights(path, metadata, ((name, read(name)) for name in MICRO_LANGUAGE.tensors()))


TASK = """
task: choose
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
doc_to_choice: "{{choices}}"
target_delimiter: ""
metric_list: [{metric: acc}]
"""


def test_a_task_of_ones_own_runs_from_the_command(
    harness: ModuleType, weights: Path, tmp_path: Path
) -> None:
    for package in ("datasets", "sacrebleu", "sklearn"):  # which lm_eval's command needs
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs the package {package}")
    rows = [
        {"question": "A list has", "choices": [" items", " wings"], "answer": i} for i in (0, 1)
    ]
    data, task = tmp_path / "data.json", tmp_path / "tasks" / "choose.yaml"
    data.write_text(json.dumps(rows))
    task.parent.mkdir()
    task.write_text(TASK.replace("DATA", str(data)))
    arguments = ["--model", "vimnp", "--model_args", f"weights={weights}", "--tasks", "choose"]
    arguments += ["--include_path", str(task.parent), "--output_path", str(tmp_path / "out.json")]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(
        [sys.executable, "-m", NAME, *arguments],
        env=os.environ | offline,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (written,) = tmp_path.glob("**/out*.json")
    # The same choices, with one right answer and then the other.
    assert json.loads(written.read_text())["results"]["choose"]["acc,none"] == 0.5
