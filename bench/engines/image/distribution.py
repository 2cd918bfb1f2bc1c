"""What a registry has under a tag: asked through Docker, whose credentials and proxies these are. Nothing is pulled."""

from docker import errors as docker_errors

from bench.docker_host.host import DockerHost
from bench.errors import AuditionError, OutOfReach


def ask_registry(docker_host: DockerHost, name: str) -> tuple[str, list[str]]:
    """Return the digest of `repository:tag` and the platforms that it is for.

    Where there are several, the digest is that of the list of them: by it Docker pulls each host's own.

    Raises:
        OutOfReach: the registry does not answer.
        AuditionError: it has no such image, or refuses it.
    """
    with docker_host.answering():
        try:
            told = docker_host.api.inspect_distribution(name)
        except docker_errors.APIError as error:
            said = f"{name} cannot be looked up: {error.explanation}"
            kind = OutOfReach if error.status_code is None or error.status_code >= 500 else AuditionError
            raise kind(said) from error
    platforms = [f"{each.get('os')}/{each.get('architecture')}" for each in told.get("Platforms") or []]
    return str(told["Descriptor"]["digest"]), list(dict.fromkeys(platforms))
