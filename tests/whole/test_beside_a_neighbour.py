"""A whole benchmark beside a neighbour: a real container that serves the chat API, borrowed by a real job."""

import json
from pathlib import Path
from typing import Literal

import pytest

from bench.neighbour.spec import NeighbourSpec
from bench.records.neighbour import NeighbourRecord
from bench.storage.record_file import load_record
from tests.support.docker import DockerEnv
from tests.support.neighbours import chat_neighbour
from tests.support.whole_run import install, preflight, request, settings, speak


@pytest.mark.parametrize("mode", ["pause", "parallel"])
def test_the_benchmark_gives_the_neighbour_back(
    mode: Literal["pause", "parallel"],
    tmp_path: Path,
    docker_env: DockerEnv,
    watcher_base: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_env.host)
    with chat_neighbour(docker_env) as neighbour:
        asked = request(tmp_path, neighbour_mode=mode)
        spec = NeighbourSpec(
            mode=mode,
            container=neighbour.name,
            url=neighbour.url,
            lease_dir=tmp_path / "lease",
            watcher_base=watcher_base,
            settle_s=1.0,
            ratio_limit=20.0,  # speed is proved elsewhere; a noisy machine is not under test here
        )
        host = settings(tmp_path).model_copy(update={"neighbour": spec})
        run = preflight(asked, host)
        assert run.preflight_passed()
        found = json.loads((run.path / "preflight.json").read_text())
        assert found["host"]["neighbour"]["snapshot"]["running"]
        install(run)
        made = speak(run, "benchmark", host, tmp_path)
        assert made.ok, made.error
        record = load_record(NeighbourRecord, run.path)
        assert record.state == "restored" and not record.differences
        assert record.pauses == (1 if mode == "pause" else 0)
        assert (record.felt is not None) == (mode == "parallel")
        assert neighbour.running() and neighbour.policy() == "unless-stopped"
