"""What goes on the branch: the record whole, clips where they may go, the reference never."""

import datetime
import io
import json
import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import soundfile

from bench.controller import conclude
from bench.controller.run import Run
from bench.controller.sharing import rated_elsewhere
from bench.controller.wheel import REPO
from bench.errors import BadInput
from bench.publish.names import Names, read_research
from bench.publish.permission import SIDES, Permission, Side, read_permission
from bench.publish.settings import ClipFormat
from bench.records.run import Manifest
from bench.records.take import Take
from bench.records.verdict import Verdict
from bench.report import ReportView, as_json, render, view, write_markdown
from bench.report.record import escape_md
from bench.storage.digests import sha256_file
from bench.storage.record_file import load_record
from bench.verdict.collect import read_takes
from bench.verdict.evidence import Evidence
from bench.verdict.rule import decide, verdict_bytes

AS_THEY_ARE = ("install.json", "neighbour.json")
METRICS = "metrics.json"
REPORT_MARKDOWN = "report.md"
_LOSSLESS = {"PCM_16": "PCM_16", "PCM_24": "PCM_24", "PCM_S8": "PCM_S8"}
_BLIND = "not every rater has finished"


@dataclass(frozen=True, slots=True)
class Contents:
    """The files of a publication by their path in the repository, and what was kept back of the clips."""

    files: dict[str, bytes]
    missing: dict[str, bytes]
    """Files that go only where the branch has none of that name."""
    withheld: dict[Side, str | None]
    """Why a side's clips are not among the files; None where they are, or where there are none."""


def gather(
    run_dir: Path, verdict: Verdict, today: datetime.date, names: Names, clip_format: ClipFormat = "wav"
) -> Contents:
    """Make every file of the publication; the same run directory gives the same bytes.

    Args:
        run_dir: a run with a decision.
        verdict: what its `verdict.json` says.
        today: the day on which the rights must hold.
        names: where each file goes.
        clip_format: `wav` is the very files that were timed, `flac` their samples.

    Raises:
        BadInput: the run no longer gives that verdict, or a clip is not the one that was timed.
    """
    manifest = load_record(Manifest, run_dir)
    allowed = read_permission(manifest, today)
    evidence = conclude.collect_evidence(run_dir)
    # Takes that another run of the survey has borrowed are known to nobody until that one is decided.
    borrowed = rated_elsewhere(Run(run_dir))
    kept_back = borrowed is not None or any(map(allowed.withheld, SIDES))
    shown = _build_view(run_dir, verdict, evidence, with_clips=not kept_back)
    # What was sealed for rating stays silent until all have rated, here as in the report.
    blind = evidence.ratings is not None and not shown.revealed
    withheld: dict[Side, str | None] = {side: _BLIND if blind else allowed.withheld(side) for side in SIDES}
    if borrowed is not None:
        withheld["baseline"] = f"the same takes are still to be rated in {borrowed}"
    shown.reference = {
        name: said
        for name, said in shown.reference.items()
        if name == "Licence" or (name != "Transcript" and allowed.voice is None)
    }
    if not any(withheld.values()):
        shown.may_publish_clips = True
    files = {
        "verdict.json": verdict_bytes(verdict),
        "manifest.json": _strip_manifest(manifest, private=allowed.voice is not None),
        "report.html": render(shown).encode(),
    }
    for name in AS_THEY_ARE if blind or borrowed else (*AS_THEY_ARE, METRICS):
        if (run_dir / name).is_file():
            files[name] = (run_dir / name).read_bytes()
    clips = 0
    for side in SIDES:
        takes = None if blind else read_takes(run_dir / side)
        if takes is None or (side == "baseline" and borrowed is not None):
            continue
        files[f"{side}/takes.jsonl"] = (run_dir / side / "takes.jsonl").read_bytes()
        if withheld[side] is None:
            spoken = _read_clips(run_dir / side, takes, clip_format)
            files |= {f"{side}/{name}": data for name, data in spoken.items()}
            clips += len(spoken)
    beside = posixpath.relpath(names.benchmark, names.samples)
    spoken_of = [f"{side}/" for side in SIDES if f"{side}/takes.jsonl" in files]
    files[REPORT_MARKDOWN] = write_markdown(
        shown, ["verdict.json", "report.html", beside, *spoken_of]
    ).encode()
    said = _spell_format(clip_format) if clips else ""
    files["README.md"] = _readme(shown, allowed, withheld, names, said).encode()
    whole = {f"{names.samples}/{name}": data for name, data in files.items()}
    whole[names.benchmark] = as_json(shown).encode()
    research = read_research(REPO, names)
    return Contents(
        files=whole, missing={names.research: research} if research is not None else {}, withheld=withheld
    )


def _build_view(run_dir: Path, verdict: Verdict, evidence: Evidence, *, with_clips: bool) -> ReportView:
    decided = decide(evidence)
    if verdict_bytes(decided) != verdict_bytes(verdict):
        raise BadInput(
            f"{run_dir / 'verdict.json'} is not what the run gives now: it was edited, or the run went on since. "
            f"Make it again with `audition verdict {run_dir.name}`, then publish."
        )
    return view.build(run_dir, decided, evidence, revealed=True, with_clips=with_clips)


def _read_clips(folder: Path, takes: list[Take], clip_format: ClipFormat) -> dict[str, bytes]:
    """Return the timed takes of one side: the very samples."""
    found: dict[str, bytes] = {}
    for take in takes:
        if take.wav is None or take.error is not None:
            continue
        path = folder / take.wav
        if path.name != take.wav or not path.is_file() or sha256_file(path) != take.sha256:
            raise BadInput(
                f"{path} is not the clip that was timed ({take.utterance_id}); restore it from a backup. "
                "Nothing was published."
            )
        data = path.read_bytes() if clip_format == "wav" else _encode_flac(path)
        found[f"{path.stem}.{clip_format}"] = data
    return found


def _encode_flac(path: Path) -> bytes:
    with soundfile.SoundFile(path) as sound:
        subtype = _LOSSLESS.get(sound.subtype)
        if subtype is None:
            raise BadInput(f"{path} holds {sound.subtype} samples, which FLAC cannot keep as they are.")
        samples = sound.read(dtype="int32")
        out = io.BytesIO()
        soundfile.write(out, samples, sound.samplerate, format="FLAC", subtype=subtype)
    return out.getvalue()


def _strip_manifest(manifest: Manifest, *, private: bool) -> bytes:
    """Return the manifest without the reference's words and file names and without a login in an address.

    Where clips may not go (`private`), nothing but hashes, lengths, licence and expiry is said of the voice.
    """
    raw = manifest.model_dump(mode="json")
    reference = _strip_words(raw["reference"])
    given = reference.get("given")
    if isinstance(given, dict):
        given.pop("files", None)
        if private:
            rights = given.get("rights") or {}
            kept = {
                key: given[key] for key in ("sha256", "audio_s", "sample_rate_hz", "channels") if key in given
            }
            said = ("licence", "expires", "sha256", "may_publish_clips")
            reference["given"] = kept | {"rights": {key: rights[key] for key in said if key in rights}}
    raw["reference"] = reference
    for key in ("model_url", "baseline_url"):
        if raw[key] is not None:
            raw[key] = strip_address(raw[key])
    return json.dumps(raw, indent=2, ensure_ascii=False).encode() + b"\n"


def _strip_words(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strip_words(each) for key, each in value.items() if key not in ("text", "transcript")}
    return [_strip_words(each) for each in value] if isinstance(value, list) else value


def strip_address(url: str) -> str:
    """Return an address without user, password, query and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _spell_format(clip_format: ClipFormat) -> str:
    if clip_format == "wav":
        return "Clips are the very WAV files that were timed; `takes.jsonl` has the SHA-256 of each."
    return (
        "Clips are FLAC of the very samples that were timed; names and SHA-256 in `takes.jsonl` are those of the WAV "
        "files in the run directory."
    )


def _readme(
    shown: ReportView, allowed: Permission, withheld: dict[Side, str | None], names: Names, clips: str
) -> str:
    lines = [
        f"# {escape_md(shown.run_id)}",
        "",
        escape_md(shown.verdict.sentence),
        "",
        f"`report.md` says why, `report.html` shows it, `verdict.json` is the record; `{names.benchmark}` has the "
        "figures of both sides. The reference recording, its "
        "words and the sealed mapping are not here; `manifest.json` lacks the words and the files' names.",
        "",
    ]
    for side, model in zip(SIDES, (shown.candidate, shown.baseline), strict=True):
        why = withheld[side]
        lines.append(
            f"- {side}, {escape_md(model.title)}: "
            + (f"no clips, because {escape_md(why)}. " if why else "")
            + f"Licences: {escape_md('; '.join(model.licences) or 'not stated')}."
        )
        lines += [f"  > {escape_md(notice)}" for notice in model.notices]
    if any(withheld.values()):
        lines += ["", "So the report has no players of either side."]
    if clips:
        lines += [
            "",
            f"The voice is synthetic: no recording of its speaker is here. {clips}",
        ]
    return "\n".join(lines) + "\n"
