"""Upstream code that is no package: commits, fetched by git, compared file by file, put into an environment.

A catalog entry names repositories and commits and, for each file that is taken, its SHA-256 and size. Archives of
forges are not the same bytes from one day to the next; files of a commit are. Nothing is checked out and none of it
is run: each file is read from git's store, compared, and written. What is not listed stays out.

    assemble(entry.run.sources, site_packages)                       # from where upstream publishes it
    assemble(entry.run.sources, site_packages, mirror="/srv/git")    # /srv/git/<owner>/<name>.git, or <name>.bundle

`python -m bench.install.sources JOB INTO [--mirror MIRROR]` does it for a job's entry, as a step of an installation.

Every failure here is the host's or the network's: it says nothing of the model.
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from bench.catalog.entry import Source, SourceFile
from bench.errors import AuditionError
from bench.storage.digests import canonical_json, sha256_bytes

FETCH_LIMIT_BYTES = 1024**3
"""No file that git writes may be larger: a pack of the wrong repository is not downloaded whole."""
FETCH_LIMIT_S = 900.0
RECEIPT = "audition-sources.txt"
"""In the environment: which tree is in it."""


class SourceFailed(AuditionError):
    """The code could not be had, or is not what the catalog says; the message says which and what to do."""


def name_tree(sources: Sequence[Source]) -> str | None:
    """Return the SHA-256 that names the assembled tree: commits, paths and hashes; None where there is none."""
    if not sources:
        return None
    return sha256_bytes(canonical_json([source.model_dump(mode="json") for source in sources]))


def is_assembled(sources: Sequence[Source], site: Path) -> bool:
    """Return whether `site` holds the whole tree, by the mark that `assemble` leaves last."""
    mark = site / RECEIPT
    return mark.is_file() and mark.read_text(encoding="utf-8") == _mark(sources)


def assemble(
    sources: Sequence[Source], site: Path, *, mirror: str = "", limit_s: float = FETCH_LIMIT_S
) -> None:
    """Put every listed file of every source below `site`, compared; a second time changes nothing.

    `mirror` is a folder or an address under which the repositories lie as `<owner>/<name>.git`, or, in a folder, as
    `<owner>/<name>.bundle`; empty asks where the entry says.

    Raises:
        SourceFailed: git is missing, the repository is out of reach or lacks the commit, a file is missing, of another
            size or other bytes, or its place is taken. Nothing is left in `site` then.
    """
    if is_assembled(sources, site):
        return
    site.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="audition-sources-", dir=site) as scratch:
        tree = Path(scratch) / "tree"
        for number, source in enumerate(sources):
            store = Path(scratch) / f"{number}.git"
            _fetch(source, _place(source, mirror), store, limit_s)
            for file in source.files:
                path = tree / file.to
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(_read(source, file, store))
                path.chmod(0o644)
        tops = sorted(path.name for path in tree.iterdir())
        for top in tops:
            if (site / top).exists() and not (site / RECEIPT).is_file():
                raise SourceFailed(
                    f"{site / top} is there already, from a package of that name; remove the package."
                )
        (site / RECEIPT).unlink(missing_ok=True)
        for top in tops:
            shutil.rmtree(site / top, ignore_errors=True)
            (tree / top).rename(site / top)
    (site / RECEIPT).write_text(_mark(sources), encoding="utf-8")


def _mark(sources: Sequence[Source]) -> str:
    lines = [f"{source.repo} {source.commit}\n" for source in sources]
    return f"{name_tree(sources)}\n" + "".join(lines)


def _place(source: Source, mirror: str) -> str:
    """Return what git is to fetch from."""
    if not mirror:
        return source.repo
    name = urlsplit(source.repo).path.strip("/").removesuffix(".git")
    if "://" in mirror:
        return f"{mirror.rstrip('/')}/{name}.git"
    bundle = Path(mirror) / f"{name}.bundle"
    return str(bundle if bundle.is_file() else Path(mirror) / f"{name}.git")


def _fetch(source: Source, place: str, store: Path, limit_s: float) -> None:
    """Fetch one commit into a bare repository of its own."""
    _git(["init", "-q", "--bare", str(store)], limit_s)
    # A bundle offers its branches and nothing else; a server gives one commit, without its history.
    what = ["refs/*:refs/*"] if place.endswith(".bundle") else ["--depth=1", source.commit]
    try:
        _git(["-C", str(store), "fetch", "-q", "--no-tags", "--no-write-fetch-head", place, *what], limit_s)
        _git(["-C", str(store), "cat-file", "-e", f"{source.commit}^{{commit}}"], limit_s)
    except SourceFailed as error:
        raise SourceFailed(
            f"{_shown(place)}: commit {source.commit[:12]} could not be fetched ({' '.join(str(error).split())}). Try "
            "again later, or set sources_mirror to a folder or an address that has the repository (docs/variables.md)."
        ) from error


def _read(source: Source, file: SourceFile, store: Path) -> bytes:
    """Return a file of the commit, compared with what the catalog says of it."""
    name = f"{source.repo} {source.commit[:12]} {file.path}"
    blob = f"{source.commit}:{file.path}"
    size = _git(["-C", str(store), "cat-file", "-s", blob], 60.0).decode().strip()
    if int(size) != file.bytes:
        raise SourceFailed(
            f"{name}: has {size} bytes and the catalog says {file.bytes}; nothing was installed."
        )
    data = _git(["-C", str(store), "cat-file", "blob", blob], 60.0)
    if (actual := hashlib.sha256(data).hexdigest()) != file.sha256:
        raise SourceFailed(
            f"{name}: SHA-256 is {actual} and the catalog says {file.sha256}; nothing was installed."
        )
    return data


def _git(arguments: list[str], limit_s: float) -> bytes:
    """Run git without anybody's settings and return what it printed.

    Raises:
        SourceFailed: git is not there, failed, or took too long; its last words.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in _PASSED_ON
    } | {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "LC_ALL": "C",
    }
    settings = ["-c", "protocol.version=2", "-c", "gc.auto=0", "-c", "fetch.fsckObjects=true"]
    try:
        done = subprocess.run(
            ["git", *settings, *arguments], env=environment, capture_output=True, check=False, timeout=limit_s,
            stdin=subprocess.DEVNULL, preexec_fn=_limit_files,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise SourceFailed("git is not installed on this host; install it (apt-get install git).") from error
    except subprocess.TimeoutExpired as error:
        raise SourceFailed(f"git was not done within {limit_s:g} s") from error
    if done.returncode != 0:
        raise SourceFailed(
            done.stderr.decode(errors="replace").strip()[-1000:] or f"git ended {done.returncode}"
        )
    return done.stdout


_PASSED_ON = ("GIT_SSL_CAINFO", "GIT_SSL_NO_VERIFY", "GIT_SSH_COMMAND")
"""A host's way to its own mirror."""


def _limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (FETCH_LIMIT_BYTES, FETCH_LIMIT_BYTES))


def _shown(place: str) -> str:
    """Return an address without who asks for it: there lie passwords."""
    parts = urlsplit(place)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.netloc else place


def main() -> None:
    """Assemble what the entry of a job lists; exit 1 with what was wrong."""
    parser = argparse.ArgumentParser(prog="bench.install.sources", description=__doc__)
    parser.add_argument("job", type=Path)
    parser.add_argument("into", type=Path)
    parser.add_argument("--mirror", default="")
    given = parser.parse_args()
    listed = json.loads(given.job.read_bytes())["entry"]["run"]["sources"]
    try:
        assemble([Source.model_validate(one) for one in listed], given.into, mirror=given.mirror)
    except (SourceFailed, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
