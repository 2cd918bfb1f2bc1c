"""Put a model's own environment on a host: a venv or an image, whole, from its lock, within the hour.

Each step's seconds, retries and source builds are kept, and so is the exact error of a step that fails: a
failed installation is a finding about the model.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.errors import AuditionError
from bench.records import InstallStep

_ERROR_CHARACTERS = 3000
_SOURCE_BUILD = re.compile(r"Building wheel for (\S+)")
_RETRY = re.compile(r"Retrying \(Retry\(")
_COMPLETE = ".audition-complete"


class InstallFailed(AuditionError):
    """A step failed or the time is up; `steps` holds what was done until then."""

    def __init__(self, message: str, steps: list[InstallStep]) -> None:
        super().__init__(message)
        self.steps = steps


class Provisioner:
    """Runs the steps of an installation within one limit."""

    def __init__(self, limit_s: float, say: Callable[[str], None]) -> None:
        self._limit_s = limit_s
        self._deadline = time.monotonic() + limit_s
        self._say = say
        self.steps: list[InstallStep] = []

    def venv(self, target: Path, lock: Path, wheel: Path) -> bool:
        """Make the venv `target` from `lock` and `wheel`; returns False when it is there already.

        An interrupted attempt has no mark of completion and is made anew.
        """
        if (target / _COMPLETE).is_file():
            return False
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        pip = [str(target / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
        self.run("venv", [sys.executable, "-m", "venv", str(target)])
        self.run("packages", [*pip, "install", "--require-hashes", "-r", str(lock)])
        # Checked before bench comes in: the engine's lock has what the server needs, not all that bench names.
        self.run("pip check", [*pip, "check"])
        self.run("bench", [*pip, "install", "--no-deps", str(wheel)])
        (target / _COMPLETE).touch()
        return True

    def image(self, model: str, lock: Path, base: str) -> bool:
        """Build the engine's image from `lock` on `base`; returns False when Docker has it already."""
        from bench.engines.image import context
        from bench.host.docker import Engine

        with Engine() as engine:
            if engine.has_image(context.tag(model, lock, base=base)):
                return False
        # In a process of its own, so that the limit holds whatever Docker does.
        self.run("image", [sys.executable, "-m", "bench.engines.image.build", model, str(lock), base])
        return True

    def run(self, name: str, command: Sequence[str]) -> str:
        """Run one step and return its output.

        Raises:
            InstallFailed: it failed or the limit is past; the message ends with the step's own last words.
        """
        self._say(f"install | {name}")
        left = self._deadline - time.monotonic()
        started = time.monotonic()
        try:
            done = subprocess.run(
                list(command),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=max(left, 0.001),
                check=False,
                # The interpreter that runs this is a venv of its own; nothing of it may leak into the model's.
                env={
                    k: v
                    for k, v in os.environ.items()
                    if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
                },
            )
            output, code = done.stdout.decode(errors="replace"), done.returncode
        except subprocess.TimeoutExpired as error:
            output, code = (error.stdout or b"").decode(errors="replace"), None
        seconds = round(time.monotonic() - started, 3)
        step = InstallStep(
            name=name,
            seconds=seconds,
            changed=True,
            retries=len(_RETRY.findall(output)),
            source_builds=sorted(set(_SOURCE_BUILD.findall(output))),
            detail="" if code == 0 else output[-_ERROR_CHARACTERS:].strip(),
        )
        self.steps.append(step)
        if code is None:
            raise InstallFailed(
                f"{name}: not done within {self._limit_s:.0f} s (install_timeout_s)", self.steps
            )
        if code != 0:
            raise InstallFailed(f"{name} ended with {code}: {step.detail}", self.steps)
        return output
