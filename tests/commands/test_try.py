"""`audition try`: one sentence of one model, and nothing left but the sentence."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.audio.wav import read_mono
from bench.commands.cli import main
from tests.support import entries
from tests.support.raw_server import Reply, serving
from tests.support.sound import RATE, pcm

pytestmark = pytest.mark.slow

Output = pytest.CaptureFixture[str]
TEXT = "Good morning, this is me."


@pytest.fixture
def trying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.setenv("PYTHONPATH", str(entries.FAULTY))
    # Where no Docker is, nothing has to be removed there.
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")

    def run(*arguments: str) -> int:
        places = ["--state-dir", str(tmp_path / "state"), "--out", str(tmp_path / "said.wav")]
        return main(["try", *arguments, *places])

    return run


@pytest.fixture(autouse=True)
def _nothing_stays(tmp_path: Path) -> Any:
    yield
    assert not list((tmp_path / "state").glob("**/job.json"))
    left = [p for p in psutil.Process(os.getpid()).children(recursive=True) if p.status() != "zombie"]
    assert not [p for p in left if "bench.serving.server" in p.cmdline()]


def test_it_says_the_sentence_and_keeps_it(
    trying: Callable[..., int], tmp_path: Path, capsys: Output
) -> None:
    assert trying("flite", "--text", TEXT) == 0
    samples, rate = read_mono(tmp_path / "said.wav")
    assert rate == 16000 and 1.0 < samples.size / rate < 4.0
    said = capsys.readouterr().out
    assert "flite | ready after " in said and "first audio after" in said
    assert "GiB resident" in said, "what memory_gib may say"
    assert f"written: {tmp_path}/said.wav" in said
    assert trying("flite", "--text", "Yes.") == 0
    assert 2 * read_mono(tmp_path / "said.wav")[0].size < samples.size, "a shorter text is a shorter sentence"


def test_an_engine_that_dies_leaves_its_last_words(
    trying: Callable[..., int], tmp_path: Path, capsys: Output
) -> None:
    folder = entries.write(tmp_path / "catalog", entries.faulty("Stillborn", **{"run.system_packages": []}))
    assert trying("stillborn", "--catalog-dir", str(folder)) == 1
    said = capsys.readouterr().out
    assert "stillborn | FAILED: " in said and "CUDA error, says the faulty engine" in said
    assert not (tmp_path / "said.wav").exists()


def test_a_server_of_somebody_elses_is_asked_where_it_is(
    trying: Callable[..., int], tmp_path: Path, capsys: Output
) -> None:
    run = {"kind": "http", "dialect": "openai", "voice": "ada"}
    folder = entries.write(tmp_path / "catalog", entries.raw("served", run=run, preset=None))
    headers = {"Content-Type": f"audio/pcm;rate={RATE}"}
    with serving(lambda _: Reply(pieces=[(0.0, pcm(1.6))], headers=headers)) as server:
        assert trying("served", "--catalog-dir", str(folder), "--url", server.url) == 0
    assert "served | said 1.6 s of speech" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "arguments", "says"),
    [
        ({}, ["--profile", "fast"], "one has no profile 'fast'; it has: upstream"),
        ({"run": {"kind": "http"}}, [], "one is served by somebody else: say where in --url"),
        ({"preset": None, "run": {"kind": "http"}}, ["--url", "http://127.0.0.1:1"], "give --reference"),
        (
            {"run.system_packages": ["nosuch-voice"]},
            [],
            "one needs nosuch-voice: apt-get install nosuch-voice",
        ),
        (
            {"run.system_packages": []},
            ["--reference", "/nowhere.wav"],
            "no such reference file: /nowhere.wav",
        ),
        ({}, ["--neighbour", "llm"], "say in --neighbour-url where its API is"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_begun(
    trying: Callable[..., int], tmp_path: Path, capsys: Output, changes: dict[str, Any], arguments: list[str],
    says: str,
) -> None:  # fmt: skip
    folder = entries.write(tmp_path / "catalog", entries.raw("one", **changes))
    assert trying("one", "--catalog-dir", str(folder), *arguments) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


def test_no_room_beside_a_neighbour_is_refused(
    trying: Callable[..., int], tmp_path: Path, capsys: Output
) -> None:
    tree = entries.raw("one", **{"run.system_packages": [], "run.install": ["container"]})
    tree["run"]["requirements"] = "engine-hibari.txt"
    folder = entries.write(tmp_path / "catalog", tree)
    neighbour = [
        "--neighbour",
        "llm",
        "--neighbour-url",
        "http://127.0.0.1:1",
        "--neighbour-floor-gib",
        "100000",
    ]
    assert trying("one", "--catalog-dir", str(folder), *neighbour) == 2
    assert "no room for one beside the neighbour" in capsys.readouterr().err
