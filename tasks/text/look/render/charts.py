"""Pictures as inline SVG. They stretch to any width: all words and figures beside them are HTML and keep their size."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.text.look.model import LengthLook
from tasks.text.look.render.markup import Markup, element, join
from tasks.text.look.wording import number, plural, share

WIDTH, HEIGHT = 1000, 200
LEAST = 2.5
"""Of `WIDTH`: what is there is seen."""


def bar(part: float, whole: float, *, start: float = 0.0, css: str = "", second: bool = False) -> Markup:
    """A horizontal bar of `part` out of `whole`, from `start` on."""
    scale = WIDTH / whole if whole > 0 else 0.0
    wide = max(part * scale, LEAST) if part > 0 else 0.0
    left = min(start * scale, WIDTH - wide)
    shape = element("rect", attributes={"x": _n(left), "y": "0", "width": _n(wide), "height": "10"})
    return _svg(10, shape, f"bar {css}" + (" second" if second else ""))


def histogram(look: LengthLook, unit: str) -> Markup:
    """Two bars for each bin of length: share of documents, and share of what they hold together."""
    used = [place for place, one in enumerate(look.bars) if one.documents]
    if not used:
        return element("p", "Nothing has a length.", css="note")
    shown = look.bars[used[0] : used[-1] + 1]
    documents, amount = max(1, look.documents), max(1, look.amount)
    top = max(max(one.documents / documents, one.amount / amount) for one in shown)
    step = WIDTH / len(shown)
    columns = []
    for place, one in enumerate(shown):
        until = f"to {one.high - 1:,}" if one.high else "or more"
        words = (
            f"{one.low:,} {until} {unit}: {plural(one.documents, 'document')} ({share(one.documents, documents)}), "
            f"{share(one.amount, amount)} of all {unit}"
        )
        columns.append(
            element(
                "g",
                element("title", words),
                _column(place * step, step, HEIGHT, "hover"),
                _column(place * step + 0.06 * step, 0.44 * step, HEIGHT * one.documents / documents / top, "first"),
                _column(place * step + 0.5 * step, 0.44 * step, HEIGHT * one.amount / amount / top, "second"),
            )
        )
    picture = _svg(HEIGHT, join(*columns), "plot")
    legend = element(
        "p",
        element("span", "", css="key first"),
        "share of documents ",
        element("span", "", css="key second"),
        f"share of all {unit} — the highest bar is {share(top, 1)}",
        css="note legend",
    )
    return element("figure", legend, picture, _axis([one.low for one in shown]), _quantiles(look, unit))


def similarities(counts: Sequence[int]) -> Markup:
    """Near duplicates by similarity, from the first bin that has any."""
    first = next(place for place, count in enumerate(counts) if count)
    shown, top = counts[first:], max(counts)
    step = WIDTH / len(shown)
    columns = [
        element(
            "g",
            element("title", f"{(first + place) / len(counts):.2f}: {plural(count, 'near duplicate')}"),
            _column(place * step, step, HEIGHT, "hover"),
            _column(place * step + 0.06 * step, 0.88 * step, HEIGHT * count / top, "first"),
        )
        for place, count in enumerate(shown)
    ]
    ticks = [_tick(place / len(shown), f"{(first + place) / len(counts):.2f}") for place in range(len(shown) + 1)]
    axis = element("div", *ticks, css="axis")
    return element("figure", _svg(HEIGHT, join(*columns), "plot low"), axis, css="small")


def _column(left: float, wide: float, high: float, css: str) -> Markup:
    seen = max(high, 1.0) if high > 0 else 0.0
    place = {"x": _n(left), "y": _n(HEIGHT - seen), "width": _n(wide), "height": _n(seen)}
    return element("rect", css=css, attributes=place)


def _axis(lows: Sequence[int]) -> Markup:
    """Labels at the powers of ten."""
    ticks = [_tick(place / len(lows), f"{low:,}") for place, low in enumerate(lows) if low in {10**k for k in range(9)}]
    return element("div", *ticks, css="axis")


def _tick(place: float, label: str) -> Markup:
    return element("span", label, css="tick", attributes={"style": f"left:{100 * place:.2f}%"})


def _quantiles(look: LengthLook, unit: str) -> Markup:
    parts = [f"{quantile:.0%} have up to {number(value)}" for quantile, value in look.quantiles.items()]
    empty = f"; {plural(look.empty, 'document')} without any" if look.empty else ""
    mean = look.amount / max(1, look.documents)
    return element("figcaption", f"Mean {mean:,.0f} {unit}. About {', '.join(parts)}{empty}.", css="note")


def _svg(height: int, shapes: Markup, css: str) -> Markup:
    box = {"viewBox": f"0 0 {WIDTH} {height}", "preserveAspectRatio": "none", "role": "img"}
    return element("svg", shapes, css=css.strip(), attributes=box)


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
