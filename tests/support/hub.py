"""A server on 127.0.0.1 that speaks the hub's protocol as far as a download needs it, and records all it is
asked.

    with Hub({"owner/model": {REVISION: {"model.bin": b"..."}}}) as hub:
        ensure(weights, store, endpoint=hub.url)
        hub.requests          # every request, in order
        hub.connections       # every TCP connection, spoken on or not: 0 proves that nothing was asked

`/api/models/{repo}` lists the newest (the last) revision's files with their sizes, and a large one's SHA-256.
HEAD and GET of `/{repo}/resolve/{revision}/{path}` answer with `X-Repo-Commit`, `ETag` and `Content-Length`.
A file of `LARGE` bytes or more lives on a second address, as LFS files do on a CDN: a 302 with
`X-Linked-ETag` (its SHA-256), `X-Linked-Size` and a signed `Location`. Ranges are honoured. Faults are set by
path.
"""

import gzip
import hashlib
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

LARGE = 100_000
SIGNATURE = "Signature=very-secret"

Files = Mapping[str, Mapping[str, Mapping[str, bytes]]]


@dataclass(frozen=True)
class Asked:
    """One request, and what became of it."""

    server: str
    method: str
    path: str
    range: str | None
    authorization: str | None
    status: int


@dataclass
class Faults:
    """What goes wrong, by file path. The lists are used up from the front, one a GET."""

    cut_after: dict[str, list[int]] = field(default_factory=dict)
    """Break the connection after so many bytes."""
    stall_after: dict[str, int] = field(default_factory=dict)
    """Send so many bytes, then nothing more."""
    corrupt: set[str] = field(default_factory=set)
    """Send wrong bytes of the right length, under the right ETag."""
    status: dict[str, list[int]] = field(default_factory=dict)
    """Answer with this status instead."""
    ignore_range: set[str] = field(default_factory=set)
    commit: dict[str, str] = field(default_factory=dict)
    """Answer for another revision."""
    login: bool = False
    """Answer everything with a page that asks for a password, as a network for guests does."""
    unmeasured: set[str] = field(default_factory=set)
    """State no length, neither before nor with the bytes, and close the connection after them."""
    endless: dict[str, int] = field(default_factory=dict)
    """State no length and send so many bytes more than the file has."""
    zipped: set[str] = field(default_factory=set)
    """Compress the bytes that are sent, whatever was asked for."""
    stated: dict[str, int] = field(default_factory=dict)
    """Say before that the file has this length."""


class Hub:
    """See the module's docstring. `token`: refuse (401) whoever does not send it."""

    def __init__(self, files: Files, *, token: str | None = None) -> None:
        self.files = files
        self.token = token
        self.faults = Faults()
        self.requests: list[Asked] = []
        self.connections = 0
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._servers = [self._serve("hub"), self._serve("cdn")]

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self._servers[0].server_address[1]}"

    @property
    def cdn(self) -> str:
        """Where large files are: another host name, as a CDN has, where no token may be sent."""
        return f"http://localhost:{self._servers[1].server_address[1]}"

    def gets(self, path: str) -> list[Asked]:
        """The GET requests for the bytes of a file (not those that were redirected)."""
        return [
            one for one in self.requests if one.method == "GET" and one.path == path and one.status != 302
        ]

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _serve(self, name: str) -> ThreadingHTTPServer:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                with hub._lock:
                    hub.connections += 1
                super().setup()

            def do_HEAD(self) -> None:
                hub._answer(name, self)

            def do_GET(self) -> None:
                hub._answer(name, self)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        return server

    def _info(self, raw: str) -> bytes | None:
        """Return what `/api/models/{repo}` says of a repository, or `/api/models/{repo}/revision/{revision}`."""
        asked = unquote(urlsplit(raw).path).removeprefix("/api/models/")
        repo, _, revision = asked.partition("/revision/")
        held = self.files.get(repo, {})
        commit = revision or next(iter([*held][-1:]), "")
        if commit not in held:
            return None
        siblings = []
        for path, data in held[commit].items():
            sibling: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": "0" * 40}
            if len(data) >= LARGE:
                sha256 = hashlib.sha256(data).hexdigest()
                sibling["lfs"] = {"sha256": sha256, "size": len(data), "pointerSize": 134}
            siblings.append(sibling)
        return json.dumps({"id": repo, "sha": commit, "siblings": siblings}).encode()

    def _answer(self, server: str, http: BaseHTTPRequestHandler) -> None:
        if http.path.startswith("/api/models/"):
            body = self._info(http.path)
            http.send_response(200 if body else 404)
            http.send_header("Content-Type", "application/json")
            http.send_header("Content-Length", str(len(body or b"")))
            http.end_headers()
            http.wfile.write(body or b"")
            return
        repo, revision, path = _parts(server, http.path)
        data = self.files.get(repo, {}).get(revision, {}).get(path)
        status, headers, body = self._response(server, http, repo, revision, path, data)
        with self._lock:
            self.requests.append(
                Asked(
                    server,
                    http.command,
                    path,
                    http.headers.get("Range"),
                    http.headers.get("Authorization"),
                    status,
                )
            )
        http.send_response(status)
        for name, value in headers.items():
            http.send_header(name, value)
        if "Content-Length" not in headers and not self._unmeasured(path):
            http.send_header("Content-Length", str(len(body)))
        http.end_headers()
        if http.command == "GET":
            self._send(http, path, body)
        if self._unmeasured(path):
            http.close_connection = True

    def _unmeasured(self, path: str) -> bool:
        return path in self.faults.unmeasured or path in self.faults.endless

    def _response(
        self,
        server: str,
        http: BaseHTTPRequestHandler,
        repo: str,
        revision: str,
        path: str,
        data: bytes | None,
    ) -> tuple[int, dict[str, str], bytes]:
        if self.faults.login:
            return 200, {"Content-Type": "text/html", "ETag": '"login"'}, b"<html>Please log in.</html>"
        if self.faults.status.get(path):
            return self.faults.status[path].pop(0), {}, b"out of order"
        if server == "hub" and self.token and http.headers.get("Authorization") != f"Bearer {self.token}":
            return 401, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"}, b""
        if data is None:
            code = "EntryNotFound" if revision in self.files.get(repo, {}) else "RevisionNotFound"
            return 404, {"X-Error-Code": code}, b""
        sha256 = hashlib.sha256(data).hexdigest()
        headers = {
            "X-Repo-Commit": self.faults.commit.get(path, revision),
            "Accept-Ranges": "bytes",
            "ETag": f'"{hashlib.sha1(b"blob %d" % len(data) + bytes(1) + data).hexdigest()}"',
        }
        if server == "hub" and len(data) >= LARGE:
            place = f"{self.cdn}/{repo}/{revision}/{path}?{SIGNATURE}"
            linked = {"X-Linked-ETag": f'"{sha256}"', "X-Linked-Size": str(len(data)), "Location": place}
            return 302, headers | linked, b""
        if path in self.faults.corrupt:
            data = bytes(len(data) - 1) + b"!"
        start = 0
        asked = http.headers.get("Range")
        if asked and path not in self.faults.ignore_range:
            start = int(asked.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        body = data[start:] + bytes(self.faults.endless.get(path, 0))
        if path in self.faults.zipped and http.command == "GET":
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        if not self._unmeasured(path):
            stated = self.faults.stated.get(path) if http.command == "HEAD" else None
            headers["Content-Length"] = str(len(body) if stated is None else stated)
        return (206 if "Content-Range" in headers else 200), headers, body

    def _send(self, http: BaseHTTPRequestHandler, path: str, body: bytes) -> None:
        cuts = self.faults.cut_after.get(path)
        cut = cuts.pop(0) if cuts else None
        stall = self.faults.stall_after.get(path)
        limit = next((one for one in (cut, stall) if one is not None), len(body))
        try:
            http.wfile.write(body[:limit])
            http.wfile.flush()
            while stall is not None and not self._closing.is_set():
                time.sleep(0.02)
        except (BrokenPipeError, ConnectionResetError):
            pass
        if limit < len(body):
            http.close_connection = True


def _parts(server: str, raw: str) -> tuple[str, str, str]:
    """Split `/{repo}/resolve/{revision}/{path}`, or the CDN's `/{repo}/{revision}/{path}`."""
    pieces = unquote(urlsplit(raw).path).strip("/").split("/")
    if server == "hub":
        at = pieces.index("resolve") if "resolve" in pieces else len(pieces)
        return "/".join(pieces[:at]), "/".join(pieces[at + 1 : at + 2]), "/".join(pieces[at + 2 :])
    return "/".join(pieces[:2]), pieces[2], "/".join(pieces[3:])
