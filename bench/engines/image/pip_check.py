"""`python pip_check.py [UNMET]`: `pip check` of the interpreter that runs it, but for what a catalog entry declares.

UNMET is JSON: by package, which of its requirements are not met (`run.unmet`). Standard library alone: it runs in an
engine's own environment, before any code of ours is there.
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence

_UNMET = (
    re.compile(r"(?P<package>\S+) \S+ requires (?P<wanted>\S+), which is not installed\."),
    re.compile(r"(?P<package>\S+) \S+ has requirement (?P<wanted>.+), but you have \S+ \S+\."),
)


def main() -> None:
    """Say what pip says; exit as pip does where it complains of anything that is not declared."""
    unmet = json.loads(sys.argv[1]) if sys.argv[1:2] != [""] and len(sys.argv) > 1 else {}
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "check"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    others = undeclared(done.stdout.splitlines(), unmet)
    print(done.stdout, end="")  # noqa: T201 - what this command is for
    if unmet and not others:
        print("As the catalog entry declares (run.unmet).")  # noqa: T201 - the same
    sys.exit(done.returncode if others or not unmet else 0)


def undeclared(lines: Sequence[str], unmet: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the lines of `pip check` that no declaration explains; a requirement's marker is no part of it."""
    return [line for line in lines if not _declared(line, unmet)]


def _declared(line: str, unmet: Mapping[str, Sequence[str]]) -> bool:
    for pattern in _UNMET:
        if found := pattern.fullmatch(line.strip()):
            wanted = found["wanted"].partition(";")[0].strip()
            return wanted in unmet.get(found["package"], ())
    return False


if __name__ == "__main__":
    main()
