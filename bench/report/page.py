"""The report as one HTML file that needs nothing else: style, script, plots and sound are inside it."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from bench.records.verdict import RatingsResult
from bench.report import plots, words
from bench.report.objective import objective_rows
from bench.report.templates import open_templates
from bench.report.tiles import make_tiles
from bench.report.view import ReportView
from bench.verdict.controls import spell_controls

_HERE = Path(__file__).parent
_FAR_BELOW_SPEECH = 0.5
"""Real-time factors that are all below this are drawn without the line at 1."""


def render(view: ReportView) -> str:
    """Return the page. The same view gives the same bytes; whatever comes from files is escaped."""
    from markupsafe import Markup

    environment = open_templates()
    environment.filters.update(
        number=words.number, gib=words.gib, short=lambda text: str(text)[:12], plain=_plain
    )
    script = (_HERE / "page.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    ratings = view.verdict.ratings
    controls = ratings.controls if isinstance(ratings, RatingsResult) and view.revealed else None
    return environment.get_template("page.html").render(
        view=view,
        verdict=view.verdict,
        awaiting=view.verdict.reason is None,
        words=words,
        tiles=[(tile, Markup(tile.picture)) for tile in make_tiles(view)],  # noqa: S704 - drawn by us
        gates=_gates(view),
        latency=_latency(view),
        controls=spell_controls(controls) if controls else "",
        playable=_playable(view),
        power=view.verdict.ratings.power if view.verdict.ratings else [],
        objective=objective_rows(view.metrics),
        plots={name: Markup(svg) for name, svg in _plots(view).items()},  # noqa: S704 - drawn by us
        other_failed=any(
            row["state"] == "failed" and row["name"] not in ("rating_margin", "ttfa_p50_ms")
            for row in _gates(view)
        ),
        contents=_contents(view),
        style=Markup((_HERE / "page.css").read_text("utf-8")),  # noqa: S704 - a file of ours
        script=Markup(script),  # noqa: S704 - a file of ours
        script_sha256=digest,
    )


def _plain(value: Any) -> str:
    """Spell a value of an open record: numbers as figures, null as not taken, the rest as text."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return words.number(value)
    return str(value)


def _gates(view: ReportView) -> list[dict[str, str]]:
    awaiting = view.verdict.reason is None
    rows = []
    for gate in view.verdict.gates:
        label, value, limit = words.gate_words(gate)
        state = words.gate_state(gate, awaiting=awaiting)
        rows.append({"name": gate.name, "label": label, "value": value, "limit": limit, "state": state})
    order = {"failed": 0, "open": 1, "passed": 2}
    return sorted(rows, key=lambda row: order[row["state"]])


def _contents(view: ReportView) -> list[tuple[str, str, bool]]:
    """Return the sections in order: their place, their name, and whether this report has them."""
    verdict = view.verdict
    neighbour = verdict.neighbour
    return [
        ("next", "What to run next", bool(verdict.next.commands)),
        ("gates", "The rule", True),
        ("playability", "Playability", bool(view.revealed and verdict.playability)),
        ("warnings", "Warnings", bool(verdict.warnings or view.alarms)),
        ("ratings", "Ratings", bool(verdict.ratings)),
        ("latency", "Latency", bool(_latency(view))),
        ("pairs", "Listen", bool(view.revealed and view.pairs)),
        ("objective", "Objective measurements", bool(objective_rows(view.metrics))),
        ("memory", "Memory", bool(verdict.memory)),
        ("neighbour", "The neighbour", bool(neighbour and neighbour.mode != "none")),
        ("how", "How it was measured", True),
    ]


def _playable(view: ReportView) -> list[dict[str, Any]]:
    """One row a figure, with a cell a side."""
    sides = [words.playability(found) for found in (view.verdict.playability or {}).values()]
    return [{"label": row[0][0], "cells": [value for _, value in row]} for row in zip(*sides, strict=True)]


def _latency(view: ReportView) -> list[dict[str, Any]]:
    """One row a figure and side, as far as the verdict shows them."""
    rows = []
    for name, (label, unit) in words.FIGURES.items():
        for side, found in view.figures(name):
            rows.append({"label": label, "unit": unit, "side": side, "figure": found})
    return rows


def _plots(view: ReportView) -> dict[str, str]:
    """Draw what there is to draw; a plot without values is left out."""
    found: dict[str, str | None] = {}
    ratings = view.verdict.ratings
    scored = [
        (pair.utterance_id, pair.candidate_score, pair.baseline_score)
        for pair in view.pairs
        if pair.candidate_score is not None and pair.baseline_score is not None
    ]
    if view.revealed and scored and isinstance(ratings, RatingsResult):
        found["ratings"] = plots.rating_plot(
            "ratings",
            scored,
            mean=ratings.mean_difference,
            interval=ratings.interval_95,
            margin=ratings.margin,
            candidate=view.candidate.name,
            baseline=view.baseline.name,
        )
    limit = next((g.limit for g in view.verdict.gates if g.name == "ttfa_p50_ms"), None)
    for name, unit, line, line_words in (
        ("ttfa_ms", "milliseconds from request to first audio", limit, "limit"),
        ("rtf", "time taken / length of speech", 1.0, "as fast as speech:"),
    ):
        rows = _strips(view, name)
        if rows:
            title = f"{words.FIGURES[name][0]} of every take"
            at = float(line) if isinstance(line, int | float) else None
            if name == "rtf" and max(value for row in rows for value in row.values) < _FAR_BELOW_SPEECH:
                at = None  # the line would squeeze every dot into the corner
            found[name] = plots.strip_plot(
                name.replace("_", "-"), title, rows, unit=unit, limit=at, limit_words=line_words
            )
    found["memory"] = plots.memory_plot("memory", view.memory_series)
    neighbour = view.verdict.neighbour
    if view.neighbour_samples and neighbour:
        rows = [
            plots.Row(label=when, values=values, tone="neighbour")
            for when, values in view.neighbour_samples.items()
        ]
        before = neighbour.p50_before_ms
        found["neighbour"] = plots.strip_plot(
            "neighbour",
            "The neighbour's answers before and after",
            rows,
            unit="milliseconds an answer",
            limit=round(before * neighbour.limit, 1) if before else None,
        )
    return {name: svg for name, svg in found.items() if svg is not None}


def _strips(view: ReportView, figure: str) -> list[plots.Row]:
    rows = []
    for side, found in view.figures(figure):
        if found.values:
            rows.append(plots.Row(label=view.side(side).name, values=found.values, tone=side))
    return rows
