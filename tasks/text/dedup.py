"""Stage dedup: exact and near duplicates dropped, what is merely similar joined into clusters; across nights too.

Nothing that any night's model may have read is forgotten: texts that were kept once and are no longer on the site stay
in `gone.parquet`, and a text of tonight that is similar to one of them shares its cluster. So the split can keep a
moved or re-worded text on the side on which it was first seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from tasks.artifacts import ArtifactRef, Draft
from tasks.config import DedupConfig
from tasks.text import documents as tables
from tasks.text.components import Components
from tasks.text.documents import CorpusError, column
from tasks.text.normalise import canonical
from tasks.text.similar import similar_pairs

GONE = "gone.parquet"
GONE_SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string()), ("cluster", pa.string())])


@dataclass(frozen=True)
class Duplicate:
    """Row `of` is kept in place of row `index`."""

    index: int
    of: int
    reason: str
    similarity: float


def dedup(
    config: DedupConfig,
    documents: ArtifactRef,
    previous: ArtifactRef | None,
    out: Draft,
    progress: Callable[[int, int], None],
) -> None:
    """Write documents.parquet (with `cluster`: the smallest id in it), rejects.parquet and gone.parquet.

    Of duplicates the one that was kept the night before stays, otherwise the first. Texts are compared in lower case
    with blanks collapsed; a near duplicate has a Jaccard similarity of character shingles >= `threshold` to a text that
    is kept; kept texts with a similarity >= `cluster_threshold`, also through others, are one cluster.

    Raises:
        CorpusError: there are no documents.
    """
    table = tables.read_documents(documents)
    if not table.num_rows:
        raise CorpusError(f"{documents.path}: no documents to deduplicate")
    ids = column(table, "id")
    known, ghosts = _memory(previous, set(ids))
    order = sorted(range(len(ids)), key=lambda index: (ids[index] not in known, index))
    exact = _exact(order, column(table, "text"), column(table, "label"))
    away = {duplicate.index for duplicate in exact}
    near, clusters = _near(config, table, [index for index in order if index not in away], ghosts)
    progress(len(ids), len(ids))
    _write(table, exact + near, clusters, ghosts, out)


def _memory(previous: ArtifactRef | None, current: set[str]) -> tuple[set[str], dict[str, str]]:
    """Ids kept the night before, and the texts by id that were kept on any night and are not among tonight's."""
    if previous is None:
        return set(), {}
    kept, gone = tables.read_documents(previous), tables.read_table(previous / GONE, GONE_SCHEMA)
    ghosts: dict[str, str] = {}
    for table in (gone, kept):
        ghosts |= {key: text for key, text in _texts(table).items() if key not in current}
    return set(column(kept, "id")), dict(sorted(ghosts.items()))


def _texts(table: pa.Table) -> dict[str, str]:
    return dict(zip(column(table, "id"), column(table, "text"), strict=True))


def _exact(order: Sequence[int], texts: Sequence[str], labels: Sequence[str | None]) -> list[Duplicate]:
    first: dict[str, int] = {}
    found = []
    for index in order:
        winner = first.setdefault(canonical(texts[index]), index)
        if winner != index:
            conflict = None not in (labels[winner], labels[index]) and labels[winner] != labels[index]
            found.append(Duplicate(index, winner, "exact duplicate" + ", other label" * conflict, 1.0))
    return found


def _near(
    config: DedupConfig, table: pa.Table, rows: Sequence[int], ghosts: dict[str, str]
) -> tuple[list[Duplicate], dict[str, str]]:
    """Near duplicates among `rows`, which come in the order of preference, and the cluster of every other id.

    A text is compared with those that are kept, not with dropped ones: else a chain of small changes would take away
    texts that have no near twin left.
    """
    ids, texts = column(table, "id"), column(table, "text")
    nodes = [ids[row] for row in rows] + list(ghosts)
    plain = [canonical(texts[row]) for row in rows] + [canonical(text) for text in ghosts.values()]
    least = min(config.threshold, config.cluster_threshold)
    pairs = similar_pairs(plain, least, size=config.shingle, permutations=config.permutations, seed=config.seed)
    clusters: Components[str] = Components()
    for node in nodes:
        clusters.find(node)
    dropped: dict[int, Duplicate] = {}
    edges: list[tuple[int, int]] = []
    best: dict[int, tuple[float, int]] = {}
    for i, j, similarity in pairs:  # ordered by j: whether i stays is known by then, as i < j
        if i in dropped:
            continue
        if similarity >= config.cluster_threshold:
            edges.append((i, j))
        if j < len(rows) and similarity >= config.threshold and (similarity, -i) > best.get(j, (0.0, 0)):
            best[j] = (similarity, -i)
            dropped[j] = Duplicate(rows[j], rows[i], "near duplicate", similarity)
    for i, j in edges:
        if j not in dropped:
            clusters.join(nodes[i], nodes[j])
    names = {node: min(group) for group in clusters.groups() for node in group}
    away = {nodes[j] for j in dropped}
    return list(dropped.values()), {node: name for node, name in names.items() if node not in away}


def _write(
    table: pa.Table, dropped: Sequence[Duplicate], clusters: dict[str, str], ghosts: dict[str, str], out: Draft
) -> None:
    away = {duplicate.index for duplicate in dropped}
    kept = table.take(pa.array([row for row in range(table.num_rows) if row not in away], pa.int64()))
    names = [clusters[key] for key in column(kept, "id")]
    tables.write_table(out.path / tables.DOCUMENTS, kept.append_column("cluster", pa.array(names, pa.string())))
    rejects = tables.rows_table(_rejects(table, dropped), tables.DUPLICATE_SCHEMA)
    tables.write_table(out.path / tables.REJECTS, rejects)
    gone = [(key, text, clusters[key]) for key, text in ghosts.items()]
    tables.write_table(out.path / GONE, tables.rows_table(gone, GONE_SCHEMA))
    for duplicate in dropped:
        out.drop(duplicate.reason)
    sizes = [size for size in Counter(names).values() if size > 1]
    out.rows |= {"seen": table.num_rows, "kept": kept.num_rows, "clusters": len(sizes), "clustered": sum(sizes)}
    out.rows |= {"gone": len(gone)}
    tables.check_balance(out)


def _rejects(table: pa.Table, dropped: Sequence[Duplicate]) -> list[tuple[object, ...]]:
    ids, urls, kinds, texts = (column(table, name) for name in ("id", "url", "kind", "text"))
    return [
        (
            ids[each.index],
            urls[each.index],
            kinds[each.index],
            each.reason,
            ids[each.of],
            each.similarity,
            texts[each.index][: tables.HEAD_CHARACTERS],
        )
        for each in sorted(dropped, key=lambda each: each.index)
    ]
