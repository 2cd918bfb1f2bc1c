"""What these tests share: one registry, and in it one image with a real neural voice."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from bench.docker_host.host import DockerHost
from bench.engines.published import find_platform
from tests.support import stranger_image
from tests.support.docker import DockerEnv
from tests.support.registry import Registry


@dataclass(frozen=True, slots=True)
class Published:
    """The image in the registry."""

    repository: str
    digest: str
    platform: str

    @property
    def reference(self) -> str:
        """What is pulled."""
        return f"{self.repository}@{self.digest}"

    @property
    def platforms(self) -> dict[str, str | None]:
        """What an entry says of it."""
        return {self.platform: self.digest}


@pytest.fixture(scope="session")
def registry(needs_docker: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as opened:
        yield opened


@pytest.fixture(scope="session")
def published(docker_env: DockerEnv, registry: Registry) -> Published:
    repository, digest = stranger_image.publish(docker_env, registry.port)
    with DockerHost(docker_env.host) as docker_host:
        docker_host.images.remove(f"{repository}:latest")
        return Published(repository, digest, find_platform(docker_host))


@pytest.fixture(scope="module")
def pulled(docker_env: DockerEnv, published: Published) -> Iterator[Published]:
    """The image, on this host."""
    with DockerHost(docker_env.host) as docker_host:
        docker_host.images.pull(published.reference)
        yield published
        docker_host.images.remove(published.reference)
