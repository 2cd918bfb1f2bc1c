"""The sealed mapping: which clip is whose, with the secret seed of every rater's sides and orders.

It exists on disk alone, in a file that only its owner may read, and nothing but the server and the unsealing
reads it. What is published, before anybody rates, is the SHA-256 of the whole with a 256-bit nonce in it:
there are only 252 balanced ways to place ten pairs, so a hash without a nonce could be guessed. Whoever
doubts a verdict can check afterwards that nothing was changed between.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from pathlib import Path

from bench.errors import BadInput
from bench.listening.trials import Side, Trial, plan
from bench.records.base import Channel
from bench.records.listening import Clip, Role, Sealed, SealReport, Source
from bench.storage.atomic import write_atomically
from bench.storage.digests import canonical_json, sha256_bytes, sha256_file

DIRECTORY = "listening"
SEALED = "sealed.json"
PUBLISHED = "mapping.sha256"
REPORT = "seal.json"
CLIPS = "clips"
RATINGS = "ratings.sqlite3"
REFERENCE = Path("reference") / "reference.wav"
HIDDEN = Path("reference-hidden") / "reference.wav"
"""Another stretch of the speaker's recording, where it is long enough."""
TAKES = "takes.jsonl"
SECRET_BYTES = 32
"""256 bits: of the nonce, of the seed, of a rater's token."""


class SealBroken(BadInput):
    """Something was changed after the sealing: the mapping, a clip, a take, the question or the rule."""


def digest_of(sealed: Sealed) -> str:
    """Return what is published of a mapping."""
    return sha256_bytes(canonical_json(sealed.model_dump(mode="json")))


def sign(sealed: Sealed, data: bytes) -> str:
    """Return what shows that `data` came out of a copy of these sealed pairs, and unchanged.

    The key is made of the sealed seed, so every copy of the run has it and nothing else does: a rater's answers are
    written by the server that has the seal, never by the rater.
    """
    key = hmac.new(bytes.fromhex(sealed.seed), b"export/1", hashlib.sha256).digest()
    return hmac.new(key, data, hashlib.sha256).hexdigest()


def clip_of(sealed: Sealed, role: Role, source: Source, utterance_id: str, channel: Channel) -> Clip:
    """Return the one clip that plays this part.

    Raises:
        KeyError: there is none.
    """
    wanted = (role, source, utterance_id, channel)
    for clip in sealed.clips:
        if (clip.role, clip.source, clip.utterance_id, clip.channel) == wanted:
            return clip
    raise KeyError(wanted)


def trial_clip(sealed: Sealed, trial: Trial, side: Side) -> Clip:
    """Return the clip that a trial plays on `side`."""
    role: Role = (
        "anchor" if trial.kind == "anchor" else "pair"
    )  # a practice pair is a rated one, heard before
    return clip_of(sealed, role, trial.source(side), trial.utterance_id, trial.channel)


def plan_of(sealed: Sealed, rater_id: str, channels: Sequence[Channel]) -> list[Trial]:
    """Return a rater's trials, in their order."""
    sides: tuple[Source, ...] = ("candidate", "baseline")
    anchored = {clip.source for clip in sealed.clips if clip.role == "anchor"}
    beside = [side for side in sides if side in anchored]  # the baseline alone in the oldest seals
    return plan(
        bytes.fromhex(sealed.seed),
        rater_id,
        sealed.utterances,
        channels,
        sealed.anchor,
        beside,
        practice=bool(sealed.practice),
        controls=not sealed.plain,
    )


def directory(run_dir: Path) -> Path:
    """Return where the listening test of a run lives."""
    return run_dir / DIRECTORY


def new_secret() -> str:
    """Return 256 fresh bits in hex, from the operating system."""
    return secrets.token_hex(SECRET_BYTES)


def save(run_dir: Path, sealed: Sealed) -> str:
    """Write the mapping, then publish its hash; return the hash. The published file is written last, so a
    crash in between leaves an unpublished seal that no rating can rest on."""
    home = directory(run_dir)
    write_atomically(home / SEALED, canonical_json(sealed.model_dump(mode="json")), 0o600)
    digest = digest_of(sealed)
    write_atomically(home / PUBLISHED, f"{digest}\n".encode())
    return digest


def read_report(run_dir: Path) -> SealReport:
    """Return what sealing found.

    Raises:
        SealBroken: the file is gone, or no report any more.
    """
    try:
        return SealReport.model_validate_json((directory(run_dir) / REPORT).read_bytes())
    except (OSError, ValueError) as error:
        raise SealBroken(f"{REPORT} of {run_dir} cannot be read ({error}); restore it.") from error


def read_published(run_dir: Path) -> str | None:
    """Return the published hash, None where nothing is sealed yet."""
    try:
        return (directory(run_dir) / PUBLISHED).read_text("ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SealBroken(f"The published hash of {run_dir} cannot be read ({error}).") from error


def load(run_dir: Path) -> Sealed:
    """Return the mapping as it stands on disk; `intact` says whether it is the one that was published.

    Raises:
        FileNotFoundError: nothing is sealed.
        SealBroken: the file is not a mapping any more, or is gone although its hash was published.
    """
    path = directory(run_dir) / SEALED
    if read_published(run_dir) is not None and not path.exists():
        raise SealBroken(
            f"{path} is gone, so nobody can say which side was which; restore it from a backup, or delete the "
            "run's listening directory and let people rate again."
        )
    try:
        return Sealed.model_validate(json.loads(path.read_bytes()))
    except (ValueError, RecursionError) as error:
        raise SealBroken(
            f"{path} was changed after it was sealed, so nobody can say which side was which; "
            "delete the run's listening directory and let people rate again."
        ) from error


def find_unpublished(run_dir: Path) -> str | None:
    """Return what is wrong where something of a sealing is left and its published hash is not; else None."""
    home = directory(run_dir)
    if read_published(run_dir) is not None:
        return None
    if (home / RATINGS).exists():
        return f"There are ratings, but {home / PUBLISHED} is gone; restore it from a backup, or start a new run."
    if (home / SEALED).exists():
        return (
            f"{home / PUBLISHED} is not there: sealing was cut off, or the hash was deleted. If nobody has rated, "
            "run the phase score again, which seals anew; else restore the file from a backup."
        )
    return None


def find_broken(run_dir: Path, sealed: Sealed) -> str | None:
    """Return what is no longer as it was sealed, None when all is: the mapping's hash, the takes' records, the
    reference and every clip."""
    if read_published(run_dir) != digest_of(sealed):
        return "the sealed mapping does not have the hash that was published before the first rating"
    kept = {f"{side}/{TAKES}": digest for side, digest in sealed.takes_sha256.items()}
    if sealed.reference_sha256 is not None:
        kept[str(REFERENCE)] = sealed.reference_sha256
    if sealed.hidden_sha256 is not None:
        kept[str(HIDDEN)] = sealed.hidden_sha256
    for name, digest in kept.items():
        try:
            if sha256_file(run_dir / name) != digest:
                return f"{name} was changed; takes and reference are immutable once sealed"
        except OSError:
            return f"{name} is missing"
    for clip in sealed.clips:
        path = directory(run_dir) / CLIPS / clip.file
        try:
            data = path.read_bytes()
        except OSError:
            return f"the sealed clip {clip.file} is missing"
        if sha256_bytes(data) != clip.sha256:
            return f"the sealed clip {clip.file} was changed"
    return None


def load_intact(run_dir: Path) -> Sealed:
    """Return the mapping once its hash and all clips were found as sealed.

    Raises:
        FileNotFoundError: nothing is sealed.
        SealBroken: something was changed.
    """
    sealed = load(run_dir)
    problem = find_broken(run_dir, sealed)
    if problem:
        raise SealBroken(
            f"The listening test of {run_dir.name} cannot be used: {problem}; "
            "restore the file, or delete the run's listening directory and let people rate again."
        )
    return sealed
