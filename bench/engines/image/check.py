"""`python -m bench.engines.image.check IMAGE RUN_ID ADAPTER [--gpu NAME]`: `gpu_check` in a container of the image."""

import argparse
import sys

from bench.docker_host.host import DockerHost
from bench.errors import AuditionError

PYTHON = "/opt/engine/bin/python"


def main() -> None:
    """Say what the check said, and end as it ended."""
    parser = argparse.ArgumentParser(prog="bench.engines.image.check", description=__doc__)
    for name in ("image", "run_id", "adapter"):
        parser.add_argument(name)
    parser.add_argument("--gpu")
    given = parser.parse_args()
    expected = ["--gpu", given.gpu] if given.gpu else []
    command = [PYTHON, "-P", "-m", "bench.serving.gpu_check", given.adapter, *expected]
    try:
        with DockerHost() as engine:
            code, said = engine.run_once(given.image, command, run_id=given.run_id, gpu=bool(given.gpu))
    except AuditionError as error:
        sys.exit(str(error))
    print(said)  # noqa: T201 - what this command is for
    sys.exit(code)


if __name__ == "__main__":
    main()
