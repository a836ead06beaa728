"""The first screen: what this is, how much of it, and whether it may be trusted."""

from __future__ import annotations

from tasks.text.look.checks import Check, checks
from tasks.text.look.model import CorpusLook, StageLook
from tasks.text.look.render.markup import Markup, element, join
from tasks.text.look.wording import about, date_time, number, plural, share, short, size

MARKS = {"pass": "✓", "attention": "!", "unknown": "–"}
MARK_WORDS = {"pass": "passes", "attention": "asks for attention", "unknown": "cannot be said"}


def head(look: CorpusLook, title: str) -> Markup:
    built = f"built {date_time(max(stage.created_at for stage in look.stages))}" if look.stages else "no stage has run"
    last = look.stages[-1] if look.stages else None
    version = f" · {last.title} {last.content[:12]}" if last else ""
    return element(
        "header",
        element("div", "Corpus report", css="eyebrow"),
        element("h1", title),
        element("p", f"{built}{version}", css="note"),
        figures(look),
    )


def figures(look: CorpusLook) -> Markup:
    """The corpus in six figures."""
    found: list[tuple[str, str, str]] = []
    read = next((stage.seen for stage in look.stages if stage.stage == "extract"), None) or _first_seen(look)
    if look.final:
        repeated = sum(stage.repeated for stage in look.stages)
        kept = f"{share(look.documents - repeated, read)} of {number(read)} records" if read else f"after {look.final}"
        kept += f", {number(repeated)} repeated by weight" if repeated else ""
        found.append(("documents", number(look.documents), kept))
        each = f"{look.characters / max(1, look.documents):,.0f} a document"
        found.append(("characters", short(look.characters), each))
    if look.tokens is not None:
        ratio = f"{look.characters_per_token:.2f} characters each" if look.characters_per_token else ""
        found.append(("tokens", short(look.tokens), ratio))
    for name, ranking in (("sources", look.sources), ("hosts", look.hosts), ("languages", look.languages)):
        if ranking:
            first = ranking.entries[0]
            many = number(ranking.distinct) if ranking.distinct is not None else "many"
            most = f"{first.name or 'not known'} {share(first.documents, look.documents)}"
            found.append((name, many, most if len(ranking.entries) > 1 else first.name))
    size_bytes = sum(stage.size_bytes for stage in look.stages)
    found.append(("on disk", size(size_bytes), plural(len(look.stages), "stage")))
    return element("dl", *(_figure(*one) for one in found), css="figures")


def verdict(look: CorpusLook) -> Markup:
    """Every check with its figure, those that ask for attention first."""
    found = checks(look)
    marks = [check.mark for check in found]
    parts = [f"{marks.count('pass')} of {len(found)} checks pass"]
    if attention := marks.count("attention"):
        parts.append(f"{attention} {'asks' if attention == 1 else 'ask'} for attention")
    if unknown := marks.count("unknown"):
        parts.append(f"{unknown} cannot be said yet")
    ordered = sorted(found, key=lambda check: ("attention", "pass", "unknown").index(check.mark))
    return element(
        "section",
        element("p", " · ".join(parts), css="verdict"),
        element("ul", *(_check(check) for check in ordered), css="checks"),
        attributes={"id": "checks"},
    )


def estimate_note(look: CorpusLook) -> str:
    """How tokens are known where nothing was encoded yet."""
    if look.characters_per_token is None:
        return "Tokens are not known: nothing was encoded yet."
    return (
        f"Tokens after encode are counted. Before it (≈) they are estimated with {look.characters_per_token:.2f} "
        "characters a token, as in the documents that were encoded; text that was dropped may differ."
    )


def tokens_about(look: CorpusLook, characters: int | None) -> str:
    ratio = look.characters_per_token
    return about(characters / ratio) if ratio and characters is not None else "–"


def _first_seen(look: CorpusLook) -> int | None:
    stages: list[StageLook] = [stage for stage in look.stages if stage.stage not in ("scrape", "collect")]
    return stages[0].seen if stages else None


def _figure(name: str, value: str, small: str) -> Markup:
    return element("div", element("dt", name), element("dd", value, element("small", small) if small else None))


def _check(check: Check) -> Markup:
    title = element("a", check.title, attributes={"href": f"#{check.place}"}) if check.place else check.title
    return element(
        "li",
        element("span", MARKS[check.mark], css="mark", attributes={"title": MARK_WORDS[check.mark]}),
        element(
            "div",
            join(element("strong", title), element("bdi", check.figure)),
            element("ul", *(element("li", detail) for detail in check.details)) if check.details else None,
            element("span", check.rule, css="rule"),
        ),
        css=check.mark,
    )
