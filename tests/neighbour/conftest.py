"""What the tests of the neighbour share: Docker, a lease directory, a short way to ask for a lease."""

from pathlib import Path
from typing import Any, Protocol

import pytest

from bench.client.chat import measure_chat
from bench.neighbour.lease import LeaseRequest
from bench.neighbour.proof import Proof
from bench.records.neighbour import ChatLatency
from tests.support.neighbours import ChatNeighbour


class Asking(Protocol):
    def __call__(self, neighbour: ChatNeighbour, **changes: Any) -> LeaseRequest: ...


@pytest.fixture
def lease_dir(tmp_path: Path) -> Path:
    return tmp_path / "lease"


@pytest.fixture
def asking(lease_dir: Path, watcher_base: str) -> Asking:
    def ask(neighbour: ChatNeighbour, **changes: Any) -> LeaseRequest:
        asked: dict[str, Any] = {
            "container": neighbour.name,
            "run_id": "run-1",
            "url": neighbour.url,
            "ttl_s": 5.0,
            "hard_limit_s": 120.0,
            "lease_dir": lease_dir,
            "watcher_base": watcher_base,
            "stay_up_s": 0.5,
            "ready_limit_s": 60.0,
        }
        return LeaseRequest(**{**asked, **changes})

    return ask


def few_samples(url: str) -> ChatLatency:
    return measure_chat(url, n=5, discard=1)


@pytest.fixture
def proof() -> Proof:
    # What is under test is the borrowing; a noisy machine must not fail it, so only test_drift judges speed.
    return Proof(measure=few_samples, min_samples=5, ready_limit_s=60.0, settle_s=0.5)
