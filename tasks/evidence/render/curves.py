"""Confidence against accuracy, and quality against the number of labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from tasks.evidence.schema import CANDIDATE, Calibration, CurvePoint
from tasks.evidence.wording import figure, model_title, tick_label, ticks
from tasks.text.look.render.markup import Markup, element, foreign, join


def reliability(found: Calibration) -> Markup:
    """Bins as points with intervals; on the dashed line confidence is what it says."""
    least = min([one.confidence for one in found.bins] + [one.low for one in found.bins])
    start = math.floor(min(least, 0.9) * 10) / 10
    marks = ticks(start, 1.0, 5)

    def at(value: float) -> float:
        return 100 * (value - start) / (1 - start)

    lines = [_line(0, 100 - at(mark), 100, 100 - at(mark), "grid") for mark in marks]
    lines.append(_line(0, 100, 100, 0, "ideal"))
    lines += [
        _line(at(one.confidence), 100 - at(one.low), at(one.confidence), 100 - at(one.high), "low-high")
        for one in found.bins
    ]
    points = [
        _point(
            at(one.confidence),
            100 - at(one.accuracy),
            f"confidence {one.confidence:.2f}, right {one.accuracy:.2f}: {one.answers:,} answers",
        )
        for one in found.bins
    ]
    axis = [
        element("span", tick_label(mark, marks), css="tick", attributes={"style": f"left:{at(mark):.2f}%"})
        for mark in marks
    ]
    frame = element(
        "div",
        _svg(lines),
        *points,
        *(_left(tick_label(mark, marks), 100 - at(mark)) for mark in marks),
        css="frame",
    )
    return element(
        "figure",
        element("p", "share that is right", css="axis-title"),
        frame,
        element("div", *axis, css="axis"),
        element("p", f"confidence of {found.of}", css="axis-title"),
        css="square",
    )


def learning_curve(curves: Mapping[str, Sequence[CurvePoint]], unit: str) -> Markup:
    """The leading metric against the number of labelled examples, which double from tick to tick."""
    points = [point for held in curves.values() for point in held]
    counts = sorted({point.examples for point in points})
    low = min(point.interval.low for point in points)
    high = max(point.interval.high for point in points)
    room = 0.05 * (high - low) or 0.1
    low, high = low - room, high + room
    wide = math.log(counts[-1] / counts[0]) if len(counts) > 1 else 1.0

    def across(examples: int) -> float:
        return 2 + 96 * math.log(examples / counts[0]) / wide

    def up(value: float) -> float:
        return 100 - 100 * (value - low) / (high - low)

    marks = ticks(low, high, 4)
    shapes = [_line(0, up(mark), 100, up(mark), "grid") for mark in marks]
    shown: list[Markup] = []
    for name, held in sorted(curves.items(), key=lambda item: item[0] == CANDIDATE):  # ours is drawn last, on top
        ordered = sorted(held, key=lambda point: point.examples)
        css = "" if name == CANDIDATE else "other"
        ends = [(across(one.examples), up(one.interval.high)) for one in ordered]
        ends += [(across(one.examples), up(one.interval.low)) for one in reversed(ordered)]
        shapes.append(_shape("polygon", ends, f"band {css}"))
        shapes.append(_shape("polyline", [(across(o.examples), up(o.interval.estimate)) for o in ordered], css))
        shown += [
            _point(
                across(one.examples),
                up(one.interval.estimate),
                f"{model_title(name)}, {one.examples:,} examples: {figure(one.interval.estimate, unit)}",
                css,
            )
            for one in ordered
        ]
    named = _spread_out(counts, across)
    axis = [element("span", f"{one:,}", css="tick", attributes={"style": f"left:{across(one):.2f}%"}) for one in named]
    frame = element("div", _svg(shapes), *shown, *(_left(figure(mark, unit), up(mark)) for mark in marks), css="frame")
    return element("figure", frame, element("div", *axis, css="axis"), css="curve")


def legend(names: Sequence[str]) -> Markup:
    items = [
        element(
            "li",
            element("span", "", css=f"key {'ours' if name == CANDIDATE else 'other'}"),
            foreign(model_title(name)),
        )
        for name in names
    ]
    return element("ul", *items, css="legend-list")


def _spread_out(counts: Sequence[int], across: Callable[[int], float]) -> list[int]:
    """Those counts whose labels do not touch."""
    found: list[int] = []
    for one in counts:
        if not found or across(one) - across(found[-1]) >= 11:
            found.append(one)
    return found


def _svg(shapes: Sequence[Markup]) -> Markup:
    box = {"viewBox": "0 0 100 100", "preserveAspectRatio": "none", "role": "img"}
    return element("svg", join(*shapes), attributes=box)


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> Markup:
    ends = {"x1": _n(x1), "y1": _n(y1), "x2": _n(x2), "y2": _n(y2)}
    return element("line", css=css, attributes=ends)


def _shape(name: str, points: Sequence[tuple[float, float]], css: str) -> Markup:
    held = {"points": " ".join(f"{_n(x)},{_n(y)}" for x, y in points)}
    return element(name, css=css.strip(), attributes=held)


def _point(x: float, y: float, words: str, css: str = "") -> Markup:
    place = {"style": f"left:{x:.2f}%;top:{y:.2f}%", "title": words}
    return element("span", css=f"point {css}".strip(), attributes=place)


def _left(words: str, y: float) -> Markup:
    return element("span", words, css="up-tick", attributes={"style": f"top:{y:.2f}%"})


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
