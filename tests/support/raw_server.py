"""A server on raw sockets whose answers a test writes out: status, headers, pieces and the pauses between."""

import contextlib
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    def json(self) -> Any:
        return json.loads(self.body)

    def form(self) -> dict[str, bytes]:
        """Fields of a multipart or urlencoded form."""
        kind = self.headers["content-type"]
        if kind.startswith("application/x-www-form-urlencoded"):
            pairs = (pair.partition(b"=") for pair in self.body.split(b"&"))
            return {key.decode(): value.replace(b"+", b" ") for key, _, value in pairs}
        boundary = kind.partition("boundary=")[2].encode()
        fields = {}
        for part in self.body.split(b"--" + boundary)[1:-1]:
            head, _, value = part.partition(b"\r\n\r\n")
            name = re.search(rb'name="([^"]+)"', head)
            assert name is not None
            fields[name.group(1).decode()] = value.removesuffix(b"\r\n")
        return fields


@dataclass
class Reply:
    body: bytes = b""
    status: str = "200 OK"
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[tuple[float, bytes]] | None = None
    """Chunked: seconds to wait before each, and the bytes."""
    close: bool = False

    @classmethod
    def of(cls, value: Any, status: str = "200 OK", **headers: str) -> "Reply":
        return cls(json.dumps(value).encode(), status, {"Content-Type": "application/json", **headers})


Handler = Callable[[Asked], Reply]


class RawServer:
    def __init__(self, handler: Handler, tls: tuple[Path, Path] | None = None) -> None:
        self.handler = handler
        self.asked: list[Asked] = []
        self.connections = 0
        self.under_way = self.most_under_way = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._tls: ssl.SSLContext | None = None
        if tls is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*tls)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # Wakes the thread in accept(), which would take one more connection otherwise.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def paths(self) -> list[str]:
        return [f"{asked.method} {asked.path}" for asked in self.asked]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            number = self.connections
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):
            stream: socket.socket = connection
            if self._tls is not None:
                stream = self._tls.wrap_socket(connection, server_side=True)
            with stream:
                while (asked := self._request(stream, number)) is not None:
                    with self._lock:
                        self.asked.append(asked)
                        self.under_way += 1
                        self.most_under_way = max(self.most_under_way, self.under_way)
                    try:
                        reply = self.handler(asked)
                        last = self._answer(stream, reply)
                    finally:
                        with self._lock:
                            self.under_way -= 1
                    # Counted as answered before its end is out: whoever has that may ask again at once.
                    stream.sendall(last)
                    if reply.close:
                        return

    def _request(self, stream: socket.socket, number: int) -> Asked | None:
        data = b""
        while b"\r\n\r\n" not in data:
            more = stream.recv(65536)
            if not more:
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}
        while len(body) < int(headers.get("content-length", 0)):
            body += stream.recv(65536)
        method, path, _ = first.split(" ")
        return Asked(method, path, headers, body, number)

    def _answer(self, stream: socket.socket, reply: Reply) -> bytes:
        """Send a reply but for its last bytes, and return those."""
        framing = (
            "Transfer-Encoding: chunked" if reply.pieces is not None else f"Content-Length: {len(reply.body)}"
        )
        lines = [f"HTTP/1.1 {reply.status}", framing, *(f"{k}: {v}" for k, v in reply.headers.items())]
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        if reply.pieces is None:
            return head + reply.body
        stream.sendall(head)
        for wait_s, data in reply.pieces:
            time.sleep(wait_s)
            stream.sendall(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        return b"0\r\n\r\n"


@contextlib.contextmanager
def serving(handler: Handler, tls: tuple[Path, Path] | None = None) -> Iterator[RawServer]:
    server = RawServer(handler, tls)
    try:
        yield server
    finally:
        server.close()
