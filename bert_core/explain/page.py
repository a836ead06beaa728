"""Explanations as a section of a page: texts whose words are coloured by what they add."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from bert_core.explain.explanation import Explanation, Passage, Word, signed

STRONGEST = 0.55
"""Opacity of the colour behind the word with the largest weight: the text on it stays readable, light and dark."""
CONTEXT = 120
"""Characters around what was read that are shown, of a long text."""
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Control characters, and what turns the direction of the text that follows."""
METHOD_NOTES = {
    "integrated_gradients": "Integrated gradients: what each word adds to the score, against [MASK] in its place.",
    "leave_one_out": "Leave one out: what the score loses when the word becomes [MASK].",
    "attention": "Attention rollout: how much of each word reaches what is read, for or against.",
}
STYLE = """
.explain{--for:31 111 178;--against:190 92 14;--soft:#5b6570;--rule:#d9d6cf;line-height:1.9}
@media (prefers-color-scheme:dark){.explain{--for:86 160 226;--against:226 140 62;--soft:#9ba5b0;--rule:#2c333a}}
.explain article{border-top:1px solid var(--rule);padding:10px 0 12px}
.explain header{line-height:1.4;font-size:13px;color:var(--soft)}
.explain header b{font-size:15px;font-weight:600;color:CanvasText;margin-right:8px}
.explain p{margin:6px 0;overflow-wrap:anywhere;white-space:pre-wrap}
.explain .name{font-size:12px;color:var(--soft);margin-right:8px}
.explain i{font-style:normal;border-radius:3px;padding:1px 0}
.explain .f{background:rgb(var(--for) / var(--w))}
.explain .a{background:rgb(var(--against) / var(--w))}
.explain .legend{font-size:12px;color:var(--soft);line-height:1.4;margin:0 0 12px}
.explain .legend i{display:inline-block;width:22px;height:12px;border-radius:0;padding:0;vertical-align:-2px;
border:solid var(--rule);border-width:1px 0}
"""


def as_html(explanations: Sequence[Explanation]) -> str:
    """A `section` with its own style, for any page: no script, nothing loaded, every text escaped.

    Words are coloured blue for the label and orange against it, the strongest of each explanation most; the figure is
    in each word's title. The same explanations give the same bytes.
    """
    methods = list(dict.fromkeys(each.method for each in explanations))
    notes = " ".join(METHOD_NOTES[method] for method in methods)
    body = "".join(_article(each) for each in explanations)
    return f'<section class="explain"><style>{STYLE}</style>{_legend(methods, notes)}{body}</section>\n'


def _legend(methods: list[str], notes: str) -> str:
    shades = [-1.0, -0.5, -0.2, 0.0, 0.2, 0.5, 1.0]
    if methods == ["attention"]:
        shades, low, high = shades[3:], "nothing", "most of it"
    else:
        low, high = "against the label", "for it"
    strip = "".join(f"<i{_colour(shade, 1.0)}></i>" for shade in shades)
    return f'<p class="legend">{escape(notes)}<br>{low} {strip} {high}</p>'


def _article(each: Explanation) -> str:
    strongest = max((abs(word.weight) for word in each.words), default=0.0)
    head = (
        f"<b><bdi>{escape(each.title)}</bdi></b>{escape(' · '.join(each.facts))} · example <bdi>{escape(each.id)}</bdi>"
    )
    texts = "".join(_passage(passage, strongest, named=len(each.passages) > 1) for passage in each.passages)
    return f"<article><header>{head}</header>{texts}</article>"


def _passage(passage: Passage, strongest: float, *, named: bool) -> str:
    name = f'<span class="name">{escape(passage.name)}</span>' if named else ""
    if not passage.words:
        return f"<p>{name}{escape(passage.text[:CONTEXT])}</p>"
    first = max(0, passage.words[0].start - CONTEXT)
    last = min(len(passage.text), passage.words[-1].end + CONTEXT)
    parts, at = ["…" if first else ""], first
    for word in passage.words:
        parts.append(escape(passage.text[at : word.start]))
        parts.append(_word(word, strongest))
        at = max(at, word.end)
    parts.append(escape(passage.text[at:last]) + ("…" if last < len(passage.text) else ""))
    return f'<p dir="auto">{name}{"".join(parts)}</p>'


def _word(word: Word, strongest: float) -> str:
    title = f"{word.text}: {signed(word.weight)}"
    return f'<i{_colour(word.weight, strongest)} title="{escape(title)}">{escape(word.text)}</i>'


def _colour(weight: float, strongest: float) -> str:
    share = round(STRONGEST * abs(weight) / strongest, 3) if strongest else 0.0
    return f' class="{"f" if weight > 0 else "a"}" style="--w:{share:g}"' if share >= 0.01 else ""


def escape(text: str) -> str:
    """As text of a page, and of an attribute in double quotes."""
    return html.escape(UNSEEN.sub("\ufffd", text), quote=True)
