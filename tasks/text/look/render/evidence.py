"""What a person wants to check: duplicates, leaks, the vocabulary, personal data, and where everything came from."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tasks.text.look.model import Cluster, CorpusLook, Leak, StageLook
from tasks.text.look.render.charts import bar, similarities
from tasks.text.look.render.markup import Markup, element, foreign
from tasks.text.look.render.tables import table
from tasks.text.look.wording import date_time, duration, language, number, plural, share, size

SIDES = ("train", "validation", "test")


def duplicates(look: CorpusLook) -> Markup | None:
    stage = look.stage("dedup")
    if stage is None:
        return None
    clustered = stage.rows.get("clustered", 0)
    note = f"{stage.dropped:,} of {plural(stage.seen or 0, 'document')} had a twin that stayed instead."
    if clustered:
        clusters = plural(stage.rows.get("clusters", 0), "cluster")
        note += f" {clustered:,} that stayed are similar to others, in {clusters}: they go to one side of the split."
    return element(
        "section",
        element("h2", "Duplicates"),
        element("p", note, css="note"),
        element("h3", "Near duplicates by similarity") if look.similarities else None,
        similarities(look.similarities) if look.similarities else None,
        element("h3", "Documents that stand in for the most others") if look.clusters else None,
        *(_cluster(cluster, stage.dropped) for cluster in look.clusters),
        attributes={"id": "duplicates"},
    )


def leaks(look: CorpusLook) -> Markup | None:
    if look.leaks is None:
        return None
    sets = [[foreign(name), number(count)] for name, count in look.leaks.by_set]
    return element(
        "section",
        element("h2", "Overlap with evaluation sets"),
        table(["evaluation set", "overlaps"], sets, 1) if sets else element("p", "There is none.", css="note"),
        element("div", *(_leak(leak) for leak in look.leaks.samples), css="samples") if look.leaks.samples else None,
        attributes={"id": "leaks"},
    )


def vocabulary(look: CorpusLook) -> Markup | None:
    found = look.vocabulary
    if found is None:
        return None
    counts = {entry.name: entry.documents for entry in look.sides.entries} if look.sides else {}
    order = [*(side for side in SIDES if side in found.tokens), *sorted(found.tokens.keys() - set(SIDES))]
    sides = [
        [side, number(counts.get(side)), number(found.tokens[side]), share(found.tokens[side], found.total)]
        for side in order
    ]
    rows = [
        [
            language(each.language) if each.language else "the whole",
            number(each.documents),
            number(each.tokens),
            f"{each.characters_per_token:.2f}" if each.characters_per_token is not None else "–",
            f"{each.fertility:.3f}" if each.fertility is not None else "–",
            share(each.unknown_rate, 1) if each.unknown_rate is not None else "–",
        ]
        for each in (*found.languages, found.whole)
    ]
    name = f"A vocabulary of {number(found.size)} tokens, fingerprint {found.fingerprint[:12]}."
    return element(
        "section",
        element("h2", "Vocabulary and split"),
        element("p", f"{name} Fertility: tokens a word; the nearer to 1, the fewer words are cut.", css="note"),
        table(["language", "documents", "tokens", "characters a token", "fertility", "unknown"], rows, 5),
        element("h3", "Sides of the split"),
        table(["side", "documents", "tokens", "%"], sides, 3),
        attributes={"id": "vocabulary"},
    )


def edits(look: CorpusLook) -> Markup | None:
    if look.redacted is None and not look.lines_removed:
        return None
    redacted = look.redacted or {}
    per = 1e6 * sum(redacted.values()) / max(1, look.characters)
    not_looked = f" Not looked for: {', '.join(look.not_redacted)}." if look.not_redacted else ""
    note = f"Pieces that were replaced: {per:,.1f} in a million characters of what stayed.{not_looked}"
    return element(
        "section",
        element("h2", "Taken out of documents that stay"),
        element("h3", "Personal data") if redacted else None,
        element("p", note, css="note"),
        _counts("kind", "replaced", redacted),
        element("h3", "Lines") if look.lines_removed else None,
        _counts("rule", "lines", look.lines_removed),
        attributes={"id": "edits"},
    )


def _counts(what: str, amount: str, counts: Mapping[str, int]) -> Markup | None:
    most = max(counts.values(), default=0)
    rows = [[name, element("div", bar(n, most), css="bars"), number(n)] for name, n in counts.items()]
    return table([what, "", amount], rows, 1, "ranking") if rows else None


def lineage(look: CorpusLook) -> Markup:
    rows = [
        [
            stage.title,
            element("code", stage.content[:16]),
            element("code", stage.code[:12] or "–"),
            element("code", ", ".join(f"{name} {content[:8]}" for name, content in stage.inputs) or "–"),
            date_time(stage.created_at),
            duration(stage.seconds),
            size(stage.size_bytes),
            size(stage.peak_memory_bytes) if stage.peak_memory_bytes else "–",
        ]
        for stage in look.stages
    ]
    heads = ["stage", "content", "code", "built from", "built", "took", "on disk", "peak memory"]
    return element(
        "section",
        element("h2", "Lineage"),
        element(
            "p",
            "Content: sha256 of what came out. Code: of what made it. Both are in the stage's manifest.",
            css="note",
        ),
        table(heads, rows, 4),
        *(_config(stage) for stage in look.stages),
        attributes={"id": "lineage"},
    )


def _cluster(cluster: Cluster, duplicates: int) -> Markup:
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in cluster.by_reason.items())
    summary = element(
        "summary",
        element("span", foreign(cluster.url or cluster.id), css="url"),
        element("span", bar(cluster.dropped, duplicates), css="bars"),
        element("span", number(cluster.dropped), css="n"),
        element("span", share(cluster.dropped, duplicates), css="n"),
    )
    members = [
        element(
            "li",
            element("span", member.reason),
            element("span", f"{member.similarity:.3f}" if member.similarity is not None else "–", css="n"),
            element("span", foreign(member.url), css="url"),
        )
        for member in cluster.members
    ]
    rest = cluster.dropped - len(cluster.members)
    more = element("li", f"and {rest:,} more") if rest > 0 else None
    return element("details", summary, element("p", reasons, css="note"), element("ul", *members, more, css="members"))


def _leak(leak: Leak) -> Markup:
    part = f"overlap {leak.share:.2f}" if leak.share is not None else ""
    about = " · ".join(text for text in (leak.evaluation_set, f"row {leak.row}", leak.overlap, part) if text)
    return element(
        "article",
        element("span", foreign(leak.url or "no address"), css="url"),
        element("div", foreign(about), css="about"),
        element("pre", leak.text, attributes={"dir": "auto"}) if leak.text else None,
        css="sample",
    )


def _config(stage: StageLook) -> Markup:
    text = json.dumps(stage.config, indent=2, sort_keys=True, ensure_ascii=False)
    summary = element("summary", f"config of {stage.title}")
    return element("details", summary, element("pre", text, css="config"), css="plain")
