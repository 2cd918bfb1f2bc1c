"""A base image that cannot be pulled is the host's matter, a build that fails the model's: with a real Docker."""

import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bench.controller.parts import find_engine_part, pack_part
from bench.controller.wheel import REPO
from bench.errors import OutOfReach
from bench.install.provision import InstallFailed, Provisioner
from tests.support.docker import DockerEnv
from tests.support.index import LOGIN
from tests.support.neighbours import free_port

pytestmark = pytest.mark.slow


@pytest.fixture
def registry() -> Iterator[tuple[int, dict[str, int]]]:
    """A port that answers every request with `status`, and 200 with a login page."""
    said = {"status": 200}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = LOGIN if said["status"] == 200 else b"{}"
            self.send_response(said["status"])
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1], said
    server.shutdown()
    server.server_close()


@pytest.fixture
def build(docker_env: DockerEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Builds an engine's image on a base."""
    monkeypatch.setenv("DOCKER_HOST", docker_env.host)
    (tmp_path / "lock.txt").write_text("")
    (tmp_path / "engine.tar").write_bytes(pack_part(find_engine_part(REPO, "bench.serving.flite:Flite")))

    def do(base: str) -> None:
        name = "audition-engine-nobody:0000000000000000"
        Provisioner(300, lambda _: None).image(name, tmp_path / "lock.txt", tmp_path / "engine.tar", base)

    return do


@pytest.mark.parametrize("status", [200, 401, 429, 503])
def test_a_registry_that_answers_something_else_says_nothing_of_a_model(
    build: Any, registry: tuple[int, dict[str, int]], status: int
) -> None:
    port, said = registry
    said["status"] = status
    with pytest.raises(OutOfReach, match="the image that it is built on could not be had"):
        build(f"127.0.0.1:{port}/somebody/base:1")


def test_a_registry_that_is_down_or_has_no_name_says_nothing_of_a_model(build: Any) -> None:
    for base in (f"127.0.0.1:{free_port()}/somebody/base:1", "registry.invalid/somebody/base:1"):
        with pytest.raises(OutOfReach, match="could not be had") as stopped:
            build(base)
        assert "run the same command again" in str(stopped.value)


def test_a_build_that_fails_is_a_finding(build: Any, client: Any) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("empty"))
    client.api.import_image_from_data(out.getvalue(), repository="audition-test-empty", tag="1")
    try:
        with pytest.raises(InstallFailed, match="image ended with 1"):
            build("audition-test-empty:1")
    finally:
        client.images.remove("audition-test-empty:1", force=True)
