"""The base of our action plugins: what they all do on the controller around a module on a host.

A plugin finds the run by Python, so any task of a phase can be started at; picks the interpreter of the
host's bench venv; sends a job's directory, follows it line by line, and takes what comes back into the run.
The module does the work; a plugin decides nothing about models or figures.
"""

import contextlib
import os.path
import shlex
import tempfile
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from bench.controller.failures import KILLED, quote_failure
from bench.controller.found import locate_once
from bench.controller.host_settings import HostSettings
from bench.controller.living import end_with_playbook
from bench.controller.request import RunRequest
from bench.controller.run import Run, note_phase
from bench.controller.wheel import REPO, Wheel, build
from bench.errors import AuditionError, PhaseMissing
from bench.records.base import Phase
from bench.storage.clock import utc_at
from bench.text.outside import clean

POLL_S = 1.0
_ASYNC_EXTRA_S = 120
_GONE = (
    "The host went out of reach. What it was doing there for this run ends itself and gives back what it borrowed; "
    "run the same command again."
)


class HostedAction(ActionBase):  # type: ignore[misc]  # Ansible ships no types
    """Run one of our modules on a host for one phase of one run."""

    # True would have Ansible make a scratch folder before us, which `send` would make it forget and leave behind.
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False
    _task: Any

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the task; an `AuditionError` becomes a failed task whose message says what to do."""
        end_with_playbook()
        result: dict[str, Any] = super().run(tmp, task_vars)
        self.variables = dict(task_vars or {})
        self.began = result["at"] = time.time()
        try:
            self.prepare()
            result.update(self.work())
        except AuditionError as error:
            result.update(failed=True, msg=str(error), fault="host", exit_code=error.exit_code)
        except KeyError as error:
            result.update(failed=True, msg=f"the task lacks the argument {error}", fault="host")
        except AnsibleConnectionFailure as error:
            self._note_out_of_reach(error)
            raise
        return result

    def prepare(self) -> None:
        """Read the task's `run` and `host`, and what the play has found."""
        self.request = RunRequest.of(self._task.args["run"])
        self.host = HostSettings.of(self._task.args["host"])
        self.found: dict[str, Any] = self._task.args.get("found") or {}

    @cached_property
    def wheel(self) -> Wheel:
        """The wheel of this checkout, for those who have something to do on the host."""
        return build(REPO, whisper=bool(self.host.whisper_model))

    @cached_property
    def module_variables(self) -> dict[str, Any]:
        """The task's variables for a module on the host, which runs in the bench venv there."""
        return self.variables | {"ansible_python_interpreter": self.wheel.python(self.host.state_dir)}

    def work(self) -> dict[str, Any]:
        """Do the phase's part; returns the task's result."""
        raise NotImplementedError

    @property
    def phase(self) -> Phase:
        """Return the phase whose part this is."""
        raise NotImplementedError

    def _note_out_of_reach(self, error: AnsibleConnectionFailure) -> None:
        """Record that the host went out of reach: Ansible plays no `rescue` for such a host."""
        with contextlib.suppress(AuditionError):
            run = self.find_run()
            if run is None or self.checking:
                return
            before = run.phases().get(self.phase)
            if before is None or before.status != "done":  # what was done stays done
                why = f"{self._task.name}: {error} {_GONE}"
                note_phase(run, self.phase, utc_at(self.began), why, fault="host")

    @property
    def checking(self) -> bool:
        """Return whether this is check mode."""
        return bool(self._task.check_mode)

    def find_run(self) -> Run | None:
        """Return the run, or None in check mode before there is one."""
        try:
            return locate_once(self.request, self.found)
        except PhaseMissing:
            if self.checking:
                return None
            raise

    def held(self, run: Run) -> contextlib.AbstractContextManager[None]:
        """Keep other plays off the run's work on the host for a block; looking needs nothing of the kind."""
        return contextlib.nullcontext() if self.checking else run.held()

    def bench_installed(self) -> bool:
        """Return whether the host has the bench venv of this checkout."""
        found = self._low_level_execute_command(
            f"test -x {shlex.quote(self.wheel.python(self.host.state_dir))}"
        )
        return bool(found["rc"] == 0)

    def require_bench(self) -> None:
        """Refuse a host that preflight has not prepared for this checkout."""
        if not self.bench_installed():
            raise PhaseMissing(
                "this host has no bench venv of this checkout's version; run --tags preflight, which makes it."
            )

    def module(self, name: str, args: dict[str, Any]) -> dict[str, Any]:
        """Run a module on the host in the bench venv and return its result."""
        done: dict[str, Any] = self._execute_module(
            module_name=name, module_args=args, task_vars=self.module_variables
        )
        return done

    def send(self, tar: Path, job_dir: str) -> None:
        """Copy a job's tar to `job_dir` on the host."""
        # Files travel as the login user and the job's directory is root's: hence the way through a scratch folder.
        scratch = self._make_tmp_path()
        sent, folder = f"{scratch}/job.tar", shlex.quote(job_dir)
        try:
            self._transfer_file(str(tar), sent)
            self._on_host(
                f"umask 077 && mkdir -p {folder} && chmod 700 {folder} && cp {shlex.quote(sent)} {folder}/job.tar"
                f" && test $(wc -c < {folder}/job.tar) -eq {tar.stat().st_size}"
                f" && {_forget_left(scratch)}"
            )
        finally:
            self._remove_tmp_path(scratch)

    def begin(self, job_dir: str) -> None:
        """Make the directory of a job that needs nothing sent; `follow` waits for its process from now on."""
        folder = shlex.quote(job_dir)
        self._on_host(f"umask 077 && mkdir -p {folder} && chmod 700 {folder} && : > {folder}/job.tar")

    def fetch(self, remote: str, take: Callable[[Path], Any]) -> Any:
        """Bring a file from the host and hand its local copy to `take`."""
        far = self._make_tmp_path()
        readable = f"{far}/{Path(remote).name}"
        try:
            copy, folder = shlex.quote(readable), shlex.quote(far)
            # The login user's, in a folder of theirs; where root may not give it away, readable in that folder.
            self._on_host(
                f"umask 077 && cp {shlex.quote(remote)} {copy}"
                f" && {{ chown --reference={folder} {copy} 2>/dev/null || chmod 644 {copy}; }}"
            )
            with tempfile.TemporaryDirectory(prefix="audition-fetch-") as scratch:
                local = Path(scratch) / Path(remote).name
                self._connection.fetch_file(readable, str(local))
                return take(local)
        finally:
            self._remove_tmp_path(far)

    def discard(self, job_dir: str) -> None:
        """Remove a job that has ended, and earlier attempts at it: the reference stays on no host."""
        attempts = f"{shlex.quote(job_dir.rpartition('-')[0])}-*"
        run = shlex.quote(job_dir.rpartition("/")[0])
        # What cannot be removed now is teardown's; how the job ended matters more.
        self._low_level_execute_command(f"rm -rf {attempts}; rmdir {run}")

    def _on_host(self, command: str) -> None:
        done = self._low_level_execute_command(command)
        if done["rc"] != 0:
            raise AuditionError(
                f"on the host, `{command}` failed: {(done['stderr'] or done['stdout']).strip()}"
            )

    def follow(self, name: str, args: dict[str, Any], job_dir: str, limit_s: float) -> dict[str, Any]:
        """Run a long module in the background on the host, showing its progress lines, until it ends.

        Each poll touches the job's heartbeat: the job begins with one, and ends itself when they stop because this
        process is gone, as it is when its playbook is (`end_with_playbook`).
        """
        task = self._task
        self._task = task.copy()
        self._task.async_val = int(limit_s) + _ASYNC_EXTRA_S
        try:
            started = self._execute_module(
                module_name=name, module_args=args, task_vars=self.module_variables, wrap_async=True
            )
        finally:
            self._task = task
        if started.get("failed") or "ansible_job_id" not in started:
            return _say_of(started)
        offset = 0
        while True:
            polled = self._poll(job_dir, offset, started["ansible_job_id"])
            for line in polled.get("lines", []):
                Display().display(f"{self.variables['inventory_hostname']} | {clean(str(line))}")
            offset = polled.get("offset", offset)
            if not polled.get("running", True):
                break
            time.sleep(POLL_S)
        return _say_of(self._reap(started))

    def _poll(self, job_dir: str, offset: int, job: str) -> dict[str, Any]:
        polled = self.module("bench_progress", {"job_dir": job_dir, "offset": offset, "job_id": job})
        if polled.get("failed"):
            if polled.get("unreachable"):
                raise AnsibleConnectionFailure(polled.get("msg", "the host is out of reach"))
            raise AuditionError(f"the job cannot be followed: {quote_failure(polled)}")
        return polled

    def _reap(self, started: dict[str, Any]) -> dict[str, Any]:
        """Read the finished module's result and remove Ansible's file of it."""
        status = {"jid": started["ansible_job_id"], "_async_dir": os.path.dirname(started["results_file"])}  # noqa: PTH120
        result: dict[str, Any] = {}
        for _ in range(10):
            result = self.module("ansible.legacy.async_status", {**status, "mode": "status"})
            if result.get("finished"):
                break
            time.sleep(0.5)
        self.module("ansible.legacy.async_status", {**status, "mode": "cleanup"})
        if not result.get("finished"):
            return {"failed": True, "msg": KILLED}
        return result


def _forget_left(scratch: str) -> str:
    """Return the command that removes our tars from folders of Ansible that a killed controller left by `scratch`."""
    beside = shlex.quote(scratch.rstrip("/").rpartition("/")[0])
    ours = r"\( -name job.tar -o -name out.tar \)"
    return f"{{ find {beside} -mindepth 2 -maxdepth 2 -path '*/ansible-tmp-*' {ours} -mmin +15 -delete || true; }}"


def _say_of(result: dict[str, Any]) -> dict[str, Any]:
    """Return a module's result; where it is not our module that says how it failed, we do."""
    if not result.get("failed") or "fault" in result:
        return dict(result)
    return {"failed": True, "fault": "host", "msg": quote_failure(result)}
