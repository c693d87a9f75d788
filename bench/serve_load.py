"""How `vimnp serve` bears a load with which many requests are not as they should be.

    python bench/serve_load.py [--requests 1000] [--connections 32] [--rounds 3]

The server is a process of its own, with the bundled digits. Every tenth request is, by turns, no
HTTP; no picture; half a picture; too long; slow; too slow; or cut off by its client. Every answer
is held against the network's own, or against what such a request is due. The times are those of
good requests, and their rate is that up to the last of them: those that are too slow take 20
seconds. Memory is the server's resident set; that of a server with Vim-tiny, which has answered
nothing yet, and after a picture, is measured as well. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import itertools
import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import checkout  # noqa: F401  (finds tests.support)
import numpy as np
from PIL import Image
from script_tables import Bound, serve_load_tables
from surroundings import rounds_parser, run

import vimnp
from tests.support.digits import SCANS
from tests.support.random_weights import write_random
from vimnp.config import PUBLISHED

NAME = "digits"
BODY_LIMIT = 200_000
HEAD = f"POST /models/{NAME} HTTP/1.1\r\nHost: localhost\r\nContent-Length: "


class Server:
    """``vimnp serve`` in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.port = int(process.stdout.readline().strip().rstrip("/").rpartition(":")[2])

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def gauge(self, name: str) -> float:
        connection = self.connect()
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        assert found is not None
        return float(found[1])

    def resident(self) -> int:
        """Bytes in memory, without asking the server, which would load what answers."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024


@contextlib.contextmanager
def serving(*arguments: object) -> Iterator[Server]:
    command = [sys.executable, "-m", "vimnp", "serve", "--port", "0", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Server(process)
        finally:
            process.terminate()


# ---- Requests: each gives what came of it -------------------------------------------------------


class Client:
    """One of the connections; good requests stay on it."""

    def __init__(self, server: Server, expected: list[list[dict[str, object]]]) -> None:
        self.server, self.expected = server, expected
        self.connection = server.connect()
        self.seconds: list[float] = []
        self.last = 0.0

    def good(self, number: int) -> str:
        scan = number % len(SCANS)
        start = time.perf_counter()
        status, body = self.post(SCANS[scan].read_bytes())
        self.last = time.perf_counter()
        self.seconds.append(self.last - start)
        if status != 200:
            return f"status {status}"
        return "right" if json.loads(body) == self.expected[scan] else "WRONG"

    def post(self, body: bytes) -> tuple[int, bytes]:
        for _ in range(2):  # a connection that was idle may be closed just now
            try:
                self.connection.request("POST", f"/models/{NAME}", body)
                answer = self.connection.getresponse()
                return answer.status, answer.read()
            except (http.client.RemoteDisconnected, ConnectionError):
                self.connection.close()
        return 0, b""

    def no_picture(self, number: int) -> str:
        return due(400, self.post(b"no picture")[0])

    def half_a_picture(self, number: int) -> str:
        return due(400, self.post(SCANS[0].read_bytes()[:60])[0])

    def too_long(self, number: int) -> str:
        return due(413, self.post(b"x" * (2 * BODY_LIMIT))[0])

    def no_http(self, number: int) -> str:
        with self.raw() as connection:
            connection.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
            return due(400, status_of(connection))

    def slow(self, number: int) -> str:
        """Its bytes come one by one, within the time that there is."""
        body = SCANS[number % len(SCANS)].read_bytes()
        with self.raw() as connection:
            connection.sendall(f"{HEAD}{len(body)}\r\n\r\n".encode())
            for part in np.array_split(np.frombuffer(body, np.uint8), 20):
                connection.sendall(part.tobytes())
                time.sleep(0.05)
            return due(200, status_of(connection))

    def too_slow(self, number: int) -> str:
        with self.raw() as connection:
            connection.sendall(f"{HEAD}100\r\n\r\nabc".encode())
            return due(408, status_of(connection))

    def cut_off(self, number: int) -> str:
        with self.raw() as connection:
            connection.sendall(f"{HEAD}50000\r\n\r\n".encode() + b"x" * 20_000)
        return "cut by its client"

    @contextlib.contextmanager
    def raw(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=120) as connection:
            yield connection


def status_of(connection: socket.socket) -> int:
    answer = connection.recv(100).split()
    return int(answer[1]) if len(answer) > 1 else 0


def due(expected: int, status: int) -> str:
    return f"{expected}, as is due" if status == expected else f"{status} FOR {expected}"


BAD = ("no_http", "no_picture", "half_a_picture", "too_long", "slow", "cut_off", "too_slow")


def load(
    server: Server, requests: int, connections: int
) -> tuple[Counter[str], list[float], float]:
    """All requests, from so many connections at once.

    Gives what came of them, the seconds that good ones took, and how many came in a second.
    """
    expected = [
        [{"label": each.label, "score": each.score} for each in best]
        for best in vimnp.load("digits").predict(SCANS)
    ]
    numbers = itertools.count()
    clients = [Client(server, expected) for _ in range(connections)]
    found: Counter[str] = Counter()
    lock = threading.Lock()

    def ask(client: Client) -> None:
        while True:
            with lock:
                number = next(numbers)
            if number >= requests:
                return
            kind = "good" if number % 10 else BAD[number // 10 % len(BAD)]
            call: Callable[[int], str] = getattr(client, kind)
            try:
                outcome = call(number)
            except Exception as error:
                outcome = f"LOST ({type(error).__name__})"
            with lock:
                found[f"{kind.replace('_', ' ')}: {outcome}"] += 1

    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = [each for client in clients for each in client.seconds]
    return found, seconds, len(seconds) / (max(client.last for client in clients) - start)


def rounds_of(options: argparse.Namespace) -> dict[str, Any]:
    """Rows of rounds, memory before them, and what came of the requests.

    Ends the program if an answer was wrong or lost, or if the server holds something afterwards.
    """
    total: Counter[str] = Counter()
    rows = []
    with serving("--model", NAME, "--max-body", BODY_LIMIT) as server:
        before = server.resident()
        for _ in range(options.rounds):
            found, seconds, rate = load(server, options.requests, options.connections)
            total += found
            p50, p99 = (float(np.quantile(seconds, q)) for q in (0.5, 0.99))
            rows.append({"p50": p50, "p99": p99, "rate": rate, "memory": server.resident()})
        left = server.gauge("vimnp_held_bytes"), server.gauge("vimnp_requests")
    wrong = {what: n for what, n in total.items() if re.search("WRONG|LOST|FOR|status", what)}
    if wrong or left != (0, 0):
        sys.exit(f"not as is due: {wrong}; held bytes and requests afterwards: {left}")
    return {"load": rows, "memory_before": before, "outcomes": dict(sorted(total.items()))}


def memory_of_vim_tiny() -> Iterator[Bound]:
    """Of a server that has answered nothing yet, and after a picture."""
    what = "memory of `vimnp serve` with Vim-tiny"
    with tempfile.TemporaryDirectory() as folder:
        weights = write_random(Path(folder, "tiny.npz"), PUBLISHED["tiny"])
        with serving("--model", weights) as server:
            time.sleep(1)
            yield Bound(f"{what}, idle", server.resident(), "MB", 80e6)
            photograph = io.BytesIO()
            noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
            Image.fromarray(noise).save(photograph, "JPEG")
            connection = server.connect()
            connection.request("POST", "/models/tiny", photograph.getvalue())
            assert connection.getresponse().status == 200
            yield Bound(f"{what}, after a picture", server.resident(), "MB")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures: seconds, good requests a second and bytes of each round; and :class:`Bound`."""
    asked = {name: getattr(options, name) for name in ("rounds", "requests", "connections")}
    bounds = [bound._asdict() for bound in memory_of_vim_tiny()]
    return asked | rounds_of(options) | {"bounds": bounds}


def main() -> None:
    parser = rounds_parser(__doc__, 3)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=32)
    run(parser, measure, serve_load_tables)


if __name__ == "__main__":
    main()
