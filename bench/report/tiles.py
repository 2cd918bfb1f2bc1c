"""The two figures that the rule turns on, as tiles: what was found, what is needed, and a picture of both."""

from html import escape

from bench.records.base import Record
from bench.records.verdict import Gate, RatingsResult
from bench.report import words
from bench.report.view import ReportView

_WIDTH, _HEIGHT, _AXIS_Y = 320, 56, 22
_EDGE = 14


class Tile(Record):
    """One tile."""

    gate: str
    label: str
    value: str
    needed: str
    state: str
    picture: str
    """An SVG element; empty while there is no value."""


def make_tiles(view: ReportView) -> list[Tile]:
    """Return the tiles of rating and first audio, of those gates that the verdict has."""
    gates = {gate.name: gate for gate in view.verdict.gates}
    made = []
    if (gate := gates.get("rating_margin")) is not None:
        made.append(_rating(view, gate))
    if (gate := gates.get("ttfa_p50_ms")) is not None:
        made.append(_first_audio(view, gate))
    return made


def _rating(view: ReportView, gate: Gate) -> Tile:
    ratings = view.verdict.ratings
    # The mean, for the gate's own value may be the sum that is compared in integers.
    found = ratings.mean_difference if view.revealed and isinstance(ratings, RatingsResult) else None
    limit = ratings.margin if ratings else gate.limit
    margin = limit if isinstance(limit, int | float) else None
    waits = "everybody has to finish first"
    picture = ""
    if found is not None and margin is not None and isinstance(ratings, RatingsResult):
        picture = _line(
            "tile-rating", f"Mean difference {found:+.2f} on a line from -4 to 4, needed {margin:+g}",
            -4.0, 4.0, found, margin, "at least", ratings.interval_95,
        )  # fmt: skip
    return Tile(
        gate=gate.name,
        label="How raters heard it",
        value=waits if found is None else f"{words.number(round(found, 2), signed=True)} on average",
        needed="" if margin is None else f"{words.number(margin, signed=True)} needed",
        state=words.gate_state(gate, awaiting=view.verdict.reason is None),
        picture=picture,
    )


def _first_audio(view: ReportView, gate: Gate) -> Tile:
    found = gate.value if isinstance(gate.value, int | float) else None
    limit = gate.limit if isinstance(gate.limit, int | float) else None
    picture = ""
    if found is not None and limit is not None:
        most = 1.25 * max(found, limit)
        said = f"First audio after {found:.0f} ms at the median, limit {limit:.0f} ms"
        picture = _line("tile-first-audio", said, 0.0, most, found, limit, "at most")
    return Tile(
        gate=gate.name,
        label="First audio",
        value="not taken" if found is None else f"{words.number(found, 'ms')} at the median",
        needed="" if limit is None else f"{words.number(limit, 'ms')} at most",
        state=words.gate_state(gate, awaiting=view.verdict.reason is None),
        picture=picture,
    )


def _line(
    name: str,
    said: str,
    low: float,
    high: float,
    value: float,
    limit: float,
    sense: str,
    interval: tuple[float, float] | None = None,
) -> str:
    """Draw a value on a line whose passing side is thick."""

    def at(number: float) -> float:
        return round(_EDGE + (min(max(number, low), high) - low) / (high - low) * (_WIDTH - 2 * _EDGE), 1)

    begin, end = (at(limit), at(high)) if sense == "at least" else (at(low), at(limit))
    y = _AXIS_Y
    parts = [
        f'<line x1="{at(low)}" x2="{at(high)}" y1="{y}" y2="{y}" stroke="var(--grid)" stroke-width="2"/>',
        f'<line x1="{begin}" x2="{end}" y1="{y}" y2="{y}" stroke="var(--good)" stroke-width="6" opacity=".45"/>',
        f'<line x1="{at(limit)}" x2="{at(limit)}" y1="{y - 11}" y2="{y + 11}" stroke="var(--limit)" stroke-width="2"/>',
        f'<text x="{at(limit)}" y="{y + 27}" text-anchor="middle">{limit:g}</text>',
    ]
    if interval is not None:
        parts.append(
            f'<line x1="{at(interval[0])}" x2="{at(interval[1])}" y1="{y}" y2="{y}" stroke="var(--candidate)" '
            'stroke-width="2"/>'
        )
    parts.append(f'<circle cx="{at(value)}" cy="{y}" r="7" fill="var(--candidate)"/>')
    ids = f"{name}-title {name}-desc"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="{ids}" font-size="12" '
        f'fill="var(--muted)"><title id="{name}-title">Found and needed</title>'
        f'<desc id="{name}-desc">{escape(said)}</desc>{"".join(parts)}</svg>'
    )
