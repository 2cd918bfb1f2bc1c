"""`python -m benchmarks.published` asks one server twice: in a container, and as its owner runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.published import main
from tests.published.conftest import Published
from tests.support import entries, stranger_image
from tests.support.docker import DockerEnv
from tests.support.neighbours import free_port, until

pytestmark = [pytest.mark.needs("docker-registry"), pytest.mark.slow]


@pytest.fixture
def outside() -> Iterator[str]:
    """The server as its owner runs it."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, str(stranger_image.HERE / "server.py")], env=os.environ | {"PORT": str(port)}
    )
    try:
        until(lambda: _ready(port), 60.0, "the server is ready")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ready", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_each_sentence_is_said_by_both_and_a_server_that_is_not_there_is_told(
    pulled: Published, outside: str, docker_env: DockerEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_env.host)
    tree = entries.published(
        "neural", pulled.repository, pulled.platforms, health={"path": "/ready"}, voice="heart", dialect="openai",
        start_timeout_s=120,
    )  # fmt: skip
    entry = entries.write(tmp_path, tree) / "neural.yml"
    assert main([str(entry), outside, "--takes", "2", "--json", str(tmp_path / "said.json")]) == 0
    rows = {row["name"]: row for row in json.loads((tmp_path / "said.json").read_text())["rows"]}
    assert rows["sentences, said by both"]["value"] == 2
    for figure in ("ttfa_ms", "total_ms"):
        medians = [rows[f"{figure}: {where}, median"]["value"] for where in ("in a container", "by http")]
        assert min(medians) > 0
    assert main([str(entry), f"http://127.0.0.1:{free_port()}", "--takes", "1"]) == 1
