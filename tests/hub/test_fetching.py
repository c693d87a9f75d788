"""Weights by name, through the real client, from a server that answers as the Hub does."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import vimnp
from tests.support.fake_hub import COMMIT, FakeHub
from tests.support.full_disk import full_disk
from tests.support.mamba_checkpoints import write_original, write_transformers
from vimnp.convert import convert_checkpoint
from vimnp.errors import HubError
from vimnp.hub import cache as kept
from vimnp.hub import find_weights, names, release
from vimnp.hub.names import Origin
from vimnp.models.mamba.model import MambaLM
from vimnp.models.vim.model import VimTiny, VisionMamba

PIXELS = np.linspace(-1, 1, 3 * 32 * 32, dtype=np.float32).reshape(3, 32, 32)
LATER = "f" * 40


@pytest.fixture
def checkpoint(hub: FakeHub, micro_pth: Path) -> Path:
    """A checkpoint, which us/micro has."""
    hub.repositories["us/micro"] = {"micro.pth": micro_pth.read_bytes(), "README.md": b"# Micro"}
    return micro_pth


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, Origin]:
    """The table of names, to which a test can add."""
    table = dict(names._LISTED)
    monkeypatch.setattr(names, "_LISTED", table)
    return table


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.npz"))


# ---- What is fetched -----------------------------------------------------------------------------


def test_a_checkpoint_is_fetched_and_converted_once(
    hub: FakeHub, checkpoint: Path, tmp_path: Path
) -> None:
    model = VisionMamba.from_pretrained("us/micro")
    convert_checkpoint(checkpoint, tmp_path / "by_hand.npz")
    expected = VisionMamba.from_npz(tmp_path / "by_hand.npz")
    np.testing.assert_array_equal(model(PIXELS), expected(PIXELS))
    asked = len(hub.log)
    again = VisionMamba.from_pretrained("us/micro", num_threads=1)
    assert again.num_threads == 1
    assert len(hub.log) == asked  # nobody was asked
    assert hub.fetched("micro.pth") == 1


def test_the_first_download_says_what_it_is_and_its_licence(
    hub: FakeHub, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.cards["us/micro"] = {"license": "wtfpl"}
    path = find_weights("us/micro")
    first = next(line for line in capsys.readouterr().err.splitlines() if "licence" in line)
    size = f"{checkpoint.stat().st_size / 1e6:,.1f} MB"
    assert first == f"vimnp: fetching us/micro/micro.pth, {size}; its licence: wtfpl"
    assert find_weights("us/micro") == path
    assert capsys.readouterr().err == ""


def test_load_takes_an_address(hub: FakeHub, checkpoint: Path) -> None:
    assert isinstance(vimnp.load("hf://us/micro/micro.pth"), VisionMamba)
    assert isinstance(vimnp.load(f"hf://us/micro@{COMMIT}/micro.pth"), VisionMamba)
    assert hub.fetched("micro.pth") == 1  # main is this commit
    int8 = vimnp.load("hf://us/micro/micro.pth", precision="int8")
    assert (int8.precision, int8.metadata.dtype) == ("int8", "int8")
    assert hub.fetched("micro.pth") == 1


def test_a_weights_file_is_taken_as_it_is(hub: FakeHub, micro_npz: Path) -> None:
    hub.repositories["us/ready"] = {"deep/micro.npz": micro_npz.read_bytes()}
    path = find_weights("us/ready")
    assert path.read_bytes() == micro_npz.read_bytes()
    assert VisionMamba.from_pretrained("us/ready", precision="int8").precision == "int8"
    assert hub.fetched("micro.npz") == 1


def test_a_language_model_comes_with_all_that_is_beside_it(hub: FakeHub, tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason="the checkpoint is of this format")
    folder = write_transformers(tmp_path / "lm", shards=2)
    hub.repositories["us/lm"] = {path.name: path.read_bytes() for path in folder.iterdir()}
    model = MambaLM.from_pretrained("us/lm")
    convert_checkpoint(folder, tmp_path / "by_hand.npz")
    ids = [1, 2, 3]
    np.testing.assert_array_equal(model(ids), MambaLM.from_npz(tmp_path / "by_hand.npz")(ids))
    small = MambaLM.from_pretrained("us/lm", dtype="int8")
    assert small.metadata.dtype == "int8"


def test_a_tokenizer_may_be_another_repositorys(
    hub: FakeHub, known: dict[str, Origin], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_original(tmp_path / "lm")
    hub.repositories["us/lm"] = {path.name: path.read_bytes() for path in folder.iterdir()}
    text = '{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}'
    hub.repositories["them/tokens"] = {
        "tokenizer.json": text.encode(),
        "tokenizer_config.json": b'{"eos_token": "b"}',
        "model.safetensors": b"of no concern",
    }
    known["lm"] = Origin("us/lm", "MIT", "mamba", tokenizer="them/tokens")
    with vimnp.weights.WeightsFile(find_weights("lm")) as file:
        assert file.metadata.tokenizer == "tokenizer.json"
        assert file.metadata.config.eos_ids == (1,)
    assert hub.fetched("/model.safetensors") == 0
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with vimnp.weights.WeightsFile(find_weights("lm", dtype="int8")) as file:
        assert file.metadata.tokenizer == "tokenizer.json"


def test_a_published_name_stands_for_its_file(
    hub: FakeHub, checkpoint: Path, known: dict[str, Origin], capsys: pytest.CaptureFixture[str]
) -> None:
    hub.repositories["us/micro"]["other.pth"] = b"another one"
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    known["micro"] = Origin("us/micro", "of ours", "vim", file="micro.pth", sha256=digest)
    path = find_weights("micro")
    assert "its licence: of ours" in capsys.readouterr().err
    assert find_weights("us/micro") == path  # the same network by its repository
    known["micro"] = known["micro"]._replace(sha256="0" * 64)
    with pytest.raises(HubError, match=f"micro: .*{digest}.*{'0' * 64}.*replaced; .*hf://"):
        find_weights("micro")
    assert find_weights(f"hf://us/micro@{COMMIT}/micro.pth") == path  # as the message says


def test_a_class_refuses_weights_of_another_size(hub: FakeHub, checkpoint: Path) -> None:
    with pytest.raises(vimnp.ConfigError, match="VisionMamba"):
        VimTiny.from_pretrained("us/micro")
    asked = len(hub.log)
    with pytest.raises(vimnp.ConfigError, match="VimTiny has 192: load them with VisionMamba"):
        VimTiny.from_pretrained("vim-small")
    with pytest.raises(vimnp.ConfigError, match="family 'vim', which MambaLM does not have"):
        MambaLM.from_pretrained("hustvl/Vim-tiny-midclstok")
    assert len(hub.log) == asked  # what is known is refused before it is fetched


def test_what_was_fetched_stays_until_a_newer_one_is_asked_for(
    hub: FakeHub, checkpoint: Path
) -> None:
    first = find_weights("us/micro")
    hub.commits["us/micro"] = LATER
    assert find_weights("us/micro") == first
    later = find_weights("us/micro", refresh=True)
    assert (first.parent.name, later.parent.name) == (COMMIT, LATER)
    assert find_weights("us/micro") == later
    assert find_weights("us/micro", refresh=True) == later
    assert find_weights("us/micro", revision=LATER) == later


# ---- What goes wrong -----------------------------------------------------------------------------


def test_a_file_of_the_wrong_digest_is_refused_and_forgotten(
    hub: FakeHub, checkpoint: Path, cache: Path
) -> None:
    good = checkpoint.read_bytes()
    hub.replaced["micro.pth"] = good[:-1] + bytes([good[-1] ^ 1])
    with pytest.raises(HubError, match=r"us/micro/micro.pth: expected the SHA-256 .* removed"):
        find_weights("us/micro")
    assert files_in(cache) == []
    hub.replaced.clear()
    assert find_weights("us/micro").is_file()


def test_a_small_file_of_the_wrong_digest_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    folder = write_original(tmp_path / "lm")
    hub.repositories["us/lm"] = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.replaced["config.json"] = b" " * len(hub.repositories["us/lm"]["config.json"])
    with pytest.raises(HubError, match=r"us/lm/config.json: expected git's digest"):
        find_weights("us/lm")


def test_a_cut_connection_is_taken_up_again(
    hub: FakeHub, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    # What the client reads at once, it loses at once.
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 100)
    hub.cut_after["micro.pth"], hub.cuts = 1000, 1
    with contextlib.suppress(HubError):  # not every version of the client goes on by itself
        find_weights("us/micro")
    assert find_weights("us/micro").is_file()
    assert hub.begins == [1000]


def test_a_connection_that_is_always_cut_leaves_nothing_half(
    hub: FakeHub, checkpoint: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.cut_after["micro.pth"] = 0
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(HubError, match=r"us/micro/micro.pth: cannot be fetched from http://127"):
        find_weights("us/micro")
    assert files_in(cache) == []
    hub.cut_after.clear()
    assert find_weights("us/micro").is_file()


def test_a_disk_that_is_full_when_the_checkpoint_comes(
    hub: FakeHub, checkpoint: Path, cache: Path
) -> None:
    with full_disk(), pytest.raises(OSError, match=r"too large: '.*hf'"):
        find_weights("us/micro")
    assert files_in(cache) == []
    assert find_weights("us/micro").is_file()


def test_a_disk_that_is_full_when_the_weights_are_written(
    hub: FakeHub, checkpoint: Path, cache: Path
) -> None:
    import huggingface_hub

    huggingface_hub.hf_hub_download("us/micro", "micro.pth", endpoint=hub.address)
    with full_disk(), pytest.raises(HubError, match=r"us/micro: .*cannot be written: File too"):
        find_weights("us/micro")
    assert files_in(cache) == []
    assert find_weights("us/micro").is_file()


def test_two_processes_fetch_once(hub: FakeHub, checkpoint: Path, tmp_path: Path) -> None:
    code = "from vimnp.hub import find_weights; print(find_weights('us/micro'))"
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    both = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    first, second = (process.communicate(timeout=120)[0] for process in both)
    assert first == second
    assert Path(first.decode().strip()).is_file()
    assert hub.fetched("micro.pth") == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("us/nothing", "us/nothing: no such repository"),
        ("us/closed", "us/closed: only for those who have agreed .*/us/closed"),
        ("hf://us/micro@later", "us/micro: has no revision later"),
        ("hf://us/micro/other.pth", "us/micro: has no file other.pth; expected one of micro.pth"),
        ("us/two", "us/two: has several files of weights; .*a.pth, b.pth"),
        ("us/words", "us/words: has no weights that vimnp reads; it has README.md"),
        ("us/index", "us/index/model.safetensors.index.json: names model-1.safetensors, which"),
        ("us/broken", "us/broken/model.safetensors.index.json: no index of weights"),
        ("us/other", r"us/other: .*no Vision Mamba"),
    ],
)
def test_what_cannot_be_had_says_why(
    hub: FakeHub, checkpoint: Path, name: str, words: str, cache: Path
) -> None:
    index = "model.safetensors.index.json"
    from tests.support.torch_format import save

    save(checkpoint, {"weight": np.zeros((2, 2), np.float32)})
    hub.gated.add("us/closed")
    hub.repositories |= {
        "us/two": {"a.pth": b"a", "b.pth": b"b"},
        "us/words": {"README.md": b"words"},
        "us/index": {index: b'{"weight_map": {"a": "model-1.safetensors"}}'},
        "us/broken": {index: b"[]"},
        "us/other": {"other.pth": checkpoint.read_bytes()},
    }
    with pytest.raises(HubError, match=words) as raised:
        find_weights(name)
    assert "\n" not in str(raised.value)
    assert files_in(cache) == []


# ---- Without a connection ------------------------------------------------------------------------


def test_offline_the_cache_serves(
    hub: FakeHub, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HubError, match="has no file none"):
        find_weights("us/micro", file="none.pth")
    path = find_weights("us/micro")
    asked = len(hub.log)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert find_weights("us/micro") == path
    int8 = find_weights("us/micro", dtype="int8")  # of the checkpoint that the client has kept
    assert int8 != path
    with pytest.raises(HubError, match="us/micro: cannot be looked for anew"):
        find_weights("us/micro", refresh=True)
    with pytest.raises(HubError, match="us/later: is not in the cache, and HF_HUB_OFFLINE is set"):
        find_weights("us/later")
    assert len(hub.log) == asked


def test_a_hub_that_is_not_there(
    hub: FakeHub, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = find_weights("us/micro")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert find_weights("us/micro") == path
    with pytest.raises(HubError, match=r"us/other: cannot be fetched from http://127.0.0.1:9"):
        find_weights("us/other")


def test_without_the_client_there_is_one_sentence(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(HubError, match=r"need the package huggingface_hub: pip install 'vimnp\[h"):
        find_weights("vim-tiny")


# ---- Releases ------------------------------------------------------------------------------------


@pytest.fixture
def released(hub: FakeHub, micro_pth: Path, known: dict[str, Origin]) -> Path:
    """A checkpoint that lies at a plain address."""
    hub.releases["/releases/%23v2/micro.pth"] = micro_pth.read_bytes()
    known["released"] = Origin(
        "us/released", "MIT", "vim", file="micro.pth", release=f"{hub.address}/releases/%23v2"
    )
    return micro_pth


def test_a_release_is_fetched_once(
    hub: FakeHub, released: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = find_weights("released")
    assert "fetching us/released/micro.pth" in capsys.readouterr().err
    digest = hashlib.sha256(released.read_bytes()).hexdigest()
    assert path.parent.name == digest
    assert find_weights("released") == path
    assert find_weights("released", dtype="int8").parent == path.parent
    assert hub.fetched("micro.pth") == 1
    assert find_weights("released", refresh=True) == path


def test_a_release_that_is_cut_off_goes_on(
    hub: FakeHub, released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    hub.cut_after["micro.pth"] = 50_000
    path = find_weights("released")
    assert hub.begins == [50_000]
    assert path.parent.name == hashlib.sha256(released.read_bytes()).hexdigest()


def test_a_release_that_is_always_cut_off_leaves_nothing_half(
    hub: FakeHub, released: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    hub.cut_after["micro.pth"] = 0
    with pytest.raises(HubError, match=r"micro.pth: cannot be fetched: "):
        find_weights("released")
    assert kept.entries() == []
    hub.cut_after.clear()
    with full_disk(), pytest.raises(OSError, match=r"too large: '.*micro.pth'"):
        find_weights("released")
    assert kept.entries() == []
    assert find_weights("released").is_file()


def test_a_release_that_is_another_one_is_refused(
    hub: FakeHub, released: Path, known: dict[str, Origin], monkeypatch: pytest.MonkeyPatch
) -> None:
    known["released"] = known["released"]._replace(sha256="0" * 64)
    with pytest.raises(HubError, match=r"released: .* SHA-256"):
        find_weights("released")
    assert kept.entries() == []
    hub.releases.clear()
    with pytest.raises(HubError, match=r"micro.pth: cannot be fetched: 404"):
        find_weights("released")
    with pytest.raises(HubError, match="a file of a release; expected neither"):
        find_weights("released", revision="main")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubError, match="released: is not in the cache"):
        find_weights("released")


def test_a_release_stays_behind_https(
    hub: FakeHub, released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"{hub.address}/releases/%23v2/micro.pth"
    real = urllib.request.urlopen

    def redirected(request: urllib.request.Request, timeout: float) -> object:
        return real(address, timeout=timeout)

    monkeypatch.setattr(urllib.request, "urlopen", redirected)
    with pytest.raises(HubError, match="leads to an address that anybody"):
        release.size_of("https://example.com/micro.pth")
