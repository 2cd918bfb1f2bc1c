"""The self-test passes with our client, and fails with a client that makes the usual mistakes."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

import bench.client.probe
import bench.client.session
import bench.selftest.compare
import bench.selftest.run
from bench.client.bodies import Pcm
from bench.client.dialects import DIALECTS
from bench.client.figures import Figures, measure
from bench.client.target import Target
from bench.records.take import Take
from bench.selftest.cases import FAULTS, PROBED, TIMED, Case
from bench.selftest.compare import Row, SelftestReport, timed_rows
from bench.selftest.run import run_selftest
from bench.selftest.scripts import PIECE_MS, STEADY
from tests.support.pace import limit

pytestmark = pytest.mark.slow


def cases(*scripts: str) -> list[Case]:
    return [case for case in (*TIMED, *PROBED, *FAULTS) if case.script in scripts]


def test_the_instrument_has_no_code_of_the_client_in_its_process() -> None:
    code = "import sys, bench.selftest.instrument; print(*(name for name in sys.modules if name.startswith('bench.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {
        f"bench.selftest{part}" for part in ("", ".instrument", ".routes", ".scripts", ".sounds")
    }


def test_the_client_measures_right_in_every_dialect_and_names_every_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # On a busy host figures are not to be trusted, and the self-test says so. This is about the client.
    monkeypatch.setitem(bench.selftest.compare.TOLERANCE_MS, 8, limit(15.0))
    report = run_selftest(concurrencies=(8,))
    assert report.ok, report.table()
    assert {row.case for row in report.rows} >= {case.name for case in (*TIMED, *PROBED, *FAULTS)}
    assert {case.family for case in PROBED} == set(DIALECTS)
    assert report.wall_s < limit(60)
    assert "the client measures right" in report.table()


def test_its_failures_and_one_line_are_enough_for_a_person() -> None:
    def row(case: str, ok: bool) -> Row:
        return Row(
            case=case, concurrency=1, figure="ttfa_ms", scripted="1", expected="1", measured="1", error_ms=0.0,
            tolerance_ms=1.0, ok=ok,
        )  # fmt: skip

    well = SelftestReport(ok=True, rows=[row("one", ok=True), row("two", ok=True)], wall_s=1.0)
    assert (
        well.table(failures_only=True)
        == "2 comparisons, 0 failed, 1.0 s: the client measures right on this host"
    )
    wrong = SelftestReport(ok=False, rows=[row("one", ok=True), row("two", ok=False)], wall_s=1.0)
    head, failed, last = wrong.table(failures_only=True).splitlines()
    assert head.startswith("case") and failed.startswith("two") and failed.endswith("FAILED")
    assert last == "2 comparisons, 1 failed, 1.0 s: do not trust figures taken here"
    assert "\none " in wrong.table(), "all of it under --verbose"


def test_one_at_a_time() -> None:
    report = run_selftest((1,), cases("pcm_stall", "wav_header_first", "hang", "truncated_riff"))
    assert report.ok, report.table()
    assert {row.concurrency for row in report.rows} == {1}


def with_mistake(
    monkeypatch: pytest.MonkeyPatch, mistake: Callable[[Figures], Figures], *scripts: str
) -> SelftestReport:
    def wrong(sent_ns: int, body_ns: Sequence[int], end_ns: int, pcm: Pcm) -> Figures:
        return mistake(measure(sent_ns, body_ns, end_ns, pcm))

    monkeypatch.setattr(bench.client.session, "measure", wrong)
    monkeypatch.setattr(bench.selftest.run, "ATTEMPTS", 1)
    return run_selftest((1,), cases(*scripts)[:1])


@pytest.mark.parametrize(
    ("mistake", "script", "figure"),
    [
        (lambda right: replace(right, ttfa_ms=right.ttfb_ms), "wav_header_first", "ttfa_ms"),
        (lambda right: replace(right, ttfa_ms=right.total_ms), "pcm", "ttfa_ms"),
        (
            lambda right: replace(right, ttfa_audible_ms=right.ttfa_ms),
            "pcm_leading_silence",
            "ttfa_audible_ms",
        ),
        (lambda right: replace(right, stalls=2 * right.stalls), "pcm_stall", "stalls"),
        (lambda right: replace(right, stall_ms=0.0), "pcm_stall", "stall_ms"),
        (lambda right: replace(right, streamed=True), "wav_whole", "streamed"),
    ],
    ids=["header is audio", "whole body", "silence ignored", "stall twice", "no stall", "all streams"],
)
def test_the_usual_mistakes_are_caught(
    monkeypatch: pytest.MonkeyPatch, mistake: Callable[[Figures], Figures], script: str, figure: str
) -> None:
    report = with_mistake(monkeypatch, mistake, script)
    assert not report.ok
    assert figure in {row.figure for row in report.rows if not row.ok}
    assert "FAILED" in report.table()


def asks_otherwise(monkeypatch: pytest.MonkeyPatch, **change: Any) -> None:
    """Have every request differ as a wrong dialect's would."""
    monkeypatch.setattr(
        "bench.selftest.run.Target", lambda *given, **more: Target(*given, **{**more, **change})
    )


@pytest.mark.parametrize(
    ("script", "dialect", "field", "value"),
    [
        ("pcm", "openai", "stream_format", None),
        ("pcm", "openai", "ref_audio", "data:audio/wav;base64,"),
        ("pcm", "openai", "voice", "somebody"),
        ("wav_whole", "openai_file", "seed", 1),
        ("wav_whole", "travisvn", "input", None),
        ("wav_header_with_audio", "devnen", "voice_mode", "predefined"),
        ("pcm_no_type", "cosyvoice", "prompt_text", None),
    ],
)
def test_a_request_that_the_server_would_not_understand_is_caught(
    monkeypatch: pytest.MonkeyPatch, script: str, dialect: str, field: str, value: object
) -> None:
    asks_otherwise(monkeypatch, request={field: value})
    monkeypatch.setattr(bench.selftest.run, "ATTEMPTS", 1)
    wanted = [case for case in TIMED if (case.script, case.dialect) == (script, dialect)]
    report = run_selftest((1,), wanted)
    assert not report.ok and "http_422" in report.table()


def test_another_path_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    asks_otherwise(monkeypatch, path="/speak")
    monkeypatch.setattr(bench.selftest.run, "ATTEMPTS", 1)
    report = run_selftest((1,), cases("pcm")[:1])
    assert not report.ok and "http_404" in report.table()


def test_a_dialect_that_is_not_found_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    async def guess(*_: object) -> tuple[str, ...]:
        return ("openai", "openai_file")

    monkeypatch.setattr(bench.client.probe, "_candidates", guess)
    monkeypatch.setattr(bench.selftest.run, "ATTEMPTS", 1)
    report = run_selftest((1,), PROBED)
    found = {row.case.split(" of ")[1].split()[0]: row.ok for row in report.rows if row.figure == "dialect"}
    assert {family for family, ok in found.items() if ok} == {"openai", "openai_file"}


def noted(index: int, late_ms: float) -> tuple[Take, dict[str, Any]]:
    """A take of the script `pcm`, right but for a first sample `late_ms` late, and the instrument's note."""
    sent = [(at_ms, PIECE_MS) for at_ms in STEADY] + [(STEADY[-1], 0.0)]
    take = Take(
        utterance_id="u", text=f"take-{index}", voice="v", audio_s=0.25, ttfb_ms=100.0, ttfa_ms=100.0 + late_ms,
        ttfa_audible_ms=100.0, total_ms=220.0, chunks=5, streamed=True, stalls=0, stall_ms=0.0, start_buffer_ms=0.0,
    )  # fmt: skip
    return take, {"arrived_ns": 0, "sent": [[at_ms * 1e6, audio_ms] for at_ms, audio_ms in sent]}


@pytest.mark.parametrize(("late_ms", "failed"), [(0.0, []), (99.0, []), (101.0, ["ttfa_ms"])])
def test_one_take_that_is_far_off_fails_its_case_whatever_the_median(
    late_ms: float, failed: list[str]
) -> None:
    both = [noted(index, late_ms if index == 1 else 0.0) for index in range(3)]
    rows = timed_rows(
        cases("pcm")[0], 1, [take for take, _ in both], {take.text: note for take, note in both}
    )
    assert [row.figure for row in rows if not row.ok] == failed
    (ttfa,) = (row for row in rows if row.figure == "ttfa_ms")
    assert (ttfa.error_ms, ttfa.worst_ms) == (0.0, late_ms)


def test_a_fault_that_goes_unnoticed_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.client.session, "check_audio", lambda samples, rate_hz: None)
    monkeypatch.setattr(bench.selftest.run, "ATTEMPTS", 1)
    report = run_selftest((1,), cases("silence", "clipping", "nan"))
    assert {row.case.split()[0] for row in report.rows if not row.ok} == {"silence", "clipping", "nan"}
