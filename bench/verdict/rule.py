"""The rule that was fixed beforehand, applied: evidence in, verdict out. Pure: no clock, no file, no chance.

Order of the questions, the first that has an answer decides:

1. Did a preflight gate refuse (licence, clone encoder withheld)? Keep the baseline.
2. Did the installation fail? Keep the baseline.
3. Is what was sealed as it was, and are the ratings of it? If not: BadInput, and no decision. (That rule and
   question are those committed to was seen to when the run was read.)
4. Are there fewer valid candidate takes than the rule's pairs? Keep the baseline (`synthesis_failed`).
5. Are there fewer utterances with a valid take on both sides? `awaiting_baseline`.
6. Has any rater not finished, or are there fewer raters than the rule asks for? `awaiting_ratings`.
7. Swap if both gates pass, rating margin and TTFA, and those that the rule file adds; else keep the baseline.
"""

import json
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

from bench.errors import BadInput, PhaseMissing
from bench.records.base import Channel, Decision, Reason
from bench.records.listening import Answer, Ratings
from bench.records.memory import MemoryFigures, MemoryReport
from bench.records.run import Manifest
from bench.records.take import Summary, Take, TakeSide, TimedPass
from bench.records.verdict import (
    Controls,
    Gate,
    ListeningTest,
    NextStep,
    Nothing,
    OtherChannel,
    Playability,
    RatingsResult,
    Verdict,
)
from bench.verdict.controls import count_controls, failed_controls, spell_controls
from bench.verdict.evidence import Evidence
from bench.verdict.machine import warn_of_machines
from bench.verdict.methods import check_method
from bench.verdict.neighbour import neighbour_summary
from bench.verdict.playability import Asked, asked_gates, playability_of, warn_of_playing
from bench.verdict.power import power_rows
from bench.verdict.second_question import describe_second
from bench.verdict.statistics import anchors, describe, identical_pairs, passes_margin, repeat_agreement
from bench.verdict.takes import Heard, Rateable, failures_of, hear, latency_of, named, rateable, valid_takes

REACHES_HZ: dict[Channel, int] = {"full": 24000, "wideband": 7000, "narrowband": 3400, "matched": 24000}
"""How far up each channel lets raters hear."""


def counted_answers(ratings: Ratings, manifest: Manifest) -> list[Answer]:
    """Return the answers that the rule counts: first answers to a pair, in the rule's channel."""
    return [a for a in ratings.answers if a.kind == "pair" and a.channel == manifest.rule.channel]


def unfinished_raters(ratings: Ratings, manifest: Manifest) -> list[str]:
    """Name the raters whose answers are still to come, in order. While somebody rates, nobody's are unsealed."""
    rating = sorted(name for name, state in ratings.raters.items() if state != "finished")
    if rating:
        return rating
    counts = Counter(answer.rater for answer in counted_answers(ratings, manifest))
    return sorted(name for name in ratings.raters if counts[name] < ratings.pairs)


def ratings_complete(evidence: Evidence) -> bool:
    """Whether every rater has finished, and as many as the rule asks for: what the reveal waits for."""
    ratings = evidence.ratings
    return (
        ratings is not None
        and len(ratings.raters) >= evidence.manifest.rule.minimum_raters
        and not unfinished_raters(ratings, evidence.manifest)
    )


def decide(evidence: Evidence) -> Verdict:
    """Apply the rule to what the run directory holds; the same evidence gives the same bytes.

    Raises:
        BadInput: the takes, mapping, clips or answers are not what was committed to.
        PhaseMissing: a phase has not been run and nothing before it decides.
    """
    check_method(evidence.manifest)
    _refuse_impossible_rule(evidence)
    run = _Case(evidence)
    if evidence.refused is not None:
        return run.keep(evidence.refused, _refused_sentence(evidence))
    if evidence.install is not None and not evidence.install.ok:
        run.gate("install", evidence.install.error or "failed", "ok", False)
        return run.keep("install_failed", f"{run.model} could not be installed")
    if evidence.install is not None:
        run.gate("install", "ok", "ok", True)

    if evidence.candidate is None and evidence.candidate_error is None:
        phase = "install" if evidence.install is None else "benchmark"
        raise PhaseMissing(
            f"Run {evidence.manifest.run_id} has no candidate takes; run the phase {phase} first: "
            f"{run.play(evidence.manifest.model, phase)}"
        )
    ratings = evidence.ratings
    if ratings is not None:
        _refuse_broken_seal(ratings, evidence)
    pairs = evidence.manifest.rule.pairs
    found = rateable(evidence.candidate, evidence.baseline, evidence.unusable, pairs)
    run.gate("valid_candidate_takes", len(found.spoken), pairs, len(found.spoken) >= pairs)
    if len(found.spoken) < pairs:
        return run.keep(
            "synthesis_failed", f"{run.model} gave {len(found.spoken)} valid takes where {pairs} are needed"
        )
    ttfa = run.latency_gate(revealed=ratings_complete(evidence))

    run.gate("valid_baseline_takes", len(found.paired), pairs, len(found.paired) >= pairs)
    if len(found.paired) < pairs:
        return run.await_baseline(found)
    if found.passed_over:
        run.warnings.append(
            f"{named(found.passed_over)} could not be rated, so the next sentences with a valid take on both sides "
            "were taken instead."
        )
    if ratings is None:
        why = f" (it failed: {evidence.score_error})" if evidence.score_error else ""
        raise PhaseMissing(
            f"Run {evidence.manifest.run_id} has no sealed pairs to rate{why}; run the phase score first: "
            f"{run.play(evidence.manifest.model, 'score')}"
        )
    _refuse_edited_ratings(ratings, evidence, found.rated)
    run.warnings += ratings.notices
    if not ratings_complete(evidence):
        return run.await_ratings(ratings, ttfa)
    return run.apply_rule(ratings, ttfa)


def verdict_bytes(verdict: Verdict) -> bytes:
    """Return the bytes that `Verdict.save` writes."""
    text = json.dumps(verdict.model_dump(mode="json"), indent=2, ensure_ascii=False, sort_keys=False)
    return text.encode() + b"\n"


def _refuse_impossible_rule(evidence: Evidence) -> None:
    manifest = evidence.manifest
    if manifest.utterances < manifest.rule.pairs:
        raise BadInput(
            f"The rule asks for {manifest.rule.pairs} pairs and run {manifest.run_id} has only "
            f"{manifest.utterances} utterances; start a new run with at least {manifest.rule.pairs}."
        )


def _refuse_broken_seal(ratings: Ratings, evidence: Evidence) -> None:
    if not ratings.mapping_intact:
        raise BadInput(
            f"The ratings of run {evidence.manifest.run_id} cannot be unsealed: what was sealed before the first one "
            f"is not as it was. {' '.join(ratings.notices)}"
        )


def _refuse_edited_ratings(ratings: Ratings, evidence: Evidence, rated: list[str]) -> None:
    manifest = evidence.manifest
    if ratings.question_sha256 != manifest.question_sha256:
        raise BadInput(
            f"The raters of run {manifest.run_id} were asked another question than the one committed to; "
            "start a new run with the question that is meant."
        )
    if ratings.pairs < manifest.rule.pairs:
        raise BadInput(
            f"The listening test of run {manifest.run_id} has {ratings.pairs} pairs and the rule needs "
            f"{manifest.rule.pairs}; start a new run."
        )
    if ratings.utterances != rated:
        raise BadInput(
            f"Run {manifest.run_id} has other sentences with valid takes than when its pairs were sealed "
            f"({named(sorted(set(ratings.utterances) ^ set(rated)))}); restore listening/unusable.json, or start a "
            "new run."
        )
    counted = counted_answers(ratings, manifest)
    strangers = sorted({answer.rater for answer in ratings.answers} - set(ratings.raters))
    unknown = sorted({answer.utterance_id for answer in counted} - set(rated))
    twice = sorted(key for key, n in Counter((a.rater, a.utterance_id) for a in counted).items() if n > 1)
    for found, what in ((strangers, "raters nobody invited"), (unknown, "sentences that were not sealed")):
        if found:
            raise BadInput(
                f"The ratings of run {manifest.run_id} name {what}: {', '.join(found)}. They belong to "
                "another run, or were edited; export them again."
            )
    if twice:
        rater, utterance = twice[0]
        raise BadInput(
            f"Rater {rater} has two answers to {utterance} in run {manifest.run_id}; the ratings were "
            "edited or imported twice. Export them again."
        )
    counts = Counter(answer.rater for answer in counted)
    if any(counts[name] > ratings.pairs for name in counts):
        raise BadInput(
            f"A rater of run {manifest.run_id} answered more than the {ratings.pairs} pairs asked for; "
            "the ratings were edited. Export them again."
        )


def _refused_sentence(evidence: Evidence) -> str:
    manifest = evidence.manifest
    if evidence.refused == "licence":
        why = f"{manifest.model}'s licence does not allow {manifest.intended_use} use"
    else:
        why = f"{manifest.model}'s clone encoder is withheld, so it cannot speak in a given voice"
    first = re.split(r"(?<=\.)\s+", evidence.refusal_detail)[0].rstrip(".")
    return f"{why} \u2013 {first}" if first else why


@dataclass
class _Case:
    """One run on its way to a verdict: the gates and warnings so far, and what all outcomes share."""

    evidence: Evidence
    gates: list[Gate] = field(default_factory=list)
    first_warnings: list[str] = field(default_factory=list)
    """Those on whether and how the candidate was heard; they stand before all others."""
    close_warnings: list[str] = field(default_factory=list)
    """Those on which the decision hangs: it may fall on the other side, or what it was made from is in doubt."""
    warnings: list[str] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    """Gates that the rule file adds."""

    def __post_init__(self) -> None:
        self.gates += self.evidence.preflight_gates
        self.warnings += self.evidence.preflight_warnings
        self.model = self.evidence.manifest.model
        self.baseline = self.evidence.manifest.inputs.baseline
        self.method = self.evidence.manifest.methodology_version
        self.heard: dict[TakeSide, Heard] = {
            "candidate": self.hear("candidate", self.evidence.candidate, self.evidence.manifest.utterances),
            "baseline": self.hear("baseline", self.evidence.baseline, 0),
        }

    def hear(self, side: TakeSide, takes: list[Take] | None, asked_for: int) -> Heard:
        if self.method < 4:
            return Heard(valid_takes(takes))
        unusable = [each for each in self.evidence.unusable if each.side == side]
        return hear(takes, unusable, asked_for=asked_for)

    def gate(self, name: str, value: float | str | None, limit: float | str | None, passed: bool) -> None:
        self.gates.append(Gate(name=name, value=value, limit=limit, passed=passed))

    def warn_closely(self, said: str) -> None:
        """Add a warning on which the decision hangs. Verdicts of earlier methods keep their order, as their bytes."""
        (self.close_warnings if self.method >= 4 else self.warnings).append(said)

    def play(self, model: str, *tags: str) -> str:
        words = ["ansible-playbook site.yml", f"-e model={model}"]
        if tags:
            words += [f"-e run_id={self.evidence.manifest.run_id}", f"--tags {','.join(tags)}"]
        return " ".join(words)

    def latency_gate(self, *, revealed: bool) -> Summary | None:
        """Add the TTFA gate and those that the rule file adds, and the warnings that belong to it.

        What the first audible sample would say tells of the leading silence, and stalls of the length, so these wait
        for the reveal.
        """
        rule, heard = self.evidence.manifest.rule, self.heard["candidate"]
        limit = rule.ttfa_p50_limit_ms
        ttfa = heard.figure("ttfa_ms", never_is_infinite=True)
        p50 = None if ttfa is None else ttfa.p50
        passed = p50 is not None and p50 <= limit
        self.gate("ttfa_p50_ms", p50, limit, passed)
        if ttfa is not None and p50 is None:
            self.warnings.append(
                "So many takes were never heard that their median TTFA is infinite; it is null and does not pass."
            )
        elif p50 is None:
            self.warnings.append(
                "TTFA could not be taken for every valid take, so its median is null and does not pass."
            )
        audible = heard.figure("ttfa_audible_ms", never_is_infinite=True)
        if revealed and p50 is not None and audible is not None and audible.p50 is not None:
            audible_passes = audible.p50 <= limit
            if audible_passes != passed:
                by_audible, by_rule = ("pass", "fails") if audible_passes else ("fail", "passes")
                (self.warnings if self.method < 4 else self.first_warnings).append(
                    f"By the first audible sample the TTFA gate would {by_audible}; by the first sample, "
                    f"which the rule names, it {by_rule}."
                )
        if ttfa is not None and ttfa.p50_low is not None:
            high = math.inf if ttfa.p50_high is None else ttfa.p50_high
            if ttfa.p50_low <= limit < high:
                self.warn_closely(
                    f"The TTFA limit of {limit:g} ms lies inside the 95% interval of the median "
                    f"({ttfa.p50_low:.1f} to {high:.1f} ms): a repeat may fall on the other side."
                )
        self.asked = list(asked_gates(rule, playability_of(heard)))
        for each in self.asked:
            shown = revealed or not each.of_sound
            self.gate(each.name, each.value if shown else None, each.limit, shown and each.passed)
        cold = sum(take.reference_cached is False for take in heard.takes)
        if cold:
            self.warnings.append(
                f"{cold} of the timed takes had to encode the reference first; their TTFA includes it."
            )
        return ttfa

    def following(self) -> list[str]:
        """Return the models of the chain that come after this one; none where all are judged side by side."""
        if self.evidence.manifest.inputs.together:
            return []
        chain = self.evidence.manifest.chain
        return chain[chain.index(self.model) + 1 :] if self.model in chain else []

    def keep(self, reason: Reason, why: str, ratings: RatingsResult | None = None) -> Verdict:
        """Keep the baseline: on to the chain's next model, or the survey is complete."""
        after = self.following()
        revealed = ratings is not None
        if after:
            return self.verdict(
                "keep_baseline_try_next",
                f"keep_{self.baseline}_try_{after[0]}",
                reason,
                f"Keep {self.baseline} and try {after[0]}: {why}.",
                NextStep(model=after[0], commands=[self.play(after[0])]),
                ratings=ratings,
                revealed=revealed,
            )
        over = (
            f" rather than {self.model}"
            if self.evidence.manifest.inputs.together
            else "; the survey is complete"
        )
        return self.verdict(
            "keep_baseline_survey_complete",
            f"keep_{self.baseline}_survey_complete",
            reason,
            f"Keep {self.baseline}{over}: {why}.{self.carried_on()}",
            NextStep(model=None, commands=[]),
            ratings=ratings,
            revealed=revealed,
        )

    def carried_on(self) -> str:
        """Say why the chain's earlier models were not taken; nothing where there is none."""
        reasons = [each.why for each in self.evidence.manifest.carried or []]
        return f" Before it: {'; '.join(reasons)}." if reasons else ""

    def await_baseline(self, found: Rateable) -> Verdict:
        if self.evidence.baseline is None:
            why = self.evidence.baseline_error or "its takes have not been made"
        else:
            paired = set(found.paired)
            why = f"no valid take of {named([name for name in found.spoken if name not in paired])}"
        command = self.play(self.model, "baseline", "score", "verdict")
        return self.verdict(
            "awaiting_baseline",
            "awaiting_baseline",
            None,
            f"No decision yet: {self.baseline} has to speak first ({why}).",
            NextStep(model=self.model, commands=[command]),
        )

    def await_ratings(self, ratings: Ratings, ttfa: Summary | None) -> Verdict:
        manifest = self.evidence.manifest
        rule = manifest.rule
        states = dict(ratings.raters)
        waiting = unfinished_raters(ratings, manifest)
        lacking = max(0, rule.minimum_raters - len(states))
        done = len(states) - len(waiting)
        self.rater_gate(done, max(rule.minimum_raters, len(states)))
        self.gate("rating_margin", None, rule.rating_margin_tenths / 10, False)
        early = [name for name in waiting if states[name] == "finished"]
        if early:
            self.warnings.append(
                f"{', '.join(early)} ended without rating every pair in the rule's channel ({rule.channel})."
            )
        parts = [f"{', '.join(waiting)} to finish rating"] if waiting else []
        if lacking:
            parts.append(f"{lacking} more {'rater' if lacking == 1 else 'raters'}")
        sentence = f"No decision yet: waiting for {' and '.join(parts)}."
        if ttfa is None or ttfa.p50 is None or ttfa.p50 > rule.ttfa_p50_limit_ms:
            sentence += " The TTFA gate has already failed."
        sentence += "".join(
            f" Beside it, {each}." for each in self.asked if not each.of_sound and not each.passed
        )
        return self.verdict(
            "awaiting_ratings",
            "awaiting_ratings",
            None,
            sentence,
            NextStep(
                model=self.model,
                commands=[f"audition rate {manifest.run_id}", f"audition verdict {manifest.run_id}"],
            ),
            ratings=self.test(ratings, max(rule.minimum_raters, len(states))),
        )

    def rater_gate(self, finished: int, asked: int) -> None:
        self.gate("raters_finished", finished, asked, finished >= asked)

    def test(self, ratings: Ratings, raters: int) -> ListeningTest:
        """The listening test as designed for so many raters, known before any answer."""
        manifest, tenths = self.evidence.manifest, self.evidence.manifest.rule.rating_margin_tenths
        return ListeningTest(
            question=manifest.question,
            question_sha256=manifest.question_sha256,
            channel=manifest.rule.channel,
            pairs=ratings.pairs,
            margin=tenths / 10,
            power=power_rows(pairs=ratings.pairs, raters=raters, margin_tenths=tenths, method=self.method),
            raters=dict(sorted(ratings.raters.items())),
            mapping_sha256=ratings.mapping_sha256,
        )

    def apply_rule(self, ratings: Ratings, ttfa: Summary | None) -> Verdict:
        manifest, rule = self.evidence.manifest, self.evidence.manifest.rule
        counted = counted_answers(ratings, manifest)
        differences = [a.candidate - a.baseline for a in counted]
        total, n = sum(differences), len(differences)
        margin_passed = passes_margin(differences, rule.rating_margin_tenths)
        asked = len(ratings.raters)
        self.rater_gate(asked, asked)
        self.gate("rating_margin", float(Fraction(total, n)), rule.rating_margin_tenths / 10, margin_passed)
        described = RatingsResult(
            **dict(self.test(ratings, asked)),
            **dict(describe(counted, method=self.method)),
            repeats=repeat_agreement(ratings.answers),
            identical=identical_pairs(ratings.answers),
            anchor=anchors(ratings.answers).model_copy(
                update={"hidden_reference": ratings.hidden_reference or None}
            ),
            other_channels=self.other_channels(ratings),
            second_question=describe_second(ratings.second_question, counted),
            sound=ratings.sound or None,
            noticed=ratings.noticed or None,
        )
        p50 = None if ttfa is None else ttfa.p50
        ttfa_passed = p50 is not None and p50 <= rule.ttfa_p50_limit_ms
        asked_passed = all(each.passed for each in self.asked)
        if self.method >= 4:
            described.controls = self.without_failed(ratings, counted, ttfa_passed and asked_passed)
        self.warn_of_ratings(described, margin_passed)
        if margin_passed and p50 is not None and not ttfa_passed and asked_passed:
            self.warn_of_profiles()
        mean = float(Fraction(total, n))
        above = f"{abs(mean):.3g} {'above' if mean > 0 else 'below'}" if mean else "level with"
        # A verdict of an earlier method keeps its words, for the same run gives the same bytes.
        found = (
            f"{mean:+.2f} on average over {n} ratings, "
            if self.method >= 4
            else f"{total:+d} points over {n} ratings; "
        )
        score = (
            f"its mean score is {above} {self.baseline}'s ({found}{rule.rating_margin_tenths / 10:+g} needed)"
        )
        speed = (
            f"its TTFA p50 is {'not known' if ttfa is None else 'infinite' if p50 is None else f'{p50:.1f} ms'} "
            f"(limit {rule.ttfa_p50_limit_ms:g} ms)"
        )
        if margin_passed and ttfa_passed and asked_passed:
            return self.verdict(
                "swap_candidate",
                f"swap_{self.baseline}_for_{self.model}",
                "rule",
                f"Swap {self.baseline} for {self.model}: {score} and {speed}.",
                NextStep(model=None, commands=[]),
                ratings=described,
                revealed=True,
            )
        failed = [text for text, ok in ((score, margin_passed), (speed, ttfa_passed)) if not ok]
        failed += [str(each) for each in self.asked if not each.passed]
        why = " and ".join(failed).removeprefix("its ")
        return self.keep("rule", f"{self.model}'s {why}", ratings=described)

    def other_channels(self, ratings: Ratings) -> dict[Channel, OtherChannel]:
        """The same pairs heard through other channels: reported, outside the rule."""
        result: dict[Channel, OtherChannel] = {}
        for channel in sorted({a.channel for a in ratings.answers} - {self.evidence.manifest.rule.channel}):
            rows = [a for a in ratings.answers if a.kind == "pair" and a.channel == channel]
            if rows:
                total = sum(a.candidate - a.baseline for a in rows)
                result[channel] = OtherChannel(n=len(rows), mean_difference=float(Fraction(total, len(rows))))
        return result

    def without_failed(self, ratings: Ratings, counted: list[Answer], others_passed: bool) -> Controls:
        """Return what the verdict would be without raters who failed a control."""
        rule, failed = self.evidence.manifest.rule, failed_controls(ratings.answers)
        left = [a.candidate - a.baseline for a in counted if a.rater not in failed]
        decision: Decision = "keep_baseline_try_next" if self.following() else "keep_baseline_survey_complete"
        if len(ratings.raters) - len(failed) < rule.minimum_raters:
            decision = "awaiting_ratings"
        elif others_passed and passes_margin(left, rule.rating_margin_tenths):
            decision = "swap_candidate"
        return Controls(
            asked=count_controls(ratings.answers),
            failed=failed,
            n=len(left),
            sum_of_differences=sum(left),
            mean_difference=float(Fraction(sum(left), len(left))) if left else None,
            decision=decision,
        )

    def warn_of_earlier_runs(self, test: ListeningTest | None) -> None:
        """Name the decided runs of the same inputs: the best of several passes more often than one."""
        earlier = self.evidence.manifest.earlier_runs or []
        if not earlier:
            return
        listed = ", ".join(f"{each.run_id} ({each.decision})" for each in earlier)
        said = f"The same inputs had been decided before this run began: {listed}."
        rated = 1 + sum(each.reason == "rule" for each in earlier)
        if test is not None and test.power and rated > 1:
            one = test.power[-1].passes_at_gap["0"]
            said += (
                f" Of a candidate that is no better, one such test passes in {one:.1%} and the best of {rated}, each "
                f"with raters of its own, in {1 - (1 - one) ** rated:.1%}."
            )
        self.first_warnings.append(said)

    def warn_of_profiles(self) -> None:
        """Name the other profiles of a candidate that was liked and came too late: each is a run of its own."""
        manifest = self.evidence.manifest
        others = [name for name in manifest.entry.get("profiles", {}) if name != manifest.profile]
        if others:
            self.warnings.append(
                f"Raters put {self.model} ahead and only the TTFA gate failed, in its profile {manifest.profile}. Its "
                f"entry also has {', '.join(others)}; each sounds and takes its time in its own way, so it needs a run "
                f"and ratings of its own: {self.play(self.model)} -e profile=NAME"
            )

    def warn_of_ratings(self, described: RatingsResult, margin_passed: bool) -> None:
        if described.controls is not None and described.controls.failed:
            self.warn_closely(spell_controls(described.controls))
        low, high = described.interval_95
        margin = described.margin
        if low < margin <= high:
            self.warn_closely(
                f"The margin of {margin:g} lies inside the 95% interval of the mean difference "
                f"({low:+.2f} to {high:+.2f}): another set of sentences may fall on the other side."
            )
        identical = described.identical
        if identical.trials > identical.scored_equal:
            self.warnings.append(
                f"{identical.trials - identical.scored_equal} of {identical.trials} identical pairs "
                "were scored as different; the rating noise is at least that large."
            )
        anchor = described.anchor
        if anchor.trials > anchor.reference_higher:
            what, why = (
                ("The hidden reference", "was the speaker recognised?")
                if anchor.hidden_reference
                else ("In the attention check the reference itself", "was attention paid?")
            )
            self.warnings.append(
                f"{what} was scored no higher than the take beside it in "
                f"{anchor.trials - anchor.reference_higher} of {anchor.trials} trials: {why}"
            )
        self.warn_of_bandwidth(described)
        for channel, other in described.other_channels.items():
            rows = [
                a.candidate - a.baseline
                for a in (self.evidence.ratings.answers if self.evidence.ratings else [])
                if a.kind == "pair" and a.channel == channel
            ]
            if passes_margin(rows, self.evidence.manifest.rule.rating_margin_tenths) != margin_passed:
                self.warn_closely(
                    f"Through the {channel} channel the rating gate would say otherwise "
                    f"({other.mean_difference:+.2f} over {other.n} ratings)."
                )

    def warn_of_bandwidth(self, described: RatingsResult) -> None:
        """Say where raters could hear that one side's engine reaches higher than the other's."""
        heard_hz = [
            min(each.bandwidth_hz, REACHES_HZ[described.channel]) for each in (described.sound or {}).values()
        ]
        if heard_hz and min(heard_hz) < 0.9 * max(heard_hz):
            names = {"candidate": self.model, "baseline": self.baseline}
            told = " and ".join(
                f"{names[side]} (at {each.rate_hz / 1000:g} kHz) to {each.bandwidth_hz / 1000:.1f} kHz"
                for side, each in (described.sound or {}).items()
            )
            self.warnings.append(
                f"The engines reach up to where they can be told apart by their treble: {told}. It belongs to what was "
                "rated; through the channel `matched` both reach as far as the lower."
            )

    def note_lent(self) -> None:
        """Say where the baseline spoke in another run."""
        made = self.evidence.passes.get("baseline")
        if made is not None and made.lent_by is not None:
            self.warnings.append(
                f"{self.baseline} spoke in {made.lent_by}; its takes were used again, since nobody had heard them."
            )

    def warn_of_voices(self) -> None:
        """Say where a server was not shown to speak in the voice it was asked for; that is of its sound."""
        for side, record in self.evidence.passes.items():
            check = record.voice_check
            if check is not None and check.verdict not in ("honoured", "one_voice"):
                name = self.model if side == "candidate" else self.baseline
                self.warn_closely(
                    f"It was not shown that {name} speaks in the voice asked for ({check.verdict}): "
                    f"{'; '.join(check.evidence)}."
                )

    def verdict(
        self,
        decision: Decision,
        label: str,
        reason: Reason | None,
        sentence: str,
        then: NextStep,
        *,
        ratings: ListeningTest | None = None,
        revealed: bool = False,
    ) -> Verdict:
        evidence = self.evidence
        sides: dict[TimedPass, list[Take] | None] = {
            "candidate": evidence.candidate,
            "baseline": evidence.baseline,
            "preset": evidence.preset,
        }
        errors = {"candidate": evidence.candidate_error, "baseline": evidence.baseline_error}
        counts_all = self.method >= 4
        failures = {
            side: failures_of(
                takes,
                errors.get(side),
                [each for each in evidence.unusable if each.side == side],
                asked_for=evidence.manifest.utterances if counts_all and side == "candidate" else None,
            )
            for side, takes in sides.items()
        }
        how_heard: list[str] = []
        for side, found in failures.items():
            if found is None:
                continue
            failed = how_heard if counts_all and side == "candidate" else self.warnings
            if names := [each.utterance_id for each in found.failed]:
                failed.append(f"{len(names)} of {found.made} {side} takes failed: {named(names)}.")
            if found.never_made:
                failed.append(
                    f"{found.never_made} of {evidence.manifest.utterances} {side} takes were never made "
                    f"({found.pass_error or 'the pass ended early'}); they count as failed."
                )
            if names := [each.utterance_id for each in found.noted]:
                self.warnings.append(
                    f"{len(names)} of {found.made} {side} takes were made at a second attempt: {named(names)}."
                )
        playability: dict[TakeSide, Playability] | None = {} if counts_all else None
        if counts_all and revealed:
            playability = {
                side: playability_of(heard) for side, heard in self.heard.items() if sides[side] is not None
            }
            how_heard += warn_of_playing(self.model, playability["candidate"])
        self.warn_of_earlier_runs(ratings)
        called: dict[TakeSide, str] = {"candidate": self.model, "baseline": self.baseline}
        self.warnings += warn_of_machines(evidence.passes, called, evidence.manifest.neighbour_mode)
        self.note_lent()
        if revealed:
            self.warn_of_voices()
        neighbour, drift = neighbour_summary(evidence.neighbour)
        return Verdict(
            run_id=evidence.manifest.run_id,
            model=self.model,
            baseline=self.baseline,
            decision=decision,
            label=label,
            reason=reason,
            sentence=sentence,
            gates=self.gates,
            ratings=ratings or Nothing(),
            latency={
                side: latency_of(
                    self.heard[side] if side != "preset" else Heard(valid_takes(takes)), revealed=revealed
                )
                for side, takes in sides.items()
                if takes is not None and (revealed or side == "candidate")
            },
            memory=_memory_of(evidence.memory, decided=reason is not None),
            neighbour=neighbour,
            failures=failures,
            playability=playability,
            carried=evidence.manifest.carried or None,
            warnings=[*how_heard, *self.first_warnings, *self.close_warnings, *self.warnings, *drift],
            next=then,
            methodology_version=self.method,
        )


def _memory_of(report: MemoryReport | None, *, decided: bool) -> MemoryFigures | Nothing:
    """Return the figures of memory, but the series; while a decision is awaited without the passes' windows: how long
    a side's speech is together tells whose clips are whose."""
    if report is None:
        return Nothing()
    figures = MemoryFigures(**{name: getattr(report, name) for name in MemoryFigures.model_fields})
    return figures if decided else figures.model_copy(update={"windows": []})
