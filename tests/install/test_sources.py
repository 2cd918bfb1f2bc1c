"""Upstream code by git: local repositories as mirrors, a bundle, and everything that may be wrong with them."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bench.catalog.entry import Entry, Source
from bench.catalog.loader import load
from bench.controller.host_settings import HostSettings, name_engine_image, name_engine_python
from bench.errors import AuditionError
from bench.install import sources
from bench.install.provision import InstallFailed, Provisioner, Wanted, is_complete
from bench.install.sources import SourceFailed, assemble, is_assembled, name_tree
from bench.jobs.archive import pack
from bench.jobs.spec import JobSpec
from tests.support import entries

FILES = {
    "speech/__init__.py": b"",
    "speech/say.py": b"WORD = 'hello'\n",
    "LICENSE": b"MIT\n",
    "setup.py": b"1 / 0\n",
}
TEXT = {"two.txt": b"one\ntwo\n", ".gitattributes": b"*.txt text eol=crlf\nLICENSE export-ignore\n"}
"""A checkout would write the one with other line ends, and an archive leave the other out."""


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=Somebody", "-c", "user.email=somebody@voice.example", "-c", "core.autocrlf=false"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A folder with one repository of two commits, of which the first one is pinned."""
    work = tmp_path / "work"
    for name, data in (FILES | TEXT).items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes(data)
    git(work, "init", "-q", "-b", "main")
    git(work, "add", "--all")
    git(work, "commit", "-q", "-m", "one")
    (work / "speech" / "say.py").write_bytes(b"WORD = 'later'\n")
    git(work, "commit", "-q", "-a", "-m", "two")
    home = tmp_path / "mirror"
    (home / "them").mkdir(parents=True)
    git(tmp_path, "clone", "-q", "--bare", str(work), str(home / "them" / "speech.git"))
    return home


@pytest.fixture
def commit(mirror: Path) -> str:
    return git(mirror / "them" / "speech.git", "rev-parse", "main^")


def source(commit: str, **changed: Any) -> Source:
    lines = []
    for name, to in (("speech/__init__.py", ""), ("speech/say.py", ""), ("LICENSE", "speech/LICENSE")):
        data = FILES[name]
        lines.append(f"{hashlib.sha256(data).hexdigest()} {len(data)} {name} {to}".rstrip())
    raw = {"repo": "https://forge.example/them/speech.git", "commit": commit, "files": "\n".join(lines)}
    return Source.model_validate(raw | changed)


def listed(site: Path) -> list[str]:
    return sorted(str(path.relative_to(site)) for path in site.rglob("*") if path.is_file())


WHOLE = ["audition-sources.txt", "speech/LICENSE", "speech/__init__.py", "speech/say.py"]


def test_what_is_listed_is_put_in_place_and_nothing_else(mirror: Path, commit: str, tmp_path: Path) -> None:
    site = tmp_path / "site"
    wanted = [source(commit)]
    assert not is_assembled(wanted, site)
    assemble(wanted, site, mirror=str(mirror))
    assert listed(site) == WHOLE
    assert (site / "speech" / "say.py").read_bytes() == FILES["speech/say.py"], (
        "of the pinned commit, not the newest"
    )
    assert is_assembled(wanted, site)
    said = subprocess.run(
        [sys.executable, "-c", "import speech.say; print(speech.say.WORD)"],
        cwd=site,
        capture_output=True,
        text=True,
    )
    assert said.stdout == "hello\n"


def test_a_second_time_nothing_is_asked(mirror: Path, commit: str, tmp_path: Path) -> None:
    wanted = [source(commit)]
    assemble(wanted, tmp_path / "site", mirror=str(mirror))
    before = (tmp_path / "site" / "speech").stat().st_mtime_ns
    assemble(wanted, tmp_path / "site", mirror="/nowhere")
    assert (tmp_path / "site" / "speech").stat().st_mtime_ns == before


def test_a_bundle_serves_where_there_is_no_network(mirror: Path, commit: str, tmp_path: Path) -> None:
    place = tmp_path / "bundles" / "them"
    place.mkdir(parents=True)
    git(mirror / "them" / "speech.git", "bundle", "create", "-q", str(place / "speech.bundle"), "--all")
    assemble([source(commit)], tmp_path / "site", mirror=str(tmp_path / "bundles"))
    assert listed(tmp_path / "site") == WHOLE


def test_files_are_the_commits_own_bytes_whatever_its_attributes_say(
    mirror: Path, commit: str, tmp_path: Path
) -> None:
    data = TEXT["two.txt"]
    line = f"{hashlib.sha256(data).hexdigest()} {len(data)} two.txt"
    assemble([source(commit, files=line)], tmp_path / "site", mirror=str(mirror))
    assert (tmp_path / "site" / "two.txt").read_bytes() == data


def test_the_tree_has_a_name_of_its_own(commit: str) -> None:
    one, other = [source(commit)], [source("f" * 40)]
    assert name_tree([]) is None
    assert name_tree(one) == name_tree([source(commit)])
    assert name_tree(one) != name_tree(other)
    fewer = [source(commit, files=f"{'a' * 64} 1 speech/say.py")]
    assert name_tree(one) != name_tree(fewer)


def test_another_tree_takes_the_place_of_the_older_one(mirror: Path, commit: str, tmp_path: Path) -> None:
    site = tmp_path / "site"
    assemble([source(commit)], site, mirror=str(mirror))
    (site / "speech" / "stale.py").write_text("")
    data = FILES["speech/say.py"]
    newer = [source(commit, files=f"{hashlib.sha256(data).hexdigest()} {len(data)} speech/say.py")]
    assemble(newer, site, mirror=str(mirror))
    assert listed(site) == ["audition-sources.txt", "speech/say.py"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "said"),
    [
        ("{sha} 15 speech/say.py", r"speech/say.py: has 15 bytes and the catalog says 16|SHA-256 is"),
        ("{sha} 99 speech/say.py", r"speech/say.py: has 15 bytes and the catalog says 99"),
        ("{sha} 15 speech/gone.py", r"gone.py"),
        ("{sha} 15 speech", r"speech"),
    ],
)
def test_a_file_that_is_not_what_the_catalog_says_leaves_nothing(
    mirror: Path, commit: str, tmp_path: Path, files: str, said: str
) -> None:
    good = f"{hashlib.sha256(FILES['LICENSE']).hexdigest()} 4 LICENSE other/LICENSE\n"
    wrong = [source(commit, files=good + files.format(sha="a" * 64))]
    with pytest.raises(SourceFailed, match=said):
        assemble(wrong, tmp_path / "site", mirror=str(mirror))
    assert listed(tmp_path / "site") == []
    assert not is_assembled(wrong, tmp_path / "site")


def test_a_package_of_that_name_is_not_overwritten(mirror: Path, commit: str, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "speech").mkdir(parents=True)
    (site / "speech" / "theirs.py").write_text("")
    with pytest.raises(SourceFailed, match="is there already, from a package of that name"):
        assemble([source(commit)], site, mirror=str(mirror))
    assert listed(site) == ["speech/theirs.py"]


@pytest.mark.parametrize(
    ("place", "pinned", "said"),
    [
        ("/nowhere", None, "does not appear to be a git repository|does not exist"),
        ("http://user:secret@127.0.0.1:9/git", None, "127.0.0.1:9/git/them/speech.git"),
        (None, "e" * 40, "could not be fetched"),
    ],
)
def test_what_cannot_be_fetched_is_said_without_secrets(
    mirror: Path, commit: str, tmp_path: Path, place: str | None, pinned: str | None, said: str
) -> None:
    with pytest.raises(SourceFailed, match=said) as caught:
        assemble([source(pinned or commit)], tmp_path / "site", mirror=place or str(mirror))
    assert "sources_mirror" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert listed(tmp_path / "site") == []


def test_a_pack_that_is_too_large_ends_the_fetch(
    mirror: Path, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "large"
    git(tmp_path, "clone", "-q", str(mirror / "them" / "speech.git"), str(work))
    (work / "noise").write_bytes(os.urandom(3_000_000))
    git(work, "add", "--all")
    git(work, "commit", "-q", "-m", "large")
    git(work, "push", "-q", "origin", "HEAD:main")
    monkeypatch.setattr(sources, "FETCH_LIMIT_BYTES", 1_000_000)
    with pytest.raises(SourceFailed, match="could not be fetched"):
        assemble([source(git(work, "rev-parse", "HEAD"))], tmp_path / "site", mirror=str(mirror))


def test_a_fetch_that_hangs_ends(commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    with pytest.raises(SourceFailed, match=r"git was not done within 0\.5 s"):
        assemble([source(commit)], tmp_path / "site", mirror="/nowhere", limit_s=0.5)


def test_without_git_the_host_is_told(commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceFailed, match="git is not installed on this host"):
        assemble([source(commit)], tmp_path / "site", mirror="/nowhere")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"repo": "ext::sh -c harm"}, "String should match pattern"),
        ({"commit": "main"}, "String should match pattern"),
        ({"files": "a 1 x"}, "String should match pattern"),
        ({"files": f"{'a' * 64} 1 ../x"}, "inside the commit"),
        ({"files": f"{'a' * 64} 1 x /etc/x"}, "inside the commit"),
        ({"files": f"{'a' * 64} 1 x\n{'b' * 64} 1 y x"}, "two files would lie in one place"),
        ({"files": ""}, "at least 1 item"),
        ({"files": "x"}, "a line is SHA-256, bytes and a path"),
    ],
)
def test_an_entrys_sources_are_checked(changed: dict[str, str], said: str) -> None:
    raw = source("a" * 40).model_dump() | changed
    with pytest.raises(ValidationError, match=said):
        Source.model_validate(raw)


def test_cosyvoices_tree_is_small_and_whole() -> None:
    run = load("cosyvoice2").run
    assert run.kind == "engine"
    places = {file.to for one in run.sources for file in one.files}
    assert {"cosyvoice/LICENSE", "matcha/LICENSE", "cosyvoice/asset/zero_shot_prompt.wav"} <= places
    assert sum(file.bytes for one in run.sources for file in one.files) < 2**20
    assert {place.partition("/")[0] for place in places} == {"cosyvoice", "matcha"}


# -- as an installation does it ---------------------------------------------------------------------------


def _entry(commit: str) -> Entry:
    tree = entries.raw("speech", **{"run.install": ["venv"]})
    tree["run"]["sources"] = [source(commit).model_dump(mode="json")]
    return entries.entry(tree)


def _wanted(commit: str, folder: Path, mirror: str) -> Wanted:
    job = JobSpec.model_construct(entry=_entry(commit))
    folder.mkdir(exist_ok=True)
    (folder / "job.json").write_text(job.model_dump_json(include={"entry"}))
    return Wanted(folder / "job.json", folder / "sources", mirror)


@pytest.fixture
def packed(tmp_path: Path) -> tuple[Path, Path]:
    """A lock without packages, and code of ours."""
    (tmp_path / "lock.txt").touch()
    (tmp_path / "ours" / "engine").mkdir(parents=True)
    (tmp_path / "ours" / "engine" / "__init__.py").write_text("from speech.say import WORD\n")
    pack(tmp_path / "ours", tmp_path / "code.tar")
    return tmp_path / "lock.txt", tmp_path / "code.tar"


@pytest.mark.slow
def test_a_venv_has_both_codes(mirror: Path, commit: str, packed: tuple[Path, Path], tmp_path: Path) -> None:
    provisioner = Provisioner(120.0, lambda _: None)
    venv = tmp_path / "engines" / "speech-1"
    assert provisioner.venv(venv, *packed, _wanted(commit, tmp_path / "job", str(mirror)))
    said = subprocess.run(
        [venv / "bin" / "python", "-P", "-c", "import engine; print(engine.WORD)"],
        capture_output=True,
        text=True,
    )
    assert said.stdout == "hello\n", said.stderr
    assert "sources" in [step.name for step in provisioner.steps]


@pytest.mark.slow
def test_a_repository_out_of_reach_is_the_hosts_fault_and_leaves_no_venv(
    commit: str, packed: tuple[Path, Path], tmp_path: Path
) -> None:
    venv = tmp_path / "engines" / "speech-1"
    with pytest.raises(
        AuditionError, match=r"sources: /nowhere/them/speech\.git: commit .* sources_mirror"
    ) as caught:
        Provisioner(120.0, lambda _: None).venv(venv, *packed, _wanted(commit, tmp_path / "job", "/nowhere"))
    assert not isinstance(caught.value, InstallFailed), "the candidate would be out"
    assert not is_complete(venv)


def test_venv_and_image_are_named_by_upstreams_tree_too() -> None:
    host = HostSettings()
    entry, other = load("cosyvoice2"), load("cosyvoice2")
    assert entry.run.kind == other.run.kind == "engine"
    names = name_engine_python(entry, host), name_engine_image(entry, host)
    assert names == (name_engine_python(other, host), name_engine_image(other, host))
    other.run.sources[1].files[3].sha256 = "a" * 64
    assert name_engine_python(other, host) != names[0]
    assert name_engine_image(other, host) != names[1]
