"""Bad input, all of it before anything is written or installed: one playbook, a host for each mistake."""

import json
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bench.audio.wav import read_mono, write_wav_16bit
from bench.storage.digests import sha256_file
from tests.support import entries
from tests.support.disks import mounted
from tests.support.play import DEMO_REFERENCE, Played, inventory, lines, play

pytestmark = pytest.mark.timeout(1200)

Make = Callable[[Path], dict[str, Any]]


def _with_audio(folder: Path, name: str, write: Callable[[Path], object]) -> dict[str, Any]:
    """The demo's reference with another recording, and rights that name it."""
    audio = folder / name
    write(audio)
    rights = yaml.safe_load((DEMO_REFERENCE / "demo.rights.yml").read_text()) | {"sha256": sha256_file(audio)}
    (folder / "rights.yml").write_text(yaml.safe_dump(rights))
    return {"reference_audio": str(audio), "reference_rights": str(folder / "rights.yml")}


def _three_hours(path: Path) -> None:
    """A header, and a hole of 518 MB."""
    size = 3 * 3600 * 24000 * 2
    with path.open("wb") as stream:
        stream.write(struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, 24000, 48000,
                                 2, 16, b"data", size))  # fmt: skip
        stream.truncate(44 + size)


def _misspelt(folder: Path) -> dict[str, Any]:
    tree = entries.raw("espeak")
    tree["licences"]["code"]["comercial_use"] = tree["licences"]["code"].pop("commercial_use")
    return {"catalog_dir": str(entries.write(folder / "catalog", tree))}


def _lacking(folder: Path) -> dict[str, Any]:
    tree = entries.raw("mine")
    del tree["clone_encoder"]
    return {"catalog_dir": str(entries.write(folder / "catalog", tree)), "model": "mine"}


def _rule(folder: Path) -> dict[str, Any]:
    (folder / "rule.yml").write_text("rating_margin: 0.5\n")
    return {"rule_file": str(folder / "rule.yml")}


def _endless(folder: Path) -> dict[str, Any]:
    (folder / "rule.yml").write_text("# As slow as it likes.\npairs: 10\nttfa_p50_limit_ms: .inf\n")
    return {"rule_file": str(folder / "rule.yml")}


def _elder(folder: Path) -> dict[str, Any]:
    """A run that another version of Audition made."""
    run_dir = folder / "runs" / "espeak-elder-20250101T000000Z"
    run_dir.mkdir(parents=True)
    (run_dir / "manifest.json").write_text(json.dumps({"schema_version": 99, "run_id": run_dir.name}))
    return {"run_id": run_dir.name}


def _silence(path: Path) -> None:
    write_wav_16bit(path, np.zeros(12 * 24000, np.float32), 24000)


def _short(path: Path) -> None:
    samples, rate_hz = read_mono(DEMO_REFERENCE / "demo.wav")
    write_wav_16bit(path, samples[: int(1.3 * rate_hz)], rate_hz)


MISTAKES: dict[str, tuple[Make, str]] = {
    "unknown": (
        lambda _: {"model": "nosuch"},
        r"unknown model 'nosuch'; the catalog has: .*espeak.*f5.*flite",
    ),
    "itself": (lambda _: {"model": "flite"}, r"model and baseline are both 'flite'"),
    "profile": (lambda _: {"profile": "fast"}, r"espeak has no profile 'fast'; it has: upstream"),
    "misspelt": (_misspelt, r"catalog/espeak\.yml:\d+: licences\.code\.comercial_use: .*not permitted"),
    "lacking": (_lacking, r"catalog/mine\.yml:1: clone_encoder: Field required"),
    "missing": (
        lambda _: {"reference_audio": "/nowhere/voice.wav"},
        r"no such reference file: /nowhere/voice\.wav",
    ),
    "empty": (lambda f: _with_audio(f, "empty.wav", lambda p: p.write_bytes(b"")), r"empty\.wav.* empty"),
    "silent": (lambda f: _with_audio(f, "silent.wav", _silence), r"silent\.wav.*silent"),
    "short": (
        lambda f: (
            _with_audio(f, "short.wav", _short)
            | {"reference_transcript": str(lines(f / "short.txt", ["A word."]))}
        ),
        r"of speech is too short; the model needs 3 s",
    ),
    "threehours": (lambda f: _with_audio(f, "long.wav", _three_hours), r"3 h 0 min long, .* may have 10 min"),
    "poem": (
        lambda f: _with_audio(f, "poem.wav", lambda p: p.write_text("A poem.\n" * 99)),
        r"not a sound file",
    ),
    "rightless": (lambda _: {"reference_rights": ""}, r"no rights statement.*reference_rights"),
    "wordless": (lambda _: {"reference_transcript": ""}, r"no transcript.*reference_transcript"),
    "nothing": (
        lambda f: {"utterances_file": str(lines(f / "u.txt", ["# none"]))},
        r"u\.txt: no utterance in it",
    ),
    "twice": (
        lambda f: {"utterances_file": str(lines(f / "u.txt", ["Yes.", "No.", "yes."]))},
        r"u\.txt:3: the same text as line 1",
    ),
    "toofew": (lambda f: {"utterances_file": str(lines(f / "u.txt", ["Yes."]))}, r"1 utterances .* 10 pairs"),
    "rule": (_rule, r"rule_file .*/rule\.yml:1: rating_margin: .*not permitted"),
    "endless": (_endless, r"rule_file .*/rule\.yml:3: \.inf: is no finite number"),
    "chain": (lambda _: {"chain": ["espeak", "nosuch"]}, r"unknown model 'nosuch'"),
    "purpose": (
        lambda _: {"intended_use": "blogging"},
        r"intended_use.*personal, research, commercial.*blogging",
    ),
    "mode": (lambda _: {"neighbour_mode": "kill"}, r"neighbour_mode.*pause, parallel, none.*kill"),
    "way": (
        lambda _: {"engine_install": "venv"},
        r"engine_install is venv, and espeak can be installed as: system",
    ),
    "folder": (lambda _: {"catalog_dir": "/nowhere"}, r"catalog_dir /nowhere is not a directory"),
    "notime": (lambda _: {"pass_timeout_s": 0}, r"pass_timeout_s: Input should be greater than 0"),
    "noport": (lambda _: {"engine_port": 70000}, r"engine_port: Input should be less than or equal to 65535"),
    "nameless": (
        lambda _: {"neighbour_mode": "pause", "neighbour_url": "http://127.0.0.1:8003"},
        r"neighbour_mode is pause: name the container in neighbour_container",
    ),
    "slip": (
        lambda _: {"neighbor_mode": "pause"},
        r"neighbor_mode is no variable of Audition; is neighbour_mode meant",
    ),
    "relative": (
        lambda _: {"state_dir": "~/audition"},
        r"state_dir: .*'~/audition' must be an absolute path",
    ),
    "spaced": (lambda f: {"state_dir": f"{f}/my state"}, r"state_dir: .*/my state' must have no space in it"),
    "norun": (lambda _: {"run_id": "espeak-norun-20200101T000000Z"}, r"there is no run .* there is: none"),
    "elder": (_elder, r"has schema_version 99 and this Audition reads 1; .*or start a new one"),
    "fulldisk": (lambda _: {}, r"only \d MiB are free under .*set runs_dir to another disk"),
}


@dataclass(frozen=True, slots=True)
class Mistaken:
    played: Played
    checked: Played
    """The same with --check."""
    root: Path
    before: dict[str, list[str]]


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture(scope="module")
def small_disk(needs_root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with mounted(tmp_path_factory.mktemp("disk"), "4m") as disk:
        yield disk


@pytest.fixture(scope="module")
def mistaken(
    private: Callable[[], Path], small_disk: Path, tmp_path_factory: pytest.TempPathFactory
) -> Mistaken:
    root = tmp_path_factory.mktemp("mistakes")
    hosts: dict[str, dict[str, Any]] = {}
    for name, (make, _) in MISTAKES.items():
        (root / name).mkdir()
        runs_dir = small_disk / "runs" if name == "fulldisk" else root / name / "runs"
        hosts[name] = {"runs_dir": str(runs_dir), **make(root / name)}
    hosts_file = inventory(root / "hosts.yml", hosts, state_dir=str(root / "state"))
    before = {name: _files(root / name) for name in MISTAKES}
    checked = play(private(), None, "--check", inventory=hosts_file)
    return Mistaken(play(private(), None, inventory=hosts_file), checked, root, before)


@pytest.mark.parametrize("name", MISTAKES)
def test_it_is_refused_with_what_to_do_and_nothing_is_written(
    mistaken: Mistaken, name: str, small_disk: Path
) -> None:
    said = mistaken.played.why(name)
    assert re.search(MISTAKES[name][1], said, re.DOTALL), said
    assert "Traceback" not in said
    folder = small_disk if name == "fulldisk" else mistaken.root / name
    assert _files(folder) == mistaken.before[name]


@pytest.mark.parametrize("name", MISTAKES)
def test_check_mode_finds_it_too_and_goes_no_further(mistaken: Mistaken, name: str) -> None:
    assert mistaken.checked.why(name) == mistaken.played.why(name)
    last = mistaken.checked.of(name)[-1]
    assert (last.play, last.status) == ("Check the inputs and the host, and begin the run", "failed")


def test_the_exit_code_is_2_and_nothing_was_installed(mistaken: Mistaken) -> None:
    assert mistaken.played.rc == 2, mistaken.played.text[-3000:]
    assert not (mistaken.root / "state").exists()
    assert not [task for task in mistaken.played.tasks if task.changed]
    assert mistaken.played.plays() == ["Check the inputs and the host, and begin the run"]


@pytest.mark.parametrize("option", ["--tags", "--skip-tags"])
def test_an_unknown_tag_fails_with_the_tags_there_are(
    private: Callable[[], Path], tmp_path: Path, option: str
) -> None:
    given = {"state_dir": str(tmp_path / "state"), "runs_dir": str(tmp_path / "runs")}
    played = play(private(), given, option, "benchmrk")
    assert played.rc == 2
    assert "Unknown tag benchmrk" in played.why("local")
    assert "preflight, install, benchmark, baseline, teardown, score, verdict" in played.why("local")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"intended_use": "blogging"}, r"intended_use.*personal, research, commercial.*blogging"),
        ({"neighbor_mode": "pause"}, r"neighbor_mode is no variable of Audition; is neighbour_mode meant"),
    ],
)
@pytest.mark.parametrize("how", ["alone", "tagged"])
def test_a_phase_played_alone_checks_the_variables_too(
    private: Callable[[], Path], tmp_path: Path, how: str, given: dict[str, str], says: str
) -> None:
    more = given | {"state_dir": str(tmp_path / "state"), "runs_dir": str(tmp_path / "runs")}
    if how == "alone":
        played = play(private(), more, playbook="playbooks/verdict.yml")
    else:
        played = play(private(), more, "--tags", "verdict")
    assert played.rc == 2
    assert re.search(says, played.why("local"), re.DOTALL), played.why("local")
    assert [task.name for task in played.tasks if task.status == "ok" and "Decide" in task.name] == []
