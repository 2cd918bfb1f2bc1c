"""A package index on 127.0.0.1, as pip asks one, and everything that may answer in its place.

    with Index() as index:
        index.wheel("tiny", "1.0")                      # a wheel for any machine
        index.wheel("tiny", "1.0", tag="cp27-cp27m-win32")
        index.source("tiny", "1.0", "raise SystemExit('no compiler')")
        index.pages = 503                               # what is answered for pages, or "login"
        index.files = "login"                           # and for the files themselves, or "cut"

`lock` returns the line of a lock for what was put in.
"""

import base64
import hashlib
import html
import io
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

LOGIN = b"<!doctype html><html><body><form action='/login'>Guest network: please log in</form></body></html>"
Answer = int | Literal["login", "cut"] | None


class Index:
    """See the module's docstring."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        """Files by name."""
        self.pythons: dict[str, str] = {}
        """What of Python a file wants, as pages say it, by its name."""
        self.pages: Answer = None
        self.files: Answer = None
        self.delay_s = 0.0
        """Before each file is sent: a slow network."""
        self.asked: list[str] = []
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index._answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """What PIP_INDEX_URL is to be."""
        return f"http://127.0.0.1:{self.port}/simple"

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

    def wheel(
        self, name: str, version: str, tag: str = "py3-none-any", needs_python: str = "", requires: str = ""
    ) -> str:
        """Put in a wheel with one module that `requires` another; returns the lock's line."""
        module = f"{name}.py"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        if needs_python:
            metadata += f"Requires-Python: {needs_python}\n"
            self.pythons[f"{name}-{version}-{tag}.whl"] = needs_python
        if requires:
            metadata += f"Requires-Dist: {requires}\n"
        info = f"{name}-{version}.dist-info"
        files = {
            module: b"SAID = 'yes'\n",
            f"{info}/METADATA": metadata.encode(),
            f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
        }
        lines = [f"{path},sha256={_record(data)},{len(data)}" for path, data in files.items()]
        files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for path, data in files.items():
                archive.writestr(path, data)
        return self._put(f"{name}-{version}-{tag}.whl", out.getvalue(), name, version)

    def source(self, name: str, version: str, build: str, requires: str = "") -> str:
        """Put in a source distribution whose wheel is built by the Python text `build`, once what it `requires` is
        there; returns the lock's line."""
        backend = f"def build_wheel(folder, config_settings=None, metadata_directory=None):\n    {build}\n"
        project = (
            f'[build-system]\nrequires = [{requires}]\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        )
        files = {
            "pyproject.toml": project,
            "backend.py": f"{backend}\n{_METADATA.format(name=name, version=version)}",
            "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        }
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as archive:
            for path, text in files.items():
                info = tarfile.TarInfo(f"{name}-{version}/{path}")
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text.encode()))
        return self._put(f"{name}-{version}.tar.gz", out.getvalue(), name, version)

    def _put(self, file: str, data: bytes, name: str, version: str) -> str:
        self.held[file] = data
        return f"{name}=={version} --hash=sha256:{hashlib.sha256(data).hexdigest()}\n"

    def _answer(self, http: BaseHTTPRequestHandler) -> None:
        self.asked.append(http.path)
        name = http.path.strip("/").rpartition("/")[2]
        of_file = name in self.held
        fault = self.files if of_file else self.pages
        status, kind, body = 200, "text/html", b""
        if isinstance(fault, int):
            status, body = fault, b"not now"
        elif fault == "login":
            body = LOGIN
        elif of_file:
            time.sleep(self.delay_s)
            kind, body = "application/octet-stream", self.held[name]
        else:
            links = [
                f'<a href="/files/{file}#sha256={hashlib.sha256(data).hexdigest()}"{self._wanted(file)}>{file}</a>'
                for file, data in self.held.items()
                if file.startswith(f"{name.replace('-', '_')}-")
            ]
            status, body = (200, "<br>".join(links).encode()) if links else (404, b"")
        http.send_response(status)
        http.send_header("Content-Type", kind)
        http.send_header("Content-Length", str(len(body)))
        http.end_headers()
        http.wfile.write(body[: len(body) // 2] if fault == "cut" else body)

    def _wanted(self, file: str) -> str:
        python = html.escape(self.pythons.get(file, ""))
        return f' data-requires-python="{python}"' if python else ""


_METADATA = """
import pathlib

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = pathlib.Path(folder, "{name}-{version}.dist-info")
    info.mkdir()
    info.joinpath("METADATA").write_text("Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
    info.joinpath("WHEEL").write_text("Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    return info.name
"""


def _record(data: bytes) -> str:
    """Return a hash as a wheel's RECORD has it."""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
