"""The cache of weights that were fetched by name, without any Hub."""

from __future__ import annotations

import dataclasses
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vimnp.errors import HubError
from vimnp.hub import cache as kept
from vimnp.hub import client, find_weights
from vimnp.hub.address import Address, parse_address
from vimnp.hub.cache import Kept
from vimnp.hub.source import RemoteFile

MAIN = RemoteFile("us/micro", "c0ffee", "deep/micro.pth", size=3, sha256="a" * 64)


def put(name: str = "us/micro", dtype: str = "float32") -> Path:
    """Weights in the cache, as a fetch leaves them."""
    address = parse_address(name)
    main = RemoteFile(address.repository, "c0ffee", "deep/micro.pth", sha256="a" * 64)
    path = kept.place(main, dtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"weights")
    kept.remember(address, Kept((main,), ()))
    return path


def test_what_is_kept_is_found_without_the_client(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    path = put()
    assert find_weights("us/micro") == path
    assert path.is_relative_to(cache)


def test_a_name_is_remembered_whole(cache: Path) -> None:
    address = parse_address("hf://us/micro@v1.0/deep/micro.pth")
    assert kept.recall(address) is None
    told = Kept((MAIN, dataclasses.replace(MAIN, name="config.json")), (MAIN,))
    kept.remember(address, told)
    assert kept.recall(address) == told
    assert kept.recall(parse_address("us/micro")) is None


@pytest.mark.parametrize(
    "damaged", [b"", b"[]", b"{}", b"\xff", b'{"files": [{"x": 1}], "tokenizer": []}', b"[" * 99]
)
def test_a_damaged_note_counts_as_none(cache: Path, damaged: bytes) -> None:
    put()
    (note,) = cache.rglob("*.json")
    note.write_bytes(damaged)
    assert kept.recall(parse_address("us/micro")) is None


def test_entries_are_listed_and_cleared_by_repository(cache: Path) -> None:
    assert kept.entries() == []
    paths = [put("us/micro"), put("us/micro", "int8"), put("them/other--name")]
    found = kept.entries()
    assert {entry.path for entry in found} == {*paths}
    assert {entry.repository for entry in found} == {"us/micro", "them/other--name"}
    assert {entry.size for entry in found} == {7}
    assert [entry.path for entry in kept.clear("us/micro", print)] == sorted(paths[:2])
    assert [entry.path for entry in kept.entries()] == paths[2:]
    assert kept.recall(parse_address("us/micro")) is None
    kept.clear(None, print)
    assert kept.entries() == []


def test_who_finds_it_locked_waits_and_says_so(cache: Path) -> None:
    told: list[str] = []
    waiting = threading.Event()

    def notice(message: str) -> None:
        told.append(message)
        waiting.set()

    def second() -> None:
        with kept.locked("us/micro", notice):
            told.append("done")

    thread = threading.Thread(target=second)
    with kept.locked("us/micro", print), kept.locked("us/other", print):
        thread.start()
        assert waiting.wait(20)
        assert told == ["waiting for another process that fetches us/micro"]
    thread.join(20)
    assert told[1:] == ["done"]


@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {"XDG_CACHE_HOME": "/somewhere"}, "/somewhere/vimnp"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "~/.cache/vimnp"),
        ("darwin", {}, "~/Library/Caches/vimnp"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/vimnp"),
        ("win32", {}, "~/AppData/Local/vimnp"),
        ("linux", {"VIMNP_CACHE": "/mine"}, "/mine"),
    ],
)
def test_where_the_cache_lies(
    platform: str, variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "VIMNP_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert kept.folder() == Path(folder).expanduser()


# ---- What weights are called ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "repository", "revision", "file"),
    [
        ("us/micro", "us/micro", "main", None),
        ("us/micro@v1.0", "us/micro", "v1.0", None),
        ("hf://us/micro", "us/micro", "main", None),
        ("hf://us/micro/deep/a.pth", "us/micro", "main", "deep/a.pth"),
        ("hf://us/micro@refs%2Fpr%2F1/a.pth", "us/micro", "refs/pr/1", "a.pth"),
        ("vim-tiny", "hustvl/Vim-tiny-midclstok", "main", "vim_t_midclstok_76p1acc.pth"),
        (
            "hustvl/Vim-tiny-midclstok",
            "hustvl/Vim-tiny-midclstok",
            "main",
            "vim_t_midclstok_76p1acc.pth",
        ),
        ("vmamba-tiny", "MzeroMiko/VMamba", "main", "vssmtiny_dp01_ckpt_epoch_292.pth"),
    ],
)
def test_names_are_understood(name: str, repository: str, revision: str, file: str | None) -> None:
    assert parse_address(name)[1:4] == (repository, revision, file)


def test_another_file_of_a_published_repository_is_known_too() -> None:
    name, file = "hustvl/Vim-tiny-midclstok", "vim_t_midclstok_ft_78p3acc.pth"
    origin = parse_address(name, file=file).origin
    assert origin is not None
    assert origin.network == "tiny-stride8"
    small = parse_address("hustvl/Vim-small-midclstok").origin
    assert small is not None
    assert small.sha256 is not None
    for address in (
        parse_address("hustvl/Vim-small-midclstok", file="another.pth"),
        parse_address("vim-small", "abc"),
    ):
        assert address.origin is not None
        assert address.origin.sha256 is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vim-tinny", "is it vim-tiny"),
        ("qqq", "qqq: no name of published weights; `vimnp fetch`"),
        ("", "no name of published weights"),
        ("us/micro/a.pth", "no name of weights; expected .*hf://owner"),
        ("hf://us/micro/../../etc/passwd", "no name of weights"),
        ("hf://us", "no name of weights"),
        ("../micro", "no name of weights"),
        ("us/micro@../x", "no name of weights"),
        ("./micro.npz", "no name of weights"),
    ],
)
def test_what_is_no_name_is_refused(name: str, words: str) -> None:
    with pytest.raises(HubError, match=words):
        parse_address(name)


def test_what_is_said_twice_has_to_agree() -> None:
    assert parse_address("us/micro@a", "a") == Address("us/micro@a", "us/micro", "a", None, None)
    with pytest.raises(HubError, match="has another revision than b"):
        parse_address("us/micro@a", "b")


def test_a_path_is_no_name() -> None:
    from vimnp.weights.by_name import find_weights as ask

    with pytest.raises(HubError, match="Path; expected a name"):
        ask(Path("a.npz"))  # type: ignore[arg-type]


@given(st.text("ab.~/\\:@%-+ \0é2F", max_size=30) | st.text(max_size=20))
def test_no_name_leads_out_of_the_cache(name: str) -> None:
    for text in (name, f"hf://{name}", f"us/micro@{name}", f"hf://us/micro/{name}"):
        try:
            address = parse_address(text)
        except HubError:
            continue
        folder = kept.folder() / "weights"
        main = RemoteFile(address.repository, "c0ffee", address.file or "x")
        for path in (kept.place(main, "int8"), kept._name_file(address)):
            assert ".." not in path.parts
            assert len(path.relative_to(folder).parts) == 3


def test_offline_is_read_as_the_client_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, expected in (("1", True), ("yes", True), ("0", False), ("", False)):
        monkeypatch.setenv("HF_HUB_OFFLINE", value)
        assert client.is_offline() is expected
