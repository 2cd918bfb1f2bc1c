"""How figures and names are spelt for people; the same on the page and in the Markdown."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.records.machine import MachineState
from bench.records.memory import Figure, MemoryFigures
from bench.records.neighbour import OutagePart
from bench.records.verdict import Anchors, Gate, Nothing, Playability, PowerRow, RatingsResult

if TYPE_CHECKING:
    from bench.report.view import ReportView, Side

GATES: dict[str, tuple[str, str, str]] = {
    "licence": ("Licence allows the intended use", "", ""),
    "clone_encoder": ("Clone encoder is published", "", ""),
    "disk_gib": ("Disk that is free", "at least", "GiB"),
    "memory_gib": ("Memory that is free", "at least", "GiB"),
    "docker": ("Docker answers", "", ""),
    "engine_port": ("The engine's port is free", "", ""),
    "neighbour": ("The neighbour is well", "", ""),
    "install": ("Installed and spoke", "", ""),
    "valid_candidate_takes": ("Valid takes of the candidate", "at least", ""),
    "valid_baseline_takes": ("Valid takes of the baseline", "at least", ""),
    "raters_finished": ("Raters who have finished", "at least", ""),
    "rating_margin": ("Mean rating, candidate minus baseline", "at least", "points"),
    "ttfa_p50_ms": ("Time to first audio, median", "at most", "ms"),
    "failed_takes": ("Failed takes of the candidate", "at most", ""),
    "rtf_p50": ("Real-time factor, median", "at most", ""),
    "stall_ms": ("Longest stall of a take", "at most", "ms"),
    "ttfa_audible_p50_ms": ("Time to first audible sound, median", "at most", "ms"),
}
"""Name of a gate to its label, the sense of its limit, and its unit."""

DECISIONS = {
    "swap_candidate": "Swap",
    "keep_baseline_try_next": "Keep the baseline, try the next",
    "keep_baseline_survey_complete": "Keep the baseline, survey complete",
    "awaiting_ratings": "Awaiting ratings",
    "awaiting_baseline": "Awaiting the baseline",
}

FIGURES = {
    "ttfa_ms": ("Time to first audio", "ms"),
    "ttfa_audible_ms": ("Time to first audible sound", "ms"),
    "ttfb_ms": ("Time to first byte", "ms"),
    "total_ms": ("Total time", "ms"),
    "rtf": ("Real-time factor", ""),
    "rtf_after_first": ("Real-time factor after the first chunk", ""),
    "stall_ms": ("Stalled while playing", "ms"),
}

MEMORY = {
    "gpu_process": "GPU, the engine's processes",
    "torch_allocated": "PyTorch, allocated",
    "torch_reserved": "PyTorch, reserved",
    "available_dip": "Fall of available memory",
    "cgroup": "The engine's cgroup",
    "rss": "Resident sets",
}

NOT_TAKEN = "not taken"


def number(value: float | None, unit: str = "", signed: bool = False) -> str:
    """Spell a figure with three significant digits or none lost above 100; null is said, never shown as 0."""
    if value is None:
        return NOT_TAKEN
    if float(value).is_integer() and abs(value) < 1e15:
        text = f"{value:+.0f}" if signed and value else f"{value:.0f}"
    elif abs(value) >= 100:
        text = f"{value:+.1f}" if signed else f"{value:.1f}"
    else:
        text = f"{value:+.3g}" if signed else f"{value:.3g}"
    text = text.replace("-", "\u2212")
    return f"{text}\u00a0{unit}" if unit else text


def gib(value: float | None) -> str:
    """Spell bytes in GiB, or MiB under a tenth of one."""
    if value is None:
        return NOT_TAKEN
    if value < 2**30 / 10:
        return f"{value / 2**20:.0f}\u00a0MiB"
    return f"{value / 2**30:.2f}\u00a0GiB"


def anchor_name(anchor: Anchors) -> str:
    """Name what stood beside a take: the speaker, hidden; or what raters could hear openly, to see that they listen."""
    return "Hidden reference" if anchor.hidden_reference else "Attention check, the open reference itself"


def heard_besides(view: "ReportView", ratings: RatingsResult) -> list[str]:
    """Say what of the clips belongs to the engines and could be heard: rates, bandwidths, what sealing noticed."""
    sides = [
        f"{view.side(side).name} speaks at {sound.rate_hz / 1000:g} kHz and reaches "
        f"{sound.bandwidth_hz / 1000:.1f} kHz."
        for side, sound in (ratings.sound or {}).items()
    ]
    return [*sides, *(ratings.noticed or [])]


def memory_figures(memory: MemoryFigures | Nothing) -> list[tuple[str, Figure]]:
    """Return each figure of memory with its label; none where memory was not measured."""
    return [(label, getattr(memory, name)) for name, label in MEMORY.items()] if memory else []


def machine(state: MachineState) -> list[str]:
    """Say what else a machine did during a pass; what could not be told is said too."""
    others = "what other programs used could not be told"
    if state.others_cores is not None:
        others = f"other programs used {number(state.others_cores)} of {state.cpus} cores"
    said = [others, f"load {number(state.load_before)} before and {number(state.load_after)} after"]
    said.append("steal " + (NOT_TAKEN if state.steal is None else number(100 * state.steal, "%")))
    clock = f"processor {number(state.cpu_mhz, 'MHz')}"
    clock += f" of {number(state.cpu_max_mhz, 'MHz')}" if state.cpu_max_mhz is not None else ""
    said.append(clock + (f", governor {state.governor}" if state.governor else ""))
    if state.throttled:
        said.append(f"slowed for its temperature {state.throttled} times")
    for gpu in state.gpus:
        slowed = f", held down by {', '.join(gpu.slowed).replace('_', ' ')}" if gpu.slowed else ""
        company = "" if gpu.others is None else f", {gpu.others} other processes on it"
        said.append(
            f"{gpu.name or 'GPU'} {number(gpu.sm_mhz, 'MHz')} of {number(gpu.sm_max_mhz, 'MHz')}, at most "
            f"{number(gpu.temperature_c, '°C')}{slowed}{company}"
        )
    return said


def version(side: "Side") -> str:
    """Spell what ran, and what was asked for where that is another version."""
    ran = side.version or side.ran or NOT_TAKEN
    if side.asked:
        ran += f", asked for {side.asked}"
    if side.reason:
        ran += f": {side.reason.rstrip('.')}"
    return ran + (f" (read back: {side.ran})" if side.ran and side.version else "")


def kernels(side: "Side") -> str:
    """Spell which kernels ran: parts that ran on the same together, each that gave way with its reason."""
    by_kind: dict[str, list[str]] = {}
    for part, ran in side.kernels.items():
        by_kind.setdefault(ran, []).append(part)
    return "; ".join(f"{', '.join(parts)}: {ran}" for ran, parts in by_kind.items())


def heard(view: "ReportView") -> str:
    """Say first how many of the candidate's timed takes were heard, and why the others were not."""
    found = view.verdict.failures.get("candidate")
    if found is None:
        return ""
    made = found.made + (found.never_made or 0)
    line = f"{found.valid} of {made} timed takes of {view.candidate.name} were heard"
    kinds = Counter(each.kind for each in found.failed)
    if found.never_made:
        kinds["never made"] = found.never_made
    if not kinds:
        return f"{line}."
    return f"{line}; {made - found.valid} failed ({', '.join(f'{kind} {n}' for kind, n in kinds.most_common())})."


def playability(found: Playability) -> list[tuple[str, str]]:
    """Return the figures of one side's playability, each with its label."""
    endless = "infinite" if found.never_heard else NOT_TAKEN
    rtf, audible = found.rtf_p50, found.ttfa_audible_ms_p50
    return [
        ("Real-time factor, median", endless if rtf is None else number(rtf)),
        ("Takes slower than speech", f"{number(found.slower_than_speech)} of {found.takes}"),
        ("Takes that stall", f"{number(found.stalled)} of {found.takes}"),
        ("Stall, median", number(found.stall_ms_p50, "ms")),
        ("Stall, longest", number(found.stall_ms_most, "ms")),
        ("Start buffer that avoids all", number(found.start_buffer_ms_most, "ms")),
        ("Time to first audible sound, median", endless if audible is None else number(audible, "ms")),
    ]


def assumed(power: list[PowerRow]) -> str:
    """Say what the power table takes for granted; nothing for a table of method 3."""
    rows = [(row.sd, row.assumptions) for row in power if row.assumptions is not None]
    if not rows:
        return ""
    taste, sentence, baseline = rows[0][1].taste_sd, rows[0][1].sentence_sd, rows[0][1].baseline_mean
    parts = "; ".join(f"{row.take_sd:g} and {row.rest_sd:g} of {sd:g}" for sd, row in rows)
    return (
        f"Assumed: every rater has a taste of their own (the true difference varies with SD {taste:g} from rater to "
        f"rater); the SD of the true difference is that from pair to pair about one rater's, made of what the two "
        f"takes have over each other for all raters alike and of the rest ({parts}); sentences vary with SD "
        f"{sentence:g} for both sides about a baseline's mean of {baseline:g}; ratings are rounded to 1 to 5."
    )


def gate_state(gate: Gate, *, awaiting: bool) -> str:
    """Return `passed`, `failed`, or `open` for one whose value is still to come."""
    if gate.passed:
        return "passed"
    waits = gate.value is None or gate.name in ("raters_finished", "valid_baseline_takes")
    return "open" if awaiting and waits and gate.name != "ttfa_p50_ms" else "failed"


def gate_words(gate: Gate) -> tuple[str, str, str]:
    """Return a gate's label, its value and its limit, as text."""
    label, sense, unit = GATES.get(gate.name, (gate.name.replace("_", " "), "", ""))

    def spell(value: float | str | None, signed: bool = False) -> str:
        return value if isinstance(value, str) else number(value, unit, signed)

    value = (
        "\u2014"
        if gate.value is None and gate.name == "rating_margin"
        else spell(gate.value, gate.name == "rating_margin")
    )
    limit = "\u2014" if gate.limit is None else spell(gate.limit, gate.name == "rating_margin")
    return label, value, f"{sense} {limit}".strip()


def outage(parts: Sequence[OutagePart]) -> str:
    """Return where the neighbour's seconds went, the longest reason named first."""
    whole = sum(part.seconds for part in parts)
    each = ", ".join(f"{part.reason} {number(part.seconds, 's')}" for part in parts)
    return f"From the word to stop until it was ready again {number(whole, 's')}; longest: {each}."
