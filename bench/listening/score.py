"""The score phase: make every clip alike, check what could still give a side away, seal who is who.

`seal` needs no rater and blocks on nobody; people rate when they like, and the verdict waits for them.
"""

import contextlib
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.audio.wav import Samples
from bench.errors import AuditionError, BadInput
from bench.listening import cues, mapping, processing
from bench.listening.alignment import NotAligned, check_beginning, check_together
from bench.listening.draws import Draws
from bench.listening.mapping import HIDDEN, REFERENCE, TAKES, SealBroken
from bench.listening.processing import UnusableTake
from bench.listening.sound import measure_sound
from bench.records.base import Channel
from bench.records.listening import Clip, CueResult, Role, Sealed, SealReport, Sound, Source, Unusable
from bench.records.run import Manifest
from bench.records.take import Take, TakeSide
from bench.storage.atomic import write_atomically
from bench.storage.clock import utc_now
from bench.storage.digests import canonical_json, sha256_bytes, sha256_file
from bench.storage.record_file import load_record
from bench.verdict.collect import UNUSABLE_FILE, check_commitments, read_takes, unusable_bytes
from bench.verdict.takes import failures_of, named, rateable, valid_takes

SCALE = ("Not at all", "Slightly", "Moderately", "Very much", "Completely")
"""Labels of the scores 1 to 5; sealed with the mapping, so that they cannot change under the raters."""
CHANNELS: tuple[Channel, ...] = ("full", "narrowband", "wideband", "matched")
TAKE_SIDES: tuple[TakeSide, ...] = ("candidate", "baseline")


class TakesMissing(AuditionError):
    """Too few valid takes: there is no whole set of pairs to rate."""

    def __init__(self, side: TakeSide, reason: str) -> None:
        """Say which side lacks what."""
        then = (
            "the verdict keeps the baseline (synthesis_failed)"
            if side == "candidate"
            else "run the baseline phase again (--tags baseline,score,verdict)"
        )
        super().__init__(f"The {side}'s takes cannot be rated: {reason}; {then}.")
        self.side = side


class CuesRemain(AuditionError):
    """What the processing should have removed still names the side of a clip."""


Part = tuple[Role, Source, str]
"""What a clip is: its role, whose it is, the utterance."""


@dataclass(frozen=True, slots=True)
class Alike:
    """What the clips of several runs have in common that are rated in one sitting."""

    matched_hz: int
    lufs: Mapping[Channel, float]
    samples: Mapping[tuple[Channel, str], int]
    """The least length of an utterance's clips."""
    seed: str
    """Of the run itself: its anchor was drawn from it when its clips were measured."""


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The takes that are rated, and the secret that all else is drawn from."""

    seed: str
    anchor: str | None
    takes: dict[TakeSide, dict[str, Take]]
    paths: dict[TakeSide, dict[str, Path]]
    sound: dict[TakeSide, Sound]


def measure_alike(run_dirs: Sequence[Path], *, channels: Sequence[Channel] = CHANNELS) -> list[Alike]:
    """Return what is asked of each run's clips, so that all of them are as loud, as long and of as much bandwidth.

    Nothing is sealed; takes that nobody can rate are noted as `seal` notes them.

    Raises:
        TakesMissing, UnusableTake, NotAligned, BadInput: as `seal`.
    """
    manifests = {run_dir: load_record(Manifest, run_dir) for run_dir in run_dirs}
    narrowest_hz = min(_narrowest_hz(run_dir, each.rule.pairs) for run_dir, each in manifests.items())
    lufs: dict[Channel, float] = {}
    samples: dict[tuple[Channel, str], int] = {}

    def note(channel: Channel, clips: Mapping[Part, Samples], target: float) -> None:
        lufs[channel] = min(lufs.get(channel, target), target)
        for (role, _, utterance), clip in clips.items():
            if role == "pair":
                samples[channel, utterance] = max(samples.get((channel, utterance), 0), clip.size)

    seeds = []
    for run_dir, manifest in manifests.items():
        wanted, pairs = _wanted(manifest, channels), manifest.rule.pairs
        seeds.append(_prepare(run_dir, wanted, pairs, note, matched_hz=narrowest_hz).seed)
    return [Alike(narrowest_hz, lufs, samples, seed) for seed in seeds]


def _narrowest_hz(run_dir: Path, pairs: int) -> int:
    """Return the bandwidth of the side that has less of it."""
    takes = _pick_rated(_read_both_sides(run_dir), [], pairs)
    of_sides = ([_check_file(run_dir, side, take) for take in of.values()] for side, of in takes.items())
    return min(measure_sound(paths).bandwidth_hz for paths in of_sides)


def seal(
    run_dir: Path,
    *,
    channels: Sequence[Channel] = CHANNELS,
    practice: bool = True,
    controls: bool = True,
    pairs: int | None = None,
    alike: Alike | None = None,
) -> SealReport:
    """Process both sides' takes, check the cues, draw and seal the mapping, publish its SHA-256.

    `channels` are prepared besides the rule's. `practice`: each rater begins with a pair that is not counted.
    `controls`: with repeats, the identical pair and the speaker's own voice. `pairs`: how many, by default as many as
    the rule asks for. `alike`: what the clips have in common with other runs'. A run that is sealed already is checked
    and left as it is.

    The first `pairs` utterances with a valid take on both sides are rated. A take that turns out to be silent, not
    numbers or a click is noted in `listening/unusable.json`, and is no valid take any more.

    Raises:
        TakesMissing: a side has too few valid takes.
        UnusableTake: the reference is silent; or a processed clip is not like the others.
        NotAligned: it cannot be made certain where a take's speech begins; the message names the take.
        CuesRemain: the processed clips' loudness, onset or format names their side.
        BadInput: the question, the rule, a take or a sealed clip was changed.
    """
    manifest = load_record(Manifest, run_dir)
    check_commitments(run_dir, manifest)
    reference, hidden = run_dir / REFERENCE, run_dir / HIDDEN
    home = mapping.directory(run_dir)
    if mapping.read_published(run_dir) is not None:
        return _sealed_already(run_dir, manifest)
    if (home / mapping.RATINGS).exists():
        raise SealBroken(mapping.find_unpublished(run_dir))
    wanted = _wanted(manifest, channels)
    clips: list[Clip] = []
    targets: dict[Channel, float] = {}

    def write(channel: Channel, ready: Mapping[Part, Samples], target: float) -> None:
        clips.extend(_write_clips(home, channel, ready, target))
        targets[channel] = round(target, 3)

    def begin() -> None:
        clips.clear()
        _clean(home)

    drawn = _prepare(
        run_dir, wanted, pairs or manifest.rule.pairs, write, begin, alike=alike, controls=controls
    )
    utterances, anchor = list(drawn.takes["candidate"]), drawn.anchor
    sealed = Sealed(
        nonce=mapping.new_secret(),
        seed=drawn.seed,
        run_id=manifest.run_id,
        sealed_utc=utc_now(),
        question=manifest.question,
        question_sha256=manifest.question_sha256,
        rule_sha256=manifest.rule_sha256,
        scale=list(SCALE),
        channels=wanted,
        utterances=utterances,
        anchor=anchor,
        takes={side: {uid: str(take.sha256) for uid, take in of.items()} for side, of in drawn.takes.items()},
        takes_sha256={side: sha256_file(run_dir / side / TAKES) for side in TAKE_SIDES},
        practice=practice or None,
        second_question=manifest.second_question,
        sound=drawn.sound,
        plain=None if controls else True,
        reference_sha256=sha256_file(reference) if controls and reference.is_file() else None,
        hidden_sha256=sha256_file(hidden) if anchor is not None and hidden.is_file() else None,
        target_lufs=targets,
        # In the order of their random names: the list itself must not sort the sides.
        clips=sorted(clips, key=lambda clip: clip.file),
    )
    found = _attack_cues(home, sealed, drawn.paths)
    report = SealReport(
        mapping_sha256=mapping.digest_of(sealed),
        pairs=len(utterances),
        channels=wanted,
        reference=anchor is not None,
        target_lufs=targets,
        cues=found,
        notices=find_notices(found, reference=anchor is not None or not controls),
    )
    write_atomically(home / mapping.REPORT, canonical_json(report.model_dump(mode="json")))
    mapping.save(run_dir, sealed)
    return report


def _wanted(manifest: Manifest, channels: Sequence[Channel]) -> list[Channel]:
    """Return the channels to prepare, the rule's first."""
    return [manifest.rule.channel, *(each for each in channels if each != manifest.rule.channel)]


def _prepare(
    run_dir: Path,
    wanted: Sequence[Channel],
    pairs: int,
    take: Callable[[Channel, Mapping[Part, Samples], float], None],
    begin: Callable[[], None] = lambda: None,
    *,
    alike: Alike | None = None,
    matched_hz: int | None = None,
    controls: bool = True,
) -> _Drawn:
    """Choose the takes that are rated and give each channel's clips and their loudness to `take`; `begin` is called
    before the first, and again whenever a take turned out to be of no use, which is noted."""
    reference = run_dir / REFERENCE
    made = _read_both_sides(run_dir)
    unusable: list[Unusable] = []
    while True:
        begin()
        if unusable:
            write_atomically(run_dir / UNUSABLE_FILE, unusable_bytes(unusable))
        takes = _pick_rated(made, unusable, pairs)
        utterances = list(takes["candidate"])
        seed = alike.seed if alike else mapping.new_secret()
        anchor = None
        if controls and reference.is_file():
            anchor = utterances[Draws(bytes.fromhex(seed), "anchor/1").draw_below(len(utterances))]
        paths = {
            side: {uid: _check_file(run_dir, side, take) for uid, take in of_side.items()}
            for side, of_side in takes.items()
        }
        try:
            sound = {side: measure_sound(list(paths[side].values())) for side in paths}
            own_hz = min(each.bandwidth_hz for each in sound.values())
            limit_hz = alike.matched_hz if alike else matched_hz or own_hz
            for channel in wanted:
                ready = _prepare_channel(channel, paths, run_dir, anchor, limit_hz, alike)
                at_most = alike.lufs[channel] if alike else processing.TARGET_LUFS
                take(channel, *processing.equalise_loudness(ready, at_most))
            return _Drawn(seed, anchor, takes, paths, sound)
        except UnusableTake as error:
            unusable.append(_name_unusable(run_dir, error))
        except NotAligned as error:
            raise _name_unaligned(error) from error


def _read_both_sides(run_dir: Path) -> dict[TakeSide, list[Take]]:
    """Return both sides' takes.

    Raises:
        TakesMissing: a side has none.
    """
    takes: dict[TakeSide, list[Take]] = {}
    for side in TAKE_SIDES:
        found = read_takes(run_dir / side)
        if found is None:
            raise TakesMissing(side, "they have not been made")
        takes[side] = found
    return takes


def _pick_rated(
    takes: dict[TakeSide, list[Take]], unusable: list[Unusable], pairs: int
) -> dict[TakeSide, dict[str, Take]]:
    """Return the takes that are rated, by utterance, in order: what `rateable` chooses, as the verdict does.

    Raises:
        TakesMissing: there are fewer than `pairs`; the message names what failed.
    """
    found = rateable(takes["candidate"], takes["baseline"], unusable, pairs)
    if len(found.rated) == pairs:
        return {
            side: {
                take.utterance_id: take
                for take in valid_takes(takes[side])
                if take.utterance_id in found.rated
            }
            for side in TAKE_SIDES
        }
    side: TakeSide = "candidate" if len(found.spoken) < pairs else "baseline"
    failures = failures_of(takes[side], None, [each for each in unusable if each.side == side])
    failed = [
        f"{each.utterance_id} ({each.kind}: {each.message})" for each in (failures.failed if failures else [])
    ]
    count = len(found.spoken) if side == "candidate" else len(found.paired)
    raise TakesMissing(
        side,
        f"{count} are valid and the rule asks for {pairs}" + (f"; failed: {named(failed)}" if failed else ""),
    )


def _check_file(run_dir: Path, side: TakeSide, take: Take) -> Path:
    """Return the sound of a take, once its bytes were found to be those that were timed."""
    name = str(take.wav)
    path = run_dir / side / name
    if path.name != name:
        raise BadInput(f"{run_dir / side}: wav must be a file name beside takes.jsonl, not {name!r}.")
    if not path.is_file() or sha256_file(path) != take.sha256:
        raise SealBroken(
            f"{path} is not the take that was measured (it is gone, or its SHA-256 differs from takes.jsonl); "
            "raters must hear the very bytes that were timed: restore it, or start a new run."
        )
    return path


def _prepare_channel(
    channel: Channel,
    paths: Mapping[TakeSide, Mapping[str, Path]],
    run_dir: Path,
    anchor: str | None,
    matched_hz: int,
    alike: Alike | None,
) -> dict[Part, Samples]:
    """Return the clips of one channel, not yet levelled: those of a pair of equal length, speech beginning together."""
    ready: dict[Part, Samples] = {}
    for utterance in paths["candidate"]:
        pair: dict[Source, Samples] = {}
        for side in paths:
            with _naming("pair", side, utterance):
                pair[side] = processing.prepare(paths[side][utterance], channel, matched_hz)
        least = alike.samples.get((channel, utterance), 0) if alike else 0
        for source, clip in processing.equalise_lengths(pair, least).items():
            ready["pair", source, utterance] = clip
        if utterance == anchor:
            with _naming("reference", "reference", ""):
                voice = processing.prepare(run_dir / REFERENCE, channel, matched_hz)
                other = run_dir / HIDDEN
                hidden = processing.prepare(other, channel, matched_hz) if other.is_file() else voice
            ready["reference", "reference", ""] = voice
            about_s = max(clip.size for clip in pair.values()) / processing.RATE_HZ
            beside: dict[Source, Samples] = {"reference": processing.cut_opening(hidden, about_s), **pair}
            for source, clip in processing.equalise_lengths(beside).items():
                ready["anchor", source, utterance] = clip
    return ready


def _write_clips(home: Path, channel: Channel, levelled: Mapping[Part, Samples], target: float) -> list[Clip]:
    """Check the clips of one channel, which are all of one loudness, and write them."""
    clips = []
    voice_s: dict[str, float] = {}
    for (role, source, utterance), samples in levelled.items():
        with _naming(role, source, utterance):
            begins_s = check_beginning(samples, processing.RATE_HZ, processing.LEAD_S)
            if role == "pair":
                check_together(begins_s, voice_s.setdefault(utterance, begins_s))
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
    return clips


@contextlib.contextmanager
def _naming(role: Role, source: Source, utterance: str) -> Iterator[None]:
    """Say of a clip that cannot be used which one it is."""
    try:
        yield
    except (NotAligned, UnusableTake) as error:
        error.clip = (role, source, utterance)
        raise


def _name_unusable(run_dir: Path, error: UnusableTake) -> Unusable:
    """Return which take cannot be used.

    Raises:
        UnusableTake: it is the reference; or the processing did not do what it promises, which is no take's fault.
    """
    if not isinstance(error.clip, tuple):
        raise error
    _, source, utterance = error.clip
    if source == "reference":
        raise UnusableTake(
            f"The reference cannot be played to raters: {error} Start a new run with another reference."
        ) from error
    reason = str(error).replace(f"{run_dir}/", "").rstrip(".")
    return Unusable(side=source, utterance_id=utterance, reason=reason)


def _name_unaligned(error: NotAligned) -> NotAligned:
    """Return the error with the take in it, and what to do."""
    what = "a clip"
    if isinstance(error.clip, tuple):
        _, source, utterance = error.clip
        what = "the reference" if source == "reference" else f"the {source}'s take {utterance}"
    return NotAligned(
        f"Where speech begins in {what} could not be found for certain: {error}. Nothing was sealed, for one side's "
        "speech could begin later than the other's in every pair. This is a limit of Audition's and says nothing of "
        "the model: listen to the take and report it. What is measured is kept; a run whose server adds no noise, "
        "music or other sound before its speech can be sealed.",
        error.clip,
    )


def _attack_cues(home: Path, sealed: Sealed, paths: dict[TakeSide, dict[str, Path]]) -> list[CueResult]:
    """Run the cue attack on the rule's channel, before and after."""
    channel = sealed.channels[0]
    before, after = [], []
    for utterance in sealed.utterances:
        files = [
            home / mapping.CLIPS / mapping.clip_of(sealed, "pair", side, utterance, channel).file
            for side in paths
        ]
        raw_a, raw_b = (cues.read_cues(paths[side][utterance]) for side in paths)
        made_a, made_b = (cues.read_cues(path) for path in files)
        before.append((raw_a, raw_b))
        after.append((made_a, made_b))
    results = cues.attack(before, after)
    telling = cues.find_telling(results)
    if telling:
        raise CuesRemain(
            "The processed clips still give their side away by "
            + ", ".join(
                f"{result.cue} ({result.after:.0%} of {result.clips} clips named)" for result in telling
            )
            + "; nothing was sealed. Listen to the takes: one side may have a click or a hum at its edges. Put that "
            "right at its engine and start a new run."
        )
    return results


def _spell_cue(result: CueResult) -> str:
    """Say how well a cue tells the sides apart. Wrong far too often tells as much as right far too often: whoever
    knows it guesses the other side."""
    share, how = (
        (result.after, "has the side of the clip that is most like it in this")
        if result.after >= 0.5
        else (1.0 - result.after, "has the other side than the clip that is most like it in this")
    )
    return (
        f"{result.cue} alone tells the sides apart: of {result.clips} clips {share:.0%} {how}, where 50% would be "
        "chance. It belongs to the voices and is not removed."
    )


def find_notices(results: Sequence[CueResult], *, reference: bool) -> list[str]:
    """Return what must be known of the clips: cues that stay and tell the sides apart, and a missing reference."""
    out = [_spell_cue(result) for result in results if not result.removed and result.p < cues.ALPHA]
    if not reference:
        out.append("No reference recording is in the run: raters have nothing to compare with.")
    return out


def _sealed_already(run_dir: Path, manifest: Manifest) -> SealReport:
    sealed = mapping.load_intact(run_dir)
    changed = None
    if (manifest.question_sha256, manifest.second_question) != (
        sealed.question_sha256,
        sealed.second_question,
    ):
        changed = "the question"
    elif manifest.rule_sha256 != sealed.rule_sha256:
        changed = "the rule"
    if changed:
        raise SealBroken(
            f"{run_dir}: {changed} changed after the listening test was sealed; restore it, or start a new run."
        )
    return mapping.read_report(run_dir).model_copy(update={"already_sealed": True})


def _clean(home: Path) -> None:
    """Begin with an empty directory that only its owner may enter; what a killed sealing left is
    worthless."""
    shutil.rmtree(home / mapping.CLIPS, ignore_errors=True)
    for name in (mapping.SEALED, Path(UNUSABLE_FILE).name):
        (home / name).unlink(missing_ok=True)
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
