"""`make demo` to the letter on a bare machine: a debootstrap container with Python, git, make, root, nothing else.

`python -m tests.hosts.bare` clones this checkout's HEAD into such a container, plays `make demo` in the clone
twice, and prints how long each took, the verdict and the tree of the run. The container shares this machine's
network and what it trusts (CA bundle, proxies); everything else it installs itself.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.docker import REPOSITORY, Dockerd, DockerEnv, debootstrapped, install_missing

IMAGE = "audition-bare:bookworm"
PACKAGES = ("python3", "git", "make", "ca-certificates")
"""`ca-certificates` is there to be trusted by, not to be used: minbase has no CA at all."""
PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


def main() -> int:
    """Play the demo and return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=2, help="how often `make demo` is played (default: 2)")
    times = parser.parse_args().times
    install_missing(("dockerd", "docker.io"), ("docker", "docker.io"), ("ip", "iproute2"))
    root = Path(tempfile.mkdtemp(prefix="audition-bare-engine-"))
    daemon = Dockerd(root / "docker", bridge=False)
    try:
        daemon.start()
        return _play(daemon.env, times)
    finally:
        daemon.erase()
        shutil.rmtree(root, ignore_errors=True)


def _play(env: DockerEnv, times: int) -> int:
    repository, tag = IMAGE.split(":")
    with contextlib.closing(env.client(timeout_s=300)) as client:
        client.api.import_image_from_file(
            str(debootstrapped("bare-bookworm", PACKAGES)), repository=repository, tag=tag
        )
    with tempfile.TemporaryDirectory(prefix="audition-bundle-") as folder:
        bundle = Path(folder) / "audition.bundle"
        subprocess.run(
            ["git", "-C", str(REPOSITORY), "bundle", "create", "-q", str(bundle), "HEAD"], check=True
        )
        given = [f"--env={name}" for name in PASSED_ON if name in os.environ]
        name = f"audition-bare-{os.getpid()}"
        _docker(env, "run", "-d", "--network=host", f"--name={name}", f"-v={folder}:/bundle:ro", *given, IMAGE,
                "sleep", "infinity")  # fmt: skip
        try:
            _docker(env, "exec", name, "git", "clone", "-q", "/bundle/audition.bundle", "/audition")
            for number in range(times):
                began = time.monotonic()
                _docker(env, "exec", "-w=/audition", name, "make", "demo")
                print(f"make demo, time {number + 1}: {time.monotonic() - began:.0f} s", flush=True)
            show = "cat runs/latest/verdict.json; cd runs/latest/ && find . | sort"
            _docker(env, "exec", "-w=/audition", name, "sh", "-c", show)
            return 0
        except subprocess.CalledProcessError as error:
            return error.returncode
        finally:
            _docker(env, "rm", "-f", name)


def _docker(env: DockerEnv, *arguments: str) -> None:
    subprocess.run(["docker", *arguments], check=True, env=env.environ(), stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
