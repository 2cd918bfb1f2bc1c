"""Role `weights` by ansible-playbook: check mode, first run, second run, a wrong hash, a secret token."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub import Hub

pytestmark = pytest.mark.slow

REPO = Path(__file__).resolve().parents[2]
REVISION = "ab" * 20
TOKEN = "hf_roleSECRET"
FILES = {
    "maker/voice": {
        REVISION: {"config.json": b'{"sample_rate": 24000}\n', "model.bin": bytes(range(256)) * 800}
    }
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(FILES, token=TOKEN) as running:
        yield running


def _weights(**changes: object) -> list[dict[str, object]]:
    """One file known by size and hash, one not at all, as the catalog has them."""
    model = FILES["maker/voice"][REVISION]["model.bin"]
    known = {"bytes": len(model), "sha256": hashlib.sha256(model).hexdigest()} | changes
    common = {"repo": "maker/voice", "revision": REVISION}
    return [
        common | {"path": "model.bin"} | known,
        common | {"path": "config.json", "bytes": None, "sha256": None},
    ]


def _play(
    folder: Path, hub: Hub, weights: list[dict[str, object]], *options: str
) -> tuple[int, str, dict[str, int]]:
    """Run the role on this machine; returns the exit status, all output, and the recap's counts."""
    playbook = folder / "weights.yml"
    variables = {
        "weights_files": weights,
        "weights_store": str(folder / "weights"),
        "weights_python": sys.executable,
        "weights_endpoint": hub.url,
        "weights_token_file": str(folder / "token-of-the-hub"),
        "weights_margin_gib": 0.1,
    }
    (folder / "token-of-the-hub").write_text(TOKEN)
    playbook.write_text(
        json.dumps([{"hosts": "localhost", "gather_facts": False, "vars": variables, "roles": ["weights"]}])
    )
    environment = os.environ | {"ANSIBLE_CONFIG": str(REPO / "ansible.cfg"), "PYTHONPATH": _python_path()}
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local", "-vvv",
         str(playbook), *options],
        cwd=REPO, env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    output = done.stdout + done.stderr
    recap = dict(re.findall(r"(\w+)=(\d+)", output.rpartition("PLAY RECAP")[2]))
    return done.returncode, output, {name: int(count) for name, count in recap.items()}


def _python_path() -> str:
    return os.pathsep.join(path for path in (str(REPO), os.environ.get("PYTHONPATH", "")) if path)


@pytest.mark.slow
def test_the_role_from_check_mode_to_nothing_left_to_do(tmp_path: Path, hub: Hub) -> None:
    status, output, recap = _play(tmp_path, hub, _weights(), "--check")
    assert (status, recap["changed"]) == (0, 1), output
    assert "would fetch maker/voice/model.bin, maker/voice/config.json" in output
    assert hub.connections == 0 and not (tmp_path / "weights").exists()

    status, output, recap = _play(tmp_path, hub, _weights())
    assert (status, recap["changed"]) == (0, 1), output
    assert re.search(r"localhost \| weights \| maker/voice/model.bin \| 0.20 MiB of 0.20 MiB", output)
    assert not list((tmp_path / "weights" / "jobs").iterdir()), "what following it took is gone"
    placed = tmp_path / "weights" / "maker--voice" / REVISION
    assert {path.name for path in placed.iterdir()} == {"model.bin", "config.json"}
    assert TOKEN not in output

    before = hub.connections
    status, output, recap = _play(tmp_path, hub, _weights())
    assert (status, recap["changed"]) == (0, 0), output
    assert hub.connections == before


def test_a_wrong_hash_fails_the_task_with_the_files_name(tmp_path: Path, hub: Hub) -> None:
    status, output, recap = _play(tmp_path, hub, _weights(sha256="0" * 64))
    assert (status, recap["failed"]) == (2, 1)
    assert "maker/voice/model.bin" in output and "quarantine" in output
    assert TOKEN not in output


def test_check_mode_before_the_venv_exists(tmp_path: Path, hub: Hub) -> None:
    status, output, recap = _play(
        tmp_path, hub, _weights(), "--check", "-e", f"weights_python={tmp_path}/none"
    )
    assert (status, recap["changed"]) == (0, 1), output
    assert "would fetch model.bin, config.json" in output
    assert hub.connections == 0


def test_a_misspelt_file_is_refused_by_the_argument_specs(tmp_path: Path, hub: Hub) -> None:
    weights: list[dict[str, object]] = [{"repo": "maker/voice", "revison": REVISION, "path": "model.bin"}]
    status, output, _ = _play(tmp_path, hub, weights)
    assert status == 2
    assert "revision" in output and hub.connections == 0
