"""A decided run on a branch of its own; the order in which that happens, and what is said of it."""

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from bench.controller.run import Run, note_phase
from bench.errors import AuditionError, BadInput, PhaseMissing
from bench.publish.commands import NETWORK_S, execute, spell_command, strip_login
from bench.publish.contents import REPORT_MARKDOWN, Contents, gather
from bench.publish.git import RemoteState, Repository
from bench.publish.names import Names, name_publication
from bench.publish.pages import Section, place, write_sections
from bench.publish.permission import SIDES
from bench.publish.pull_request import Proposal, forge_repository
from bench.publish.secrets import refuse_secrets
from bench.publish.settings import ClipFormat, Page
from bench.records.base import Record
from bench.records.run import Manifest
from bench.records.verdict import Verdict
from bench.storage.clock import utc_now
from bench.storage.record_file import load_record

DEFAULT_BASE = "main"
"""What a branch starts from where there is no remote to ask."""


class PublishFailed(AuditionError):
    """The commit is made and kept; sending or proposing it failed. The message has the command to retry."""


class PublishReport(Record):
    """What `publish` did, and what is left to do."""

    run_id: str
    decision: str
    label: str
    changed: bool
    branch: str | None = None
    commit: str | None = None
    folder: str | None = None
    """Of clips and record; `files` are those in it and beside it."""
    files: list[str] = []
    withheld: dict[str, str] = {}
    """Why the clips of a side stayed at home."""
    remote: str | None = None
    pushed: bool | None = None
    """True: sent now. False: it was there already. None: not asked for."""
    pull_request: str | None = None
    commands: list[str] = []
    """What is left for a person to run."""
    lines: list[str]
    """The same, to print."""


@dataclass(frozen=True, slots=True)
class _Destination:
    """Where a publication goes."""

    repository: Repository
    branch: str
    remote: str | None
    base: str | None
    pull_request: bool


def publish(
    run_dir: Path,
    repo: Path,
    *,
    branch: str | None = None,
    remote: str | None = None,
    open_pull_request: bool = False,
    base: str | None = None,
    clip_format: ClipFormat = "wav",
    pages: Sequence[Page] = (),
    check: bool = False,
) -> PublishReport:
    """Commit a decided run to a branch of `repo`, and push and propose it where asked.

    Neither work tree nor index nor the current branch of `repo` is touched. The same run gives the same files, and
    where the branch holds them already nothing is written. See docs/publish.md for what is published and what not.

    Args:
        run_dir: the run.
        repo: any folder of a git repository.
        branch: `<model>-bench-<UTC>` when None. Made on `base`; where it exists, a commit is put on top of it.
        remote: name or address to push to; None: nothing leaves the machine.
        open_pull_request: open one with `gh`, or say how.
        base: branch to start from and to propose to; the remote's default when None, without a remote `main`, else
            HEAD.
        clip_format: how clips go.
        pages: of the repository, brought up to date where this run has ended its survey.
        check: say what would change; nothing is written or sent.

    Raises:
        PhaseMissing: there is no verdict yet.
        BadInput: the repository, branch or base cannot be used, git has no identity, a file holds a secret, or the
            run no longer gives its verdict. Nothing was written.
        PublishFailed: the commit is made; pushing or proposing it failed.
    """
    if clip_format not in get_args(ClipFormat):
        raise BadInput(f"clips go as {' or '.join(get_args(ClipFormat))}, not as '{clip_format}'.")
    run = Run(run_dir.resolve())
    manifest = run.manifest()
    try:
        verdict = load_record(Verdict, run.path)
    except FileNotFoundError as error:
        raise PhaseMissing(
            f"{run.run_id} has no verdict yet; make it with `audition verdict {run.run_id}`, then publish."
        ) from error
    if verdict.decision.startswith("awaiting"):
        return PublishReport(
            run_id=run.run_id,
            decision=verdict.decision,
            label=verdict.label,
            changed=False,
            lines=[f"nothing to publish yet: {verdict.sentence}"],
        )
    names = name_publication(run)
    destination = _resolve_destination(branch or names.branch, repo, remote, base, open_pull_request)
    started = utc_now()
    today = datetime.datetime.now(datetime.UTC).date()
    contents = gather(run.path, verdict, today, names, clip_format)
    sections = write_sections(run, pages)
    _refuse_secrets(manifest, contents, sections)
    try:
        report = _Publication(destination, names, manifest, verdict, contents, sections, check).go()
    except PublishFailed as error:
        note_phase(run, "publish", started, str(error), fault="host")
        raise
    if report.changed and not check:
        note_phase(run, "publish", started, note=f"{report.branch} {report.commit}")
    return report


def _resolve_destination(
    name: str, repo: Path, remote: str | None, base: str | None, propose: bool
) -> _Destination:
    repository = Repository.open(repo)
    for each in filter(None, (name, base)):
        repository.check_branch(each)
    if name == base:
        raise BadInput(f"'{name}' is both the branch and its base; give the publication a branch of its own.")
    if remote is not None and remote.startswith("-"):
        raise BadInput(f"'{remote}' cannot be a remote.")
    if propose and not remote:
        raise BadInput(
            "a pull request needs the remote to push to: set publish_remote (for instance origin)."
        )
    if repository.is_checked_out(name):
        raise BadInput(
            f"branch {name} is checked out, and work trees are left alone; switch to another branch, then publish."
        )
    repository.check_identity()
    return _Destination(repository, name, remote or None, base, propose)


def _refuse_secrets(manifest: Manifest, contents: Contents, sections: Sequence[Section]) -> None:
    """Hold the files to this environment; message, title and body are made of what they say."""
    entries = (manifest.entry, manifest.baseline_entry)
    refuse_secrets(
        contents.files | {each.path: each.body.encode() for each in sections},
        os.environ,
        [run.get("auth_env") for entry in entries if isinstance(run := entry.get("run"), dict)],
    )


class _Publication:
    """One publication on its way."""

    def __init__(
        self,
        destination: _Destination,
        names: Names,
        manifest: Manifest,
        verdict: Verdict,
        contents: Contents,
        sections: Sequence[Section],
        check: bool,
    ) -> None:
        self._destination = destination
        self._repo = destination.repository
        self._verdict = verdict
        self._contents = contents
        self._sections = sections
        self._check = check
        self._when_s = int(datetime.datetime.fromisoformat(manifest.created_utc).timestamp())
        self._folder = names.samples
        self._remote: RemoteState | str | None = None
        self._lines: list[str] = []
        self._commands: list[str] = []

    def go(self) -> PublishReport:
        """Commit, push, propose."""
        to = self._destination
        if to.remote is not None:
            named = [to.branch, *([to.base] if to.base else [])]
            self._remote = self._repo.ask_remote(to.remote, named)
        local = self._repo.commit_of(f"refs/heads/{to.branch}")
        tip = self._tip(local)
        commit, committed = self._commit(local, tip)
        pushed = self._push(commit)
        url, proposed = self._propose(pushed)
        withheld: dict[str, str] = {side: why for side in SIDES if (why := self._contents.withheld[side])}
        self._lines += [f"no clips of the {side}: {why}" for side, why in withheld.items()]
        if self._commands:
            self._lines += ["next:", *(f"  {command}" for command in self._commands)]
        return PublishReport(
            run_id=self._verdict.run_id,
            decision=self._verdict.decision,
            label=self._verdict.label,
            changed=committed or bool(pushed) or proposed,
            branch=to.branch,
            commit=commit,
            folder=self._folder,
            files=sorted({*self._contents.files, *(each.path for each in self._sections)}),
            withheld=withheld,
            remote=strip_login(to.remote) if to.remote else None,
            pushed=pushed,
            pull_request=url,
            commands=self._commands,
            lines=self._lines,
        )

    def _tip(self, local: str | None) -> str | None:
        """Return the commit that the branch is at, here or on the remote, whichever is further; or None."""
        state, branch = self._remote, self._destination.branch
        there = state.heads.get(branch) if isinstance(state, RemoteState) else None
        if there is None or there == local:
            return local
        if self._check and self._repo.commit_of(there) is None:
            return local  # fetching writes
        if (why := self._repo.fetch(str(self._destination.remote), branch, there)) is not None:
            raise AuditionError(f"branch {branch} could not be fetched from {self._spell_remote()}: {why}")
        if local is None or self._repo.is_ancestor(local, there):
            return there
        if self._repo.is_ancestor(there, local):
            return local
        raise BadInput(
            f"branch {branch} here and on {self._spell_remote()} have parted; nothing was written. Keep theirs with "
            f"`{spell_command(['git', '-C', str(self._repo.path), 'branch', '-D', branch])}`, then publish again."
        )

    def _commit(self, local: str | None, tip: str | None) -> tuple[str | None, bool]:
        """Return the branch's commit, and whether it is new here."""
        repo, branch = self._repo, self._destination.branch
        files = self._contents.files
        if tip is not None:
            files = files | self._pages(tip)
        if tip is not None and repo.holds(tip, self._folder, files):
            if tip == local or self._check:
                self._lines.append(f"branch {branch} holds this already")
                return tip, tip != local
            repo.move(branch, tip, local)
            self._lines.append(f"branch {branch}, as it is on {self._spell_remote()}")
            return tip, True
        if self._check:
            self._lines.append(f"would commit {len(files)} files to branch {branch}")
            return None, True
        label, sentence = self._verdict.label, self._verdict.sentence
        message = f"{self._verdict.run_id}: {label}\n\n{sentence}\n"
        parent = tip or self._base()
        files = files | self._pages(parent)
        more = {
            name: data for name, data in self._contents.missing.items() if repo.read(parent, name) is None
        }
        commit = repo.commit(branch, parent, self._folder, files | more, message, self._when_s)
        self._lines.append(
            f"{len(files | more)} files in {self._folder}/ and beside it on branch {branch} ({commit[:12]})"
        )
        return commit, True

    def _pages(self, commit: str | None) -> dict[str, bytes]:
        """Return the owner's pages as a commit has them, with our part in each."""
        found: dict[str, bytes] = {}
        for each in self._sections:
            found[each.path] = place(each, found.get(each.path, self._repo.read(commit, each.path)))
        return found

    def _base(self) -> str | None:
        """Return the commit a new branch starts from: the remote's as it is now, else as it was last seen here."""
        to, repo, state = self._destination, self._repo, self._remote
        if isinstance(state, RemoteState):
            name = to.base or state.default
            there = state.heads.get(name) if name else None
            if name and there:
                if (why := repo.fetch(str(to.remote), name, there)) is not None:
                    raise AuditionError(f"{name} could not be fetched from {self._spell_remote()}: {why}")
                return there
        seen = [f"refs/remotes/{to.remote}/{to.base or 'HEAD'}"] if to.remote else []
        seen += [f"refs/heads/{to.base}"] if to.base else [f"refs/heads/{DEFAULT_BASE}", "HEAD"]
        for name in seen:
            if (commit := repo.commit_of(name)) is not None:
                return commit
        if to.base:
            raise BadInput(f"there is no branch {to.base} in {repo.path} to start from (publish_base).")
        return None  # a repository without a commit

    def _spell_remote(self) -> str:
        return strip_login(str(self._destination.remote))

    def _push(self, commit: str | None) -> bool | None:
        to, state = self._destination, self._remote
        if to.remote is None:
            self._commands.append(spell_command(self._repo.push_command("origin", to.branch)))
            return None
        command = self._repo.push_command(to.remote, to.branch)
        if isinstance(state, RemoteState) and commit is not None and state.heads.get(to.branch) == commit:
            return False
        if self._check:
            self._lines.append(f"would push it to {self._spell_remote()}")
            return True
        if isinstance(state, str):
            why: str | None = state  # it did not answer a moment ago
        else:
            done = execute(command, limit_s=NETWORK_S)
            why = done.why() if done.code != 0 else None
        if why is not None:
            raise PublishFailed(
                f"branch {to.branch} is committed here and could not be pushed to {self._spell_remote()}: "
                f"{why}\nNothing is lost. Again: {spell_command(command)}"
            )
        self._lines.append(f"pushed to {self._spell_remote()}")
        return True

    def _propose(self, pushed: bool | None) -> tuple[str | None, bool]:
        """Return the pull request's address, and whether it was opened or brought up to date."""
        to, state = self._destination, self._remote
        if not to.pull_request or to.remote is None:
            return None, False
        default = state.default if isinstance(state, RemoteState) else None
        proposal = Proposal(
            repository=self._repo,
            branch=to.branch,
            base=to.base or default,
            title=f"Audition: {self._verdict.label} ({self._verdict.run_id})",
            body=self._contents.files[f"{self._folder}/{REPORT_MARKDOWN}"].decode(),
            body_at=f"{self._folder}/{REPORT_MARKDOWN}",
            forge=forge_repository(self._repo.address(to.remote)),
        )
        if self._check:
            self._lines.append("would open the pull request or bring it up to date")
            return None, False
        if (why := proposal.obstacle()) is not None:
            self._lines.append(f"the pull request is not opened: {why}")
            self._commands.append(proposal.command())
            return None, False
        opened = proposal.open(news=bool(pushed))
        if opened.error is not None:
            raise PublishFailed(
                f"branch {to.branch} is on {self._spell_remote()}; its pull request failed: {opened.error}\n"
                f"Nothing is lost. Again: {proposal.command()}"
            )
        self._lines.append(
            f"pull request: {opened.url}" + (f" ({opened.state})" if opened.state != "open" else "")
        )
        return opened.url, opened.changed
