"""What a reader sees first: how many takes were heard, how they play, who failed the controls, what is assumed."""

import re
from pathlib import Path
from typing import Any

import pytest

from bench.records.verdict import Verdict
from bench.report import ReportView, build, render, write_markdown
from bench.verdict.evidence import Evidence
from bench.verdict.rule import decide
from tests.support.made_evidence import answer, failed_take


def both(run_dir: Path, evidence: Evidence) -> tuple[str, str]:
    """Return the page as its words, and the Markdown."""
    view = build(run_dir, decide(evidence), evidence, True, with_clips=False)
    text = re.sub(r"<(style|script|svg).*?</\1>", " ", render(view), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).split()), write_markdown(view)


def changed(evidence: Evidence, **changes: Any) -> Evidence:
    return evidence.model_copy(update=changes)


def test_how_many_were_heard_stands_before_the_gates(run_dir: Path, whole: Evidence) -> None:
    for text in both(run_dir, whole):
        line = text.index("10 of 10 timed takes of f5 were heard.")
        assert text.index("Swap chatterbox for f5") < line < text.index("Time to first audio, median")


def test_and_how_many_failed_and_by_what(run_dir: Path, whole: Evidence) -> None:
    assert whole.candidate is not None
    more = changed(
        whole,
        candidate=[*whole.candidate, *(failed_take(n) for n in range(11, 15))],
        manifest=whole.manifest.model_copy(update={"utterances": 20}),
    )
    for text in both(run_dir, more):
        assert "10 of 20 timed takes of f5 were heard; 10 failed (never made 6, timeout 4)." in text.replace(
            "\\", ""
        )


def test_playability_of_both_sides_is_beside_the_gates_and_waits_for_the_reveal(
    run_dir: Path, whole: Evidence, waiting: Evidence
) -> None:
    assert whole.candidate is not None
    late = [take.model_copy(update={"stall_ms": 1234.0, "rtf": 1.75}) for take in whole.candidate]
    page, markdown = both(run_dir, changed(whole, candidate=late))
    assert "Can it be listened to as it comes?" in page
    assert page.index("Can it be listened to") < page.index("Read this beside the verdict")
    assert "| Stall, longest | 1234\u00a0ms | 0\u00a0ms |" in markdown
    assert "| Real-time factor, median | 1.75 | " in markdown
    assert "| Takes slower than speech | 10 of 10 | " in markdown
    for text in both(run_dir, changed(waiting, candidate=late)):
        assert "listened to as it comes" not in text and "1234" not in text and "Playability" not in text


def test_the_line_of_the_controls(run_dir: Path, whole: Evidence) -> None:
    for text in both(run_dir, whole):
        assert "No rater failed a control (2 were asked)." in text
    assert whole.ratings is not None
    apart = whole.ratings.model_copy(
        update={"answers": [*whole.ratings.answers, answer(6, 5, 1, kind="identical")]}
    )
    for text in both(run_dir, changed(whole, ratings=apart)):
        assert "Without owner, who failed the controls, the verdict would be awaiting" in text.replace(
            "\\", ""
        )


@pytest.mark.parametrize("revealed", [True, False])
def test_the_power_says_what_it_assumes(
    run_dir: Path, whole: Evidence, waiting: Evidence, revealed: bool
) -> None:
    for text in both(run_dir, whole if revealed else waiting):
        assert "SD of the true difference" in text and "SD of a pair" not in text
        assert "the true difference varies with SD 0.4 from rater to rater" in text
        assert "(0.48 and 0.64 of 0.8; 0.6 and 0.8 of 1)" in text


def test_a_report_of_method_3_says_none_of_it(run_dir: Path, whole: Evidence, view: ReportView) -> None:
    old = changed(whole, manifest=whole.manifest.model_copy(update={"methodology_version": 3}))
    for text in both(run_dir, old):
        assert not any(words in text for words in ("as it comes", "Playability", "control (", "Assumed:"))
    assert isinstance(view.verdict, Verdict) and "Assumed:" in write_markdown(view)
