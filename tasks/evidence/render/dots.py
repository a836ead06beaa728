"""Figures with their intervals, one below the other on one scale. All HTML: words keep their size at any width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bert_core.intervals import Interval
from tasks.evidence.wording import figure, span, tick_label, ticks
from tasks.text.look.render.markup import Child, Markup, element, foreign

ROOM = 0.04  # of the scale, left free at either end


@dataclass(frozen=True)
class Row:
    """One figure of the chart."""

    name: str
    interval: Interval
    small: str = ""
    """After the name, such as a number of examples."""
    runs: Sequence[float] = ()
    beside: Child = None
    """Below the figure; None: the interval in words."""
    css: str = ""
    """"ours", "worse"."""
    group: str = ""
    """Rows of one group stand under its name."""


def dots(rows: Sequence[Row], unit: str, *, at: float | None = None, around: bool = True) -> Markup:
    """The chart.

    Args:
        at: a value to compare with: a dashed line.
        around: the scale covers the figures; else it goes from 0 to 1.
    """
    low, high = _scale(rows, at) if around else (0.0, 1.0)
    marks = ticks(low, high)

    def place(value: float) -> str:
        return f"{100 * min(1.0, max(0.0, (value - low) / (high - low))):.2f}%"

    shown: list[Markup] = []
    group = ""
    for row in rows:
        if row.group != group:
            group = row.group
            shown.append(element("div", foreign(group), css="group"))
        start, stop = place(row.interval.low), place(row.interval.high)
        width = f"{max(0.4, float(stop[:-1]) - float(start[:-1])):.2f}%"
        track = [
            *(_at("grid", place(tick)) for tick in marks),
            _at("mark-at", place(at)) if at is not None else None,
            element("span", css="range", attributes={"style": f"left:{start};width:{width}"}),
            *(_at("seed", place(run)) for run in row.runs if len(row.runs) > 1),
            _at("dot", place(row.interval.estimate)),
        ]
        shown.append(
            element(
                "div",
                element("span", foreign(row.name), element("small", row.small) if row.small else None, css="name"),
                element("div", *track, css="track", attributes={"title": f"{row.name}: {span(row.interval, unit)}"}),
                element(
                    "span",
                    figure(row.interval.estimate, unit),
                    element("small", row.beside or span(row.interval, unit)),
                    css="value",
                ),
                css=f"row {row.css}".strip(),
            )
        )
    axis = [
        element("span", tick_label(tick, marks), css="tick", attributes={"style": f"left:{place(tick)}"})
        for tick in marks
    ]
    scale = element("div", element("span", ""), element("div", *axis, css="axis"), element("span", ""), css="scale")
    return element("div", *shown, scale, css="dots")


def _at(css: str, left: str) -> Markup:
    return element("span", css=css, attributes={"style": f"left:{left}"})


def _scale(rows: Sequence[Row], at: float | None) -> tuple[float, float]:
    ends = [one for row in rows for one in (row.interval.low, row.interval.high, row.interval.estimate, *row.runs)]
    ends += [at] if at is not None else []
    low, high = min(ends), max(ends)
    room = ROOM * (high - low) or 0.5 * abs(high) or 1.0
    return low - room, high + room
