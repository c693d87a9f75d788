"""Pictures at addresses: archives, what is in memory, and a server's."""

from __future__ import annotations

import functools
import http.server
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fsspec", reason="pip install 'vimnp[distributed]'")

import vimnp
from tests.support.digits import SCANS
from vimnp.errors import ConfigError, ImageError
from vimnp.jobs import addresses
from vimnp.jobs.addresses import is_address, read_picture
from vimnp.jobs.pictures import find_pictures
from vimnp.jobs.prediction import Predict


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "pictures.zip"
    with zipfile.ZipFile(path, "w") as file:
        for scan in SCANS[:4]:
            file.write(scan, f"scans/{scan.name}")
        file.writestr("scans/more/a.PNG", SCANS[4].read_bytes())
        file.writestr("scans/.hidden/b.png", b"")
        file.writestr("scans/notes.txt", b"")
        file.writestr("scans/damaged.png", b"none")
    return path


def test_files_are_no_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "http:").mkdir()
    (tmp_path / "http:" / "a.png").touch()
    assert not is_address("http://a.png")  # it is there
    assert is_address("http://b.png")
    assert not any(map(is_address, ("a.png", "C:\\a.png", "/a/b.png", "a:b.png", "a::b.png")))


def test_an_archive_is_a_folder(archive: Path) -> None:
    found = find_pictures([f"zip://scans::{archive}"])
    names = ["damaged.png", *(scan.name for scan in SCANS[:4]), "more/a.PNG"]
    assert found == [f"zip://scans/{name}::{archive}" for name in names]


def test_a_pattern_fits_what_is_in_an_archive(archive: Path) -> None:
    found = find_pictures([f"zip://scans/digit_*.png::{archive}"])
    assert found == [f"zip://scans/{scan.name}::{archive}" for scan in SCANS[:4]]


def test_an_archive_keeps_its_place(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(archive.parent)
    address = f"zip://scans/{SCANS[0].name}::"
    assert find_pictures([f"{address}pictures.zip"]) == [f"{address}{archive}"]


def test_rows_of_an_archive_are_those_of_its_files(archive: Path) -> None:
    model = vimnp.load("digits")
    names = [f"zip://scans/{scan.name}::{archive}" for scan in SCANS[:4]]
    found = Predict(2).rows(model, [*names, f"zip://scans/damaged.png::{archive}"])
    expected = Predict(2).rows(model, list(map(str, SCANS[:4])))
    for row, other in zip(found[:4], expected, strict=True):
        assert row["predictions"] == other["predictions"]
    assert found[4]["error"].startswith("not a picture in a format that is read")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("zip://none.png::{archive}", "none.png.*: cannot be read: "),
        ("zip://a.png::/none.zip", "cannot be read: there is no such file"),
        ("nonesuch://a.png", "nonesuch://a.png: cannot be read: Protocol not known: nonesuch"),
    ],
)
def test_an_address_that_cannot_be_read_is_a_bad_picture(
    archive: Path, address: str, words: str
) -> None:
    with pytest.raises(ImageError, match=words):
        read_picture(address.format(archive=archive))


def test_an_address_of_nothing_is_refused(archive: Path) -> None:
    with pytest.raises(ImageError, match=r"none\*.*: there is no picture"):
        find_pictures([f"zip://none*::{archive}"])


def test_a_file_that_is_too_large_is_refused(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "MOST_BYTES", 100)
    with pytest.raises(ImageError, match="too large: the file has more than 100 bytes"):
        read_picture(f"zip://scans/{SCANS[0].name}::{archive}")


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec.core

    def needs(address: str) -> Any:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", needs)
    with pytest.raises(ConfigError, match=r"Install s3fs to access S3: pip install 'fsspec\[s3\]'"):
        find_pictures(["s3://bucket/a.png"])


@pytest.fixture
def server() -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(SCANS[0].parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}/"
        served.shutdown()
        thread.join()


def test_a_page_of_links_is_a_folder(server: str) -> None:
    pytest.importorskip("aiohttp", reason="fsspec reads from servers by it")
    found = find_pictures([server])
    assert found == [f"{server}{scan.name}" for scan in SCANS]
    image = read_picture(found[3])
    assert image.tobytes() == read_picture(str(SCANS[3])).tobytes()
    with pytest.raises(ImageError, match=r"none\.png: cannot be read: there is no such file"):
        read_picture(f"{server}none.png")
