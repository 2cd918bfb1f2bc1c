"""`python -m bench.engines.image.build MODEL LOCK BASE`: build an engine's image, and say what failed."""

import argparse
import os
import sys
from pathlib import Path

import docker
from docker.errors import BuildError

from bench.engines.image.context import build

_LOG_LINES = 40
_PASSED_ON = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_OPTIONS", "PIP_CHECK")
"""Settings of the host's environment that the build is given, where they are set."""


def main() -> None:
    """Build; exit 1 with the end of the build's log when a step failed."""
    parser = argparse.ArgumentParser(prog="bench.engines.image.build", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("lock", type=Path)
    parser.add_argument("base")
    given = parser.parse_args()
    arguments = {name: os.environ[name] for name in _PASSED_ON if os.environ.get(name)}
    try:
        name, built = build(docker.from_env(), given.model, given.lock, base=given.base, build_args=arguments)
    except BuildError as error:
        said = [str(line["stream"]).rstrip() for line in error.build_log if "stream" in line]
        sys.exit("\n".join([*said[-_LOG_LINES:], str(error)]))
    print(f"{name} {'built' if built else 'is there'}")  # noqa: T201 - what this command is for


if __name__ == "__main__":
    main()
