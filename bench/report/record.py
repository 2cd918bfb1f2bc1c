"""The report as Markdown for a pull request, and as JSON."""

import json
import re
from collections.abc import Sequence

from bench.records.verdict import RatingsResult
from bench.report import words
from bench.report.objective import objective_rows
from bench.report.view import ReportView
from bench.verdict.controls import spell_controls


def as_json(view: ReportView) -> str:
    """Return the view as JSON, without the sound itself."""
    return json.dumps(view.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def escape_md(text: object) -> str:
    """Escape text from files so that Markdown shows it as it is: no markup, no HTML, no mention, one line."""
    flat = " ".join(str(text).split())
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    flat = re.sub(r"([\\`*_\[\]#|~])", r"\\\1", flat)
    # A zero-width space keeps @name and #12 from calling people and issues.
    return flat.replace("@", "@\u200b").replace("\\#", "\\#\u200b").replace("://", ":\u200b//")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]


def write_markdown(
    view: ReportView, files: Sequence[str] = ("verdict.json", "report.html", "report.json")
) -> str:
    """Return the record for a pull request: all facts of the page, without its pictures and sound.

    `files`: what to link, as seen from this file; each link begins with a dot, by which `link_from_outside` knows it.
    """
    verdict = view.verdict
    lines = [f"## {escape_md(verdict.sentence)}", ""]
    lines += [
        f"{escape_md(view.candidate.title)} against {escape_md(view.baseline.title)} on {escape_md(view.host)}, "
        f"profile {escape_md(view.profile)}, run `{_code(view.run_id)}`.",
        "",
    ]
    if said := words.heard(view):
        lines += [escape_md(said), ""]
    if verdict.next.commands:
        lines += ["```sh", *(_code(command) for command in verdict.next.commands), "```", ""]
    rows = []
    for gate in verdict.gates:
        label, value, limit = words.gate_words(gate)
        state = words.gate_state(gate, awaiting=verdict.reason is None)
        rows.append([escape_md(label), escape_md(value), escape_md(limit), state])
    lines += _table(["Gate", "Found", "Needed", "Result"], rows)
    lines += _playable(view)
    found = [*view.alarms, *verdict.warnings]
    lines += [*(f"- {escape_md(warning)}" for warning in found), *([""] if found else [])]
    lines += _ratings(view) + _raters(view) + _pairs(view) + _latency(view) + _objective(view) + _memory(view)
    lines += _neighbour(view) + _takes(view) + _where(view) + _origin(view)
    named = [
        (path.rstrip("/").rpartition("/")[2], path if path.startswith(".") else f"./{path}") for path in files
    ]
    lines.append(f"Files: {', '.join(f'[{escape_md(name)}]({path})' for name, path in named)}")
    return "\n".join(lines).rstrip() + "\n"


OUTSIDE = r"\([^\\]\)](\."
"""What begins a link of ours, as sed writes it; in text from files the bracket is escaped."""


def link_from_outside(text: str, folder: str) -> str:
    """Return the Markdown with its links led into `folder`, an address: in a pull request's body they lead nowhere."""
    return re.sub(r"([^\\])\]\(\.", lambda found: f"{found[1]}]({folder}/.", text)


def _code(text: str) -> str:
    return " ".join(text.replace("`", "'").split())


def _playable(view: ReportView) -> list[str]:
    if not view.revealed or not view.verdict.playability:
        return []
    sides = view.verdict.playability
    columns = [words.playability(found) for found in sides.values()]
    rows = [[row[0][0], *(value for _, value in row)] for row in zip(*columns, strict=True)]
    return _table(["Playability", *(escape_md(view.side(side).name) for side in sides)], rows)


def _ratings(view: ReportView) -> list[str]:
    ratings = view.verdict.ratings
    if not ratings:
        return []
    lines = ["### Ratings", "", f"Asked: \u201c{escape_md(view.question)}\u201d", ""]
    if view.revealed and isinstance(ratings, RatingsResult):
        low, high = ratings.interval_95
        lines += [
            f"{escape_md(view.candidate.name)} {words.number(ratings.candidate_mean)}, "
            f"{escape_md(view.baseline.name)} {words.number(ratings.baseline_mean)}; difference "
            f"{words.number(ratings.mean_difference, signed=True)} over {ratings.n} ratings, "
            f"{words.number(ratings.margin, signed=True)} needed; 95% interval {words.number(low, signed=True)} to "
            f"{words.number(high, signed=True)}, exact sign-flip p {words.number(ratings.sign_flip_p)}; "
            f"{ratings.wins} won, {ratings.ties} tied, {ratings.losses} lost.",
            "",
        ]
        anchor = ratings.anchor
        if anchor.trials:
            lines += [
                f"{words.anchor_name(anchor)}: scored above the take beside it in {anchor.reference_higher} of "
                f"{anchor.trials} trials.",
                "",
            ]
        if second := ratings.second_question:
            lines += [
                f"Asked besides, outside the rule: \u201c{escape_md(second.question)}\u201d "
                f"{escape_md(view.candidate.name)} {words.number(second.candidate_mean)}, "
                f"{escape_md(view.baseline.name)} {words.number(second.baseline_mean)}; difference "
                f"{words.number(second.mean_difference, signed=True)} over {second.n}; {second.wins} won, "
                f"{second.ties} tied, {second.losses} lost.",
                "",
            ]
        lines += [f"- {escape_md(line)}" for line in words.heard_besides(view, ratings)] + [""]
        if ratings.controls is not None:
            lines += [escape_md(spell_controls(ratings.controls)), ""]
    power = ratings.power
    if power:
        gaps = list(power[0].passes_at_gap)
        lines += [
            f"How often {power[0].pairs} pairs and {power[0].raters} rater(s) clear the margin, by the true "
            "difference:",
            "",
            *_table(
                ["SD of the true difference", *gaps],
                [[f"{row.sd:g}", *(f"{value:.1%}" for value in row.passes_at_gap.values())] for row in power],
            ),
            *([words.assumed(power), ""] if words.assumed(power) else []),
        ]
    return lines


def _latency(view: ReportView) -> list[str]:
    rows = []
    for name in ("ttfa_ms", "ttfa_audible_ms", "rtf"):
        label, unit = words.FIGURES[name]
        for side, figure in view.figures(name):
            rows.append(
                [label, escape_md(view.side(side).name), words.number(figure.p50, unit),
                 words.number(figure.p95, unit), str(figure.n)]
            )  # fmt: skip
    if not rows:
        return []
    return ["### Latency", "", *_table(["Figure", "Model", "p50", "p95", "Takes"], rows), *_measured(view)]


def _measured(view: ReportView) -> list[str]:
    found = []
    for one in view.measured:
        spoken = view.candidate if one.side == "candidate" else view.baseline
        said = f"{escape_md(spoken.name)} from {escape_md(one.host)}"
        if one.remote:
            said += (
                f" to {escape_md(one.server)} (connecting {words.number(one.connect_ms, 'ms')}, round trip "
                f"{words.number(one.round_trip_ms, 'ms')}; the round trip is in every figure, connecting in none)"
            )
        if view.revealed:
            said += f"; its voice: {escape_md(one.voice)}"
        if (machine := view.machine.get(one.side)) is not None:
            said += f"; beside it, {', '.join(words.machine(machine))}"
        found.append(said)
    return [f"**Measured:** {'. '.join(found)}.", ""] if found else []


def _memory(view: ReportView) -> list[str]:
    figures = [
        f"{label} {words.gib(figure.bytes)}"
        for label, figure in words.memory_figures(view.verdict.memory)
        if figure.bytes is not None
    ]
    return [f"**Memory, peak:** {', '.join(figures)}.", ""] if figures else []


def _neighbour(view: ReportView) -> list[str]:
    found = view.verdict.neighbour
    if not found or found.mode == "none":
        return []
    return [
        f"**Neighbour ({escape_md(found.mode)}):** p50 {words.number(found.p50_before_ms, 'ms')} before, "
        f"{words.number(found.p50_after_ms, 'ms')} after ({words.number(found.ratio, '×')}, limit "
        f"{words.number(found.limit, '×')}); out of service {words.number(found.down_s, 's')}.",
        "",
        *([words.outage(view.neighbour_outage), ""] if view.neighbour_outage else []),
    ]


def _pairs(view: ReportView) -> list[str]:
    """Name what each sentence was scored, once revealed."""
    scored = [
        pair for pair in view.pairs if pair.candidate_score is not None and pair.baseline_score is not None
    ]
    if not view.revealed or not scored:
        return []
    rows = [
        [
            escape_md(f"{pair.utterance_id}: {pair.text}"),
            words.number(pair.candidate_score),
            words.number(pair.baseline_score),
        ]
        for pair in scored
    ]
    return _table(
        ["Sentence, mean score", escape_md(view.candidate.name), escape_md(view.baseline.name)], rows
    )


def _objective(view: ReportView) -> list[str]:
    rows = [
        [
            row["label"],
            words.number(row["median"], row["unit"], signed=True),
            words.number(row["lowest"], signed=True),
            words.number(row["highest"], signed=True),
            str(row["n"]),
        ]
        for row in objective_rows(view.metrics)
    ]
    head = ["Candidate minus baseline; decides nothing", "Median", "Lowest", "Highest", "Sentences"]
    return _table(head, rows) if rows else []


def _takes(view: ReportView) -> list[str]:
    said = [
        f"{side} {found.valid} valid of {found.made}" + (f" ({found.pass_error})" if found.pass_error else "")
        for side, found in view.verdict.failures.items()
        if found
    ]
    return [f"**Takes:** {escape_md(', '.join(said))}.", ""] if said else []


def _where(view: ReportView) -> list[str]:
    """Say on what machine, by which Audition, when, and how long each phase took."""
    lines = []
    if view.hardware:
        facts = ", ".join(f"{name.lower()} {value}" for name, value in view.hardware.items())
        lines += [f"**Host:** {escape_md(view.host)}, {escape_md(facts)}.", ""]
    said = [f"intended use {view.intended_use}", f"neighbour mode {view.neighbour_mode}"]
    said += [] if view.install_s is None else [f"installed in {words.number(view.install_s, 's')}"]
    said += [f"reference: {name.lower()} {value}" for name, value in view.reference.items()]
    lines += [f"**How:** {escape_md('; '.join(said))}.", ""]
    when = [f"begun {view.created_utc}", *([f"commit {view.git_commit}"] if view.git_commit else [])]
    when += [
        f"{phase.name} {phase.status}" + ("" if phase.seconds is None else f" in {phase.seconds:.0f} s")
        for phase in view.phases
    ]
    return [*lines, f"**When:** {escape_md(', '.join(when))}.", ""]


def _raters(view: ReportView) -> list[str]:
    """Name each rater with their mean and notes, once revealed."""
    ratings = view.verdict.ratings
    if not view.revealed or not isinstance(ratings, RatingsResult):
        return []
    lines = [
        f"- {escape_md(name)}: mean difference {words.number(mean, signed=True)}"
        for name, mean in ratings.by_rater.items()
    ]
    lines += [
        f"- {escape_md(note.rater)} on {escape_md(pair.utterance_id)}: \u201c{escape_md(note.text)}\u201d"
        for pair in view.pairs
        for note in pair.notes
    ]
    return [*lines, ""] if lines else []


def _origin(view: ReportView) -> list[str]:
    versions = [words.version(side) for side in (view.candidate, view.baseline) if side.version or side.ran]
    versions += [f"{name} {value}" for name, value in view.versions.items()]
    lines = [f"**Versions:** {escape_md(', '.join(versions))}.", ""] if versions else []
    for side in (view.candidate, view.baseline):
        if side.kernels:
            lines += [f"**Kernels of {escape_md(side.name)}:** {escape_md(words.kernels(side))}.", ""]
    notices = [*view.candidate.notices, *view.baseline.notices]
    lines += [f"> {escape_md(notice)}" for notice in notices] + ([""] if notices else [])
    licences = [
        f"{side.title}: {', '.join(side.licences) or 'none stated'}"
        for side in (view.candidate, view.baseline)
    ]
    lines += [f"**Licences:** {escape_md('; '.join(licences))}.", ""]
    fixed = ", ".join(f"{name.lower()} `{_code(value)}`" for name, value in view.commitments.items())
    return [*lines, f"**Fixed beforehand (SHA-256):** {fixed}.", ""]
