"""What is in the corpus: documents to read, their lengths, languages and origins."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.text.look.model import CorpusLook, Sample
from tasks.text.look.render.charts import histogram
from tasks.text.look.render.markup import Markup, element, foreign
from tasks.text.look.render.tables import languages, ranking, samples


def kept(look: CorpusLook) -> Markup | None:
    if not look.samples:
        return None
    note = f"{len(look.samples)} documents drawn from the {look.documents:,} that stayed, and some of each source."
    return element(
        "section",
        element("h2", "What was kept"),
        element("p", note, css="note"),
        samples(look.samples),
        *(_of_source(name, drawn) for name, drawn in look.samples_by_source),
        attributes={"id": "kept"},
    )


def _of_source(name: str, drawn: Sequence[Sample]) -> Markup:
    summary = element("summary", "from ", foreign(name or "no source"))
    return element("details", summary, samples(drawn), css="plain")


def lengths(look: CorpusLook) -> Markup | None:
    if look.lengths is None:
        return None
    tokens = look.tokens_per_document
    return element(
        "section",
        element("h2", "Lengths"),
        element("h3", "Characters of a document"),
        histogram(look.lengths, "characters"),
        element("h3", "Tokens of a document") if tokens else None,
        histogram(tokens, "tokens") if tokens else None,
        attributes={"id": "lengths"},
    )


def language(look: CorpusLook) -> Markup | None:
    if look.languages is None:
        return None
    return element(
        "section",
        element("h2", "Languages"),
        languages(look.languages, (look.documents, look.characters)),
        attributes={"id": "languages"},
    )


def origins(look: CorpusLook) -> Markup | None:
    if look.sources is None or look.hosts is None:
        return None
    of = (look.documents, look.characters)
    kinds = look.kinds if look.kinds and len(look.kinds.entries) > 1 else None
    return element(
        "section",
        element("h2", "Where it came from"),
        element("p", "Bars: share of the characters. In brackets: sources whose records have no host.", css="note"),
        element("h3", "Sources"),
        ranking(look.sources, "source", of),
        element("h3", "Hosts"),
        ranking(look.hosts, "host", of),
        element("h3", "Kinds") if kinds else None,
        ranking(kinds, "kind", of) if kinds else None,
        attributes={"id": "hosts"},
    )
