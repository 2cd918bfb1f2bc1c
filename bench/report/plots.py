"""The plots of a report, as SVG that follows the page's light or dark theme and stays sharp in print.

Matplotlib draws with stand-in colours, which become CSS variables afterwards. The same values give the same
bytes: no date, a fixed salt for ids, no random jitter.
"""

import io
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any, Literal

from pydantic import Field

from bench.records.base import Record

Tone = Literal["candidate", "baseline", "neighbour"]

_COLOURS = {
    "ink": "#010203",
    "muted": "#010204",
    "grid": "#010205",
    "candidate": "#010206",
    "baseline": "#010207",
    "limit": "#010208",
    "surface": "#010209",
    "neighbour": "#01020a",
}
_WIDTH_IN = 4.4
_BINS = 40
DRAWN_AT_MOST = 400
"""Dots of one row; of more values every n-th in order of size is drawn, so that a page of 10,000 takes stays small."""


class Row(Record):
    """One line of a strip plot: every value, and the tone that says whose they are."""

    label: str
    values: list[float] = Field(min_length=1)
    tone: Tone


@contextmanager
def _figure(name: str, height_in: float, rows: int = 1) -> Iterator[tuple[Any, Any]]:
    """Give a figure without any window system, closed afterwards."""
    import matplotlib
    from matplotlib.figure import Figure

    style = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "text.parse_math": False,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 11,
        "text.color": _COLOURS["ink"],
        "axes.edgecolor": _COLOURS["grid"],
        "axes.labelcolor": _COLOURS["muted"],
        "xtick.color": _COLOURS["grid"],
        "ytick.color": _COLOURS["grid"],
        "xtick.labelcolor": _COLOURS["muted"],
        "ytick.labelcolor": _COLOURS["ink"],
        "grid.color": _COLOURS["grid"],
        "grid.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.axisbelow": True,
        "ytick.major.size": 0,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
        yield figure, figure.subplots(rows, 1, squeeze=False)[:, 0]


def _svg(figure: Any, name: str, title: str, description: str) -> str:
    """Return the figure as an SVG element with a title for those who do not see it."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for variable, colour in _COLOURS.items():
        text = text.replace(colour, f"var(--{variable})")
    # Ids are unique within one SVG only; the page holds several.
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = re.sub(r"font-family: [^;\"]*", "font-family: inherit", text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    label = f'role="img" aria-labelledby="{name}-title {name}-desc"'
    head = (
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
    )
    return re.sub(r"<svg([^>]*)>", lambda found: f"<svg{found[1]} {label}>{head}", text, count=1).strip()


def _beeswarm(values: Sequence[float]) -> list[float]:
    """Offsets that keep near values apart, without chance: outwards in turn within a bin."""
    low, high = min(values), max(values)
    width = (high - low) / _BINS or 1.0
    seen: dict[int, int] = defaultdict(int)
    offsets = []
    for value in values:
        place = seen[key := int((value - low) / width)]
        seen[key] += 1
        offsets.append(((place + 1) // 2) * (0.09 if place % 2 else -0.09))
    largest = max(abs(offset) for offset in offsets) or 1.0
    return [offset * min(1.0, 0.3 / largest) for offset in offsets]


def _drawn(values: Sequence[float]) -> Sequence[float]:
    """Return the values whose dots are drawn, the smallest and the largest always among them."""
    if len(values) <= DRAWN_AT_MOST:
        return values
    ordered, step = sorted(values), (len(values) - 1) / (DRAWN_AT_MOST - 1)
    return [ordered[round(index * step)] for index in range(DRAWN_AT_MOST)]


def strip_plot(
    name: str,
    title: str,
    rows: Sequence[Row],
    *,
    unit: str,
    limit: float | None = None,
    limit_words: str = "limit",
) -> str:
    """Draw every value of each row as a dot, its box (quartiles and median), and the limit if any."""
    with _figure(name, 0.95 + 0.72 * len(rows)) as (figure, (axes,)):
        for index, row in enumerate(rows):
            y = len(rows) - 1 - index
            colour = _COLOURS[row.tone]
            if len(row.values) > 1:
                axes.boxplot(
                    row.values, orientation="horizontal", positions=[y], widths=0.62, showfliers=False,
                    boxprops={"color": _COLOURS["muted"], "linewidth": 1.0},
                    whiskerprops={"color": _COLOURS["muted"], "linewidth": 1.0},
                    capprops={"linewidth": 0},
                    medianprops={"color": _COLOURS["ink"], "linewidth": 2.2},
                )  # fmt: skip
            drawn = _drawn(row.values)
            axes.scatter(
                drawn,
                [y + offset for offset in _beeswarm(drawn)],
                s=26,
                facecolor=colour if row.tone != "baseline" else _COLOURS["surface"],
                edgecolor=colour,
                linewidth=1.4,
                marker="D" if row.tone == "baseline" else "o",
                zorder=3,
            )
        if limit is not None:
            axes.axvline(limit, color=_COLOURS["limit"], linewidth=1.6, linestyle=(0, (4, 3)))
            axes.annotate(
                f"{limit_words} {limit:g}", (limit, 1.0), xycoords=("data", "axes fraction"), xytext=(4, -2),
                textcoords="offset points", color=_COLOURS["limit"], fontsize=10, va="top",
                ha="left",
            )  # fmt: skip
        axes.set_yticks(range(len(rows)), [_short(row.label) for row in reversed(rows)])
        axes.set_ylim(-0.6, len(rows) - 0.25)
        axes.set_xlim(left=0.0)
        right = max([*(v for row in rows for v in row.values), limit or 0.0])
        axes.set_xlim(0.0, right * 1.16 or 1.0)
        axes.grid(axis="x")
        axes.set_xlabel(unit)
        said = "; ".join(
            f"{row.label}: {len(row.values)} values"
            + (f", {DRAWN_AT_MOST} of them drawn" if len(row.values) > DRAWN_AT_MOST else "")
            for row in rows
        )
        return _svg(
            figure, name, title, said + (f"; {limit_words} {limit:g} {unit}" if limit is not None else "")
        )


def rating_plot(
    name: str,
    pairs: Sequence[tuple[str, float, float]],
    *,
    mean: float,
    interval: tuple[float, float],
    margin: float,
    candidate: str,
    baseline: str,
) -> str:
    """Draw both scores of every sentence, and below the mean difference with its interval and the margin.

    `pairs` holds label, candidate score and baseline score, on 1-5.
    """
    with _figure(name, 2.3 + 0.27 * len(pairs), rows=2) as (figure, (upper, lower)):
        figure.get_layout_engine().set(hspace=0.08)
        upper.set_box_aspect(None)
        upper.get_gridspec().set_height_ratios([max(2.0, 0.3 * len(pairs)), 0.9])
        for index, (_, new, old) in enumerate(pairs):
            y = len(pairs) - 1 - index
            upper.plot([old, new], [y, y], color=_COLOURS["grid"], linewidth=3, solid_capstyle="round")
            same = 0.13 if new == old else 0.0
            upper.scatter([old], [y - same], s=44, marker="D", facecolor=_COLOURS["surface"],
                          edgecolor=_COLOURS["baseline"], linewidth=1.6, zorder=3)  # fmt: skip
            upper.scatter([new], [y + same], s=48, marker="o", color=_COLOURS["candidate"], zorder=4)
        upper.set_yticks(range(len(pairs)), [_short(label, 16) for label, _, _ in reversed(pairs)])
        upper.set_xlim(0.8, 5.2)
        upper.set_ylim(-0.7, len(pairs) - 0.3)
        upper.set_xticks([1, 2, 3, 4, 5])
        upper.grid(axis="x")
        upper.set_xlabel("score, 1 to 5")
        upper.scatter([], [], s=48, marker="o", color=_COLOURS["candidate"], label=_short(candidate))
        upper.scatter([], [], s=44, marker="D", facecolor=_COLOURS["surface"],
                      edgecolor=_COLOURS["baseline"], linewidth=1.6, label=_short(baseline))  # fmt: skip
        figure.legend(loc="outside upper left", ncols=2, frameon=False, handletextpad=0.2)
        low, high = interval
        lower.plot([low, high], [0, 0], color=_COLOURS["candidate"], linewidth=4, solid_capstyle="round")
        lower.scatter([mean], [0], s=80, color=_COLOURS["candidate"], zorder=3)
        lower.axvline(margin, color=_COLOURS["limit"], linewidth=1.6, linestyle=(0, (4, 3)))
        lower.annotate(
            f"needed {margin:+g}", (margin, 1.0), xycoords=("data", "axes fraction"), xytext=(4, 0),
            textcoords="offset points", color=_COLOURS["limit"], fontsize=10, va="top",
        )  # fmt: skip
        reach = max(1.0, abs(low), abs(high), margin) * 1.25
        lower.set_xlim(-reach, reach)
        lower.set_ylim(-0.8, 1.1)
        lower.set_yticks([0], ["mean, 95%"])
        lower.grid(axis="x")
        lower.set_xlabel("candidate minus baseline, points")
        return _svg(
            figure, name, "Ratings of every sentence, and their mean difference",
            f"{len(pairs)} sentences; mean difference {mean:+.3g} points, 95% interval {low:+.3g} to "
            f"{high:+.3g}; {margin:+g} needed",
        )  # fmt: skip


def memory_plot(name: str, series: Mapping[str, Sequence[float | None]]) -> str | None:
    """Draw memory over time in GiB: used by the engine above, available below; None if there is neither."""
    used = [
        (label, key, tone)
        for label, key, tone in (
            ("GPU, engine", "gpu_process_bytes", "candidate"),
            ("resident, engine", "rss_bytes", "baseline"),
            ("cgroup, engine", "cgroup_bytes", "neighbour"),
        )
        if any(value is not None for value in series.get(key, []))
    ]
    available = any(value is not None for value in series.get("available_bytes", []))
    times = [float(t) for t in series.get("t_s", []) if t is not None]
    if not times or not (used or available):
        return None
    panels = int(bool(used)) + int(available)
    with _figure(name, 0.7 + 1.75 * panels, rows=panels) as (figure, axes):
        remaining = list(axes)
        if used:
            upper = remaining.pop(0)
            for (label, key, tone), style in zip(used, ("-", "--", ":"), strict=False):
                upper.plot(times, _gib(series[key]), style, color=_COLOURS[tone], linewidth=2, label=label)
            upper.set_ylim(bottom=0)
            upper.set_ylabel("used, GiB")
            figure.legend(loc="outside upper left", ncols=3, frameon=False, handlelength=1.6)
        if available:
            lower = remaining.pop(0)
            lower.plot(times, _gib(series["available_bytes"]), color=_COLOURS["ink"], linewidth=2)
            lower.set_ylabel("available, GiB")
        for one in axes:
            one.set_xlim(times[0], times[-1] or 1.0)
            one.grid(axis="y")
            one.tick_params(axis="y", labelcolor=_COLOURS["muted"])
        axes[-1].set_xlabel("seconds since sampling began")
        figure.align_ylabels()
        said = ", ".join([label for label, _, _ in used] + (["available on the host"] if available else []))
        return _svg(figure, name, "Memory while the takes were made", f"{said}, over {times[-1]:.0f} s")


def _gib(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value / 2**30 for value in values]


def _short(text: str, length: int = 18) -> str:
    return text if len(text) <= length else text[: length - 1] + "\u2026"
