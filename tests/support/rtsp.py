"""A camera with an address of RTSP: a server of one stream, which it has ffmpeg encode."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

_DESCRIPTION = """v=0\r
o=- 0 0 IN IP4 127.0.0.1\r
s=camera\r
c=IN IP4 127.0.0.1\r
t=0 0\r
m=video 0 RTP/AVP 26\r
a=control:track0\r
"""


@contextlib.contextmanager
def rtsp_camera(picture: Path) -> Iterator[str]:
    """The address of a camera that sees one picture, 25 times a second, as JPEG over RTP."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as packets,
    ):
        packets.bind(("127.0.0.1", 0))
        packets.settimeout(0.05)
        over = threading.Event()
        thread = threading.Thread(target=_serve, args=(server, packets, over))
        thread.start()
        command = ["ffmpeg", "-loglevel", "error", "-re", "-loop", "1", "-i", str(picture)]
        command += ["-vf", "scale=64:64:flags=neighbor", "-c:v", "mjpeg", "-huffman", "0"]
        command += ["-q:v", "2", "-pix_fmt", "yuvj420p", "-f", "rtp"]
        command += [f"rtp://127.0.0.1:{packets.getsockname()[1]}?pkt_size=1400"]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        ) as encoder:
            try:
                yield f"rtsp://127.0.0.1:{server.getsockname()[1]}/stream"
            finally:
                over.set()
                with contextlib.suppress(OSError):
                    server.shutdown(socket.SHUT_RDWR)
                encoder.kill()
                thread.join()


def _serve(server: socket.socket, packets: socket.socket, over: threading.Event) -> None:
    """One client: what it asks is answered, then each packet goes down the same connection."""
    with contextlib.suppress(OSError):
        client, _ = server.accept()
        with client:
            while (request := _request(client)) is not None:
                method, headers = request
                client.sendall(_answer(method, headers))
                if method == "PLAY":
                    break
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    packet = packets.recv(1 << 16)
                    client.sendall(b"$\0" + len(packet).to_bytes(2, "big") + packet)


def _request(client: socket.socket) -> tuple[str, dict[str, str]] | None:
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        if not byte:
            return None
        data += byte
    first, *lines = data.decode().split("\r\n")
    pairs = (line.partition(": ") for line in lines if line)
    return first.split()[0], {name.lower(): value for name, _, value in pairs}


def _answer(method: str, headers: dict[str, str]) -> bytes:
    lines = ["RTSP/1.0 200 OK", f"CSeq: {headers['cseq']}", "Session: 1"]
    body = ""
    if method == "OPTIONS":
        lines.append("Public: DESCRIBE, SETUP, PLAY")
    elif method == "DESCRIBE":
        body = _DESCRIPTION
        lines += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
    elif method == "SETUP":
        assert "RTP/AVP/TCP" in headers["transport"]
        lines.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
    return "\r\n".join([*lines, "", body]).encode()
