"""Records of a run made up for tests: every part can be set, the rest is in order."""

from typing import Any

from bench.records.memory import Figure, MemoryReport, Window
from bench.records.metrics import MetricsComparison
from bench.records.neighbour import ChatLatency, Moment
from bench.records.passes import PassFile
from bench.summaries.summary import summarise


def figure(value: int | None, source: str = "a witness", reason: str | None = None) -> Figure:
    return Figure(bytes=value, source=source, reason=reason)


def window(**changes: Any) -> Window:
    values: dict[str, Any] = {
        "name": "whole", "start_s": 0.0, "seconds": 1.0, "samples": 15, "gpu_process_peak_bytes": None,
        "rss_peak_bytes": 10, "cgroup_peak_bytes": None, "available_lowest_bytes": None, "power_mean_w": None,
        "power_peak_w": None, "energy_j": None, "energy_source": None, "audio_s": None, "joules_per_audio_s": None,
    }  # fmt: skip
    return Window.model_validate({**values, **changes})


def memory_report(**changes: Any) -> MemoryReport:
    none = figure(None, reason="not asked")
    values: dict[str, Any] = {
        "gpu_process": none, "torch_allocated": none, "torch_reserved": none, "available_dip": none,
        "cgroup": none, "rss": figure(10, "ps"), "baseline": None, "available_lowest_bytes": None,
        "mem_total_bytes": None, "gpus": [], "driver_version": None, "nvml_errors": {}, "whole": window(),
        "windows": [], "floor_bytes": None, "floor": None, "hz_asked": 15.0, "hz_achieved": None,
        "sample_ms_p50": None, "sample_ms_max": None, "cpu_fraction": None, "sampler_error": None,
        "series": {"t_s": [0.0]},
    }  # fmt: skip
    return MemoryReport.model_validate({**values, **changes})


def moment(values_ms: list[float]) -> Moment:
    """The neighbour's latency, measured once."""
    total = summarise(values_ms)
    latency = ChatLatency(
        url="http://127.0.0.1:8003", model="m", measured_from="titan", taken_utc="2026-11-22T10:15:00Z",
        n=total.n, discarded_ms=[], total_ms=total, p50_of_5_ms=None, max_tokens=32, completion_tokens=[],
        fixed_length=True, ignore_eos=True, reconnects=0,
    )  # fmt: skip
    return Moment(p50_ms=total.p50, latency=[latency])


def pass_file(**changes: Any) -> PassFile:
    made = {
        "voice": "v", "detection": {"dialect": "openai", "chosen_by": "entry"}, "measured_from": "titan",
        "reference_cached": True, "registration_ms": None, "sample_rate_hz": 24000,
        "started_utc": "2026-11-22T10:20:00Z",
    }  # fmt: skip
    values: dict[str, Any] = {
        "pass": made, "health": {}, "fp32_retries": None, "engine_start_s": None, "reference_f0_hz": None,
        "network": None, "voice_check": None,
    }  # fmt: skip
    return PassFile.model_validate({**values, **changes})


def comparison(**changes: Any) -> MetricsComparison:
    """Both sides' metrics beside each other; what is not named was not measured."""
    none = {
        "by_utterance": {}, "n": 0, "mean": None, "median": None, "lowest": None, "highest": None, "left_out": [],
    }  # fmt: skip
    paired = (
        "f0_semitones", "similarity", "word_error_rate", "loudness_lufs", "leading_silence_s",
        "trailing_silence_s", "pauses_s", "speaking_rate_wps", "clipped_fraction",
    )  # fmt: skip
    values: dict[str, Any] = {
        "pairs": 10, "unpaired": [], "similarity_reason": None, "duration_ratios": {},
        "duration_ratio_median": None, "candidate_f0_drift_median_semitones": None,
        "baseline_f0_drift_median_semitones": None, "alarms": [], **dict.fromkeys(paired, none),
    }  # fmt: skip
    changed = {name: {**none, **value} if name in paired else value for name, value in changes.items()}
    return MetricsComparison.model_validate({**values, **changed})
