"""Files that are read: regular ones and nothing else; and files that are written whole or not."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import pytest

from tests.support.links import needs_links
from tests.support.processes import run
from vimnp.storage.files import noticing_folders, open_regular, whole_file
from vimnp.storage.locked_file import LockedFile

unix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")


@needs_links
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


@pytest.fixture
def folders_are_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where a folder that is opened as a file is one without permission."""
    system_open = os.open

    def denied(path, *arguments):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return system_open(path, *arguments)

    monkeypatch.setattr(os, "open", denied)


def test_a_folder_is_called_one_where_the_system_does_not(tmp_path, folders_are_denied):
    with pytest.raises(OSError, match="a folder; expected a regular file") as raised:
        open_regular(tmp_path)
    assert raised.value.filename == str(tmp_path)
    with pytest.raises(IsADirectoryError, match="Is a directory") as raised:
        LockedFile(tmp_path)
    assert raised.value.filename == str(tmp_path)


def test_a_file_without_permission_is_called_no_folder(tmp_path):
    with (
        pytest.raises(PermissionError, match="Permission denied"),
        noticing_folders(tmp_path / "file"),
    ):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "file"))


@unix_only
def test_a_socket_is_refused(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        with pytest.raises(OSError, match="socket"):
            open_regular(tmp_path / "socket")


# ---- Writing -------------------------------------------------------------------------------------


def write(path: Path | str, content: bytes = b"new") -> None:
    with whole_file(path) as file:
        file.write(content)


def begin_and_raise(file: IO[bytes], kind: type[BaseException]) -> None:
    file.write(b"half")
    file.flush()
    raise kind


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@unix_only
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path, umask):
    before = os.umask(umask)
    try:
        write(tmp_path / "file")
        (tmp_path / "other").touch()
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("file", "other")]
    assert modes[0] == modes[1] == 0o666 & ~umask


@unix_only
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
def test_a_replaced_file_keeps_its_permissions(tmp_path, mode):
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "file").chmod(mode)
    write(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


@needs_links
@pytest.mark.parametrize("target", ["target", "missing"])
def test_a_link_stays_and_its_target_is_written(tmp_path, target):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to(Path("folder", target))
    (tmp_path / "far").symlink_to("link")
    write(tmp_path / "far")
    assert (tmp_path / "far").is_symlink()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / target).read_bytes() == b"new"
    assert names(tmp_path) == ["far", "folder", "link"]
    assert names(tmp_path / "folder") == sorted({"target", target})


@needs_links
def test_a_link_to_itself_is_refused(tmp_path):
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(OSError, match="link"):
        write(tmp_path / "link")
    assert names(tmp_path) == ["link"]


@needs_links
@pytest.mark.parametrize("name", [".", "folder", "folder/", "", "link"])
def test_a_folder_is_refused_in_words(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    with pytest.raises(IsADirectoryError, match="expected the name of a file"):
        write(name)
    assert names(tmp_path) == ["folder", "link"]
    assert names(tmp_path / "folder") == []


@unix_only
def test_a_device_is_written_to_and_stays_a_device(tmp_path):
    (tmp_path / "null").symlink_to(os.devnull)
    before = os.stat(os.devnull)
    with whole_file(tmp_path / "null") as file:  # what a zip archive does
        file.write(b"abcd")
        file.seek(1)
        file.write(b"X")
    after = os.stat(os.devnull)
    assert stat.S_ISCHR(after.st_mode)
    assert (before.st_ino, before.st_rdev) == (after.st_ino, after.st_rdev)
    assert names(tmp_path) == ["null"]


@unix_only
def test_a_pipe_gets_what_was_written_once_it_is_whole(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    found = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    with whole_file(tmp_path / "pipe") as file:
        file.write(b"abcd" * 100_000)
        file.seek(1)
        file.write(b"X")
    reader.join()
    assert found == [b"aXcd" + b"abcd" * 99_999]
    assert names(tmp_path) == ["pipe"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@unix_only
def test_a_pipe_gets_nothing_of_a_writing_that_failed(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    found = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "pipe") as file:
        begin_and_raise(file, ZeroDivisionError)
    reader.join()
    assert found == [b""]


@unix_only
def test_a_socket_is_not_written_to(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        with pytest.raises(OSError, match="socket"):
            write(tmp_path / "socket")
        assert names(tmp_path) == ["socket"]


# Through a link, so that a mistake costs no machine its devices.
TO_STDOUT = """
from vimnp.storage.files import whole_file
print("before")
with whole_file("link") as file:
    file.write(b"the file\\n")
print("after")
"""


@needs_links
@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="there is no /dev/stdout")
@pytest.mark.parametrize("to_file", [True, False])
def test_standard_output_by_its_name(tmp_path, to_file):
    """As a pipe, and as a file that the shell opened: what else is printed there stays."""
    (tmp_path / "link").symlink_to("/dev/stdout")
    if to_file:
        with open(tmp_path / "out", "wb") as out:
            command = [sys.executable, "-c", TO_STDOUT]
            subprocess.run(command, stdout=out, check=True, timeout=60, cwd=tmp_path)
        found = (tmp_path / "out").read_text()
        assert names(tmp_path) == ["link", "out"]
    else:
        found = run(TO_STDOUT, cwd=tmp_path).stdout
    assert found == "before\nthe file\nafter\n"


def test_several_write_one_file_at_once(tmp_path):
    """The last one counts, and none is in another's way."""
    barrier = threading.Barrier(4)
    errors = []

    def write_often(content: bytes) -> None:
        barrier.wait()
        for _ in range(20):
            try:
                write(tmp_path / "file", content)
            except OSError as error:
                errors.append(error)

    contents = [bytes([letter]) * 10_000 for letter in b"abcd"]
    threads = [threading.Thread(target=write_often, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if sys.platform != "win32":  # which lets nobody replace what another one is replacing
        assert errors == []
    assert (tmp_path / "file").read_bytes() in contents
    assert names(tmp_path) == ["file"]


def test_what_a_killed_process_left_is_in_nobodys_way(tmp_path):
    """In a container each process has the number that the last one had."""
    (tmp_path / f".file.{os.getpid()}.tmp").write_bytes(b"left")
    write(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / f".file.{os.getpid()}.tmp").read_bytes() == b"left"


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError])
def test_whatever_ends_the_writing_leaves_everything_as_it_was(tmp_path, kind):
    """SystemExit is what the command makes of SIGTERM."""
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(kind), whole_file(tmp_path / "file") as file:
        begin_and_raise(file, kind)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


TERMINATED = """
import os, signal, sys
from vimnp.storage.files import whole_file
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
with whole_file("file") as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
"""


@unix_only
def test_a_process_that_is_asked_to_end_leaves_nothing(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    assert run(TERMINATED, cwd=tmp_path).returncode == 3
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


@needs_links
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_device_is_named(tmp_path):
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        write(tmp_path / "full")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "full"))


@pytest.mark.parametrize("name", ["missing/file", "blocking/file", "missing/more/file"])
def test_a_file_that_cannot_be_made_is_named_and_not_the_temporary_one(tmp_path, name):
    (tmp_path / "blocking").touch()
    with pytest.raises(OSError, match=r"blocking|missing") as caught:
        write(tmp_path / name)
    assert caught.value.filename == str(tmp_path / name)
    assert names(tmp_path) == ["blocking"]


def test_an_error_that_names_no_file_is_given_the_name(tmp_path):
    """A full disk, for one."""
    with pytest.raises(OSError, match="No space") as caught, whole_file(tmp_path / "file"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "file")
    with pytest.raises(FileNotFoundError) as caught, whole_file(tmp_path / "file"):
        (tmp_path / "other").read_bytes()
    assert caught.value.filename == str(tmp_path / "other")


def test_names_as_long_as_they_may_be(tmp_path):
    write(tmp_path / ("n" * 255))
    assert names(tmp_path) == ["n" * 255]
