"""A pull request through GitHub's own `gh`; where that cannot be, the command that a person can run."""

import json
import re
import shutil
from dataclasses import dataclass
from urllib.parse import quote

from bench.publish.commands import LOCAL_S, NETWORK_S, Done, execute, spell_command
from bench.publish.git import Repository
from bench.report.record import OUTSIDE, link_from_outside

_ADDRESSES = (
    re.compile(
        r"^(?:https?|ssh|git)://(?:[^@/]+@)?(?P<host>[^/:]+)(?::\d+)?/(?P<name>[^/]+/[^/]+?)(?:\.git)?/?$"
    ),
    re.compile(r"^(?:[^@/]+@)?(?P<host>[^/:]+):(?P<name>[^/]+/[^/]+?)(?:\.git)?/?$"),
)


def forge_repository(address: str) -> str | None:
    """Return `host/owner/name` of a remote's address, as `gh --repo` takes it; None for a path."""
    for pattern in _ADDRESSES:
        if match := pattern.match(address):
            return f"{match['host']}/{match['name']}"
    return None


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is to be proposed."""

    repository: Repository
    branch: str
    base: str | None
    title: str
    body: str
    body_at: str
    """Path of the body in the branch."""
    forge: str | None
    """`host/owner/name`; None lets gh find it."""

    def _outside(self) -> str | None:
        """Return where the body's folder is to be seen on the forge; a link as in the file leads nowhere in a body."""
        folder = quote(f"{self.branch}/{self.body_at.rpartition('/')[0]}")
        return f"https://{self.forge}/blob/{folder}" if self.forge else None

    def _body(self) -> str:
        outside = self._outside()
        return link_from_outside(self.body, outside) if outside else self.body

    def _where(self) -> list[str]:
        return ["--repo", self.forge] if self.forge else []

    def _create(self) -> list[str]:
        base = ["--base", self.base] if self.base else []
        return [
            "gh", "pr", "create", *self._where(), "--head", self.branch, *base, "--title", self.title,
            "--body-file", "-",
        ]  # fmt: skip

    def command(self) -> str:
        """Return what opens it by hand."""
        path = str(self.repository.path)
        body = spell_command(["git", "-C", path, "show", f"{self.branch}:{self.body_at}"])
        if (outside := self._outside()) is not None:
            led = f"s#{OUTSIDE}#" + r"\1](" + outside + "/.#g"
            body += f" | {spell_command(['sed', led])}"
        return f"cd {spell_command([path])} && {body} | {spell_command(self._create())}"

    def _gh(self, *words: str, data: str = "", limit_s: float = NETWORK_S) -> Done:
        return execute(["gh", *words], data=data.encode(), limit_s=limit_s, cwd=str(self.repository.path))

    def obstacle(self) -> str | None:
        """Return why gh cannot be used, or None."""
        if shutil.which("gh") is None:
            return "gh is not installed"
        host = ["--hostname", self.forge.split("/")[0]] if self.forge else []
        if self._gh("auth", "status", *host, limit_s=LOCAL_S).code != 0:
            return "gh is not logged in (gh auth login)"
        return None

    def open(self, *, news: bool) -> "Opened":
        """Open the pull request, or bring the one that is open up to date.

        Args:
            news: whether the branch on the remote has changed. Without news an open request is left alone, and one
                that was closed or merged is not opened again.
        """
        listed = self._gh(
            "pr", "list", *self._where(), "--head", self.branch, "--state", "all", "--json", "url,state"
        )
        try:
            known = json.loads(listed.out) if listed.code == 0 else None
            found = [(str(each["url"]), str(each["state"])) for each in known] if known is not None else None
        except (ValueError, TypeError, KeyError):
            found = None
        if found is None:
            return Opened(error=listed.why())
        still = [url for url, state in found if state == "OPEN"]
        if still and news:
            edited = self._gh(
                "pr", "edit", still[0], "--title", self.title, "--body-file", "-", data=self._body()
            )
            return Opened(url=still[0], changed=True, error=None if edited.code == 0 else edited.why())
        if still:
            return Opened(url=still[0])
        if found and not news:
            return Opened(url=found[0][0], state=found[0][1].lower())
        made = self._gh(*self._create()[1:], data=self._body())
        if made.code != 0:
            return Opened(error=made.why())
        return Opened(url=made.out.strip().splitlines()[-1] if made.out.strip() else None, changed=True)


@dataclass(frozen=True, slots=True)
class Opened:
    """How it went."""

    url: str | None = None
    state: str = "open"
    changed: bool = False
    error: str | None = None
