"""All that a report shows, gathered once, so that the page, the Markdown and the JSON say the same.

The blindness contract: until every rater has finished, a view holds no clip and no figure from which the
sound of one side could be known (length, loudness, pitch, total time, first audible sample; memory over time,
which shows where each take began and ended). What is shown of
latency is what the verdict shows: see `bench.verdict.takes.latency_of`. Alarms about the client or a server are shown,
and name no side.
"""

import datetime
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from bench.errors import AuditionError
from bench.records.base import SCHEMA_VERSION, Record
from bench.records.machine import MachineState
from bench.records.memory import MemoryReport
from bench.records.metrics import MetricsComparison
from bench.records.neighbour import NeighbourRecord, OutagePart
from bench.records.passes import VoiceCheck
from bench.records.run import Phases, Preflight
from bench.records.take import Summary, Take, TakeSide
from bench.records.verdict import Verdict
from bench.report.clips import MAILABLE_BYTES, Clip, Clips, embed, embed_reference
from bench.report.objective import spell_alarms, spell_pass_alarms, spell_unnamed_alarms
from bench.storage.record_file import load_record
from bench.verdict.evidence import Evidence
from bench.verdict.rule import counted_answers, ratings_complete
from bench.verdict.takes import rateable, valid_takes


class Side(Record):
    """One of the two models."""

    name: str
    title: str
    version: str | None
    """Package and pinned version."""
    asked: str | None
    """The version that was asked for, where it is not the pinned one; `reason` says why."""
    reason: str | None
    ran: str | None
    """As the engine read it back."""
    kernels: dict[str, str] = {}
    """By part of the network, what it ran on, as the engine read it back; none where it says nothing of it."""
    licences: list[str]
    notices: list[str]
    proved: list[str] = []
    """What had been run of the model before, as its entry said; none where that was nothing."""


class Measured(Record):
    """From where a side was measured, over which network, and whether it spoke in the voice asked for."""

    side: Literal["candidate", "baseline"]
    host: str
    """Of the stopwatch."""
    remote: bool
    """A server that was there already; false for an engine that the job started on that host."""
    server: str | None
    """Its address as the stopwatch's host saw it."""
    connect_ms: float | None
    """Median, as `round_trip_ms`; null where it could not be taken."""
    round_trip_ms: float | None
    voice: str | None
    """What the voice check found; null until revealed."""


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


class PhaseShown(Record):
    """How a phase of the run ended."""

    name: str
    status: str
    seconds: float | None
    ended_utc: str | None


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
    neighbour_outage: list[OutagePart]
    """Of all pauses together, from the word to stop until it was ready again, the longest reason first; empty where
    nobody can tell, and until revealed: it says how long a side spoke."""
    measured: list[Measured]
    machine: dict[TakeSide, MachineState]
    """What else the stopwatch's machine did while a side spoke; of passes that looked."""
    metrics: MetricsComparison | None
    """The comparison of the objective metrics; null until revealed."""
    alarms: list[str]
    """What is to be listened to; until revealed only what is wrong with the client or a server, no side named."""
    reference: dict[str, str]
    commitments: dict[str, str]
    versions: dict[str, str]
    git_commit: str | None
    install_s: float | None
    """Null for a model that somebody else serves: nothing of it was installed."""
    hardware: dict[str, str] = {}
    """What preflight found of the host, in words."""
    phases: list[PhaseShown] = []
    reference_clip: Clip | None = None
    """The reference as a sound: in the run's own report alone, never in one that is published or shared."""

    def side(self, name: TakeSide) -> Side:
        """Return one of the two models."""
        return self.candidate if name == "candidate" else self.baseline

    def figures(self, name: str) -> list[tuple[TakeSide, Summary]]:
        """Return one figure of latency by side, as far as it may be shown."""
        sides: tuple[TakeSide, ...] = ("candidate", "baseline") if self.revealed else ("candidate",)
        latency = self.verdict.latency
        return [(side, found) for side in sides if side in latency and (found := latency[side].figure(name))]


def build(
    run_dir: Path,
    verdict: Verdict,
    evidence: Evidence,
    revealed: bool,
    *,
    with_clips: bool = True,
    with_reference: bool = False,
    limit_bytes: int = MAILABLE_BYTES,
) -> ReportView:
    """Gather a report.

    Args:
        run_dir: where the takes are.
        verdict: what `bench.verdict.rule.decide` said of `evidence`.
        evidence: what the verdict was made from.
        revealed: false keeps the report silent although all have rated; true cannot reveal before that.
        with_clips: false leaves the sound out, for a report to be sent where the rights keep clips at home.
        with_reference: also the reference itself, somebody's own voice: for the report that stays in the run directory.
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
        candidate=_side(
            manifest.model,
            manifest.entry,
            _read_back(evidence, "candidate"),
            _kernels(evidence, "candidate"),
        ),
        baseline=_side(
            manifest.inputs.baseline,
            manifest.baseline_entry,
            _read_back(evidence, "baseline"),
            _kernels(evidence, "baseline"),
        ),
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
        neighbour_outage=_outage(evidence.neighbour) if revealed else [],
        measured=_measured(evidence, revealed),
        machine={side: found.machine for side, found in evidence.passes.items() if found.machine is not None},
        metrics=evidence.metrics if revealed else None,
        alarms=_alarms(evidence, verdict, revealed),
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
        install_s=_install_s(evidence),
        hardware=_hardware(run_dir),
        phases=_phases(run_dir, revealed),
        reference_clip=embed_reference(run_dir / "reference" / "reference.wav")
        if revealed and with_clips and with_reference
        else None,
    )


def _hardware(run_dir: Path) -> dict[str, str]:
    """Say what preflight found of the host; nothing where it has no record."""
    try:
        facts = load_record(Preflight, run_dir).host
    except (FileNotFoundError, AuditionError):
        return {}
    gpu = facts.get("gpu") or {}
    memory = facts.get("mem_total_bytes")
    said = {
        "Machine": ", ".join(
            str(facts[name]) for name in ("hostname", "machine", "kernel") if facts.get(name)
        ),
        "Processors": facts.get("cpus"),
        "Main memory": f"{memory / 2**30:.0f} GiB" if isinstance(memory, int | float) else None,
        "GPU": ", ".join(map(str, gpu.get("names") or [])),
        "GPU driver": gpu.get("driver"),
        "Python of the host": facts.get("python"),
    }
    return {name: str(value) for name, value in said.items() if value}


def _phases(run_dir: Path, revealed: bool) -> list[PhaseShown]:
    try:
        found = load_record(Phases, run_dir).phases
    except (FileNotFoundError, AuditionError):
        return []
    # How long it took to make takes says how long they are, which nobody may know who still rates.
    # The phases from verdict on write what is shown here; were they in it, a second verdict would differ.
    return [
        PhaseShown(
            name=name,
            status=state.status,
            seconds=_between(state.started_utc, state.ended_utc)
            if revealed or name not in ("benchmark", "baseline")
            else None,
            ended_utc=(state.ended_utc or None) if revealed else None,
        )
        for name, state in found.items()
        if name not in ("verdict", "publish")
    ]


def _between(begin: str, end: str) -> float | None:
    try:
        passed = datetime.datetime.fromisoformat(end) - datetime.datetime.fromisoformat(begin)
    except ValueError:
        return None
    return passed.total_seconds()


def _alarms(evidence: Evidence, verdict: Verdict, revealed: bool) -> list[str]:
    if not revealed:
        return spell_unnamed_alarms(evidence.metrics, evidence.passes)
    names: dict[TakeSide, str] = {
        "candidate": evidence.manifest.model, "baseline": evidence.manifest.inputs.baseline,
    }  # fmt: skip
    valid = {side: found.valid for side, found in verdict.failures.items() if found}
    return spell_pass_alarms(evidence.passes, names) + spell_alarms(evidence.metrics, names, valid)


def _pairs(evidence: Evidence, revealed: bool) -> list[Pair]:
    """The sentences that are rated; of a pass of 10,000 they are the first ten, and the others are figures."""
    chosen = rateable(
        evidence.candidate, evidence.baseline, evidence.unusable, evidence.manifest.rule.pairs
    ).rated
    said = {take.utterance_id: take.text for take in valid_takes(evidence.candidate)}
    texts = {name: said[name] for name in chosen}
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


def _install_s(evidence: Evidence) -> float | None:
    """Return how long the installation took, or None where somebody else serves the model."""
    installed = evidence.install
    return None if installed is None or installed.asked.get("install") == "http" else installed.total_s


def _read_back(evidence: Evidence, side: TakeSide) -> str | None:
    """Return the version that the engine itself named: in its pass, else in its smoke sentence."""
    said = evidence.passes[side].health.get("revision") if side in evidence.passes else None
    if said is None and side == "candidate" and evidence.install is not None:
        said = evidence.install.ran.get("version")
    return None if said is None else str(said)


def _kernels(evidence: Evidence, side: TakeSide) -> dict[str, str]:
    """Return which kernels the engine said in its pass that it runs."""
    settings = evidence.passes[side].health.get("profile") if side in evidence.passes else None
    said = settings.get("kernels") if isinstance(settings, dict) else None
    return {str(part): str(ran) for part, ran in said.items()} if isinstance(said, dict) else {}


def _measured(evidence: Evidence, revealed: bool) -> list[Measured]:
    found: list[Measured] = []
    for side, record in evidence.passes.items():
        if record.result is None:
            continue
        network = record.network if record.engine_start_s is None else None
        found.append(
            Measured(
                side=side,
                host=record.result.measured_from,
                remote=network is not None,
                server=("itself" if network.loopback else network.remote_address) if network else None,
                connect_ms=_median(network.connect_ms) if network else None,
                round_trip_ms=_median(network.round_trip_ms) if network else None,
                voice=_voice(record.voice_check, network is not None) if revealed else None,
            )
        )
    return found


def _median(summary: Summary | None) -> float | None:
    return summary.p50 if summary else None


def _voice(check: VoiceCheck | None, remote: bool) -> str:
    if check is not None:
        found = f"{check.verdict.replace('_', ' ')}: {'; '.join(check.evidence)}".rstrip(": ")
        return f"{found}; let pass on this word: “{check.accepted}”" if check.accepted else found
    return "asked for by a name that the server has" if remote else "given the reference itself"


def _side(name: str, entry: Mapping[str, Any], ran: str | None, kernels: dict[str, str]) -> Side:
    licences, notices = [], []
    of_parts = entry.get("licences")
    for part in ("code", "weights"):
        licence = of_parts.get(part) if isinstance(of_parts, dict) else None
        if isinstance(licence, dict):
            licences.append(f"{part}: {licence.get('spdx')} ({licence.get('source')})")
            if licence.get("notice"):
                notices.append(str(licence["notice"]))
    version = entry.get("version")
    stated: Mapping[str, Any] = version if isinstance(version, dict) else {}
    package, pin = stated.get("package"), stated.get("pin")
    asked = stated.get("asked") if stated.get("asked") != pin else None
    return Side(
        name=name,
        title=str(entry.get("title") or name),
        version=f"{package} {pin}" if package and pin else None,
        asked=asked,
        reason=(stated.get("reason") or None) if asked else None,
        ran=ran,
        kernels=kernels,
        licences=licences,
        notices=notices,
        proved=_proofs(entry.get("proved")),
    )


def _proofs(stated: object) -> list[str]:
    """Return what a catalog entry says was run before."""
    listed = stated if isinstance(stated, list) else []
    return [f"{each.get('what')}, on {each.get('where')}, {each.get('when')}" for each in listed]


def _series(memory: MemoryReport | None) -> dict[str, list[float | None]]:
    return memory.series.model_dump() if memory is not None and memory.series.t_s else {}


def _samples(neighbour: NeighbourRecord | None) -> dict[str, list[float]]:
    """Every sample of the last measurement before and after, milliseconds."""
    moments = {"before": neighbour.before, "after": neighbour.after} if neighbour else {}
    return {
        when: moment.latency[-1].total_ms.values
        for when, moment in moments.items()
        if moment.latency and moment.latency[-1].total_ms.values
    }


def _outage(neighbour: NeighbourRecord | None) -> list[OutagePart]:
    found: defaultdict[str, float] = defaultdict(float)
    for lease in neighbour.leases if neighbour else []:
        for part in lease.outage or []:
            found[part.reason] += part.seconds
    parts = [OutagePart(reason=reason, seconds=round(seconds, 3)) for reason, seconds in found.items()]
    return sorted(parts, key=lambda part: -part.seconds)


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
