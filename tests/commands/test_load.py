"""`audition load`: every level as a line and as JSON."""

import contextlib
import json
from pathlib import Path

import pytest

from bench.commands.cli import main
from tests.support.raw_server import Asked, Reply, serving
from tests.support.sound import RATE, pcm, wav

Output = pytest.CaptureFixture[str]


def quick(asked: Asked) -> Reply:
    if asked.method == "GET":
        return Reply.of({}, "404 Not Found")
    if asked.json().get("voice") == "bad":
        return Reply.of({"detail": "no such voice"}, "404 Not Found")
    return Reply(
        pieces=[(0.02, pcm(1.6)), (0.03, pcm(1.6))], headers={"Content-Type": f"audio/pcm;rate={RATE}"}
    )


@pytest.mark.slow
def test_closed_and_open_loops_are_a_table_and_json(tmp_path: Path, capsys: Output) -> None:
    out = tmp_path / "load.json"
    with serving(quick) as server:
        code = main(["load", server.url, "--voice", "ada", "-n", "8", "--json", str(out)])
    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert [line.split()[0] for line in lines[1:5]] == ["1", "2", "4", "8"]
    assert all("a second" in line for line in lines[5:7])
    levels = json.loads(out.read_text())["levels"]
    assert [level["concurrency"] for level in levels] == [1, 2, 4, 8, None, None]
    assert [level["most_under_way"] for level in levels[:4]] == [1, 2, 4, 8]
    best = max(8 / level["wall_s"] for level in levels[:4])
    assert [level["rate_per_s"] for level in levels[4:]] == [
        pytest.approx(share * best, abs=0.01) for share in (0.5, 0.9)
    ]
    assert all(level["ttfa_ms"]["n"] == 8 for level in levels)
    # A busy machine may hand both pieces of a take over as one, and then nothing came after the first.
    assert all(0 < level["rtf_after_first"]["n"] <= 8 for level in levels)


def test_a_cold_reference_and_stated_arrivals(tmp_path: Path, capsys: Output) -> None:
    clip, out = tmp_path / "ref.wav", tmp_path / "load.json"
    clip.write_bytes(wav(pcm()))
    with serving(quick) as server:
        code = main(
            ["load", server.url, "--reference", str(clip), "--cold", "--concurrency", "--rate", "40", "-n", "4",
             "--dialect", "openai", "--json", str(out)]
        )  # fmt: skip
    (level,) = json.loads(out.read_text())["levels"]
    assert (code, level["mode"], level["rate_per_s"], level["cold"]) == (0, "open", 40.0, True)
    assert {take["reference_cached"] for take in level["takes"]} == {False}
    assert "40 a second" in capsys.readouterr().out


def test_what_was_measured_before_the_server_went_away_is_kept(tmp_path: Path, capsys: Output) -> None:
    out = tmp_path / "new" / "load.json"
    asked: list[Asked] = []

    def gone_after_a_level(request: Asked) -> Reply:
        asked.append(request)
        if request.path == "/v1/models" and len(asked) > 1:
            server.close()
        return quick(request)

    with contextlib.suppress(OSError), serving(gone_after_a_level) as server:
        code = main(
            ["load", server.url, "--voice", "ada", "-n", "2", "--concurrency", "1", "2", "--json", str(out)]
        )
    assert code != 0 and "nothing listens" in capsys.readouterr().err
    assert [level["concurrency"] for level in json.loads(out.read_text())["levels"]] == [1]


def test_failed_takes_are_named_and_the_exit_code_says_so(capsys: Output) -> None:
    with serving(quick) as server:
        code = main(
            ["load", server.url, "--voice", "bad", "--dialect", "openai", "--concurrency", "1", "-n", "2"]
        )
    assert code == 1
    said = capsys.readouterr().out
    assert "{'http_404': 2}" in said
    assert f"  http_404: no such voice (asked: POST {server.url}/v1/audio/speech)" in said.splitlines()


def test_what_all_takes_show_is_said_under_their_level(capsys: Output) -> None:
    def slow_speech(asked: Asked) -> Reply:
        if asked.method == "GET":
            return Reply.of({}, "404 Not Found")
        return Reply(pcm(12.0), headers={"Content-Type": f"audio/pcm;rate={RATE}"})

    with serving(slow_speech) as server:
        assert main(["load", server.url, "--voice", "v", "--concurrency", "2", "--rate", "-n", "6"]) == 0
    assert "  ALARM: the takes are not as long as speech of their words" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "one of them"),
        (["--voice", "v", "--reference", "r.wav"], "one of them"),
        (["--voice", "v", "--cold"], "needs a --reference"),
        (["--voice", "v", "--token-env", "NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE"),
        (["--voice", "v", "--dialect", "klingon"], "cosyvoice"),
        (["--voice", "v", "--dialect", "openai", "--concurrency", "0"], "0 asked for"),
        (["--voice", "v", "--dialect", "openai", "--concurrency", "--rate", "nan"], "nan asked for"),
        (["--voice", "v", "--dialect", "openai", "--concurrency", "--rate", "inf"], "inf asked for"),
        (["--voice", "v", "--concurrency"], "at least one level"),
        (["--voice", "v", "--json", "/"], "cannot be written"),
        (["--reference", __file__, "--cold", "--dialect", "openai"], "cannot be read"),
    ],
)
def test_what_cannot_be_asked_is_said(given: list[str], says: str, capsys: Output) -> None:
    with serving(quick) as server:
        assert main(["load", server.url, *given]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--concurrency", "0"], ["--rate", "-1"], ["--takes", "0"], ["--timeout", "nan"], ["--request", "[1]"],
              ["--request", "{"]],
)  # fmt: skip
def test_a_wrong_value_is_refused_before_anything_is_measured(words: list[str], capsys: Output) -> None:
    asked: list[Asked] = []

    def note(one: Asked) -> Reply:
        asked.append(one)
        return quick(one)

    with serving(note) as server:
        assert main(["load", server.url, "--voice", "ada", *words]) == 2
    assert words[-2] in capsys.readouterr().err and not asked


def test_an_entrys_path_and_request_are_taken(capsys: Output) -> None:
    asked: list[Asked] = []

    def note(one: Asked) -> Reply:
        asked.append(one)
        return quick(one)

    with serving(note) as server:
        code = main(
            ["load", server.url, "--voice", "ada", "--dialect", "openai", "--path", "/say", "--request",
             '{"temperature": 0.3}', "--concurrency", "1", "--rate", "-n", "1"]
        )  # fmt: skip
    assert code == 0, capsys.readouterr()
    spoken = [one for one in asked if one.method == "POST"]
    assert {one.path for one in spoken} == {"/say"} and all(
        one.json()["temperature"] == 0.3 for one in spoken
    )
