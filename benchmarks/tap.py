"""A tap on the wire: it hands on what passes between a client and a server, and notes when each piece came.

It shares no code with the client that it listens to, and runs in a process of its own, so that neither waits for the
other. Its stamps are CLOCK_MONOTONIC, which is the same for every process of a host.
"""

import contextlib
import multiprocessing
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

Piece = tuple[int, bytes]
"""When (perf_counter_ns) some bytes could be read, and the bytes; empty ones are the end of the connection."""
_READ = 65536


@dataclass(slots=True)
class Tapped:
    """What passed over one connection."""

    asked: list[Piece] = field(default_factory=list)
    answered: list[Piece] = field(default_factory=list)


class Tap:
    """A running tap; `port` is where it listens on 127.0.0.1."""

    def __init__(self, port: int, pipe: Connection) -> None:
        """Take over a started process; `tapping` starts one."""
        self.port = port
        self._pipe = pipe

    def stop(self) -> list[Tapped]:
        """End it and return what passed, by connection, in the order in which they were made."""
        self._pipe.send(None)
        noted: list[Tapped] = self._pipe.recv()
        return noted


@contextlib.contextmanager
def tapping(host: str, port: int, hold_s: float = 0.0) -> Iterator[Tap]:
    """Run a tap before the server at `host` and `port`; it ends with the block.

    Args:
        host: of the server.
        port: of the server.
        hold_s: how long each piece of an answer is kept back after it was noted: an error of the client's to be found.
    """
    process = multiprocessing.get_context("spawn")
    ours, theirs = process.Pipe()
    running = process.Process(target=_run, args=(host, port, hold_s, theirs), daemon=True)
    running.start()
    theirs.close()
    try:
        yield Tap(ours.recv(), ours)
    finally:
        running.terminate()
        running.join()
        ours.close()


def _run(host: str, port: int, hold_s: float, pipe: Connection) -> None:
    noted: list[Tapped] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, host, port, hold_s, noted), daemon=True).start()
        pipe.send(listener.getsockname()[1])
        pipe.recv()
        pipe.send(noted)


def _accept(listener: socket.socket, host: str, port: int, hold_s: float, noted: list[Tapped]) -> None:
    while True:
        client = listener.accept()[0]
        try:
            server = socket.create_connection((host, port))
        except OSError:
            client.close()
            continue
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        passed = Tapped()
        noted.append(passed)
        threading.Thread(target=_hand_on, args=(client, server, passed.asked, 0.0), daemon=True).start()
        threading.Thread(target=_hand_on, args=(server, client, passed.answered, hold_s), daemon=True).start()


def _hand_on(source: socket.socket, to: socket.socket, noted: list[Piece], hold_s: float) -> None:
    data = b"more"
    while data:
        try:
            data = source.recv(_READ)
        except OSError:  # reset: to the other side, and in the notes, that is the end too
            data = b""
        noted.append((time.perf_counter_ns(), data))
        time.sleep(hold_s)
        try:
            to.sendall(data) if data else to.shutdown(socket.SHUT_WR)
        except OSError:
            return
