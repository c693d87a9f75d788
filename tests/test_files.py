"""Files that are read: regular ones, and nothing else."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from vimnp.files import open_regular

unix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")


def test_a_regular_file_opens(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for name in ("file", "link"):
        with open(open_regular(tmp_path / name), "rb") as file:
            assert file.read() == b"content"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        open_regular(tmp_path / "missing")


@unix_only
@pytest.mark.parametrize(
    ("kind", "words"),
    [("pipe", "a pipe"), ("device", "a device"), ("folder", "a folder")],
)
def test_what_is_no_regular_file_is_refused(tmp_path, kind, words):
    path = tmp_path / kind
    if kind == "pipe":
        os.mkfifo(path)  # without a writer: it must not wait for one
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(OSError, match=f"{words}; expected a regular file") as raised:
        open_regular(path)
    assert raised.value.filename == str(path)
    assert len(os.listdir("/dev/fd")) == before


@unix_only
def test_a_socket_is_refused(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        with pytest.raises(OSError, match="socket"):
            open_regular(tmp_path / "socket")
