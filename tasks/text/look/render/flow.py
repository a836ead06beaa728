"""Where documents went: the waterfall, and what each rule of each stage dropped."""

from __future__ import annotations

from tasks.text.look.model import CorpusLook, Reason, StageLook
from tasks.text.look.render.charts import bar
from tasks.text.look.render.markup import Markup, element, foreign
from tasks.text.look.render.overview import estimate_note, tokens_about
from tasks.text.look.render.tables import samples, table
from tasks.text.look.waterfall import Step, steps
from tasks.text.look.wording import duration, number, plural, share


def waterfall(look: CorpusLook) -> Markup | None:
    found = steps(look)
    if not found:
        return None
    read = found[0].documents
    whole = max(step.left for step in found)
    characters = max((step.characters_left or 0 for step in found), default=0)
    head = element("tr", *(element("th", text, css=css) for text, css in _HEADS))
    rows = [_step(step, read, whole, characters, look) for step in found]
    if look.tokens is not None:
        cells = (
            "after encode",
            bar(look.documents, whole),
            number(look.documents),
            share(look.documents, read),
            number(look.tokens),
        )
        rows.append(
            element("tr", *(element("td", c, css=s) for c, (_, s) in zip(cells, _HEADS, strict=True)), css="total")
        )
    return element(
        "section",
        element("h2", "From what was read to the corpus"),
        element("p", f"Thick bars: documents. Thin bars: characters of their text. {estimate_note(look)}", css="note"),
        element("table", element("thead", head), element("tbody", *rows), css="steps"),
        attributes={"id": "waterfall"},
    )


def stages(look: CorpusLook) -> Markup:
    rows = [
        [
            stage.title,
            number(stage.seen),
            number(stage.kept),
            number(stage.dropped if stage.seen is not None else None),
            share(stage.kept, stage.seen) if stage.seen and stage.kept is not None else "–",
            number(stage.characters),
            duration(stage.seconds),
        ]
        for stage in look.stages
    ]
    return element(
        "section",
        element("h2", "Stages"),
        element("p", "What a crawl counts are addresses; from extract on it is documents.", css="note"),
        table(["stage", "seen", "kept", "dropped", "kept %", "characters", "time"], rows, 6),
        attributes={"id": "stages"},
    )


def dropped(look: CorpusLook) -> Markup | None:
    """Every reason with its count; unfolds to samples."""
    found = [_reasons(stage) for stage in look.stages if stage.reasons]
    if not found:
        return None
    note = "Unfold a reason to read samples; they are drawn by a hash, so the same corpus always shows the same ones."
    return element(
        "section",
        element("h2", "What each rule dropped"),
        element("p", note, css="note"),
        *found,
        attributes={"id": "dropped"},
    )


_HEADS = (("", ""), ("", "line"), ("documents", "n"), ("of read", "n share"), ("tokens", "n"))


def _step(step: Step, read: int, whole: int, characters: int, look: CorpusLook) -> Markup:
    gone = step.kind != "total"
    css = "" if step.kind == "total" else step.kind
    start = step.left - step.documents if step.kind == "repeat" else step.left if gone else 0
    bars = [bar(step.documents, whole, start=start, css=css)]
    if step.characters is not None:
        start = (step.characters_left or 0) if gone and step.characters_left is not None else 0
        if not gone or step.characters_left is not None:
            bars.append(bar(step.characters, characters, start=start, css=css, second=True))
    sign = {"total": "", "repeat": "+"}.get(step.kind, "−")
    tokens = tokens_about(look, step.characters)
    documents = f"{sign}{number(step.documents)}" if step.kind != "edit" else "–"
    return element(
        "tr",
        element("td", foreign(step.title)),
        element("td", *bars, css="line"),
        element("td", documents, css="n"),
        element("td", share(step.documents, read) if step.kind != "edit" else "", css="n share"),
        element("td", tokens if tokens == "–" else f"{sign}{tokens}", css="n"),
        css=step.kind,
    )


def _reasons(stage: StageLook) -> Markup:
    title = f"{stage.title}: {stage.dropped:,} of {plural(stage.seen or 0, 'record')}"
    return element("div", element("h3", title), *(_reason(reason, stage.seen or 0) for reason in stage.reasons))


def _reason(reason: Reason, seen: int) -> Markup:
    summary = element(
        "summary",
        foreign(reason.reason),
        element("span", bar(reason.documents, seen, css="drop"), css="bars"),
        element("span", number(reason.documents), css="n"),
        element("span", share(reason.documents, seen), css="n"),
    )
    inside = samples(reason.samples) if reason.samples else element("p", "No samples were kept.", css="note")
    return element("details", summary, inside)
