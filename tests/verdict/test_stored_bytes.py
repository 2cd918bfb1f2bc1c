"""`verdict.json` of a run that everybody has rated, as Audition 0.1.0 wrote it before its parts were models."""

from collections.abc import Sequence
from pathlib import Path

from bench.records.listening import Answer
from bench.records.passes import VoiceCheck
from bench.records.verdict import Latency, RatingsResult, Verdict
from bench.verdict.rule import decide, verdict_bytes
from tests.support.made_evidence import answer, evidence, failed_take, manifest, neighbour, ratings, takes
from tests.support.records import pass_file

STORED = Path(__file__).with_name("revealed.json")
DIFFERENCES: dict[str, Sequence[int]] = {
    "ann": [1, 0, 2, 1, 0, 1, -1, 1, 1, 0],
    "bob": [1, 1, 0, 2, 0, 1, 1, -1, 1, 2],
}
FELT = {"values_ms": [1.0], "errors": 0, "p50_ms": 1.0, "p95_ms": 1.0}


def rated_by_two() -> list[Answer]:
    """What `ann` was asked beside the pairs that count."""
    return [
        answer(3, 5, 4, rater="ann", kind="repeat"),
        answer(5, 5, 4, rater="ann", kind="identical"),
        answer(7, 4, 5, rater="ann", kind="anchor"),
        *(answer(n, 3, 3 + n % 2, rater="ann", channel="narrowband") for n in range(1, 11)),
    ]


def test_every_byte_is_as_it_was() -> None:
    rated = ratings(DIFFERENCES, extra=rated_by_two())
    for row in rated.answers[:10]:
        row.comparison = max(-3, min(3, row.candidate - row.baseline))
    check = VoiceCheck(
        verdict="unclear", voice="v", unknown_voice=None, unknown_refused=None, evidence=["1.25 dB"]
    )
    found = decide(
        evidence(
            manifest=manifest(methodology_version=3),
            ratings=rated,
            neighbour=neighbour(felt=FELT, pauses=1, down_s=12.5),
            passes={"baseline": pass_file(voice_check=check)},
            preset=[*takes(9), failed_take(10)],
        )
    )
    assert verdict_bytes(found).decode() == STORED.read_text(encoding="utf-8")


def test_it_is_read_as_what_it_is() -> None:
    read = Verdict.model_validate_json(STORED.read_bytes())
    assert isinstance(read.ratings, RatingsResult)
    assert all(isinstance(latency, Latency) for latency in read.latency.values())
    assert verdict_bytes(read) == STORED.read_bytes()
