"""Put a model's own environment on a host: a venv or an image, whole, from its lock, within the hour.

Each step's seconds, retries and source builds are kept, and so is the exact error of a step that fails: a
failed installation is a finding about the model, but for what could not be fetched (bench/install/outages.py). The hour
does not run while a step waits for a download.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from bench.catalog.entry import Entry
from bench.engines.environment import for_installing
from bench.engines.image import pip_check
from bench.errors import AuditionError, OutOfReach
from bench.install.outages import Waiting, explain_outage
from bench.install.spec import DOWNLOADS_LIMIT_S
from bench.jobs.archive import unpack
from bench.jobs.control import Cancelled
from bench.records.run import InstallStep
from bench.text.outside import clean

_ERROR_CHARACTERS = 3000
_SOURCE_BUILD = re.compile(r"Building wheel for (\S+)")
_RETRY = re.compile(r"Retrying \(Retry\(")
_SHOWN = "install | "
PULLED = "audition-published-"
"""How the name begins that an image gets which we pulled: no prune takes it for a leftover, and we know it again."""
_STAGE = re.compile(
    r"^\s*((?:Collecting|Downloading|Building wheel for|Installing collected packages|Step \d)[^(\n]*)", re.M
)
"""What pip and Docker say of how far they are, as far as a person wants to know."""
_TELL_EVERY_S = 3.0
_STAGE_CHARACTERS = 80
_COMPLETE = ".audition-complete"
_POLL_S = 0.5


class InstallFailed(AuditionError):
    """A step failed or the time is up; `steps` holds what was done until then."""

    def __init__(self, message: str, steps: list[InstallStep]) -> None:
        super().__init__(message)
        self.steps = steps


@dataclass(frozen=True, slots=True)
class Wanted:
    """Upstream's code that is no package: the job whose entry lists it, a folder to put it into, and a mirror."""

    job: Path
    folder: Path
    mirror: str


def is_complete(venv: Path) -> bool:
    """Return whether a venv was made whole."""
    return (venv / _COMPLETE).is_file()


class Provisioner:
    """Runs the steps of an installation within one limit, and ends a step when the job must stop."""

    def __init__(
        self,
        limit_s: float,
        say: Callable[[str], None],
        *,
        spent_s: float = 0.0,
        stopped: Callable[[], str | None] = lambda: None,
        scratch: Path | None = None,
    ) -> None:
        """Begin the clock: `spent_s` of `limit_s` went by before, downloads left out; `stopped` says why the job must
        stop.

        `scratch` is where steps keep temporary files: gigabytes, which a step that is killed cannot remove.
        """
        self._limit_s = limit_s
        self._deadline = time.monotonic() + limit_s - spent_s
        self._waited_s = 0.0
        self._say = say
        self._stopped = stopped
        self._scratch = scratch
        self.steps: list[InstallStep] = []

    def left_s(self, name: str) -> float:
        """Return what is left of the limit for the step `name`.

        Raises:
            InstallFailed: nothing is.
        """
        left = self._deadline + self._waited_s - time.monotonic()
        if left <= 0:
            raise self._late(name)
        return left

    def venv(
        self,
        target: Path,
        lock: Path,
        code: Path,
        sources: Wanted | None = None,
        unmet: Mapping[str, Sequence[str]] | None = None,
    ) -> bool:
        """Make the venv `target` from `lock`, with the engine's `code` in it, and upstream's where that is no package;
        returns False when it is there already. `unmet` is the entry's `run.unmet`.

        An interrupted attempt has no mark of completion and is made anew.
        """
        if is_complete(target):
            return False
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        python = str(target / "bin" / "python")
        pip = [python, "-m", "pip", "--disable-pip-version-check"]
        self.run("venv", [sys.executable, "-m", "venv", str(target)], whose="host")
        # Verbose: beside a log, which says why nothing was found, pip shows what a build says nowhere else.
        whole = ["--no-deps"] if unmet else []
        self.run("packages", [*pip, "install", "-v", *whole, "--require-hashes", "-r", str(lock)])
        self.run("pip check", [python, str(pip_check.__file__), json.dumps(unmet or {})])
        (packages,) = (target / "lib").glob("python3*/site-packages")
        if sources is not None:
            self._fetch(sources, packages)
        unpack(code, packages, private=False)
        (target / _COMPLETE).touch()
        _prune(target)
        return True

    def image(
        self,
        name: str,
        lock: Path,
        code: Path,
        base: str,
        sources: Wanted | None = None,
        unmet: Mapping[str, Sequence[str]] | None = None,
    ) -> bool:
        """Build the engine's image from `lock`, `code` and upstream's code on `base`; returns False when Docker has it
        already. `unmet` is the entry's `run.unmet`."""
        from bench.docker_host.host import DockerHost

        with DockerHost() as docker_host:
            if docker_host.has_image(name):
                return False
        beside = []
        if sources is not None:
            self._fetch(sources, sources.folder)
            beside = ["--sources", str(sources.folder)]
        if unmet:
            beside += ["--unmet", json.dumps(unmet)]
        # In a process of its own, so that the limit holds whatever Docker does.
        build = [sys.executable, "-m", "bench.engines.image.build", name, str(lock), str(code), base, *beside]
        self.run("image", build)
        with DockerHost() as docker_host:
            docker_host.prune_images(name.partition(":")[0], keep=name)
        return True

    def pull(self, entry: Entry) -> dict[str, Any]:
        """Have the published image of `entry` for this host, by its digest; return what is recorded of it.

        Raises:
            InstallFailed: there is none for this machine.
            BadInput: its digest has not been looked up.
            OutOfReach, AuditionError: it could not be had, which says nothing of the model.
        """
        from bench.docker_host.host import DockerHost
        from bench.engines.image.pull import NOTHING_HERE, describe_image
        from bench.engines.published import NothingHere, find_platform, name_reference

        with DockerHost() as docker_host:
            platform = find_platform(docker_host)
            try:
                reference = name_reference(entry, platform)
            except NothingHere as error:
                raise InstallFailed(f"image: {error}", self.steps) from error
            if docker_host.has_image(reference):
                found = docker_host.api.inspect_image(reference)
                ours = any(tag.startswith(f"{PULLED}{entry.name}:") for tag in found.get("RepoTags") or [])
                return describe_image(found, reference, pulled=ours)
        name = f"{PULLED}{entry.name}:{reference.rpartition(':')[2][:16]}"
        command = [sys.executable, "-m", "bench.engines.image.pull", reference, platform, name]
        output = self.run("image", command, whose="host", candidates=NOTHING_HERE)
        facts: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
        self.steps[-1].detail = f"{facts['bytes'] / 1e6:.0f} MB, {facts['id']}"
        return facts

    def _fetch(self, sources: Wanted, into: Path) -> None:
        """Put upstream's commits below `into`; that they are out of reach, or not what they were, is no fault of the
        model."""
        command = [sys.executable, "-m", "bench.install.sources", str(sources.job), str(into)]
        self.run("sources", [*command, "--mirror", sources.mirror], whose="host")

    def run(
        self,
        name: str,
        command: Sequence[str],
        *,
        whose: Literal["candidate", "host"] = "candidate",
        candidates: int | None = None,
    ) -> str:
        """Run one step and return its output; `whose` fault it is when the step fails. A host's step has no limit.

        `candidates` is the exit code by which a host's step says that the failure is the candidate's all the same. A
        line of the step's that begins as ours do is said as it comes.

        Raises:
            InstallFailed: it failed or the limit is past; the message ends with the step's own last words.
            AuditionError: it failed because the disk is full, or by the host's fault.
            OutOfReach: it failed because something could not be fetched.
            Cancelled: the job must stop.
        """
        self._say(f"install | {name}")
        self.left_s(name)
        started = time.monotonic()
        # A file and no pipe: whoever waits for the step need not read along.
        with (
            tempfile.TemporaryDirectory(dir=self._scratch, ignore_cleanup_errors=True) as scratch,
            tempfile.TemporaryFile() as written,
        ):
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
                # The interpreter that runs this is a venv of its own; nothing of it may leak into the model's.
                env={
                    k: v
                    for k, v in for_installing(os.environ).items()
                    if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
                }
                | {"TMPDIR": scratch, "PIP_LOG": str(pip_log := Path(scratch) / "pip.log")},
            )
            waiting = Waiting(always=whose == "host")  # what is the host's is no part of the model's hour
            try:
                code = self._wait(name, process, written.fileno(), waiting)
            finally:
                _end(process)
                self._waited_s += waiting.seconds
            written.seek(0)
            output = written.read().decode(errors="replace")
            log = pip_log.read_text(errors="replace") if code and pip_log.is_file() else ""
        step = InstallStep(
            name=name,
            seconds=round(time.monotonic() - started, 3),
            waited_s=round(waiting.seconds, 3) or None,
            changed=True,
            retries=len(_RETRY.findall(output)),
            source_builds=sorted(set(_SOURCE_BUILD.findall(output))),
            detail="" if code == 0 else clean(output)[-_ERROR_CHARACTERS:].strip(),
        )
        self.steps.append(step)
        if code is None:
            if (why := self._stopped()) is not None:
                raise Cancelled(f"install was stopped: {why}.")
            raise self._late(name)
        if code is not None and code == candidates:
            step.detail = output.strip().rpartition("\n")[2]
            raise InstallFailed(f"{name}: {step.detail}", self.steps)
        if code != 0 and "no space left on device" in output.lower():  # which says nothing of the model
            raise AuditionError(
                f"{name}: the host's disk filled up; free some space and run the same command again. {step.detail}"
            )
        if code != 0 and (why := explain_outage(output, log)) is not None:
            raise OutOfReach(
                f"{name}: {why}. It says nothing of the model; put it right and run the same command again. "
                f"{step.detail}"
            )
        if code != 0 and whose == "host":
            raise AuditionError(f"{name}: {step.detail}")
        if code != 0:
            raise InstallFailed(f"{name} ended with {code}: {step.detail}", self.steps)
        return output

    def gpu_check(self, command: Sequence[str]) -> dict[str, Any]:
        """Run `bench.serving.gpu_check` in the engine's environment and return what it found.

        Raises:
            InstallFailed: the check failed; its own words are in the message.
        """
        output = self.run("gpu check", command)
        # A library may have its say after the check has had its own: on exit, or on the other stream.
        for line in reversed(output.splitlines()):
            with contextlib.suppress(ValueError, RecursionError, LookupError, TypeError):
                found: dict[str, Any] = json.loads(line)
                self.steps[-1].detail = str(found["summary"])
                return found
        raise InstallFailed(f"gpu check said nothing: {output[-_ERROR_CHARACTERS:].strip()}", self.steps)

    def _wait(
        self, name: str, process: "subprocess.Popen[bytes]", written: int, waiting: Waiting
    ) -> int | None:
        """Return the exit code, or None where the time is up or the job must stop; say now and then how far it is.

        Raises:
            OutOfReach: downloads have taken so long that somebody should look.
        """
        offset, told = 0, time.monotonic()
        stage = said_stage = ""
        while (
            time.monotonic() < self._deadline + self._waited_s + waiting.seconds and self._stopped() is None
        ):
            code = None
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(_POLL_S)
            # By an offset of our own: the step writes at the file's.
            said = os.pread(written, 1 << 24, offset)
            offset += len(said)
            waiting.read(said)
            for line in said.decode(errors="replace").splitlines():
                if line.startswith(_SHOWN):
                    self._say(line)
            stage = (_STAGE.findall(said.decode(errors="replace")) or [stage])[-1]
            if stage != said_stage and time.monotonic() - told >= _TELL_EVERY_S:
                self._say(f"install | {name} | {clean(stage).strip()[:_STAGE_CHARACTERS]}")
                said_stage, told = stage, time.monotonic()
            if code is not None:
                return code
            if self._waited_s + waiting.seconds > DOWNLOADS_LIMIT_S:
                raise OutOfReach(
                    f"downloads have taken {DOWNLOADS_LIMIT_S / 3600:.0f} hours; look at the network, then run the "
                    "same command again."
                )
        return None

    def _late(self, name: str) -> InstallFailed:
        return InstallFailed(f"{name}: not done within {self._limit_s:.0f} s (install_timeout_s)", self.steps)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill a step and all that it started; it shares our process group, so that whoever kills us takes it along."""
    if process.poll() is not None:
        return
    children: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
    # The step first: it starts nothing more then, and does not complain of what becomes of its own.
    process.kill()
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    process.wait()


def _prune(target: Path) -> None:
    """Remove the model's older venvs, gigabytes each, but for one that something runs from."""
    model = target.name.rpartition("-")[0]
    running = {command[0] for process in psutil.process_iter() if (command := _command(process))}
    for other in target.parent.glob(f"{model}-*"):
        if other != target and not any(program.startswith(f"{other}/") for program in running):
            shutil.rmtree(other, ignore_errors=True)


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []
