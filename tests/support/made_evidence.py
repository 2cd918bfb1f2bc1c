"""Runs made up for the tests of the rule: every part can be set, the rest is in order."""

from collections.abc import Sequence
from typing import Any, Literal

from bench.records.base import Channel
from bench.records.listening import Answer, RatingKind, Ratings
from bench.records.neighbour import NeighbourRecord
from bench.records.run import Inputs, Manifest, Rule
from bench.records.take import Take, TakeError
from bench.storage.digests import sha256_bytes
from bench.verdict.evidence import Evidence, InstallOutcome
from bench.verdict.methods import METHODOLOGY_VERSION
from tests.support.records import memory_report

QUESTION = "How much does this sound like the reference speaker?"
RULE_BYTES = b"pairs: 10\n"
RULE_SHA = sha256_bytes(RULE_BYTES)


def manifest(
    *,
    rule: Rule | None = None,
    model: str = "f5",
    chain: Sequence[str] = ("f5", "cosyvoice2"),
    utterances: int = 10,
    **changes: Any,
) -> Manifest:
    inputs = Inputs(
        model=model,
        profile="upstream",
        entry_sha256="e" * 64,
        baseline="chatterbox",
        baseline_sha256="b" * 64,
        rule_sha256=RULE_SHA,
        question_sha256=sha256_bytes(QUESTION.encode()),
        reference_sha256="c" * 64,
        utterances_sha256="d" * 64,
        neighbour_mode="pause",
        intended_use="personal",
    )
    values: dict[str, Any] = {
        "run_id": f"{model}-titan-20261122T101500Z",
        "model": model,
        "host": "titan",
        "created_utc": "2026-11-22T10:15:00Z",
        "inputs": inputs,
        "inputs_sha256": "a" * 64,
        "rule": rule or Rule(),
        "rule_sha256": RULE_SHA,
        "question": QUESTION,
        "question_sha256": inputs.question_sha256,
        "entry": {"name": model, "title": "F5-TTS"},
        "baseline_entry": {"name": "chatterbox", "title": "Chatterbox"},
        "profile": "upstream",
        "neighbour_mode": "pause",
        "intended_use": "personal",
        "reference": {"transcript": "Some words.", "rights": {"statement": "My own voice."}},
        "utterances": utterances,
        "chain": list(chain),
        "versions": {"audition": "0.1.0", "python": "3.11.2"},
        "git_commit": "0" * 40,
        "methodology_version": METHODOLOGY_VERSION,
    }
    return Manifest.model_validate({**values, **changes})


def take(number: int, **changes: Any) -> Take:
    values: dict[str, Any] = {
        "utterance_id": f"u{number:02d}",
        "text": f"Sentence number {number}.",
        "voice": "reference",
        "wav": f"u{number:02d}.wav",
        "sha256": f"{number:064x}",
        "sample_rate_hz": 24000,
        "audio_s": 2.0,
        "ttfb_ms": 90.0 + number,
        "ttfa_ms": 300.0 + number,
        "ttfa_audible_ms": 350.0 + number,
        "total_ms": 800.0,
        "rtf": 0.4,
        "rtf_after_first": 0.3,
        "streamed": True,
        "chunks": 8,
        "stalls": 0,
        "stall_ms": 0.0,
        "start_buffer_ms": 0.0,
        "reference_cached": True,
    }
    return Take.model_validate({**values, **changes})


def takes(count: int = 10, **changes: Any) -> list[Take]:
    warmup = take(1, warmup=True, ttfa_ms=9000.0, wav=None, sha256=None)
    return [warmup, *(take(number, **changes) for number in range(1, count + 1))]


def failed_take(number: int) -> Take:
    return Take(
        utterance_id=f"u{number:02d}",
        text=f"Sentence number {number}.",
        voice="reference",
        error=TakeError(kind="timeout", message="no audio in 120 s"),
    )


def answer(
    number: int, candidate: int, baseline: int, *, rater: str = "owner", kind: RatingKind = "pair",
    channel: Channel = "full", comparison: int | None = None, note: str = "",
    side: Literal["A", "B"] | None = None,
) -> Answer:  # fmt: skip
    return Answer(
        rater=rater,
        trial_id=f"{kind}-{channel}-{number}",
        kind=kind,
        utterance_id=f"u{number:02d}",
        channel=channel,
        candidate=candidate,
        baseline=baseline,
        comparison=comparison,
        note=note,
        candidate_side=side or ("A" if number % 2 else "B"),
        answered_utc="2026-11-22T11:00:00Z",
    )


def scores(differences: Sequence[int]) -> list[tuple[int, int]]:
    """Return a candidate and a baseline score on 1-5 for each difference."""
    return [(5, 5 - d) if d > 0 else (5 + d, 5) for d in differences]


def ratings(
    differences: Sequence[int] | dict[str, Sequence[int]],
    *,
    pairs: int | None = None,
    state: Literal["invited", "started", "finished"] = "finished",
    extra: Sequence[Answer] = (),
    **changes: Any,
) -> Ratings:
    by_rater = differences if isinstance(differences, dict) else {"owner": differences}
    answers = [
        answer(number, c, b, rater=rater)
        for rater, row in by_rater.items()
        for number, (c, b) in enumerate(scores(row), start=1)
    ]
    values: dict[str, Any] = {
        "question": QUESTION,
        "question_sha256": sha256_bytes(QUESTION.encode()),
        "mapping_sha256": "f" * 64,
        "mapping_intact": True,
        "raters": dict.fromkeys(by_rater, state),
        "answers": [*answers, *extra],
        "pairs": pairs if pairs is not None else 10,
        "utterances": [f"u{number:02d}" for number in range(1, (pairs or 10) + 1)],
    }
    return Ratings.model_validate({**values, **changes})


def neighbour(**changes: Any) -> NeighbourRecord:
    values: dict[str, Any] = {
        "mode": "pause", "name": "llm", "url": None, "run_id": "r", "before": {"p50_ms": 100.0},
        "after": {"p50_ms": 104.0},
    }  # fmt: skip
    return NeighbourRecord.model_validate({**values, **changes})


def evidence(**changes: Any) -> Evidence:
    values: dict[str, Any] = {
        "manifest": manifest(),
        "install": InstallOutcome(ok=True, total_s=120.0, limit_s=3600.0),
        "preset": takes(),
        "candidate": takes(),
        "baseline": takes(ttfa_ms=420.0),
        "ratings": ratings([1] * 10),
        "memory": memory_report(),
        "neighbour": neighbour(),
    }
    return Evidence.model_validate({**values, **changes})
