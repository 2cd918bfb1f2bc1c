"""`make arm64`: what a machine without an aarch64 processor can prove of one.

A Debian for arm64 runs in a container of a private Docker engine, its programs by qemu's user emulation. There the
whole locks are installed with hashes, checked and imported, and each engine loads a tiny random model and speaks over
HTTP as a host's job has it do (arm64_inside.py); the demo is played; and a neighbour is borrowed by an emulated
watcher. None of its times is one of an aarch64 machine's: they say what the emulation took.

`python -m tests.hosts.arm64 --out DIR [WHAT ...]`: all of `WHATS` by default. Each adds a line to DIR/arm64.jsonl.
`--mirror` is a folder with the repositories of CosyVoice 2's code, where its forge is out of reach.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.hosts.bare import PASSED_ON
from tests.support.docker import (
    REPOSITORY,
    Dockerd,
    DockerEnv,
    debootstrapped,
    ensure_docker,
    install_missing,
    tail,
)

WHATS = ("host", "hibari", "f5", "cosyvoice2", "chatterbox", "qwen3_tts_06b", "demo", "watcher")
IMAGE = "audition-arm64:bookworm"
PACKAGES = ("python3", "python3-venv", "git", "make", "ca-certificates")
BINFMT = Path("/proc/sys/fs/binfmt_misc")
QEMU = "/usr/bin/qemu-aarch64-static"
_AARCH64 = (
    rb":qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    rb":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:%s:F" % QEMU.encode()
)
"""The head of an aarch64 program, and its mask. F: the emulator is opened now, so that containers need not have it."""
CPUINFO = """processor\t: {number}
BogoMIPS\t: 50.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp ssbs
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1

"""
"""Of one processor, a Neoverse N1. The emulator of Debian 12 shows programs the machine's own /proc/cpuinfo, and
onnxruntime ends with SIGSEGV when it reads of an x86 there."""
_LIMIT_S = 4 * 3600.0


def emulate() -> None:
    """Let this machine's kernel run aarch64 programs; nothing happens where it does already."""
    install_missing((Path(QEMU).name, "qemu-user-static"))
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)], check=True)
    if not (BINFMT / "qemu-aarch64").exists():
        (BINFMT / "register").write_bytes(_AARCH64)


def import_system(env: DockerEnv) -> None:
    """Give a Docker engine the Debian for arm64 as `IMAGE`."""
    repository, tag = IMAGE.split(":")
    root = debootstrapped("arm64-bookworm", PACKAGES, "arm64")
    with contextlib.closing(env.client(timeout_s=600)) as client:
        client.api.import_image_from_file(str(root), repository=repository, tag=tag)


@contextlib.contextmanager
def machine(env: DockerEnv, out: Path, mirror: Path | None) -> Iterator[Callable[..., int]]:
    """Run the emulated machine with this checkout's HEAD in /audition; yields what runs a command there."""
    import_system(env)
    name = f"audition-arm64-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="audition-bundle-") as folder:
        bundle = Path(folder) / "audition.bundle"
        subprocess.run(
            ["git", "-C", str(REPOSITORY), "bundle", "create", "-q", str(bundle), "HEAD"], check=True
        )
        given = [f"--env={variable}" for variable in PASSED_ON if variable in os.environ]
        cpuinfo = Path(folder) / "cpuinfo"
        cpuinfo.write_text("".join(CPUINFO.format(number=n) for n in range(os.cpu_count() or 1)), "ascii")
        mounts = [
            f"-v={folder}:/bundle:ro", f"-v={out.resolve()}:/out", f"-v={cpuinfo}:/proc/cpuinfo:ro",
        ]  # fmt: skip
        mounts += [f"-v={mirror.resolve()}:/mirror:ro"] if mirror else []

        def docker(*arguments: str) -> int:
            command = ["docker", *arguments]
            return subprocess.run(
                command, check=False, env=env.environ(), stdin=subprocess.DEVNULL
            ).returncode

        begun = docker(
            "run", "-d", "--network=host", f"--name={name}", *mounts, *given, IMAGE, "sleep", "infinity"
        )
        try:
            if begun or docker("exec", name, "git", "clone", "-q", "/bundle/audition.bundle", "/audition"):
                raise SystemExit("The emulated machine did not start.")
            yield lambda *command: docker("exec", "-w=/audition", "-e=PYTHONPATH=/audition", name, *command)
        finally:
            docker("rm", "-f", name)


def main() -> int:
    """Prove what was asked for; return 1 where any of it failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", default=list(WHATS), metavar="WHAT", help=f"of {', '.join(WHATS)}")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--mirror", type=Path)
    options = parser.parse_args()
    if unknown := set(options.what) - set(WHATS):
        parser.error(f"there is no {', '.join(sorted(unknown))}: {', '.join(WHATS)}")
    options.out.mkdir(parents=True, exist_ok=True)
    install_missing(("dockerd", "docker.io"), ("docker", "docker.io"), ("ip", "iproute2"))
    emulate()
    # Beside it and not in it: the container mounts `out`, and an engine that mounts its own folder multiplies mounts.
    root = Path(tempfile.mkdtemp(prefix="audition-arm64-engine-", dir=options.out.resolve().parent))
    daemon = Dockerd(root / "docker", bridge=False)
    failed: list[str] = []
    try:
        daemon.start()
        with machine(daemon.env, options.out, options.mirror) as run:
            for what in options.what:
                began = time.monotonic()
                code = _prove(what, run)
                _tell(options.out, what, code, time.monotonic() - began)
                failed += [what] if code else []
    finally:
        print(tail(daemon.log) if failed else "", file=sys.stderr)
        daemon.erase()
        shutil.rmtree(root, ignore_errors=True)
    print(f"failed: {', '.join(failed)}" if failed else "all proved")
    return 1 if failed else 0


def _prove(what: str, run: Callable[..., int]) -> int:
    if what == "demo":
        return run("make", "demo")
    if what == "watcher":
        import_system(ensure_docker())  # the engine of the suite's own, whose neighbours the tests make
        told = os.environ | {"AUDITION_TEST_WATCHER_BASE": IMAGE}
        cases = ("comes_back_as_it_was", "watcher_while_it_restores", "controller_that_is_gone")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/neighbour/test_lease.py",
                   "-k", " or ".join(cases)]  # fmt: skip
        return subprocess.run(command, cwd=REPOSITORY, env=told, check=False, timeout=_LIMIT_S).returncode
    return run("python3", "-m", "tests.hosts.arm64_inside", what, "--out", "/out")


def _tell(out: Path, what: str, code: int, took_s: float) -> None:
    line = {"what": what, "ok": code == 0, "s": round(took_s)}
    print(json.dumps(line), flush=True)
    with (out / "arm64.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    sys.exit(main())
