"""What went in: pages, documents, the split, tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.text.report.layout import Column, Lines, Section, Table, numbers
from tasks.text.report.stages import StageRun, find
from tasks.text.report.wording import reasons, size

SIDES = ("train", "validation", "test")


def crawl(stages: Sequence[StageRun]) -> Section | None:
    crawls = [stage for stage in stages if stage.stage == "scrape"]
    if not crawls:
        return None
    kinds = ("seen", "fetched", "not_modified", "redirected", "skipped", "failed")
    several = len(crawls) > 1
    rows = [
        (_site(each) if several else "this night", *(f"{each.rows.get(kind, 0):,}" for kind in kinds))
        for each in crawls
    ]
    pages = Table((Column("pages"), *numbers(*(kind.replace("_", " ") for kind in kinds))), tuple(rows))
    lines = [f"{_site(each)}: {_news(each)}" if several else _news(each) for each in crawls]
    requests = sum(each.facts.get("requests", 0) for each in crawls)
    received = sum(each.facts.get("bytes", 0) for each in crawls)
    note = f"{requests:,} requests, {size(received)} received" if requests and received else ""
    return Section("Pages", (pages, Lines(tuple(lines))), note)


def _site(crawl: StageRun) -> str:
    return crawl.name.removeprefix("scrape ")


def _news(crawl: StageRun) -> str:
    """Against the night before, and what was not fetched."""
    change = ", ".join(f"{crawl.rows.get(kind, 0):,} {kind}" for kind in ("new", "changed", "gone"))
    lost = f"; skipped or failed: {reasons(crawl.dropped)}" if crawl.dropped else ""
    return f"against the night before {change}{lost}"


def documents(stages: Sequence[StageRun]) -> Section | None:
    rows = [
        (
            stage.name,
            f"{stage.rows['seen']:,}",
            f"{stage.rows['kept']:,}",
            f"{sum(stage.dropped.values()):,}",
            reasons(stage.dropped),
        )
        for stage in stages
        if {"seen", "kept"} <= stage.rows.keys()
    ]
    if not rows:
        return None
    columns = (Column("stage"), *numbers("seen", "kept", "dropped"), Column("why dropped"))
    return Section("Documents", (Table(columns, tuple(rows)),), "seen = kept + dropped")


def tokens(stages: Sequence[StageRun]) -> Section | None:
    split, encode = find(stages, "split"), find(stages, "encode")
    documents: Mapping[str, int] = split.rows if split else encode.facts.get("documents", {}) if encode else {}
    tokens: Mapping[str, int] = encode.facts.get("tokens", {}) if encode else {}
    labels = sorted({key.partition("/")[2] for key in documents if "/" in key})
    rows = [
        (
            side,
            f"{documents[side]:,}",
            *_balance([documents.get(f"{side}/{label}", 0) for label in labels]),
            f"{documents[side] - sum(documents.get(f'{side}/{label}', 0) for label in labels):,}",
            f"{tokens[side]:,}" if side in tokens else "",
        )
        for side in SIDES
        if side in documents
    ]
    if not rows:
        return None
    table = Table((Column("side"), *numbers("documents", *labels, "unlabelled", "tokens")), tuple(rows))
    return Section("Split and tokens", (table,), _vocabulary(encode.facts) if encode else "")


def _balance(counts: Sequence[int]) -> list[str]:
    return [f"{count:,} ({count / max(1, sum(counts)):.0%})" for count in counts]


def _vocabulary(facts: Mapping[str, Any]) -> str:
    parts = []
    if "vocab_size" in facts:
        parts.append(f"vocabulary of {facts['vocab_size']:,}")
    if "unknown_rate" in facts:
        parts.append(f"{facts['unknown_rate']:.2%} unknown")
    if "fertility" in facts:
        parts.append(f"{facts['fertility']:.2f} tokens a word")
    if "tokenizer" in facts:
        parts.append(str(facts["tokenizer"])[:12])
    return ", ".join(parts)
