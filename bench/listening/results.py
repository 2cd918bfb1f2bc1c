"""Unsealing: from answers about A and B to scores of the candidate and the baseline.

Only raters who have finished are unsealed. A rater who is half way through would otherwise find his own sides
in a report, and rate the rest knowing them.
"""

import csv
import io
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from bench.errors import BadInput
from bench.listening import mapping
from bench.listening.book import Book, Given, Rater, check_name
from bench.listening.mapping import SealBroken
from bench.listening.trials import Trial
from bench.records.listening import Answer, Export, Ratings, Sealed
from bench.records.run import Manifest
from bench.storage.atomic import write_atomically
from bench.storage.digests import canonical_json, sha256_bytes
from bench.storage.record_file import load_record


def read_ratings(run_dir: Path) -> Ratings:
    """Return what the verdict needs. Nobody rated: no answers, never an error.

    `mapping_intact` is false, there are no answers and `notices` says why, when the mapping, its published hash, a
    clip, the takes, the reference or the record of who saw which hash is not as it was sealed. Answers are those
    of raters who have finished; `raters` names all.

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
        finished = [rater for rater in book.raters.values() if rater.status == "finished"]
        answers = [answer for rater in finished for answer in unseal(rater)]
        answers += [answer for of_rater in book.imported.values() for answer in of_rater]
        return out.model_copy(
            update={
                "mapping_intact": True,
                "raters": who,
                "answers": answers,
                "utterances": book.sealed.utterances,
                "notices": _notices(book),
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


def unseal(rater: Rater) -> list[Answer]:
    """Return a rater's answers with the scores under their sides' names, in the order in which he heard
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
        comparison=comparison,
        note=given.note,
        candidate_side=trial.candidate_side,
        answered_utc=given.answered_utc,
    )


def reveal(book: Book, rater: Rater, manifest: Manifest) -> dict[str, Any]:
    """Return what a rater who has finished is shown: names, means of his rated pairs, and each pair.

    Raises:
        ValueError: he has not finished.
        NotSaved: the disk does not take the mark that he has.
    """
    if rater.finished_utc is None:
        raise ValueError("the rater has not finished")
    book.mark(rater)
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
    """Write the finished raters' ratings as JSON that `import_json` takes."""
    manifest = load_record(Manifest, run_dir)
    export = Export(run_id=manifest.run_id, ratings=read_ratings(run_dir))
    write_atomically(path, json.dumps(export.model_dump(mode="json"), indent=2, ensure_ascii=False).encode())


def export_csv(run_dir: Path, path: Path) -> None:
    """Write the finished raters' answers as CSV (RFC 4180), a line each, the fields of
    `bench.records.listening.Answer`.

    A text that a spreadsheet would run as a formula gets a quote before it.
    """
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

    Importing the same file twice changes nothing. `late`: even when the decision can be known already.

    Raises:
        BadInput: not an export, of another run, mapping or question, its seal was broken, it has answers that
            the sealed pairs do not have or lacks some, a rater of that name is here already or it is no name, or it
            is late.
    """
    try:
        data = path.read_bytes()
        export = Export.model_validate(json.loads(data))
    except (OSError, ValueError, ValidationError) as error:
        raise BadInput(f"{path} is not an export of ratings: {error}") from error
    book = Book(run_dir)
    try:
        if (export.ratings.mapping_sha256, export.ratings.question_sha256) != (
            mapping.digest_of(book.sealed),
            book.sealed.question_sha256,
        ) or not export.ratings.mapping_intact:
            raise BadInput(f"{path} is of other sealed pairs than {run_dir}; its ratings cannot be compared.")
        by_rater: dict[str, list[Answer]] = {}
        for answer in export.ratings.answers:
            by_rater.setdefault(answer.rater, []).append(answer)
        here = {rater.name: rater for rater in book.raters.values()}
        for name, answers in list(by_rater.items()):
            if check_name(name) != name:
                raise BadInput(f"{path}: {name!r} is no rater's name; nothing was imported.")
            if name in here and unseal(here[name]) == answers:
                del by_rater[name]
                continue
            _check_whole(book.sealed, name, answers, path)
        digest = sha256_bytes(canonical_json(export.model_dump(mode="json")))
        book.take_in(by_rater, digest, export.ratings.notices, late=late)
        return list(by_rater)
    finally:
        book.close()


def _check_whole(sealed: Sealed, name: str, answers: list[Answer], path: Path) -> None:
    """Refuse a rater whose answers are not one for each rated pair of the rule's channel."""
    wanted = set(sealed.utterances)
    counted = [a for a in answers if a.kind == "pair" and a.channel == sealed.channels[0]]
    ids = [a.trial_id for a in answers]
    if (
        {a.utterance_id for a in answers} - wanted
        or len(counted) != len(wanted)
        or {a.utterance_id for a in counted} != wanted
        or len(set(ids)) != len(ids)
        or any(a.channel not in sealed.channels for a in answers)
        or any(a.trial_id != f"{a.kind}-{a.channel}-{a.utterance_id}" for a in answers)
    ):
        raise BadInput(f"{path}: {name} did not rate exactly the sealed pairs; nothing was imported.")


def _check_question(sealed: Sealed, manifest: Manifest) -> None:
    now = (manifest.question, manifest.question_sha256, manifest.rule_sha256)
    if now != (sealed.question, sealed.question_sha256, sealed.rule_sha256):
        raise SealBroken(
            "The question or the rule in manifest.json is not the one that people rated under; restore it."
        )
