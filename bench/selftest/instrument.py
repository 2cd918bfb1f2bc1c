"""The scripted instrument: a server on raw sockets whose every byte and moment is known.

It runs as a process of its own (`python -m bench.selftest.instrument`), prints one line with its port, and
ends when its standard input closes. `/s/<script>/<family>/…` plays a script to whoever asks as that family of
servers is asked (bench.selftest.routes), and to nobody else; `GET /log` hands out and clears what it noted: when
each request had arrived whole and when each piece left, by CLOCK_MONOTONIC, stamped immediately before the system
call that sends it. Requests are told apart by the word `take-…` in their body.

It knows nothing of bench.client: framing, headers and stamps are its own.
"""

import json
import re
import socket
import struct
import sys
import threading
import time

from bench.selftest.routes import FAMILIES, Desk
from bench.selftest.scripts import TOKEN, Script, Step, all_scripts

_TLS_HELLO = b"\x16\x03"
"""Whoever speaks TLS to this plain server is not answered."""
_TAKE = re.compile(rb"take-[0-9a-z-]+")


class Instrument:
    """One thread a connection."""

    def __init__(self, scripts: dict[str, Script]) -> None:
        """Listen on a free port of the loopback interface."""
        self.scripts = scripts
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self.listener.getsockname()[1]
        self._lock = threading.Lock()
        self._log: list[dict[str, object]] = []
        self._seen: set[str] = set()
        self._desks: dict[tuple[str, str], Desk] = {}

    def serve(self) -> None:
        """Accept connections until the listener is closed."""
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._connection, args=(connection,), daemon=True).start()

    def _connection(self, connection: socket.socket) -> None:
        with connection:
            try:
                while self._answer_one(connection):
                    pass
            except (OSError, ValueError):
                return

    def _find_script(self, path: str) -> tuple[Script | None, str | None, str]:
        """Return the script and the family that a path names, and what follows them."""
        parts = path.split("/", 4)
        if len(parts) < 4 or parts[1] != "s" or parts[3] not in FAMILIES:
            return None, None, ""
        return self.scripts.get(parts[2]), parts[3], f"/{parts[4]}" if len(parts) > 4 else ""

    def _answer_one(self, connection: socket.socket) -> bool:
        """Answer one request; false when the connection is to be closed."""
        head, body = _request(connection)
        arrived = time.monotonic_ns()
        if not head:
            return False
        method, path = head.split(b" ", 2)[:2]
        if path == b"/log":
            with self._lock:
                noted, self._log = self._log, []
            _send_json(connection, noted)
            return True
        script, family, below = self._find_script(path.decode())
        if script is None or family is None:
            _send_json(connection, {"detail": "nothing here"}, "404 Not Found")
            return True
        with self._lock:
            desk = self._desks.setdefault((script.name, family), Desk(FAMILIES[family]))
            listed = desk.openapi() if below == "/openapi.json" else None
            told = desk.takes(below, head, body) if method == b"POST" else ("404 Not Found", "nothing here")
        if listed is not None:
            _send_json(connection, listed)
            return True
        if told is not None:
            _send_json(connection, {"detail": told[1]}, told[0])
            return True
        found = _TAKE.search(body)
        take = found.group().decode() if found else ""
        if script.needs_token and f"authorization: bearer {TOKEN}".encode() not in head.lower():
            _send_json(connection, {"error": {"message": "who are you?"}}, "401 Unauthorized")
            return True
        with self._lock:
            first = take not in self._seen
            if script.once is not None:
                self._seen.add(take)
        playing = script.once if script.once is not None and first else script
        note: dict[str, object] = {"script": script.name, "take": take, "arrived_ns": arrived}
        sent: list[list[float]] = []
        try:
            keep = _play(connection, playing, arrived, sent)
        finally:
            note["sent"] = sent
            with self._lock:
                self._log.append(note)
        return keep


def _request(connection: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more or more.startswith(_TLS_HELLO):
            return b"", b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"(?i)content-length: *(\d+)", head)
    wanted = int(found.group(1)) if found else 0
    pieces, got = [body], len(body)
    while got < wanted:
        more = connection.recv(262144)
        if not more:
            return b"", b""
        pieces.append(more)
        got += len(more)
    return head, b"".join(pieces)


def _send_json(connection: socket.socket, value: object, status: str = "200 OK") -> None:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)


def _play(connection: socket.socket, script: Script, arrived: int, sent: list[list[float]]) -> bool:
    """Play the script; `sent` takes [stamp_ns, audio_ms, cut] of each piece, the last one being the end."""
    if script.raw is not None:
        connection.sendall(script.raw)
        return False
    connection.sendall(_head(script))
    instant = any(name == "X-Instant" for name, _ in script.headers)
    for step in script.steps:
        if not instant:
            _wait_until(arrived + round(step.at_ms * 1e6))
        framed = _framed(script, step)
        sent.append([time.monotonic_ns(), step.audio_ms])
        connection.sendall(framed)
    if script.ending == "hang":
        time.sleep(30)
    if script.ending == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if script.ending != "complete":
        return False
    if script.framing == "chunked":
        sent.append([time.monotonic_ns(), 0.0])
        connection.sendall(b"0\r\n\r\n")
    return script.framing != "close"


def _head(script: Script) -> bytes:
    lines = [f"HTTP/1.1 {script.status}"]
    if script.content_type is not None:
        lines.append(f"Content-Type: {script.content_type}")
    lines += [f"{name}: {value}" for name, value in script.headers]
    if script.framing == "chunked":
        lines.append("Transfer-Encoding: chunked")
    elif script.framing == "length":
        true = sum(len(step.data) for step in script.steps)
        lines.append(f"Content-Length: {script.declared_length or true}")
    else:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _framed(script: Script, step: Step) -> bytes:
    if script.framing != "chunked":
        return step.data
    return f"{len(step.data):x}\r\n".encode() + step.data + b"\r\n"


def _wait_until(when_ns: int) -> None:
    while (left := when_ns - time.monotonic_ns()) > 0:
        time.sleep(left / 1e9)


def main() -> None:
    """Serve until standard input closes."""
    instrument = Instrument(all_scripts())
    threading.Thread(target=instrument.serve, daemon=True).start()
    print(json.dumps({"port": instrument.port}), flush=True)  # noqa: T201 - its one line, for its owner
    sys.stdin.buffer.read()
    instrument.listener.close()


if __name__ == "__main__":
    main()
