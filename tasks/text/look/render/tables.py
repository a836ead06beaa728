"""Tables and samples as HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tasks.text.look.model import Ranking, Sample
from tasks.text.look.render.charts import bar
from tasks.text.look.render.markup import Child, Markup, element, foreign, join
from tasks.text.look.wording import language, number, plural, share


def table(heads: Sequence[str], rows: Sequence[Sequence[Child]], numbers: int, css: str = "") -> Markup:
    """A table that scrolls sideways where it does not fit.

    Args:
        numbers: how many of the last columns hold figures, and are aligned to the right.
    """
    first = len(heads) - numbers
    head = element("tr", *(element("th", one, css="n" if i >= first else "") for i, one in enumerate(heads)))
    body = [
        element("tr", *(element("td", cell, css="n" if i >= first else "") for i, cell in enumerate(row)))
        for row in rows
    ]
    whole = element("table", element("thead", head), element("tbody", *body), css=css)
    return element("div", whole, css="scroll")


def ranking(found: Ranking, what: str, of: tuple[int, int], names: Sequence[Child] | None = None) -> Markup:
    """The most frequent of something, with bars for their share of the characters.

    Args:
        of: documents and characters of the corpus.
        names: to show instead of the entries' own.
    """
    documents, characters = of
    tokens = any(entry.tokens is not None for entry in found.entries)
    shown = names or [foreign(entry.name) if entry.name else "not known" for entry in found.entries]
    rows = [
        [
            name,
            element("div", bar(entry.characters or 0, characters), css="bars"),
            number(entry.documents),
            share(entry.documents, documents),
            number(entry.characters),
            share(entry.characters or 0, characters),
            *([number(entry.tokens)] if tokens else []),
        ]
        for name, entry in zip(shown, found.entries, strict=True)
    ]
    heads = [what, "", "documents", "%", "characters", "%", *(["tokens"] if tokens else [])]
    return join(table(heads, rows, len(heads) - 2, "ranking"), element("p", _others(found, documents), css="note"))


def languages(found: Ranking, of: tuple[int, int]) -> Markup:
    return ranking(found, "language", of, [language(entry.name) for entry in found.entries])


def sample(one: Sample) -> Markup:
    """A record's head, with where it came from and what was found."""
    about = [one.detail, language(one.language) if one.language else "", _size(one), one.source]
    return element(
        "article",
        element("span", foreign(one.url or "no address"), css="url"),
        element("h4", one.title, attributes={"dir": "auto"}) if one.title else None,
        element("div", foreign(" · ".join(part for part in about if part)), css="about"),
        element("pre", _head(one), attributes={"dir": "auto"}) if one.text else None,
        css="sample",
    )


def samples(found: Sequence[Sample]) -> Markup:
    return element("div", *(sample(one) for one in found), css="samples")


def _size(one: Sample) -> str:
    return plural(one.characters, "character") if one.characters is not None else ""


def _head(one: Sample) -> str:
    """Without empty lines: what was dropped before it was cleaned may hold hundreds."""
    more = " …" if one.characters is not None and one.characters > len(one.text) else ""
    return re.sub(r"\n\s*\n", "\n", one.text).strip() + more


def _others(found: Ranking, documents: int) -> str:
    counted = sum(entry.documents for entry in found.entries)
    parts = []
    if found.distinct is not None and found.distinct > len(found.entries):
        rest = found.distinct - len(found.entries)
        parts.append(
            f"{rest:,} more hold {plural(documents - counted, 'document')} ({share(documents - counted, documents)})."
        )
    if found.distinct is None:
        parts.append(f"There are more than were counted: a figure may be too low by up to {found.missed:,} documents.")
    return " ".join(parts)
