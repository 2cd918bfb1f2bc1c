"""The self-test passes with our client, and fails with a client that makes the usual mistakes."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

import bench.client.session
import bench.selftest.run
from bench.client.bodies import Pcm
from bench.client.figures import Figures, measure
from bench.selftest import run_selftest
from bench.selftest.cases import FAULTS, TIMED, Case
from bench.selftest.compare import SelftestReport


def cases(*scripts: str) -> list[Case]:
    return [case for case in (*TIMED, *FAULTS) if case.script in scripts]


def test_the_client_measures_right_in_every_dialect_and_names_every_fault() -> None:
    report = run_selftest(concurrencies=(8,))
    assert report.ok, report.table()
    assert {row.case for row in report.rows} >= {case.name for case in (*TIMED, *FAULTS)}
    assert "the client measures right" in report.table()


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


def test_a_fault_that_goes_unnoticed_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.client.session, "check_audio", lambda samples, rate_hz: None)
    monkeypatch.setattr(bench.selftest.run, "ATTEMPTS", 1)
    report = run_selftest((1,), cases("silence", "clipping", "nan"))
    assert {row.case.split()[0] for row in report.rows if not row.ok} == {"silence", "clipping", "nan"}
