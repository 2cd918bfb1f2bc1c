"""Running git and gh: no prompt, a limit in time, and no login in what is shown."""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LOCAL_S = 60.0
NETWORK_S = 300.0
_LOGIN = re.compile(r"(?<=://)[^@/\s]+@")
_REPOSITORY = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_QUARANTINE_PATH", "GIT_SHALLOW_FILE",
)  # fmt: skip
"""What git sets for its hooks; left in place, our commands would work on the wrong repository."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    error: str
    raw: bytes = b""
    """What it printed, byte by byte."""

    def blob(self) -> bytes | None:
        """Return the bytes that it printed; None where it failed."""
        return self.raw if self.code == 0 else None

    def why(self) -> str:
        """Return what it said, in one line, without a login."""
        said = " ".join((self.error.strip() or self.out.strip() or f"exit code {self.code}").split())
        return strip_login(said)[-1000:]


def execute(
    command: Sequence[str],
    *,
    data: bytes = b"",
    more: Mapping[str, str] | None = None,
    limit_s: float = LOCAL_S,
    cwd: str | None = None,
) -> Done:
    """Run a command without a terminal, so that nothing can ask; past the limit it is killed with its children."""
    environment = {name: value for name, value in os.environ.items() if name not in _REPOSITORY}
    environment |= {
        "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GH_PROMPT_DISABLED": "1",
        "GH_NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1",
    }  # fmt: skip
    environment |= more or {}
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=cwd,
            start_new_session=True,
        )
    except OSError as error:
        return Done(127, "", f"{command[0]}: {error.strerror}")
    try:
        out, said = process.communicate(data, timeout=limit_s)
    except subprocess.TimeoutExpired:
        _kill(process)
        return Done(124, "", f"{command[0]} took longer than {limit_s:g} s")
    except BaseException:
        _kill(process)
        raise
    return Done(process.returncode, out.decode(errors="replace"), said.decode(errors="replace"), out)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def strip_login(text: str) -> str:
    """Return `text` with user and password taken out of every address."""
    return _LOGIN.sub("", text)


def spell_command(command: Sequence[str]) -> str:
    """Return a command as it can be pasted into a shell, without a login."""
    return shlex.join([strip_login(word) for word in command])
