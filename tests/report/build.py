"""A run directory of real speech, two voices of flite on trial and in service, with ratings and all records."""

import io
import subprocess
from pathlib import Path
from typing import Any

import soundfile

from bench.records.machine import MachineState
from bench.records.memory import MemoryReport
from bench.records.metrics import Alarm, MetricsComparison
from bench.records.neighbour import LeaseAccount, NeighbourRecord, OutagePart
from bench.records.passes import NetworkCost, PassFile, VoiceCheck
from bench.records.take import Take
from bench.records.verdict import Verdict
from bench.report import ReportView, build
from bench.storage.digests import sha256_file
from bench.summaries.summary import summarise
from bench.verdict.evidence import Evidence
from bench.verdict.rule import decide
from tests.support.made_evidence import answer, evidence, manifest, ratings
from tests.support.records import comparison, figure, memory_report, moment, pass_file, window

SENTENCES = (
    "Good morning.",
    "Your table is booked for half past seven.",
    "Shall I read the message to you now?",
    "The meter says four thousand two hundred and seven.",
    "I have put milk, bread and two lemons on the list.",
    "Doctor Almeida called while you were away, and asked you to call back before noon.",
    "One moment, please.",
    "The train leaves from platform nine in eleven minutes.",
    "I could not find that file; would you like me to look in the archive?",
    "It will rain until four, and then the sky clears from the west.",
)


def speak(engine: str, text: str, path: Path) -> None:
    if engine == "espeak":
        command = ["flite", "-voice", "kal", "-t", text, "-o", str(path)]
    else:
        command = ["flite", "-voice", "slt", "-t", text, "-o", str(path)]
    subprocess.run(command, check=True, capture_output=True)


def side_takes(run_dir: Path, side: str, engine: str, ttfa_ms: float) -> list[Take]:
    folder = run_dir / side
    folder.mkdir(parents=True)
    made = []
    for number, text in enumerate(SENTENCES, start=1):
        name = f"u{number:02d}"
        path = folder / f"{name}.wav"
        speak(engine, text, path)
        info = soundfile.info(io.BytesIO(path.read_bytes()))
        seconds = info.frames / info.samplerate
        ttfa = ttfa_ms + (number * 37 % 11) * 9.0
        total = ttfa + seconds * 380.0 + (number * 53 % 7) * 11.0
        made.append(
            Take(
                utterance_id=name,
                text=text,
                voice="reference",
                wav=path.name,
                sha256=sha256_file(path),
                sample_rate_hz=info.samplerate,
                audio_s=seconds,
                ttfb_ms=ttfa - 4.0,
                ttfa_ms=ttfa,
                ttfa_audible_ms=ttfa + 60.0,
                total_ms=total,
                rtf=total / 1000 / seconds,
                rtf_after_first=0.31,
                streamed=True,
                chunks=9,
                stalls=0,
                stall_ms=0.0,
                start_buffer_ms=0.0,
                reference_cached=True,
            )
        )
    return made


def measured_memory() -> MemoryReport:
    times = [0.1 * step for step in range(300)]
    gib = 2**30
    used = [int(gib * (0.4 if t < 4 else 3.1 + 0.5 * ((t * 1.3) % 3 > 2))) for t in times]
    none = figure(None, "torch", "the engine has no torch")
    return memory_report(
        gpu_process=figure(max(used), "NVML, per process"),
        torch_allocated=none,
        torch_reserved=none,
        available_dip=figure(int(3.4 * gib), "MemAvailable"),
        cgroup=figure(None, "cgroup", "not in a container"),
        rss=figure(int(1.2 * gib), "smaps"),
        windows=[window(name="candidate", audio_s=31.7, joules_per_audio_s=2.5)],
        series={
            "t_s": times,
            "gpu_process_bytes": used,
            "available_bytes": [int(118 * gib) - value for value in used],
            "rss_bytes": [int(value * 0.4) for value in used],
            "cgroup_bytes": [None] * len(times),
            "power_w": [40.0] * len(times),
        },
    )


def neighbour_record() -> NeighbourRecord:
    return NeighbourRecord(
        mode="pause",
        name="vllm-gemma4",
        url="http://127.0.0.1:8003",
        run_id="r",
        state="restored",
        before=moment([412.0 + (n * 29 % 13) * 1.7 for n in range(20)]),
        after=moment([418.0 + (n * 31 % 17) * 1.9 for n in range(20)]),
        limit=1.2,
        pauses=2,
        down_s=143.2,
        leases=[
            _lease("takes and warm-ups", 61.3, "loading the candidate", 40.0),
            _lease("loading the candidate", 41.9),
        ],
    )


def _lease(*parts: str | float) -> LeaseAccount:
    outage = [
        OutagePart(reason=str(reason), seconds=float(s))
        for reason, s in zip(parts[::2], parts[1::2], strict=True)
    ]
    return LeaseAccount(
        lease_id="l", stopped=True, reason="released", seconds=71.6, start_attempts=1, engines_ended=[],
        watcher_starts=1, floor_reached=True, outage=outage, events=[],
    )  # fmt: skip


def metrics_record() -> MetricsComparison:
    difference = {"n": 10, "mean": 0.3, "median": 0.4, "lowest": -0.2, "highest": 1.1}
    return comparison(
        f0_semitones=difference,
        loudness_lufs={**difference, "median": -5.25},
        alarms=[alarm("voice_drift", f"u{number:02d}", 3.0 + number / 10) for number in range(1, 10)]
        + [alarm("voice_drift", None, 3.4), alarm("duration", "u04", 2.6)],
    )


def alarm(kind: str, utterance_id: str | None, value: float | None, **more: Any) -> Alarm:
    """An alarm as `metrics.json` has it."""
    body = {"kind": kind, "side": "candidate", "utterance_id": utterance_id, "value": value, "limit": 3.0}
    return Alarm.model_validate(body | {"message": "listen"} | more)


def pass_records() -> dict[str, PassFile]:
    """How each side was measured: an engine of ours, and a server elsewhere."""
    trip = summarise([1.9, 2.1])
    network = NetworkCost(
        measured_from="titan", loopback=False, remote_address="10.0.0.7", path="/health", connect_ms=trip,
        round_trip_ms=trip,
    )  # fmt: skip
    check = VoiceCheck(
        verdict="unclear", voice="v", unknown_voice=None, unknown_refused=None,
        evidence=["average spectra: 1.25 dB between the two"], accepted="A. Person heard both, on headphones",
    )  # fmt: skip
    return {
        "candidate": pass_file(
            health={
                "revision": "f5-tts 1.1.20, weights 84e5a41",
                "profile": {
                    "kernels": {
                        "attend": "triton",
                        "convolve": "triton",
                        "turn_keys": "plain: OSError: no compiler",
                    }
                },
            }
        ),
        "baseline": pass_file(network=network, voice_check=check, machine=BUSY),
    }


BUSY = MachineState(
    cpus=4, load_before=2.5, load_after=3.0, others_cores=1.5, steal=0.0, cpu_mhz=2900.0, cpu_max_mhz=None,
    governor=None, throttled=None,
)  # fmt: skip
RULED = dict(zip(range(1, 11), (1, 0, 2, 1, 0, 1, -1, 1, 1, 0), strict=True))


def whole_evidence(run_dir: Path, **changes: Any) -> Evidence:
    extra = [
        answer(3, 5, 4, kind="repeat"),
        answer(5, 5, 5, kind="identical"),
        answer(7, 5, 3, kind="anchor"),
        *(answer(n, 3, 3 + n % 2, channel="narrowband") for n in range(1, 11)),
    ]
    rated = ratings(list(RULED.values()), extra=extra)
    rated.answers[2].note = "The question rises as it should."
    for row in rated.answers[:10]:
        row.comparison = max(-3, min(3, row.candidate - row.baseline))
        row.candidate, row.baseline = max(1, row.candidate - 1), max(1, row.baseline - 1)
    licences = {
        "code": {"spdx": "MIT", "source": "LICENSE at the pinned revision"},
        "weights": {
            "spdx": "CC-BY-NC-4.0",
            "source": "model card",
            "notice": "The weights may not be used commercially.",
        },
    }
    values: dict[str, Any] = {
        "manifest": manifest(
            entry={
                "title": "F5-TTS (espeak-ng speaks here)",
                "version": {
                    "package": "f5-tts",
                    "pin": "1.1.20",
                    "asked": "1.1.18",
                    "reason": "1.1.18 was yanked.",
                },
                "licences": licences,
            },
            baseline_entry={
                "title": "Chatterbox (flite speaks here)",
                "version": {"package": "chatterbox-tts", "pin": None},
                "licences": {"code": {"spdx": "MIT", "source": "LICENSE"}},
            },
            reference={
                "reference": {"text": "The birch canoe slid on the smooth planks."},
                "given": {"rights": {"speaker": "A made-up voice", "may_publish_clips": True}},
            },
        ),
        "candidate": side_takes(run_dir, "candidate", "espeak", 286.0),
        "baseline": side_takes(run_dir, "baseline", "flite", 402.0),
        "preset": None,
        "ratings": rated,
        "memory": measured_memory(),
        "neighbour": neighbour_record(),
        "metrics": metrics_record(),
        "passes": pass_records(),
    }
    return evidence(**{**values, **changes})


def whole_view(run_dir: Path, revealed: bool = True, **changes: Any) -> tuple[ReportView, Verdict]:
    found = whole_evidence(run_dir, **changes)
    verdict = decide(found)
    return build(run_dir, verdict, found, revealed), verdict
