"""Fixtures that tests of several folders use: a real Docker, and a base image on it."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from bench.docker_host.host import DockerHost
from tests.support.docker import DockerEnv, base_image, ensure_docker


@pytest.fixture(scope="session")
def docker_env(needs_docker: None) -> DockerEnv:
    return ensure_docker()


@pytest.fixture(scope="session")
def watcher_base(docker_env: DockerEnv) -> str:
    """An image on which a watcher is built; `make arm64` names one of another processor."""
    return os.environ.get("AUDITION_TEST_WATCHER_BASE") or base_image(docker_env)


@pytest.fixture
def docker_host(docker_env: DockerEnv) -> Iterator[DockerHost]:
    with DockerHost(docker_env.host) as opened:
        yield opened


@pytest.fixture
def client(docker_env: DockerEnv) -> Iterator[Any]:
    opened = docker_env.client()
    yield opened
    opened.close()
