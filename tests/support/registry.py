"""A real registry on 127.0.0.1 (Debian's docker-registry), images put into it by hand, and a way between it and Docker
on which things go wrong.

    with Registry(folder) as registry, Way(registry.port) as way:
        digest = put(registry.url, "somebody/voice", [layer({"hello": b"..."})])
        way.cut_after = 1000                            # bytes of a blob, then the line is dead

Docker trusts a registry on 127.0.0.1 without TLS.
"""

import gzip
import hashlib
import http.client
import io
import json
import subprocess
import tarfile
import threading
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.neighbours import free_port
from tests.support.pace import limit

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
SETTINGS = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
log: {{level: error}}
"""


class Registry:
    """See the module's docstring."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "config.yml"
        config.write_text(SETTINGS.format(folder=self._folder / "data", port=self.port))
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(config)], stdout=log, stderr=log
            )
        end = time.monotonic() + limit(30)
        while True:
            try:
                httpx.get(f"{self.url}/v2/", timeout=2).raise_for_status()
                return self
            except httpx.HTTPError:
                assert self._process.poll() is None and time.monotonic() < end, (
                    self._folder / "log"
                ).read_text()
            time.sleep(0.1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()


def layer(files: Mapping[str, bytes]) -> bytes:
    """Return a layer, packed, with these files in it."""
    out = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def put(
    url: str,
    name: str,
    layers: Sequence[bytes],
    *,
    machine: str = "amd64",
    labels: Mapping[str, str] | None = None,
) -> str:
    """Put an image into a registry and return the digest of its manifest."""
    config = json.dumps(
        {
            "architecture": machine,
            "os": "linux",
            "config": {"Labels": dict(labels or {})},
            "rootfs": {"type": "layers", "diff_ids": [_digest(gzip.decompress(each)) for each in layers]},
        }
    ).encode()
    parts = [{"mediaType": LAYER, **_put_blob(url, name, each)} for each in layers]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, **_put_blob(url, name, config)},
        "layers": parts,
    }
    return put_manifest(url, name, manifest)


def put_manifest(url: str, name: str, manifest: Mapping[str, Any], tag: str = "") -> str:
    """Put a manifest, or a list of them, into a registry and return its digest; `tag` names it too."""
    body = json.dumps(manifest).encode()
    digest = _digest(body)
    for reference in (digest, *([tag] if tag else [])):
        answer = httpx.put(
            f"{url}/v2/{name}/manifests/{reference}",
            content=body,
            headers={"Content-Type": manifest["mediaType"]},
        )
        assert answer.status_code == 201, answer.text
    return digest


def list_of(digests: Mapping[str, str], sizes: Mapping[str, int]) -> dict[str, Any]:
    """Return the list of an image's manifests by machine."""
    return {
        "schemaVersion": 2,
        "mediaType": LIST,
        "manifests": [
            {
                "mediaType": MANIFEST,
                "digest": digest,
                "size": sizes[machine],
                "platform": {"architecture": machine, "os": "linux"},
            }
            for machine, digest in digests.items()
        ],
    }


def size_of(url: str, name: str, digest: str) -> int:
    """Return the size of a manifest."""
    answer = httpx.get(f"{url}/v2/{name}/manifests/{digest}", headers={"Accept": MANIFEST})
    return len(answer.content)


def _put_blob(url: str, name: str, data: bytes) -> dict[str, Any]:
    digest = _digest(data)
    begun = httpx.post(f"{url}/v2/{name}/blobs/uploads/")
    assert begun.status_code == 202, begun.text
    answer = httpx.put(
        httpx.URL(begun.headers["Location"]).copy_merge_params({"digest": digest}),
        content=data,
        headers={"Content-Type": "application/octet-stream"},
        timeout=60,
    )
    assert answer.status_code == 201, answer.text
    return {"digest": digest, "size": len(data)}


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Way:
    """A port that hands requests on to a registry, and on which things go wrong."""

    def __init__(self, to: int) -> None:
        self.cut_after: int | None = None
        """Bytes of each blob after which the connection is cut; null: none is."""
        self.spare: set[str] = set()
        """Digests that are not cut."""
        self.manifest: bytes | None = None
        """Handed out in place of each manifest."""
        self.status: int | None = None
        """Answered to everything."""
        self.asked: list[str] = []
        """Blobs that were asked for, by digest."""
        way = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                way._hand_on(self, to)

            do_HEAD = do_GET  # noqa: N815 (the name that http.server calls)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _hand_on(self, asking: BaseHTTPRequestHandler, to: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", to, timeout=30)
        given = {k: v for k, v in asking.headers.items() if k.lower() not in ("host", "connection")}
        connection.request(asking.command, asking.path, headers=given)
        answer = connection.getresponse()
        body = answer.read()
        digest = asking.path.rpartition("/")[2]
        is_blob = "/blobs/" in asking.path and asking.command == "GET"
        status = answer.status
        if self.status is not None:
            status, body = self.status, b"{}"
        elif "/manifests/" in asking.path and self.manifest is not None and body:
            body = self.manifest
        if is_blob:
            self.asked.append(digest)
        asking.send_response(status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "connection", "docker-content-digest"):
                asking.send_header(name, value)
        length = answer.getheader("Content-Length") if asking.command == "HEAD" else str(len(body))
        asking.send_header("Content-Length", length or "0")
        asking.end_headers()
        if asking.command == "HEAD":
            return
        if is_blob and self.cut_after is not None and digest not in self.spare:
            asking.wfile.write(body[: self.cut_after])
            asking.close_connection = True
            return
        asking.wfile.write(body)
