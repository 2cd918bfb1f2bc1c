"""All that a report shows, gathered once, so that the page, the Markdown and the JSON say the same.

The blindness contract: until every rater has finished, a view holds no clip and no figure from which the
sound of one side could be known (length, loudness, pitch, total time, first audible sample; memory over time,
which shows where each take began and ended). What is shown of
latency is what the verdict shows: see `bench.verdict.takes.latency_of`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.records import SCHEMA_VERSION, Record, Take, Verdict
from bench.report.clips import MAILABLE_BYTES, Clip, Clips, embed
from bench.verdict.evidence import Evidence
from bench.verdict.rule import counted_answers, ratings_complete
from bench.verdict.takes import valid_takes


class Side(Record):
    """One of the two models."""

    name: str
    title: str
    version: str | None
    licences: list[str]
    notices: list[str]


class Note(Record):
    """What a rater wrote beside a pair."""

    rater: str
    text: str


class Pair(Record):
    """One sentence: its text always; scores, notes and clips once revealed."""

    utterance_id: str
    text: str
    candidate_score: float | None = None
    baseline_score: float | None = None
    notes: list[Note] = []
    clips: list[Clip] = []


class ReportView(Record):
    """`report.json`: everything a report shows, in plain values."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    host: str
    created_utc: str
    candidate: Side
    baseline: Side
    profile: str
    neighbour_mode: str
    intended_use: str
    question: str
    revealed: bool
    verdict: Verdict
    pairs: list[Pair]
    may_publish_clips: bool
    """False: the reference's rights do not let clips in this voice leave the machine."""
    clip_encoding: str | None
    clip_bytes: int
    memory_series: dict[str, list[float | None]]
    neighbour_samples: dict[str, list[float]]
    metrics: dict[str, Any] | None
    """The objective metrics as recorded; null until revealed."""
    reference: dict[str, str]
    commitments: dict[str, str]
    versions: dict[str, str]
    git_commit: str | None
    install_s: float | None


def build(
    run_dir: Path,
    verdict: Verdict,
    evidence: Evidence,
    revealed: bool,
    *,
    with_clips: bool = True,
    limit_bytes: int = MAILABLE_BYTES,
) -> ReportView:
    """Gather a report.

    Args:
        run_dir: where the takes are.
        verdict: what `bench.verdict.rule.decide` said of `evidence`.
        evidence: what the verdict was made from.
        revealed: false keeps the report silent although all have rated; true cannot reveal before that.
        with_clips: false leaves the sound out, for a report to be sent where the rights keep clips at home.
        limit_bytes: room for all clips together, base64 included.
    """
    manifest = evidence.manifest
    revealed = revealed and ratings_complete(evidence)
    pairs = _pairs(evidence, revealed)
    clips = Clips(clips=[], encoding=None, embedded_bytes=0)
    if revealed and with_clips:
        clips = embed(run_dir, _takes_of_pairs(evidence, pairs), limit_bytes)
        by_utterance: dict[str, list[Clip]] = defaultdict(list)
        for clip in clips.clips:
            by_utterance[clip.utterance_id].append(clip)
        for pair in pairs:
            pair.clips = by_utterance[pair.utterance_id]
    return ReportView(
        run_id=manifest.run_id,
        host=manifest.host,
        created_utc=manifest.created_utc,
        candidate=_side(manifest.model, manifest.entry, manifest.versions),
        baseline=_side(manifest.inputs.baseline, manifest.baseline_entry, {}),
        profile=manifest.profile,
        neighbour_mode=manifest.neighbour_mode,
        intended_use=manifest.intended_use,
        question=manifest.question,
        revealed=revealed,
        verdict=verdict,
        pairs=pairs,
        may_publish_clips=_may_publish(manifest.reference),
        clip_encoding=clips.encoding,
        clip_bytes=clips.embedded_bytes,
        memory_series=_series(evidence.memory) if revealed else {},
        neighbour_samples=_samples(evidence.neighbour),
        metrics=evidence.metrics if revealed else None,
        reference=_reference(manifest.reference),
        commitments={
            "Rule": manifest.rule_sha256,
            "Question": manifest.question_sha256,
            "Inputs": manifest.inputs_sha256,
            "Reference": manifest.inputs.reference_sha256,
            "Utterances": manifest.inputs.utterances_sha256,
            **({"Sealed mapping": evidence.ratings.mapping_sha256} if evidence.ratings else {}),
        },
        versions=dict(sorted(manifest.versions.items())),
        git_commit=manifest.git_commit,
        install_s=evidence.install.total_s if evidence.install else None,
    )


def _pairs(evidence: Evidence, revealed: bool) -> list[Pair]:
    texts: dict[str, str] = {}
    for take in valid_takes(evidence.candidate):
        texts.setdefault(take.utterance_id, take.text)
    answers = counted_answers(evidence.ratings, evidence.manifest) if revealed and evidence.ratings else []
    scores: dict[str, dict[str, list[int]]] = defaultdict(lambda: {"candidate": [], "baseline": []})
    notes: dict[str, list[Note]] = defaultdict(list)
    for answer in sorted(answers, key=lambda a: (a.rater, a.utterance_id)):
        scores[answer.utterance_id]["candidate"].append(answer.candidate)
        scores[answer.utterance_id]["baseline"].append(answer.baseline)
        if answer.note.strip():
            notes[answer.utterance_id].append(Note(rater=answer.rater, text=answer.note.strip()))
    return [
        Pair(
            utterance_id=name,
            text=text,
            candidate_score=_mean(scores[name]["candidate"]),
            baseline_score=_mean(scores[name]["baseline"]),
            notes=notes[name],
        )
        for name, text in texts.items()
    ]


def _mean(values: Sequence[int]) -> float | None:
    return sum(values) / len(values) if values else None


def _takes_of_pairs(evidence: Evidence, pairs: Sequence[Pair]) -> list[tuple[str, Take]]:
    """Candidate then baseline of each pair, in the order of the sentences."""
    sides = {
        side: {take.utterance_id: take for take in reversed(valid_takes(takes))}
        for side, takes in (("candidate", evidence.candidate), ("baseline", evidence.baseline))
    }
    return [
        (side, sides[side][pair.utterance_id])
        for pair in pairs
        for side in ("candidate", "baseline")
        if pair.utterance_id in sides[side]
    ]


def _side(name: str, entry: Mapping[str, Any], versions: Mapping[str, str]) -> Side:
    licences, notices = [], []
    stated = entry.get("licences")
    for part in ("code", "weights"):
        licence = stated.get(part) if isinstance(stated, dict) else None
        if isinstance(licence, dict):
            licences.append(f"{part}: {licence.get('spdx')} ({licence.get('source')})")
            if licence.get("notice"):
                notices.append(str(licence["notice"]))
    version = entry.get("version")
    package = version.get("package") if isinstance(version, dict) else None
    pin = version.get("pin") if isinstance(version, dict) else None
    ran = pin or versions.get(str(package))
    return Side(
        name=name,
        title=str(entry.get("title") or name),
        version=f"{package} {ran}" if package and ran else None,
        licences=licences,
        notices=notices,
    )


def _series(memory: Mapping[str, Any] | None) -> dict[str, list[float | None]]:
    series = (memory or {}).get("series")
    if not isinstance(series, dict) or not series.get("t_s"):
        return {}
    length = len(series["t_s"])
    return {
        name: values for name, values in series.items() if isinstance(values, list) and len(values) == length
    }


def _samples(neighbour: Mapping[str, Any] | None) -> dict[str, list[float]]:
    """Every sample of the last measurement before and after, milliseconds."""
    found: dict[str, list[float]] = {}
    for when in ("before", "after"):
        part = (neighbour or {}).get(when)
        measured = part.get("latency") if isinstance(part, dict) else None
        total = measured[-1].get("total_ms") if isinstance(measured, list) and measured else None
        values = total.get("values") if isinstance(total, dict) else None
        if isinstance(values, list) and values:
            found[when] = [float(value) for value in values]
    return found


def _reference(reference: Mapping[str, Any]) -> dict[str, str]:
    """What is said of the reference: never its sound, which belongs to a person."""
    stated = _rights(reference)
    chosen = reference.get("reference")
    said = {
        "Speaker": stated.get("speaker"),
        "Source": stated.get("source"),
        "Licence": stated.get("licence"),
        "Transcript": chosen.get("text") if isinstance(chosen, dict) else None,
    }
    return {name: str(value) for name, value in said.items() if value}


def _may_publish(reference: Mapping[str, Any]) -> bool:
    return _rights(reference).get("may_publish_clips") is True


def _rights(reference: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the rights statement as the manifest keeps it, or nothing."""
    given = reference.get("given")
    rights = given.get("rights") if isinstance(given, dict) else None
    return rights if isinstance(rights, dict) else {}
