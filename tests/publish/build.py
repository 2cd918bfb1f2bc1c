"""A rated, decided run of real speech with the catalog's own entries, and git repositories to publish it in."""

import hashlib
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

from bench.catalog.loader import load
from bench.controller import conclude
from bench.controller.run import Run
from bench.listening.score import seal
from bench.metrics.compare import compare_sides
from bench.records.base import Phase
from bench.records.metrics import MetricsFile
from bench.records.neighbour import NeighbourRecord
from bench.records.run import Check, Install, Manifest, Phases, PhaseState, Preflight
from bench.storage.digests import sha256_file
from bench.storage.record_file import load_record, save_record
from benchmarks.listening_run import WORDS
from benchmarks.listening_run import build as speak_all
from tests.support.imported import take_in_answers

RUN_ID = "espeak-here-20261122T101500Z"
BRANCH = "espeak-bench-20261122T101500Z"
SAMPLES = "docs/espeak-bench-samples-20261122T101500Z"
BENCHMARK = "docs/BENCHMARK-ESPEAK-HERE-20261122T101500Z.json"
WORDS_OF_REFERENCE = "The quick reference says good morning to all of you."
SPEAKER = "a flite voice that nobody has heard of"


def rights(**changes: Any) -> dict[str, Any]:
    return {
        "speaker": SPEAKER,
        "source": "spoken by flite",
        "licence": "free",
        "attestation": {"who": "the test", "date": "2026-11-22", "statement": "synthetic"},
        "expires": None,
        "sha256": "0" * 64,
        "may_publish_clips": True,
        "single_speaker": False,
    } | changes


def reference(**changes: Any) -> dict[str, Any]:
    chosen = {
        "sha256": "1" * 64,
        "text": WORDS_OF_REFERENCE,
        "why": {"runners_up": [{"text": WORDS_OF_REFERENCE}]},
    }
    given = {"files": {"audio": "voice-of-a-friend.wav"}, "audio_s": 3.0, "rights": rights(**changes)}
    return {"given": given, "reference": chosen}


def change_manifest(run_dir: Path, **values: Any) -> None:
    manifest = load_record(Manifest, run_dir)
    save_record(Manifest.model_validate(manifest.model_dump() | values), run_dir)


def forbid(run_dir: Path, **changes: Any) -> None:
    change_manifest(run_dir, reference=reference(**changes))


def make(run_dir: Path) -> Path:
    """Speak, seal, rate and decide; `run_dir` must be called `RUN_ID`."""
    speak_all(run_dir, texts=WORDS, candidate="flite kal", reference=WORDS_OF_REFERENCE)
    (run_dir / "rule.yml").write_text("pairs: 10\n")
    digest = sha256_file(run_dir / "rule.yml")
    inputs = load_record(Manifest, run_dir).inputs.model_copy(update={"rule_sha256": digest})
    change_manifest(
        run_dir,
        created_utc="2026-11-22T10:15:00Z",
        inputs=inputs.model_dump(),
        rule_sha256=digest,
        entry=load("espeak").model_dump(mode="json"),
        baseline_entry=load("flite").model_dump(mode="json"),
        model_url="http://someone:open-sesame@there.invalid/v1",
        baseline_url="http://someone:open-sesame@here.invalid:8772/v1?key=1",
        reference=reference(),
    )
    gate = Check(name="licence", ok=True, value="free", limit="research", severity="gate")
    save_record(Preflight(host={}, checks=[gate], forecast={}), run_dir)
    save_record(Install(ok=True, steps=[], total_s=1.0, limit_s=3600.0), run_dir)
    done = PhaseState(status="done", started_utc="2026-11-22T10:15:00Z", ended_utc="2026-11-22T10:16:00Z")
    names: list[Phase] = ["preflight", "install", "benchmark", "baseline"]
    save_record(Phases(phases=dict.fromkeys(names, done)), run_dir)
    save_record(NeighbourRecord(mode="none", name=None, url=None, run_id=run_dir.name), run_dir)
    seal(run_dir)
    save_record(MetricsFile(candidate=[], baseline=[], comparison=compare_sides([], [])), run_dir)
    return run_dir


def rate(run_dir: Path) -> None:
    """Have one rater like the baseline better, as an import from another copy of the run."""
    take_in_answers(run_dir, candidate=2, baseline=4, answered_utc="2026-11-22T11:00:00Z")


def decide(run_dir: Path) -> str:
    return str(conclude.decide_run(Run(run_dir))["decision"])


def git(repo: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(repo), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def repository(path: Path) -> Path:
    """Make a repository with one commit, an edited file, a staged file and an untracked one."""
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    (path / "kept.txt").write_text("as it was\n")
    (path / "docs").mkdir()
    (path / "docs" / "notes.txt").write_text("somebody's\n")
    git(path, "add", ".")
    git(path, "commit", "-q", "--no-verify", "--no-gpg-sign", "-m", "First")
    (path / "kept.txt").write_text("edited\n")
    (path / "staged.txt").write_text("staged\n")
    git(path, "add", "staged.txt")
    (path / "loose.txt").write_text("untracked\n")
    return path


def seen(repo: Path) -> dict[str, str]:
    """Return all that a person works with: files, index, HEAD, and every ref but the publication's."""
    files = {
        str(path.relative_to(repo)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(repo.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(repo).parts
    }
    refs = [line for line in git(repo, "show-ref", "--head").splitlines() if "-bench-" not in line]
    return files | {
        "index": hashlib.sha256((repo / ".git" / "index").read_bytes()).hexdigest(),
        "refs": "\n".join(refs),
        "head": (repo / ".git" / "HEAD").read_text(),
        "fetched": str((repo / ".git" / "FETCH_HEAD").exists()),
    }


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def published(repo: Path, branch: str = BRANCH) -> dict[str, bytes]:
    """Return what a clone of the branch has of the publication: by its name in the folder, beside it by its path."""
    names = git(repo, "ls-tree", "-r", "--name-only", branch, "--", f"{SAMPLES}/", BENCHMARK).splitlines()
    return {
        name.removeprefix(f"{SAMPLES}/"): subprocess.run(
            ["git", "-C", str(repo), "cat-file", "blob", f"{branch}:{name}"], capture_output=True, check=True
        ).stdout
        for name in names
    }


def short(files: list[str]) -> list[str]:
    """Return the names of a report's files as `published` gives them, in order."""
    return sorted(name.removeprefix(f"{SAMPLES}/") for name in files)


def environment(home: Path) -> dict[str, str]:
    """Return what makes git read no settings but those of the test's user."""
    return {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "PATH": os.environ["PATH"],
    }
