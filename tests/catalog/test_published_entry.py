"""The entry of a published image: every key wrong once, each named with its line."""

from pathlib import Path
from typing import Any

import pytest

from bench.catalog.entry import ImageRun
from bench.catalog.loader import load
from bench.controller.host_settings import HostSettings, choose_way
from bench.errors import BadInput
from tests.support import entries

DIGEST = f"sha256:{'0' * 64}"
WEIGHTS = {"repo": "somebody/voice", "revision": "a" * 40, "path": "voice.safetensors"}
WHOLE: dict[str, Any] = {
    "tag": "v1",
    "entrypoint": ["python3"],
    "command": ["serve.py"],
    "environment": {"A": "1"},
    "user": "1000:1000",
    "port": 8880,
    "health": {"path": "/health", "status": 204},
    "dialect": "openai",
    "reference_by": "request",
    "mounts": [{"repo": "somebody/voice", "to": "/models", "layout": "hub_cache"}],
    "writes": [{"path": "/cache", "exec": True, "size_mib": 64}],
    "shm_mib": 256,
    "gpu": True,
    "start_timeout_s": 300,
    "memory_gib": 4.0,
    "memory_limit_gib": 8.0,
    "network": False,
}


def _tree(**run: Any) -> dict[str, Any]:
    platforms = {"linux/amd64": DIGEST, "linux/arm64": None}
    return entries.published("voice", "ghcr.io/somebody/voice", platforms, **(WHOLE | run)) | {
        "weights": [WEIGHTS]
    }


def test_every_key_at_once_is_read(tmp_path: Path) -> None:
    run = load("voice", entries.write(tmp_path, _tree())).run
    assert isinstance(run, ImageRun)
    assert run.platforms == {"linux/amd64": DIGEST, "linux/arm64": None}
    assert run.model_dump(include=set(WHOLE), mode="json") == WHOLE


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("image", "ghcr.io/Somebody/voice", r"run\.image\.image: String should match"),
        ("image", "ghcr.io/somebody/voice:latest", r"image: .*a tag is said in `tag`"),
        ("image", f"ghcr.io/somebody/voice@{DIGEST}", r"run\.image\.image: String should match"),
        ("tag", "two words", r"tag: String should match"),
        ("platforms", {"linux/riscv64": DIGEST}, r"platforms.*'linux/amd64' or 'linux/arm64'"),
        ("platforms", {}, r"platforms: Dictionary should have at least 1 item"),
        (
            "platforms",
            {"linux/arm64": "sha256:abc"},
            r"platforms: .*linux/arm64: must be sha256: and 64 hexa",
        ),
        ("entrypoint", "python3", r"entrypoint: Input should be a valid array"),
        ("command", "serve.py", r"command: Input should be a valid array"),
        ("environment", {"THREADS": 4}, r"environment\.THREADS: Input should be a valid string"),
        ("user", "root; id", r"user: String should match"),
        ("port", 70000, r"port: Input should be less than or equal to 65535"),
        ("health", {"path": "health"}, r"health\.path: String should match"),
        ("health", {"status": 20}, r"health\.status: Input should be greater than or equal to 100"),
        ("health", {"nonce": "x"}, r"health\.nonce: .*not permitted"),
        ("dialect", "opanai", r"dialect: Input should be 'auto'"),
        ("reference_by", "post", r"reference_by: Input should be 'register' or 'request'"),
        (
            "mounts",
            [{"repo": "somebody/other", "to": "/m"}],
            r"run\.mounts: somebody/other is none of the entry's",
        ),
        ("mounts", [{"repo": "somebody/voice", "to": "m"}], r"mounts\.0\.to: String should match"),
        (
            "mounts",
            [{"repo": "somebody/voice", "to": "/m", "layout": "zip"}],
            r"mounts\.0\.layout: Input should",
        ),
        ("writes", [{"path": "/"}], r"writes\.0\.path: String should match"),
        ("writes", [{"path": "cache"}], r"writes\.0\.path: String should match"),
        ("writes", [{"path": "/c", "exec": "perhaps"}], r"writes\.0\.exec: Input should be a valid boolean"),
        ("writes", [{"path": "/c", "size_mib": 0}], r"writes\.0\.size_mib: Input should be greater than 0"),
        ("shm_mib", 0, r"shm_mib: Input should be greater than 0"),
        ("gpu", "some", r"gpu: Input should be a valid boolean"),
        ("start_timeout_s", 0, r"start_timeout_s: Input should be greater than 0"),
        ("memory_gib", -1, r"memory_gib: Input should be greater than or equal to 0"),
        ("memory_limit_gib", 0, r"memory_limit_gib: Input should be greater than 0"),
        ("network", "sometimes", r"network: Input should be a valid boolean"),
        ("privileged", True, r"privileged: .*not permitted"),
        ("auth_env", "TOKEN", r"auth_env: .*not permitted"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(tmp_path: Path, key: str, value: Any, says: str) -> None:
    folder = entries.write(tmp_path, _tree(**{key: value}))
    with pytest.raises(BadInput, match=rf"voice\.yml:\d+: .*{says}"):
        load("voice", folder)


def test_a_profile_is_variables(tmp_path: Path) -> None:
    folder = entries.write(tmp_path, _tree() | {"profiles": {"upstream": {"THREADS": 4}}})
    with pytest.raises(BadInput, match=r"profiles\.upstream: variables of a container are text"):
        load("voice", folder)


def test_a_published_image_runs_in_a_container_beside_a_neighbour_too(tmp_path: Path) -> None:
    entry = load("voice", entries.write(tmp_path, _tree()))
    assert choose_way(entry, HostSettings()) == "image"
    assert choose_way(entry, HostSettings(engine_install="container")) == "image"
    with pytest.raises(BadInput, match="engine_install is venv, and voice is a published image"):
        choose_way(entry, HostSettings(engine_install="venv"))


@pytest.mark.parametrize(
    ("kind", "started", "ours", "stranger"),
    [("engine", True, True, False), ("http", False, False, True), ("image", True, False, True)],
)
def test_what_code_asks_of_an_entrys_run(kind: str, started: bool, ours: bool, stranger: bool) -> None:
    trees = {"engine": entries.raw("one"), "image": _tree()}
    trees["http"] = entries.raw("one", run={"kind": "http"})
    entry = entries.entry(trees[kind])
    assert (entry.started is not None, entry.ours is not None, entry.stranger is not None) == (
        started,
        ours,
        stranger,
    )
