"""A commit on a branch by `git fast-import`: no work tree, no index, no hook, no signature, no filter.

A `git worktree` would need a checkout, and `git add` in it would change bytes as the attributes of whoever owns the
repository say; git before 2.42 has none for a repository without a commit.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bench.errors import AuditionError, BadInput
from bench.publish.commands import LOCAL_S, NETWORK_S, Done, execute, spell_command

_OURS = ("core.hooksPath=/dev/null", "user.useConfigOnly=true", "gc.auto=0", "maintenance.auto=false")
"""The user's settings that would run something, or change the bytes of the commit."""


@dataclass(frozen=True, slots=True)
class RemoteState:
    """What a remote says of itself: its default branch, and the commits its branches are at."""

    default: str | None
    heads: dict[str, str]


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository, bare or not."""

    path: Path

    @classmethod
    def open(cls, path: Path) -> "Repository":
        """Return the repository that holds `path`.

        Raises:
            BadInput: there is no git, no such folder, or no repository.
        """
        if not path.is_dir():
            raise BadInput(f"{path} is not a folder; publish_repo names a git repository.")
        repository = cls(path.resolve())
        done = repository.git("rev-parse", "--git-dir")
        if done.code == 127:
            raise BadInput("git is not installed; publishing makes a branch (Debian: git).")
        if done.code != 0:
            raise BadInput(f"{path} cannot be used as a git repository: {done.why()}")
        return repository

    def git(
        self, *words: str, data: bytes = b"", more: Mapping[str, str] | None = None, limit_s: float = LOCAL_S
    ) -> Done:
        """Run git without the user's hooks and say how it ended."""
        settings = [word for setting in _OURS for word in ("-c", setting)]
        return execute(
            ["git", "-C", str(self.path), *settings, *words], data=data, more=more, limit_s=limit_s
        )

    def need(self, *words: str, more: Mapping[str, str] | None = None) -> str:
        """Return what git printed.

        Raises:
            AuditionError: git failed; the message has what it said.
        """
        done = self.git(*words, more=more)
        if done.code != 0:
            raise AuditionError(f"git {words[0]} failed in {self.path}: {done.why()}")
        return done.out

    def commit_of(self, name: str) -> str | None:
        """Return the commit that a ref or a hash names here, or None."""
        done = self.git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        return done.out.strip() if done.code == 0 else None

    def check_branch(self, name: str) -> None:
        """Refuse a name that cannot be a branch."""
        if name.startswith("-") or self.git("check-ref-format", f"refs/heads/{name}").code != 0:
            raise BadInput(f"'{name}' cannot be the name of a branch.")

    def is_checked_out(self, branch: str) -> bool:
        """Return whether a work tree of this repository is on `branch`."""
        lines = self.need("worktree", "list", "--porcelain").splitlines()
        return f"branch refs/heads/{branch}" in lines

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Return whether `newer` has `older` in its history."""
        return self.git("merge-base", "--is-ancestor", older, newer).code == 0

    def check_identity(self) -> None:
        """Refuse a repository in which git would not know whose commit it is."""
        for who in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"):
            if self.git("var", who).code != 0:
                raise BadInput(
                    "git does not know in whose name to commit; nothing was published. Say it once:\n"
                    f"  {spell_command(['git', '-C', str(self.path), 'config', 'user.name', 'Your Name'])}\n"
                    f"  {spell_command(['git', '-C', str(self.path), 'config', 'user.email', 'you@example.org'])}"
                )

    def holds(self, commit: str | None, folder: str, files: Mapping[str, bytes]) -> bool:
        """Return whether `commit` has these files, and nothing else in `folder`; nothing is written.

        Args:
            commit: where to look; nothing is in None.
            folder: path of the folder that the publication has to itself.
            files: contents by path, in `folder` and elsewhere.
        """
        if commit is None:
            return False
        beside = [name for name in files if not name.startswith(f"{folder}/")]
        where = ["--full-tree", commit, "--", f"{folder}/", *beside]
        listed = self.need("ls-tree", "-r", "-z", *where).split("\0")
        digest = hashlib.sha256 if len(commit) == 64 else hashlib.sha1
        blobs = {name: digest(b"blob %d\0%s" % (len(data), data)).hexdigest() for name, data in files.items()}
        wanted = [f"100644 blob {blob}\t{name}" for name, blob in blobs.items()]
        return sorted(filter(None, listed)) == sorted(wanted)

    def read(self, commit: str | None, path: str) -> bytes | None:
        """Return what a commit has at `path`; None where that is no file."""
        if commit is None:
            return None
        return self.git("cat-file", "blob", f"{commit}:{path}").blob()

    def commit(
        self,
        branch: str,
        parent: str | None,
        folder: str,
        files: Mapping[str, bytes],
        message: str,
        when_s: int,
    ) -> str:
        """Put a commit on `parent` that has these files and nothing else in `folder`, and make `branch` name it.

        The same parent, files, message, date and identity give the same commit. `branch` never loses a commit.

        Raises:
            BadInput: `parent` has a file where a folder is needed.
            AuditionError: somebody else moved the branch, or a branch of another name is in the way.
        """
        if parent:
            self._check_folders(parent, {folder, *(str(PurePosixPath(name).parent) for name in files)})
            self._check_files(parent, [name for name in files if not name.startswith(f"{folder}/")])
        dates = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), f"@{when_s} +0000")
        stream: list[str | bytes] = [f"commit refs/heads/{branch}", "mark :1"]
        for who in ("author", "committer"):
            stream.append(f"{who} {self.need('var', f'GIT_{who.upper()}_IDENT', more=dates).strip()}")
        stream += [message.encode(), *([f"from {parent}"] if parent else []), f"D {folder}"]
        for name, data in sorted(files.items()):
            stream += [f"M 100644 inline {name}", data]
        # Without "done" and --done a stream that is cut between two files would be half a publication.
        stream += ["get-mark :1", "done"]
        done = self.git("fast-import", "--quiet", "--done", data=b"".join(map(_line, stream)))
        if done.code != 0:
            raise AuditionError(f"branch {branch} could not be set in {self.path}: {done.why()}")
        return done.out.strip()

    def move(self, branch: str, new: str, old: str | None) -> None:
        """Make `branch` name `new`, if it still names `old` (None: if there is no such branch).

        Raises:
            AuditionError: somebody else moved it, or a branch of another name is in the way.
        """
        done = self.git("update-ref", f"refs/heads/{branch}", new, old or "0" * len(new))
        if done.code != 0:
            raise AuditionError(f"branch {branch} could not be set in {self.path}: {done.why()}")

    def _check_folders(self, commit: str, folders: set[str]) -> None:
        wanted = {str(at) for each in folders for at in (PurePosixPath(each), *PurePosixPath(each).parents)}
        for at in sorted(wanted - {"."}):
            line = self.need("ls-tree", "--full-tree", commit, "--", at)
            if line and line.split()[1] != "tree":
                raise BadInput(
                    f"{at} is a file in {commit[:12]}, and the publication needs a folder of that name; "
                    "publish into another repository (publish_repo)."
                )

    def _check_files(self, commit: str, files: list[str]) -> None:
        for at in files:
            line = self.need("ls-tree", "--full-tree", commit, "--", at)
            if line and line.split()[1] != "blob":
                raise BadInput(
                    f"{at} is a folder in {commit[:12]}, and the publication has a file of that name; "
                    "publish into another repository (publish_repo)."
                )

    def ask_remote(self, remote: str, branches: list[str]) -> RemoteState | str:
        """Ask a remote for its default branch and some of its branches; a string says why it did not answer."""
        wanted = [f"refs/heads/{name}" for name in branches]
        done = self.git("ls-remote", "--symref", "--", remote, "HEAD", *wanted, limit_s=NETWORK_S)
        if done.code != 0:
            return done.why()
        default: str | None = None
        found: dict[str, str] = {}
        for line in done.out.splitlines():
            value, _, name = line.partition("\t")
            if name == "HEAD" and value.startswith("ref: refs/heads/"):
                default = value.removeprefix("ref: refs/heads/")
            elif name in ("HEAD", *wanted):  # a pattern of ls-remote matches the tails of other refs too
                found[name] = value
        heads = {name.removeprefix("refs/heads/"): found[name] for name in wanted if name in found}
        if default is not None and "HEAD" in found:
            heads[default] = found["HEAD"]
        return RemoteState(default=default, heads=heads)

    def fetch(self, remote: str, branch: str, commit: str) -> str | None:
        """Have a remote branch's commit here, without any ref or FETCH_HEAD; a string says why that failed."""
        if self.commit_of(commit) is not None:
            return None
        done = self.git(
            "fetch", "--quiet", "--no-tags", "--no-prune", "--no-write-fetch-head", "--recurse-submodules=no",
            "--refmap=", "--", remote, f"refs/heads/{branch}", limit_s=NETWORK_S,
        )  # fmt: skip
        return None if done.code == 0 else done.why()

    def push_command(self, remote: str, branch: str) -> list[str]:
        """Return the command that pushes a branch; it runs the user's pre-push hook, who may have a say in what
        leaves his machine, and never forces."""
        ref = f"refs/heads/{branch}"
        return [
            "git", "-C", str(self.path), "push", "--no-signed", "--no-follow-tags", "--recurse-submodules=no",
            "--", remote, f"{ref}:{ref}",
        ]  # fmt: skip

    def address(self, remote: str) -> str:
        """Return the address of a remote given by name; an address is its own."""
        done = self.git("remote", "get-url", "--", remote)
        return done.out.strip() if done.code == 0 else remote


def _line(part: str | bytes) -> bytes:
    """Return a command of fast-import, or data for the command before it, as it reads them."""
    return f"{part}\n".encode() if isinstance(part, str) else b"data %d\n%s\n" % (len(part), part)
