"""The look itself: reads what the stages wrote, in batches, and keeps only what the page shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tasks.artifacts import ArtifactRef
from tasks.text.documents import DOCUMENTS, REJECTS
from tasks.text.look import audits, counting
from tasks.text.look.accounts import account, edits, evaluation_sets, in_order, vocabulary
from tasks.text.look.bounded import BAR_EDGES, EDGES, Lengths, Top
from tasks.text.look.counting import Indexed, Kept, Rejected, Sized
from tasks.text.look.files import tables
from tasks.text.look.model import Bar, CorpusLook, Entry, LengthLook, Ranking, StageLook
from tasks.text.parts import Serial, Workers

CLUSTERS, LEAKS, INDEX, PAGES = "clusters", "leaks", "index", "pages"
SHOWN = 25
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def look(refs: Mapping[str, ArtifactRef], workers: Workers | None = None) -> CorpusLook:
    """Look at a corpus. Memory does not grow with it; the same artifacts give an equal look.

    Args:
        refs: artifacts by title, of any of the corpus stages; what is missing is not shown.
        workers: what reads the parts; by default this process, one after the other.
    """
    workers = workers or Serial()
    ordered = in_order(refs)
    final = next((title for title, ref in reversed(ordered) if tables(ref, DOCUMENTS)), "")
    kept = counting.over(workers, counting.count_kept, tables(refs[final], DOCUMENTS) if final else [], Kept())
    stages = tuple(_stage(title, ref, kept if title == final else None, workers) for title, ref in ordered)
    by_stage = {ref.stage: ref for _, ref in ordered}
    encoded = next((stage for stage in stages if stage.stage == "encode"), None)
    edited = edits(next((stage for stage in stages if stage.stage == "clean"), None))
    indexed = _indexed(by_stage.get("encode"), workers)
    clusters, similarities = audits.clusters(_duplicates(by_stage.get("dedup")))
    decontaminated = by_stage.get("decontaminate")
    return CorpusLook(
        stages=stages,
        final=final,
        documents=kept.documents,
        characters=kept.characters,
        lengths=_lengths(kept.lengths) if kept.documents else None,
        tokens_per_document=_lengths(indexed.lengths) if indexed else None,
        sources=_ranking(kept.sources, indexed.sources if indexed else None),
        hosts=_ranking(kept.hosts, indexed.hosts if indexed else None),
        languages=_ranking(kept.languages),
        kinds=_ranking(kept.kinds),
        sides=_ranking(kept.sides),
        samples=kept.samples.drawn(),
        samples_by_source=tuple(
            (name, kept.by_source[name].drawn())
            for name, _, _ in kept.sources.first(SHOWN)
            if name in kept.by_source and len(kept.sources.entries) > 1
        ),
        clusters=clusters,
        similarities=similarities,
        leaks=audits.leaks(tables(decontaminated, LEAKS), evaluation_sets(decontaminated)) if decontaminated else None,
        vocabulary=vocabulary(encoded) if encoded else None,
        redacted=edited.redacted,
        not_redacted=edited.not_redacted,
        lines_removed=edited.lines_removed,
    )


def _stage(title: str, ref: ArtifactRef, kept: Kept | None, workers: Workers) -> StageLook:
    """Args: kept: what was counted already, for the stage whose documents are the corpus."""
    files = tables(ref, DOCUMENTS)
    size: Kept | Sized | None = kept
    if kept is None and files:
        size = counting.over(workers, counting.count_sizes, files, Sized())
    return account(
        title,
        ref,
        rejected=_rejected(ref, workers),
        documents=size.documents if size else None,
        characters=size.characters if size else None,
    )


def _rejected(ref: ArtifactRef, workers: Workers) -> Rejected | None:
    if files := tables(ref, REJECTS):
        frequent = sorted(ref.manifest["dropped"].items(), key=lambda entry: (-entry[1], entry[0]))
        reasons = frozenset(reason for reason, _ in frequent[: counting.REASONS])
        return counting.over(workers, counting.CountRejects(reasons), files, Rejected())
    if files := tables(ref, PAGES):
        return counting.over(workers, counting.count_pages, files, Rejected())
    return None


def _indexed(ref: ArtifactRef | None, workers: Workers) -> Indexed | None:
    files = tables(ref, INDEX) if ref else []
    return counting.over(workers, counting.count_index, files, Indexed()) if files else None


def _duplicates(ref: ArtifactRef | None) -> list[Path]:
    """The audit of dropped duplicates; where this stage wrote none, its rejects say `duplicate_of` too."""
    return (tables(ref, CLUSTERS) or tables(ref, REJECTS)) if ref else []


def _ranking(top: Top, tokens: Top | None = None) -> Ranking | None:
    if not top.entries:
        return None
    counted = tokens.entries if tokens else {}
    entries = tuple(
        Entry(name, documents, characters, counted[name][1] if name in counted else None)
        for name, documents, characters in top.first(SHOWN)
    )
    return Ranking(entries, None if top.missed else len(top.entries), top.missed)


def _lengths(found: Lengths) -> LengthLook:
    counts, amounts = found.counts[1:], found.amounts[1:]  # without the lengths of 0
    bins = np.searchsorted(BAR_EDGES, EDGES, side="right") - 1
    bars = [
        Bar(
            int(BAR_EDGES[bar]),
            int(BAR_EDGES[bar + 1]) if bar + 1 < len(BAR_EDGES) else None,
            int(counts[bins == bar].sum()),
            int(amounts[bins == bar].sum()),
        )
        for bar in range(len(BAR_EDGES))
    ]
    return LengthLook(
        bars=tuple(bars),
        quantiles={share: _quantile(found, share) for share in QUANTILES},
        documents=int(found.counts.sum()),
        amount=int(found.amounts.sum()),
        empty=int(found.counts[0]),
    )


def _quantile(found: Lengths, share: float) -> int:
    """Within the bin of the quantile, as if lengths were spread evenly on a logarithmic scale."""
    cumulative = np.cumsum(found.counts)
    wanted = share * cumulative[-1]
    place = int(np.searchsorted(cumulative, wanted))
    if place == 0:
        return 0
    low = EDGES[place - 1]
    high = EDGES[place] if place < len(EDGES) else low
    into = (wanted - cumulative[place - 1]) / max(1, found.counts[place])
    return round(float(low * (high / low) ** into))
