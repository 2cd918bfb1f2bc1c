"""Unsealing: from answers about A and B to scores of the candidate and the baseline.

Nothing is unsealed to anybody before all who were invited have finished. Whoever knew the first rater's scores could
invite more until they like the mean, or take off who is still to come; and a rater who is half way through would find
their own sides in a report, and rate the rest knowing them.
"""

import csv
import hmac
import io
import json
from pathlib import Path
from typing import Any, Literal

from bench.errors import BadInput
from bench.listening import mapping
from bench.listening.book import Book, Given, Rater, check_name
from bench.listening.mapping import SealBroken, plan_of, read_report, sign
from bench.listening.sitting import is_over, read_seal
from bench.listening.trials import Trial
from bench.records.listening import Answer, Export, RaterPlan, Ratings, Sealed, Sound
from bench.records.run import Manifest
from bench.records.take import TakeSide
from bench.storage.atomic import write_atomically
from bench.storage.digests import canonical_json, sha256_bytes
from bench.storage.record_file import load_record


def read_ratings(run_dir: Path) -> Ratings:
    """Return what the verdict needs. Nobody rated: no answers, never an error.

    `mapping_intact` is false, there are no answers and `notices` says why, when the mapping, its published hash, a
    clip, the takes, the reference or the record of who saw which hash is not as it was sealed. There are answers once
    all raters have finished; `raters` names all.

    Raises:
        FileNotFoundError: nothing is sealed, so there is nothing to rate yet.
        SealBroken: the question or the rule in the manifest is not the one that people rated under.
        NotSaved: the ratings' database cannot be opened.
    """
    manifest = load_record(Manifest, run_dir)
    digest = mapping.read_published(run_dir)
    left_over = mapping.find_unpublished(run_dir)
    if digest is None and left_over is None:
        raise FileNotFoundError(f"{run_dir} has no sealed pairs yet")
    out = Ratings(
        question=manifest.question,
        question_sha256=manifest.question_sha256,
        mapping_sha256=digest or "",
        mapping_intact=False,
        raters={},
        answers=[],
        pairs=manifest.rule.pairs,
        notices=[left_over] if left_over else [],
    )
    if left_over is not None:
        return out
    try:
        book = Book(run_dir)
    except SealBroken as error:
        return out.model_copy(update={"notices": [str(error)]})
    try:
        _check_question(book.sealed, manifest)
        who: dict[str, Literal["invited", "started", "finished"]] = {
            rater.name: rater.status for rater in book.raters.values()
        }
        who |= dict.fromkeys(book.imported, "finished")
        answers: list[Answer] = []
        over = book.all_finished and is_over(run_dir)  # a sitting ends for all of its runs at once
        if book.all_finished and not over:  # a stop came between two of them
            who = dict.fromkeys(who, "started")
        if over:
            answers += [answer for rater in book.raters.values() for answer in unseal(rater)]
            answers += [answer for of_rater in book.imported.values() for answer in of_rater]
        return out.model_copy(
            update={
                "mapping_intact": True,
                "raters": who,
                "answers": answers,
                "utterances": book.sealed.utterances,
                "notices": _notices(book),
                "second_question": book.sealed.second_question,
                "hidden_reference": book.sealed.hidden_sha256 is not None,
                "sound": _sound(book.sealed) if over else {},
                "noticed": _noticed(run_dir) if over else [],
            }
        )
    finally:
        book.close()


def _notices(book: Book) -> list[str]:
    """Return what must be said beside the ratings: damage, and how raters came and went."""
    lost = [
        f"{rater.name} had finished, and answers were lost since; whoever saw the names cannot give them again. "
        f"`audition withdraw` takes {rater.name} off."
        for rater in book.raters.values()
        if rater.damaged
    ]
    return [*book.notices, *book.remarks, *lost]


def _sound(sealed: Sealed) -> dict[TakeSide, Sound]:
    """Return both sides' sound, the candidate's first; nothing of a seal from before it was measured."""
    sides: tuple[TakeSide, ...] = ("candidate", "baseline")
    return {side: sealed.sound[side] for side in sides} if sealed.sound else {}


def _noticed(run_dir: Path) -> list[str]:
    """Return what sealing noticed of the clips; that it cannot be read is said and decides nothing."""
    try:
        return read_report(run_dir).notices
    except SealBroken as error:
        return [str(error)]


def unseal(rater: Rater) -> list[Answer]:
    """Return a rater's answers with the scores under their sides' names, in the order in which they heard
    them."""
    return [
        _unseal_answer(rater.name, trial, rater.answers[trial.trial_id])
        for trial in rater.trials
        if trial.trial_id in rater.answers
    ]


def _unseal_answer(name: str, trial: Trial, given: Given) -> Answer:
    on_a = trial.candidate_side == "A"
    comparison = given.comparison
    if comparison is not None and on_a:
        comparison = -comparison
    return Answer(
        rater=name,
        trial_id=trial.trial_id,
        kind=trial.kind,
        utterance_id=trial.utterance_id,
        channel=trial.channel,
        candidate=given.a if on_a else given.b,
        baseline=given.b if on_a else given.a,
        candidate_second=given.a_second if on_a else given.b_second,
        baseline_second=given.b_second if on_a else given.a_second,
        comparison=comparison,
        note=given.note,
        candidate_side=trial.candidate_side,
        answered_utc=given.answered_utc,
    )


def reveal(book: Book, rater: Rater) -> dict[str, Any]:
    """Return what a rater is shown of a run once all have finished: names, means of their rated pairs, and each pair.

    Raises:
        ValueError: not all have.
        NotSaved: the disk does not take the mark that they have.
    """
    if rater.finished_utc is None or not book.decided:
        raise ValueError("not all raters have finished")
    book.mark(rater)
    manifest = load_record(Manifest, book.run_dir)
    channel = book.sealed.channels[0]
    counted = [a for a in unseal(rater) if a.kind == "pair" and a.channel == channel]
    total = len(counted)
    names = {
        "candidate": str(manifest.entry.get("title") or manifest.model),
        "baseline": str(manifest.baseline_entry.get("title") or manifest.inputs.baseline),
        "reference": "Reference",
    }
    return {
        "candidate": names["candidate"],
        "baseline": names["baseline"],
        "candidate_mean": sum(a.candidate for a in counted) / total if total else None,
        "baseline_mean": sum(a.baseline for a in counted) / total if total else None,
        "mapping_sha256": mapping.digest_of(book.sealed),
        "hidden_reference": book.sealed.hidden_sha256 is not None,
        "sound": [
            f"{names[side]} speaks at {sound.rate_hz / 1000:g} kHz and reaches {sound.bandwidth_hz / 1000:.1f} kHz."
            for side, sound in _sound(book.sealed).items()
        ]
        + _noticed(book.run_dir),
        "answers": [
            {
                "kind": trial.kind,
                "channel": trial.channel,
                "a": {"voice": names[trial.source("A")], "score": rater.answers[trial.trial_id].a},
                "b": {"voice": names[trial.source("B")], "score": rater.answers[trial.trial_id].b},
            }
            for trial in rater.trials
            if trial.trial_id in rater.answers
        ],
    }


def export_json(run_dir: Path, path: Path) -> None:
    """Write all raters' ratings as JSON that `import_json` takes, signed with a key of the seal.

    Raises:
        BadInput: somebody has not finished, or was imported by a version that did not keep their plan.
    """
    manifest = load_record(Manifest, run_dir)
    book = Book(run_dir)
    try:
        _check_unsealed(book)
        plans = dict(book.plans)
        plans |= {
            rater.name: RaterPlan(id=rater.id, channels=rater.channels) for rater in book.raters.values()
        }
        if without := sorted(set(book.imported) - set(plans)):
            raise BadInput(
                f"{', '.join(without)} came in from another copy under an earlier version, which did not keep what "
                "their sides were drawn from; export them from the copy where they rated."
            )
        export = Export(run_id=manifest.run_id, ratings=read_ratings(run_dir), plans=plans)
        signed = export.model_copy(update={"signature": sign(book.sealed, _signed_part(export))})
    finally:
        book.close()
    write_atomically(path, json.dumps(signed.model_dump(mode="json"), indent=2, ensure_ascii=False).encode())


def _signed_part(export: Export) -> bytes:
    return canonical_json(export.model_dump(mode="json", exclude={"signature"}))


def _check_unsealed(book: Book) -> None:
    if not (book.all_finished and is_over(book.run_dir)):
        raise BadInput(
            f"{book.raters_finished} of {book.raters_asked} raters have finished, and nothing is unsealed before all "
            "have; `audition raters` lists them, and `audition withdraw` takes off who will not come."
        )


def export_csv(run_dir: Path, path: Path) -> None:
    """Write all raters' answers as CSV (RFC 4180), a line each, the fields of `bench.records.listening.Answer`.

    A text that a spreadsheet would run as a formula gets a quote before it.

    Raises:
        BadInput: somebody has not finished.
    """
    book = Book(run_dir)
    try:
        _check_unsealed(book)
    finally:
        book.close()
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(Answer.model_fields))
    writer.writeheader()
    for answer in read_ratings(run_dir).answers:
        row = answer.model_dump(mode="json")
        row |= {key: f"'{row[key]}" for key in ("rater", "note") if row[key][:1] in tuple("=+-@\t\r\n")}
        writer.writerow(row)
    write_atomically(path, out.getvalue().encode())


def import_json(run_dir: Path, path: Path, *, late: bool = False) -> list[str]:
    """Take in ratings that were given on another copy of the same run; return the raters' names.

    Importing the same file twice changes nothing. `late`: even when a rater has finished already.

    Raises:
        BadInput: not an export, of another run, mapping or question, its seal was broken, it was changed since, its
            answers are not those to the pairs that its raters were given, a rater of that name is here already or it
            is no name, or it is late.
    """
    try:
        data = path.read_bytes()
        export = Export.model_validate(json.loads(data))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not an export of ratings: {error}") from error
    if read_seal(run_dir) is not None:
        raise BadInput(
            f"{run_dir.name} is rated in one sitting with other runs; who rates elsewhere would have heard this one "
            "alone. Give them a link of `audition invite` instead."
        )
    book = Book(run_dir)
    try:
        if (export.ratings.mapping_sha256, export.ratings.question_sha256) != (
            mapping.digest_of(book.sealed),
            book.sealed.question_sha256,
        ) or not export.ratings.mapping_intact:
            raise BadInput(f"{path} is of other sealed pairs than {run_dir}; its ratings cannot be compared.")
        if not hmac.compare_digest(export.signature, sign(book.sealed, _signed_part(export))):
            raise BadInput(
                f"{path} is not as `audition ratings export` wrote it (its signature does not fit), or was written by "
                "a version that did not sign; export the ratings again."
            )
        by_rater: dict[str, list[Answer]] = {}
        for answer in export.ratings.answers:
            by_rater.setdefault(answer.rater, []).append(answer)
        here = {rater.id: rater for rater in book.raters.values()}
        for name, answers in list(by_rater.items()):
            if check_name(name) != name:
                raise BadInput(f"{path}: {name!r} is no rater's name; nothing was imported.")
            plan = export.plans.get(name)
            if plan is None or not _fits_plan(book.sealed, plan, answers):
                raise BadInput(
                    f"{path}: {name}'s answers are not to the pairs, sides and controls that were drawn for them; "
                    "nothing was imported."
                )
            if plan.id in here and unseal(here[plan.id]) == answers:
                del by_rater[name]
        digest = sha256_bytes(canonical_json(export.model_dump(mode="json")))
        book.take_in(by_rater, export.plans, digest, export.ratings.notices, late=late)
        return list(by_rater)
    finally:
        book.close()


def _fits_plan(sealed: Sealed, plan: RaterPlan, answers: list[Answer]) -> bool:
    """Whether a rater answered each trial of the plan once, controls and sides as the sealed seed draws them."""
    if plan.channels[0] != sealed.channels[0] or set(plan.channels) - set(sealed.channels):
        return False
    planned = [
        (trial.trial_id, trial.kind, trial.utterance_id, trial.channel, trial.candidate_side)
        for trial in plan_of(sealed, plan.id, plan.channels)
    ]
    given = [(a.trial_id, a.kind, a.utterance_id, a.channel, a.candidate_side) for a in answers]
    return sorted(given) == sorted(planned)


def _check_question(sealed: Sealed, manifest: Manifest) -> None:
    now = (manifest.question, manifest.question_sha256, manifest.second_question, manifest.rule_sha256)
    if now != (sealed.question, sealed.question_sha256, sealed.second_question, sealed.rule_sha256):
        raise SealBroken(
            "The question or the rule in manifest.json is not the one that people rated under; restore it."
        )
