"""A run of many utterances from accept to report, in a process of its own: prints by how much its memory grew.

Every take is on disk as a link to one of ten real ones, so whoever reads or encodes all of them is found out.
`python -m tests.controller.long_pass FOLDER COUNT`
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

from bench.controller import conclude, incoming, outgoing
from bench.controller.run import Run, note_phase
from bench.jobs.archive import pack
from bench.jobs.spec import JobResult, PassName
from bench.records.base import Phase
from bench.records.metrics import TakeMetrics
from bench.records.passes import Detection, PassResult
from bench.records.run import Install, Preflight
from bench.records.take import Take
from bench.storage.clock import utc_now
from bench.storage.record_file import save_record
from benchmarks.listening_run import WORDS, build
from tests.support.imported import take_in_answers

FIGURES = {
    "ttfb_ms": 9.0, "ttfa_ms": 21.5, "ttfa_audible_ms": 30.25, "total_ms": 400.0, "rtf": 0.25,
    "rtf_after_first": 0.2, "streamed": True, "chunks": 9, "stalls": 0, "stall_ms": 0.0, "start_buffer_ms": 0.0,
}  # fmt: skip


def _came_back(folder: Path, name: PassName, takes: list[Take], count: int) -> Path:
    """Return the tar of a pass: a line each of takes and metrics."""
    made = folder / f"out-{name}" / name
    made.mkdir(parents=True)
    with (made / "takes.jsonl").open("w") as lines, (made / "metrics.jsonl").open("w") as metrics:
        for number in range(1, count + 1):
            uid = f"u{number:02d}"
            figures = FIGURES | {"ttfa_ms": 20.0 + number % 97 / 10}
            take = takes[number % 10].model_copy(update={"utterance_id": uid, "wav": f"{uid}.wav", **figures})
            lines.write(take.model_dump_json() + "\n")
            found = TakeMetrics(
                utterance_id=uid, wav=f"{uid}.wav", audio_s=1.0, loudness_lufs=-20.0 - number % 7
            )
            found.f0_drift_semitones = 4.0
            metrics.write(found.model_dump_json() + "\n")
    done = PassResult(
        voice="v",
        detection=Detection(dialect="openai", chosen_by="entry"),
        measured_from="here",
        reference_cached=True,
        registration_ms=None,
        sample_rate_hz=22050,
        takes=count,
        ok=count,
        started_utc=utc_now(),
    )
    phase = "baseline" if name == "baseline" else "benchmark"
    result = JobResult(phase=phase, ok=True, seconds=1.0, passes={name: done})
    (made.parent / "result.json").write_text(result.model_dump_json())
    pack(made.parent, made.parent.with_suffix(".tar"))
    return made.parent.with_suffix(".tar")


def main(folder: Path, count: int) -> None:
    """Make the run, take it through its phases and print what each cost."""
    run = Run(folder / "espeak-here-20261122T101500Z")
    small = folder / "small"
    build(small, texts=WORDS, candidate="flite kal")
    run.path.mkdir()
    for name in ("manifest.json", "rule.yml", "reference"):
        (small / name).rename(run.path / name)
    save_record(run.manifest().model_copy(update={"utterances": count}), run.path)
    save_record(Preflight(host={}, checks=[], forecast={}), run.path)
    save_record(Install(ok=True, steps=[], total_s=1.0, limit_s=60.0), run.path)
    phases: tuple[Phase, ...] = ("preflight", "install")
    for phase in phases:
        note_phase(run, phase, utc_now())
    tars: dict[outgoing.JobPhase, tuple[PassName, Path]] = {}
    passes: tuple[tuple[outgoing.JobPhase, PassName], ...] = (
        ("benchmark", "candidate"),
        ("baseline", "baseline"),
    )
    for job, name in passes:
        lines = (small / name / "takes.jsonl").read_text().splitlines()
        takes = [Take.model_validate_json(line) for line in lines]
        tars[job] = name, _came_back(folder, name, takes, count)
    base_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown: dict[str, float] = {}
    began = time.monotonic()

    def note(step: str) -> None:
        grown[step] = round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base_kib) / 1024, 1)

    for job, (name, tar) in tars.items():
        incoming.accept(run, job, tar, utc_now())
        for number in range(1, count + 1):
            os.link(small / name / f"u{number % 10 + 1:02d}.wav", run.path / name / f"u{number:02d}.wav")
    note("accept")
    conclude.score_run(run)
    note("score")
    take_in_answers(run.path, candidate=4, baseline=3)
    said = conclude.decide_run(run)
    note("verdict and report")
    sizes = {
        name: (run.path / name).stat().st_size for name in (conclude.REPORT, conclude.RECORD, "verdict.json")
    }
    print(
        json.dumps(
            {
                "decision": said["decision"],
                "grown_mib": grown,
                "seconds": round(time.monotonic() - began, 1),
                "bytes": sizes,
                "players": (run.path / conclude.REPORT).read_text().count("<audio"),
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
