"""A server that answers as the Hugging Face Hub does, for what its client asks of models."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_LARGE = (".pth", ".bin", ".safetensors", ".npz")  # what the Hub keeps in Git LFS


class FakeHub:
    """Repositories in memory, by "owner/name", and what goes wrong with them.

    Attributes
    ----------
    repositories : dict of str to dict of str to bytes
    commits : dict of str to str
        Of the branch "main".
    cards : dict of str to dict
        The headers of their cards.
    gated : set of str
    releases : dict of str to bytes
        What lies at plain addresses, by path.
    replaced : dict of str to bytes
        What is sent in the place of a file's content, by its name.
    cut_after : dict of str to int
        Bytes after which a file's connection ends, by its name.
    cuts : int
        How often that happens.
    log : list of str
        Method and path of each request.
    begins : list of int
        Where parts of files began that were asked for.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.commits: dict[str, str] = {}
        self.cards: dict[str, dict[str, str]] = {}
        self.gated: set[str] = set()
        self.releases: dict[str, bytes] = {}
        self.replaced: dict[str, bytes] = {}
        self.cut_after: dict[str, int] = {}
        self.cuts = 1_000_000
        self.log: list[str] = []
        self.begins: list[int] = []
        self.address = ""

    def fetched(self, name: str) -> int:
        """How often a file's content was asked for."""
        return sum(line.startswith("GET") and line.endswith(name) for line in self.log)

    def answer(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        """Status, content and headers, for a request of the whole."""
        if path in self.releases:
            data = self.releases[path]
            return 200, data, {"ETag": f'"{_git_blob(data)}"'}
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+?)(/revision/([^?]+))?(\?.*)?", path):
            return self._describe(found[1], found[3] or "main")
        if found := re.fullmatch(r"/cdn/([^/]+/[^/]+)/(.+)", path):
            return 200, self.repositories[found[1]][found[2]], {}
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/([^?]+)", path):
            return self._file(found[1], found[2], found[3])
        return 404, b"", {}

    def _refusal(self, name: str, revision: str) -> tuple[int, bytes, dict[str, str]] | None:
        if name in self.gated:
            return 403, b"", {"X-Error-Code": "GatedRepo"}
        if name not in self.repositories:
            return 404, b"", {"X-Error-Code": "RepoNotFound"}
        if revision not in ("main", self._commit(name)):
            return 404, b"", {"X-Error-Code": "RevisionNotFound"}
        return None

    def _describe(self, name: str, revision: str) -> tuple[int, bytes, dict[str, str]]:
        refused = self._refusal(name, revision)
        if refused is not None:
            return refused
        values: dict[str, Any] = {
            "id": name,
            "sha": self._commit(name),
            "siblings": [_sibling(file, data) for file, data in self.repositories[name].items()],
        }
        if name in self.cards:
            values["cardData"] = self.cards[name]
        return 200, json.dumps(values).encode(), {"Content-Type": "application/json"}

    def _file(self, name: str, revision: str, file: str) -> tuple[int, bytes, dict[str, str]]:
        refused = self._refusal(name, revision)
        if refused is not None:
            return refused
        commit = {"X-Repo-Commit": self._commit(name)}
        if file not in self.repositories[name]:
            return 404, b"", {"X-Error-Code": "EntryNotFound", **commit}
        data = self.repositories[name][file]
        if not file.endswith(_LARGE):
            return 200, data, {"ETag": f'"{_git_blob(data)}"', **commit}
        linked = {
            "X-Linked-ETag": f'"{hashlib.sha256(data).hexdigest()}"',
            "X-Linked-Size": str(len(data)),
            # Another host, as the Hub's is: the client asks that one for the content alone.
            "Location": f"{self.address.replace('127.0.0.1', 'localhost')}/cdn/{name}/{file}",
        }
        return 302, b"", {**linked, **commit}

    def _commit(self, name: str) -> str:
        return self.commits.get(name, COMMIT)


def _sibling(file: str, data: bytes) -> dict[str, Any]:
    values: dict[str, Any] = {"rfilename": file, "size": len(data), "blobId": _git_blob(data)}
    if file.endswith(_LARGE):
        digest = hashlib.sha256(data).hexdigest()
        values["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 130}
    return values


def _git_blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def serving(hub: FakeHub) -> Iterator[str]:
    """The hub on a port of this machine, while this lasts; its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            hub.log.append(f"{self.command} {self.path}")
            status, data, headers = hub.answer(self.path)
            name = self.path.rpartition("/")[2]
            if status == 200 and body:
                data = hub.replaced.get(name, data)
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if status == 200 and asked:
                begin = int(asked[1])
                hub.begins.append(begin)
                headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
                status, data = 206, data[begin:]
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(key, value)
            self.end_headers()
            if not body:
                return
            if name in hub.cut_after and hub.cuts > 0 and status in (200, 206):
                hub.cuts -= 1
                data = data[: hub.cut_after[name]]
                self.close_connection = True
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub.address
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
