"""`python -m bench.engines.image.build IMAGE LOCK CODE BASE [--sources DIR] [--unmet JSON]`: build an image.

It says what failed.
"""

import argparse
import contextlib
import os
import sys
from pathlib import Path

import docker
from docker.errors import DockerException

from bench.engines.image.context import ImageFailed, build_image

PASSED_ON = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_TRUSTED_HOST", "PIP_CERT", "PIP_COMPILE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
"""Settings of the host's environment that the build is given, where they are set; the Dockerfile names pip's, and
Docker knows the others."""
_NETWORK = "AUDITION_BUILD_NETWORK"
"""The network of the build's commands, where Docker's default one reaches no package index."""
_LIMIT_S = 3600


def main() -> None:
    """Build, with the build's log as it comes; exit 1 when a step failed."""
    parser = argparse.ArgumentParser(prog="bench.engines.image.build", description=__doc__)
    parser.add_argument("image")
    parser.add_argument("lock", type=Path)
    parser.add_argument("code", type=Path)
    parser.add_argument("base")
    parser.add_argument("--sources", type=Path, help="a folder with upstream's code, to lie beside ours")
    parser.add_argument("--unmet", default="", help="what the lock leaves unmet, by package (run.unmet)")
    given = parser.parse_args()
    arguments = {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)}
    arguments |= {"UNMET": given.unmet} if given.unmet else {}
    try:
        with contextlib.closing(docker.from_env(timeout=_LIMIT_S)) as client:
            built = build_image(
                client, given.image, given.lock, given.code, base=given.base, build_args=arguments,
                network=os.environ.get(_NETWORK) or None, sources=given.sources, say=_say,
            )  # fmt: skip
    except (ImageFailed, DockerException) as error:
        sys.exit(str(error))
    print(f"{given.image} {'built' if built else 'is there'}")  # noqa: T201 - what this command is for


def _say(text: str) -> None:
    print(text, end="", flush=True)  # noqa: T201 - whoever waits goes by when a line came


if __name__ == "__main__":
    main()
