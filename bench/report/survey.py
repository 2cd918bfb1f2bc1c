"""The report of a survey, as a page and as Markdown: all candidates beside the baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.records.survey import SideFigures, Survey, Surveyed
from bench.report import plots, words
from bench.report.record import escape_md
from bench.report.templates import open_templates

_HERE = Path(__file__).parent
PLACES = {
    "waits": "waits",
    "under_way": "under way",
    "to_come": "to come",
    "not_needed": "not needed",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One figure: the candidates' values beside the baseline's of the same run."""

    label: str
    cells: list[tuple[str, str]]
    """By model: the candidate's, and the baseline's or an empty text where it has none."""


def outcome(model: Surveyed) -> str:
    """Spell what came of a model, in a word or two."""
    return words.DECISIONS[model.decision] if model.decision else PLACES[model.place]


def why(model: Surveyed) -> str:
    """Return what a model's own verdict says of it, without the reasons that it carries on."""
    return (model.sentence or "").partition(" Before it: ")[0]


def lines(survey: Survey) -> list[Line]:
    """Return the figures of all models that have begun, but for those that nobody has."""
    begun = [each for each in survey.models if each.run_id is not None]

    def side(model: Surveyed, of: SideFigures | None, name: str, unit: str) -> str:
        return words.number(getattr(of, name), unit) if of is not None else words.NOT_TAKEN

    found = [
        Line(
            label,
            [
                (side(each, each.candidate, name, unit), side(each, each.baseline, name, unit))
                for each in begun
            ],
        )
        for label, name, unit in (
            ("Mean score", "score", ""),
            ("Time to first audio, median", "ttfa_ms_p50", "ms"),
            ("Real-time factor, median", "rtf_p50", ""),
            ("Takes that were heard", "takes", ""),
        )
    ]
    found += [
        Line("Mean rating, candidate minus baseline", [(_difference(each), "") for each in begun]),
        Line("GPU, the engine's processes", [(words.gib(each.gpu_bytes), "") for each in begun]),
        Line("Installation", [(words.number(each.install_s, "s"), "") for each in begun]),
        Line(
            "The neighbour's p50 after, over before",
            [(words.number(each.neighbour_ratio), "") for each in begun],
        ),
    ]
    nothing = {"", words.NOT_TAKEN}
    return [line for line in found if any(not set(cell) <= nothing for cell in line.cells)]


def _difference(model: Surveyed) -> str:
    if model.difference is None or model.interval_95 is None:
        return words.NOT_TAKEN
    low, high = (words.number(value, signed=True) for value in model.interval_95)
    return f"{words.number(model.difference, signed=True)} ({low} to {high})"


def render_survey(survey: Survey) -> str:
    """Return the page. The same record gives the same bytes; whatever comes from files is escaped."""
    from markupsafe import Markup

    drawn = _plot(survey)
    return (
        open_templates()
        .get_template("survey.html")
        .render(
            survey=survey,
            begun=[each for each in survey.models if each.run_id is not None],
            lines=lines(survey),
            outcome=outcome,
            why=why,
            gates=_gates,
            plot=Markup(drawn) if drawn else "",  # noqa: S704 - drawn by us
            style=Markup((_HERE / "page.css").read_text("utf-8")),  # noqa: S704 - a file of ours
        )
    )


def _gates(model: Surveyed) -> list[dict[str, str]]:
    rows = []
    for gate in model.gates:
        label, value, limit = words.gate_words(gate)
        state = words.gate_state(gate, awaiting=model.reason is None)
        rows.append({"label": label, "value": value, "limit": limit, "state": state})
    return rows


def _plot(survey: Survey) -> str | None:
    rows = []
    limit: float | str | None = None
    for each in survey.models:
        for tone, of, name in (
            ("candidate", each.candidate, each.model),
            ("baseline", each.baseline, f"{survey.baseline}, beside {each.model}"),
        ):
            if of is not None and of.ttfa_ms:
                rows.append(plots.Row.model_validate({"label": name, "values": of.ttfa_ms, "tone": tone}))
        limit = next((gate.limit for gate in each.gates if gate.name == "ttfa_p50_ms"), limit)
    if not rows:
        return None
    return plots.strip_plot(
        "ttfa",
        "Time to first audio of every take",
        rows,
        unit="milliseconds from request to first sample",
        limit=float(limit) if isinstance(limit, int | float) else None,
    )


def write_survey_markdown(survey: Survey) -> str:
    """Return the report as Markdown."""
    begun = [each for each in survey.models if each.run_id is not None]
    told = [
        [
            escape_md(each.title),
            f"`{each.run_id}`" if each.run_id else "",
            outcome(each),
            escape_md(why(each)),
        ]
        for each in survey.models
    ]
    head = ["Figure", *(escape_md(each.model) for each in begun)]
    figures = [
        [line.label, *(f"{ours} / {theirs}" if theirs else ours for ours, theirs in line.cells)]
        for line in lines(survey)
    ]
    return "\n".join(
        [
            f"## {escape_md(survey.label or 'The survey goes on')}",
            "",
            escape_md(survey.summary),
            "",
            f"Candidates for the place of {escape_md(survey.baseline_title)} on {escape_md(survey.host)}, "
            f"{'rated in one sitting' if survey.together else 'in this order'}: {escape_md(', '.join(survey.chain))}. "
            f"Raters were asked: “{escape_md(survey.question)}”",
            "",
            *table(["Model", "Run", "Outcome", "Why"], told),
            "",
            f"Figures of each candidate / of {escape_md(survey.baseline)} beside it.",
            "",
            *table(head, figures),
            "",
        ]
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a Markdown table's lines; its cells are Markdown already."""
    return [
        f"| {' | '.join(head)} |",
        f"|{' --- |' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
