"""The score phase: make every clip alike, check what could still give a side away, seal who is who.

`seal` needs no rater and blocks on nobody; people rate when they like, and the verdict waits for them.
"""

import json
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from bench.audio.wav import Samples
from bench.errors import AuditionError, BadInput
from bench.listening import cues, mapping, processing
from bench.listening.draws import Draws
from bench.listening.mapping import Clip, Role, SealBroken, Sealed
from bench.listening.trials import Source
from bench.records import (
    Channel,
    Manifest,
    Record,
    Take,
    canonical_json,
    sha256_bytes,
    sha256_file,
    utc_now,
    write_atomically,
)

SCALE = ("Not at all", "Slightly", "Moderately", "Very much", "Completely")
"""Labels of the scores 1 to 5; sealed with the mapping, so that they cannot change under the raters."""
CHANNELS: tuple[Channel, ...] = ("full", "narrowband", "wideband")
REFERENCE = Path("reference") / "reference.wav"
REPORT = "seal.json"
TakeSide = Literal["candidate", "baseline"]
TAKE_SIDES: tuple[TakeSide, ...] = ("candidate", "baseline")


class TakesMissing(AuditionError):
    """A take is missing or failed, so there is no whole set of pairs to rate."""

    def __init__(self, side: TakeSide, reason: str) -> None:
        """Say which side lacks what."""
        super().__init__(
            f"The {side}'s takes cannot be rated: {reason}. Every utterance needs one good take of each "
            f"side; "
            f"run the {'benchmark' if side == 'candidate' else 'baseline'} phase again."
        )
        self.side = side


class CuesRemain(AuditionError):
    """What the processing should have removed still names the side of a clip."""


class SealReport(Record):
    """What sealing found; nothing in it tells the sides apart."""

    mapping_sha256: str
    pairs: int
    channels: list[Channel]
    """The rule's first."""
    reference: bool
    """False: there is no reference recording to compare with, and the page says so."""
    target_lufs: dict[Channel, float]
    cues: list[cues.CueResult]
    notices: list[str]
    already_sealed: bool = False


def seal(run_dir: Path, *, channels: Sequence[Channel] = CHANNELS) -> SealReport:
    """Process both sides' takes, check the cues, draw and seal the mapping, publish its SHA-256.

    `channels` are prepared besides the rule's. A run that is sealed already is checked and left as it is.

    Raises:
        TakesMissing: a side lacks a take, or one failed.
        UnusableTake: a clip is silent, not numbers, or cannot be made like the others.
        CuesRemain: the processed clips' loudness, onset or format names their side.
        BadInput: the question, the rule, a take or a sealed clip was changed.
    """
    manifest = Manifest.load(run_dir)
    _check_commitments(manifest)
    takes = {side: _takes(run_dir, side, manifest.rule.pairs) for side in TAKE_SIDES}
    reference = run_dir / REFERENCE
    home = mapping.directory(run_dir)
    if mapping.published(run_dir) is not None:
        return _sealed_already(run_dir, manifest, takes)
    if (home / mapping.RATINGS).exists():
        raise SealBroken(
            f"{home} holds ratings but the published hash of their mapping is gone; restore "
            f"{mapping.PUBLISHED}, "
            "or delete the listening directory and let people rate again."
        )
    utterances = list(takes["candidate"])
    if set(takes["baseline"]) != set(utterances):
        odd = ", ".join(sorted(set(takes["baseline"]) ^ set(utterances)))
        raise TakesMissing("baseline", f"these utterances are not on both sides: {odd}")
    _clean(home)
    seed = mapping.new_secret()
    anchor = None
    if reference.is_file():
        anchor = utterances[Draws(bytes.fromhex(seed), "anchor/1").below(len(utterances))]
    wanted = [manifest.rule.channel, *(c for c in channels if c != manifest.rule.channel)]
    paths = {
        side: {uid: run_dir / side / str(take.wav) for uid, take in of_side.items()}
        for side, of_side in takes.items()
    }
    clips: list[Clip] = []
    targets: dict[Channel, float] = {}
    for channel in wanted:
        made, targets[channel] = _channel(home, channel, paths, reference, anchor)
        clips += made
    sealed = Sealed(
        nonce=mapping.new_secret(),
        seed=seed,
        run_id=manifest.run_id,
        sealed_utc=utc_now(),
        question=manifest.question,
        question_sha256=manifest.question_sha256,
        rule_sha256=manifest.rule_sha256,
        scale=list(SCALE),
        channels=wanted,
        utterances=utterances,
        anchor=anchor,
        takes={side: {uid: str(take.sha256) for uid, take in takes[side].items()} for side in takes},
        reference_sha256=sha256_file(reference) if reference.is_file() else None,
        target_lufs=targets,
        # In the order of their random names: the list itself must not sort the sides.
        clips=sorted(clips, key=lambda clip: clip.file),
    )
    found = _cue_check(home, sealed, paths)
    report = SealReport(
        mapping_sha256=sealed.digest(),
        pairs=len(utterances),
        channels=wanted,
        reference=anchor is not None,
        target_lufs=targets,
        cues=found,
        notices=_notices(found, anchor is not None),
    )
    write_atomically(home / REPORT, canonical_json(report.model_dump(mode="json")))
    mapping.save(run_dir, sealed)
    return report


def _check_commitments(manifest: Manifest) -> None:
    if manifest.question_sha256 not in (
        sha256_bytes(manifest.question.encode()),
        sha256_bytes(canonical_json(manifest.question)),
    ):
        raise BadInput(
            "The question in manifest.json is not the one that was committed to (its SHA-256 differs); "
            "restore it, or start a new run."
        )


def _takes(run_dir: Path, side: TakeSide, pairs: int) -> dict[str, Take]:
    """Return the takes of a side's first `pairs` utterances, in order, each present on disk with the bytes it
    was timed with."""
    listing = run_dir / side / "takes.jsonl"
    try:
        lines = listing.read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise TakesMissing(side, f"{listing} does not exist") from None
    found: dict[str, Take] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            take = Take.model_validate_json(line)
        except ValidationError as error:
            raise BadInput(f"{listing}, line {number} is not a take: {error}") from error
        if take.warmup:
            continue
        if take.utterance_id in found:
            raise BadInput(f"{listing}, line {number}: {take.utterance_id} has a second take; one is rated.")
        if take.error is not None:
            raise TakesMissing(side, f"{take.utterance_id} failed ({take.error.kind}: {take.error.message})")
        if take.wav is None or take.sha256 is None:
            raise TakesMissing(side, f"{take.utterance_id} has no sound")
        if Path(take.wav).name != take.wav:
            raise BadInput(f"{listing}, line {number}: wav must be a file name beside it, not {take.wav!r}.")
        path = run_dir / side / take.wav
        if not path.is_file():
            raise TakesMissing(side, f"{path} does not exist")
        if sha256_file(path) != take.sha256:
            raise SealBroken(
                f"{path} is not the take that was measured (its SHA-256 differs from {listing.name}); "
                "raters must hear the very bytes that were timed: restore it, or run the phase again."
            )
        found[take.utterance_id] = take
        if len(found) == pairs:
            break  # a longer file is timed whole, and its first utterances are the ones that are rated
    if len(found) != pairs:
        raise TakesMissing(side, f"there are {len(found)} good takes and the rule asks for {pairs}")
    return found


def _channel(
    home: Path,
    channel: Channel,
    paths: dict[TakeSide, dict[str, Path]],
    reference: Path,
    anchor: str | None,
) -> tuple[list[Clip], float]:
    """Make the clips of one channel: pairs of equal length, all of one loudness."""
    ready: dict[tuple[Role, Source, str], Samples] = {}
    for utterance in paths["candidate"]:
        pair = {side: processing.prepare(paths[side][utterance], channel) for side in paths}
        for side, clip in processing.equal_length(pair).items():
            ready["pair", side, utterance] = clip
        if utterance == anchor:
            voice = processing.prepare(reference, channel)
            ready["reference", "reference", ""] = voice
            about_s = pair["baseline"].size / processing.RATE_HZ
            beside = {"reference": processing.opening(voice, about_s), "baseline": pair["baseline"]}
            for source, clip in processing.equal_length(beside).items():
                ready["anchor", "reference" if source == "reference" else "baseline", utterance] = clip
    levelled, target = processing.level(ready)
    clips = []
    for (role, source, utterance), samples in levelled.items():
        data = processing.encode(samples, target)
        name = f"{secrets.token_hex(16)}.wav"
        write_atomically(home / mapping.CLIPS / name, data)
        clips.append(
            Clip(
                role=role,
                source=source,
                utterance_id=utterance,
                channel=channel,
                file=name,
                sha256=sha256_bytes(data),
                bytes=len(data),
                seconds=samples.size / processing.RATE_HZ,
            )
        )
    return clips, round(target, 3)


def _cue_check(home: Path, sealed: Sealed, paths: dict[TakeSide, dict[str, Path]]) -> list[cues.CueResult]:
    """Run the cue attack on the rule's channel, before and after."""
    channel = sealed.channels[0]
    before, after = [], []
    for utterance in sealed.utterances:
        files = [home / mapping.CLIPS / sealed.clip("pair", side, utterance, channel).file for side in paths]
        raw_a, raw_b = (cues.cues_of(paths[side][utterance]) for side in paths)
        made_a, made_b = (cues.cues_of(path) for path in files)
        before.append((raw_a, raw_b))
        after.append((made_a, made_b))
    results = cues.attack(before, after)
    telling = cues.still_telling(results)
    if telling:
        raise CuesRemain(
            "The processed clips still give their side away by "
            + ", ".join(
                f"{result.cue} ({result.after:.0%} of {result.clips} clips named)" for result in telling
            )
            + "; nothing was sealed. Listen to the takes: one side may have a click or a hum at its edges."
        )
    return results


def _notices(results: Sequence[cues.CueResult], reference: bool) -> list[str]:
    out = [
        f"{result.cue} alone tells the sides apart ({result.after:.0%} of {result.clips} clips, chance 50%): "
        "it belongs to the voices and is not removed."
        for result in results
        if not result.removed and result.p < cues.ALPHA
    ]
    if not reference:
        out.append("No reference recording is in the run: raters have nothing to compare with.")
    return out


def _sealed_already(run_dir: Path, manifest: Manifest, takes: dict[TakeSide, dict[str, Take]]) -> SealReport:
    sealed = mapping.load_intact(run_dir)
    now = {side: {uid: take.sha256 for uid, take in of_side.items()} for side, of_side in takes.items()}
    changed = None
    if now != sealed.takes:
        changed = "the takes"
    elif manifest.question_sha256 != sealed.question_sha256:
        changed = "the question"
    elif manifest.rule_sha256 != sealed.rule_sha256:
        changed = "the rule"
    if changed:
        raise SealBroken(
            f"{run_dir}: {changed} changed after the listening test was sealed; takes are immutable once "
            f"sealed. "
            "Restore them, or start a new run."
        )
    try:
        saved = json.loads((mapping.directory(run_dir) / REPORT).read_bytes())
        report = SealReport.model_validate(saved)
    except (OSError, ValueError) as error:
        raise SealBroken(f"{REPORT} of {run_dir} cannot be read ({error}); restore it.") from error
    return report.model_copy(update={"already_sealed": True})


def _clean(home: Path) -> None:
    """Begin with an empty directory that only its owner may enter; what a killed sealing left is
    worthless."""
    shutil.rmtree(home / mapping.CLIPS, ignore_errors=True)
    (home / mapping.SEALED).unlink(missing_ok=True)
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
