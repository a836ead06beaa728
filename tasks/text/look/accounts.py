"""What the stages' manifests say, in one shape for all stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.artifacts import ArtifactRef
from tasks.text.look.counting import Rejected
from tasks.text.look.model import LanguageTokens, Reason, StageLook, Vocabulary

ORDER = ("scrape", "collect", "extract", "clean", "dedup", "decontaminate", "split", "encode")


def in_order(refs: Mapping[str, ArtifactRef]) -> list[tuple[str, ArtifactRef]]:
    """(title, artifact) in the order of the pipeline, whatever order they come in."""
    ranked = [(ORDER.index(ref.stage) if ref.stage in ORDER else len(ORDER), title) for title, ref in refs.items()]
    return [(title, refs[title]) for _, title in sorted(ranked)]


def account(
    title: str,
    ref: ArtifactRef,
    *,
    rejected: Rejected | None = None,
    documents: int | None = None,
    characters: int | None = None,
) -> StageLook:
    """A stage's account of itself beside what was counted in its files.

    Args:
        documents, characters: counted in its files; None: it has no documents.
    """
    manifest = ref.manifest
    rows, dropped = manifest["rows"], _dropped(manifest)
    seen, kept = _balance(ref.stage, rows)
    return StageLook(
        title=title,
        stage=ref.stage,
        name=ref.name,
        content=ref.content,
        key=ref.key,
        code=manifest.get("code") or "",
        created_at=float(manifest["created_at"]),
        seconds=float(manifest.get("seconds", 0.0)),
        peak_memory_bytes=manifest["facts"].get("peak_memory_bytes"),
        size_bytes=sum(entry["bytes"] for entry in manifest["files"].values()),
        config=manifest.get("config") or {},
        inputs=tuple((each["stage"], each["content"]) for each in manifest.get("inputs", ())),
        seen=seen,
        kept=kept,
        rows=rows,
        facts=manifest["facts"],
        reasons=_reasons(dropped, rejected),
        counted_kept=documents,
        counted_dropped=rejected.documents if rejected is not None else None,
        characters=characters,
    )


def vocabulary(stage: StageLook) -> Vocabulary:
    """The vocabulary's figures, whole and by language, as far as the encode stage wrote them down."""
    facts = stage.facts
    languages = facts.get("languages") or {}
    by_language = tuple(_tokens(name, values) for name, values in languages.items() if isinstance(values, Mapping))
    return Vocabulary(
        size=facts.get("vocab_size"),
        fingerprint=str(facts.get("tokenizer", "")),
        whole=_tokens(
            "", {**facts, **{name: sum((facts.get(name) or {}).values()) for name in ("documents", "tokens")}}
        ),
        languages=tuple(sorted(by_language, key=lambda each: (-(each.tokens or 0), each.language))),
        tokens=facts.get("tokens") or {},
    )


@dataclass(frozen=True)
class Edits:
    """What was taken out of documents that stayed."""

    redacted: Mapping[str, int] | None = None
    not_redacted: tuple[str, ...] = ()
    lines_removed: Mapping[str, int] = field(default_factory=dict)


def edits(clean: StageLook | None) -> Edits:
    """Personal data by kind and lines by rule, the most frequent first."""
    if clean is None or not isinstance(clean.facts.get("redacted"), Mapping):
        return Edits()
    config = clean.config.get("clean") or clean.config
    switches = {name: on for name, on in (config.get("privacy") or {}).items() if isinstance(on, bool)}
    off = tuple(name.removesuffix("s") for name, on in switches.items() if not on)
    looked = not switches or any(switches.values())
    found = {**{name: 0 for name, on in switches.items() if on}, **clean.facts["redacted"]}
    return Edits(_ordered(found) if looked else None, off, _ordered(clean.facts.get("lines_removed") or {}))


def evaluation_sets(decontaminate: ArtifactRef) -> tuple[str, ...]:
    """The names of the sets that documents were compared with."""
    config = decontaminate.manifest.get("config") or {}
    sets = (config.get("decontaminate") or config).get("sets") or ()
    return tuple(str(each["name"]) for each in sets if isinstance(each, Mapping) and "name" in each)


def _ordered(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def _balance(stage: str, rows: Mapping[str, int]) -> tuple[int | None, int | None]:
    """What a stage saw, and what it kept; a crawl keeps the pages that it has a body of."""
    if stage == "scrape" and "kept" not in rows and "seen" in rows:
        return rows["seen"], rows.get("fetched", 0) + rows.get("not_modified", 0)
    return rows.get("seen"), rows.get("kept")


def _dropped(manifest: Mapping[str, Any]) -> dict[str, int]:
    dropped: dict[str, int] = dict(manifest["dropped"])
    if redirected := manifest["rows"].get("redirected", 0):
        dropped["redirected to another address"] = redirected
    return dropped


def _reasons(dropped: Mapping[str, int], rejected: Rejected | None) -> tuple[Reason, ...]:
    found = rejected or Rejected()
    return tuple(
        Reason(
            reason,
            count,
            found.characters[reason] if found.characters else None,
            found.samples[reason].drawn() if reason in found.samples else (),
        )
        for reason, count in sorted(dropped.items(), key=lambda entry: (-entry[1], entry[0]))
    )


def _tokens(language: str, values: Mapping[str, Any]) -> LanguageTokens:
    def figure(name: str) -> float | None:
        value = values.get(name)
        return float(value) if isinstance(value, int | float) else None

    def count(name: str) -> int | None:
        value = values.get(name)
        return value if isinstance(value, int) else None

    return LanguageTokens(
        language,
        figure("fertility"),
        figure("unknown_rate"),
        figure("characters_per_token"),
        count("documents"),
        count("tokens"),
    )
