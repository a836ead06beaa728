"""Stage split: train, validation and test, so that nothing in one side has a twin in another; for ever.

Sides are given to groups and clusters, not to documents. A side that was given once is remembered in `sides.parquet`,
also for documents that are gone, so a page that is away for a night comes back to its own side.

The training side is mixed here too: a source's weight says how often each of its documents is read.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.artifacts import ArtifactRef, Draft
from tasks.config import SplitConfig
from tasks.text import documents as tables
from tasks.text.dedup import GONE, GONE_SCHEMA
from tasks.text.documents import BATCH_DOCUMENTS, CorpusError
from tasks.text.names import Column, number
from tasks.text.parts import Part, Progress, Receipt, Workers, build_parts
from tasks.text.sides import NO_SIDE, SIDES, VERDICTS, Corpus, Verdicts, assign

SIDES_FILE = "sides.parquet"
SIDES_SCHEMA = pa.schema([("id", pa.string()), ("group", pa.string()), ("split", pa.string())])
UNMIXED = "left out by its source's weight"
_ROW_GROUP = 65_536
"""Of the remembered sides."""


def split(
    config: SplitConfig,
    documents: ArtifactRef,
    gone: ArtifactRef,
    previous: ArtifactRef | None,
    labels: Sequence[str],
    weights: Mapping[str, float],
    out: Draft,
    workers: Workers,
    progress: Progress,
) -> None:
    """Write documents (with `split`) and rejects part by part, and sides.parquet.

    Args:
        documents: an artifact with clusters.
        gone: the dedup artifact, with the clusters of what was there on earlier nights.
        previous: the split artifact of the night before, if any: its documents, pages and clusters keep their sides.
        labels: every side must hold each of them.
        weights: by source; 0.5 takes every second document for training, chosen by its id, and 2 takes each twice.

    Raises:
        CorpusError: a side is empty or lacks a label; names them and the counts.
    """
    files = tables.document_files(documents)
    verdicts = _decide(config, files, gone, previous, out)
    items = [(str(file), mine) for file, mine in zip(files, _by_file(files, verdicts), strict=True)]
    keys = [hashlib.sha256(mine.tobytes()).hexdigest() for _, mine in items]
    make = _WritePart(config.seed, tuple(sorted(weights.items())))
    build_parts(items, keys, make, out, workers, progress, folders=(tables.DOCUMENTS, tables.REJECTS))
    tables.check_balance(out)
    out.rows = {**dict.fromkeys(SIDES, 0), **dict(sorted(out.rows.items()))}
    _check(out.rows, labels)


def _decide(
    config: SplitConfig, files: Sequence[Path], gone: ArtifactRef, previous: ArtifactRef | None, out: Draft
) -> Verdicts:
    """(N): the verdict on each row of all files, in order. Writes sides.parquet."""
    corpus = read_corpus(files, gone, previous)
    verdicts = assign(config, corpus)
    _remember(out, corpus, verdicts)
    return verdicts


def read_corpus(files: Sequence[Path], gone: ArtifactRef, previous: ArtifactRef | None) -> Corpus:
    """What decides on sides, of the documents in `files` and of earlier nights; arguments as of `split`."""
    tonight = tuple(files)
    away = (_table(gone / GONE, GONE_SCHEMA),)
    before = (_table(previous / SIDES_FILE, SIDES_SCHEMA),) if previous else ()
    (clusters, gone_clusters), cluster_names = number([Column(tonight, "cluster"), Column(away, "cluster")])
    cluster_count = len(cluster_names)
    del cluster_names  # which are as large as the ids, and what a cluster is called does not matter
    (ids, known_ids, gone_ids), id_names = number(
        [Column(tonight, "id"), Column(before, "id"), Column(away, "id")], ascending=True
    )
    (groups, known_groups), group_names = number([Column(tonight, "group"), Column(before, "group")])
    return Corpus(
        ids=ids,
        groups=groups,
        clusters=clusters,
        known_ids=known_ids,
        known_groups=known_groups,
        known_sides=_sides(Column(before, "split")),
        gone_ids=gone_ids,
        gone_clusters=gone_clusters,
        id_names=id_names,
        group_names=group_names,
        cluster_count=cluster_count,
    )


def _sides(column: Column) -> Verdicts:
    """(rows): indices of SIDES."""
    known = pa.array(SIDES, pa.binary())
    found = [np.empty(0, np.uint8)]
    for batch in column.batches():
        index = pc.index_in(batch, known)
        if index.null_count:
            raise CorpusError(f"{column.files}: sides other than {SIDES}: {pc.unique(batch).to_pylist()}")
        found.append(index.to_numpy().astype(np.uint8))
    return np.concatenate(found)


def _remember(out: Draft, corpus: Corpus, verdicts: Verdicts) -> None:
    sides = corpus.side_by_id()
    stays = verdicts < len(SIDES)
    sides[corpus.ids[stays]] = verdicts[stays]
    groups = np.zeros(len(sides), np.int32)
    groups[corpus.known_ids] = corpus.known_groups
    groups[corpus.ids] = corpus.groups
    ids = np.flatnonzero(sides != NO_SIDE).astype(np.int32)  # in ascending order of what they stand for
    with pq.ParquetWriter(out.path / SIDES_FILE, SIDES_SCHEMA, compression="zstd") as writer:
        for start in range(0, len(ids), _ROW_GROUP):
            mine = ids[start : start + _ROW_GROUP]
            names = pa.array(SIDES).take(pa.array(sides[mine]))
            columns = [corpus.id_names.take(mine), corpus.group_names.take(groups[mine]), names]
            writer.write_table(pa.table(columns, SIDES_SCHEMA))
    out.rows["remembered"] = len(ids)


def _table(path: Path, schema: pa.Schema) -> Path:
    """`path`, where there is a table with the columns of `schema`.

    Raises:
        CorpusError: there is none.
    """
    try:
        found = pq.read_schema(path).names
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such file; the stage that writes it has not run") from None
    if missing := [name for name in schema.names if name not in found]:
        raise CorpusError(f"{path}: lacks the columns {missing}; it has {found}")
    return path


def _by_file(files: Sequence[Path], verdicts: Verdicts) -> list[Verdicts]:
    stops = np.cumsum([pq.read_metadata(file).num_rows for file in files])
    return np.split(verdicts, stops[:-1])


@dataclass(frozen=True)
class _WritePart:
    seed: int
    weights: tuple[tuple[str, float], ...]

    def __call__(self, item: tuple[str, Verdicts], part: Part) -> Receipt:
        """`item`: a file of documents, and the verdict on each of its rows."""
        file, verdicts = item
        receipt, row = Receipt(), 0
        with (
            pq.ParquetFile(file) as source,
            part.writing(tables.DOCUMENTS) as kept,
            part.writing(tables.REJECTS) as dropped,
            _Kept(kept, source.schema_arrow.append(pa.field("split", pa.string())).remove_metadata()) as documents,
            tables.TableWriter(dropped, tables.REJECT_SCHEMA) as rejects,
        ):
            for batch in source.iter_batches(BATCH_DOCUMENTS):
                mine = verdicts[row : row + batch.num_rows]
                row += batch.num_rows
                copies = self._copies(batch, mine)
                documents.add(batch, mine, copies)
                out = copies == 0
                for document, verdict in zip(batch.filter(pa.array(out)).to_pylist(), mine[out].tolist(), strict=True):
                    reason = UNMIXED if verdict < len(SIDES) else VERDICTS[verdict]
                    rejects.add(tables.reject(document, reason))
                    receipt.dropped[reason] += 1
                _count(receipt.rows, batch, mine, copies)
        return receipt

    def _copies(self, batch: pa.RecordBatch, verdicts: Verdicts) -> NDArray[np.int64]:
        """(rows): how often each is written."""
        copies = (verdicts < len(SIDES)).astype(np.int64)
        weights = dict(self.weights)
        if weights:
            for row in np.flatnonzero(verdicts == SIDES.index("train")).tolist():
                weight = weights.get(batch["source"][row].as_py(), 1.0)
                copies[row] = copies_of(self.seed, batch["id"][row].as_py(), weight)
        return copies


class _Kept:
    """Documents to a Parquet file in row groups of `BATCH_DOCUMENTS`, so its bytes are a function of the rows alone."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._pending: pa.Table = schema.empty_table()

    def add(self, batch: pa.RecordBatch, verdicts: Verdicts, copies: NDArray[np.int64]) -> None:
        """The rows of a batch with their sides, each as often as `copies` (rows) says."""
        rows = np.repeat(np.arange(batch.num_rows), copies)
        for start in range(0, len(rows), BATCH_DOCUMENTS):
            at = rows[start : start + BATCH_DOCUMENTS]
            sides = pa.array(SIDES).take(pa.array(verdicts[at]))
            columns = [*batch.take(pa.array(at)).columns, sides]
            self._pending = pa.concat_tables([self._pending, pa.table(columns, self._pending.schema)])
            if len(self._pending) >= BATCH_DOCUMENTS:
                self._write(BATCH_DOCUMENTS)

    def __enter__(self) -> _Kept:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and len(self._pending):
            self._write(len(self._pending))
        self._writer.close()

    def _write(self, rows: int) -> None:
        # In one piece: where a piece ends, a page of the file may.
        self._writer.write_table(self._pending.slice(0, rows).combine_chunks())
        self._pending = self._pending.slice(rows)


def copies_of(seed: int, key: str, weight: float) -> int:
    """How often a document is taken: the weight's whole part, and once more with the probability of the rest."""
    digest = hashlib.sha256(f"mix {seed}\n{key}".encode()).digest()
    return int(weight) + (int.from_bytes(digest[:8], "big") / 2**64 < weight % 1)


def _count(rows: Counter[str], batch: pa.RecordBatch, verdicts: Verdicts, copies: NDArray[np.int64]) -> None:
    kept = copies > 0
    rows["seen"] += batch.num_rows
    if not kept.any():
        return
    rows["kept"] += int(np.count_nonzero(kept))
    rows["repeated by weight"] += int(copies.sum()) - int(np.count_nonzero(kept))
    sides = [SIDES[verdict] for verdict in verdicts[kept].tolist()]
    rows.update(sides)
    labels = batch["label"].filter(pa.array(kept)).to_pylist()
    rows.update(f"{side}/{label}" for side, label in zip(sides, labels, strict=True) if label)


def _check(counts: Mapping[str, int], labels: Sequence[str]) -> None:
    shown = ", ".join(f"{name} {count}" for name, count in counts.items() if name.split("/")[0] in SIDES)
    advice = "crawl more documents, raise split.test_share / split.validation_share or take another split.seed"
    for side in SIDES:
        if not counts.get(side):
            raise CorpusError(f"the {side} side of the split is empty ({shown}); {advice}")
        for label in labels:
            if not counts.get(f"{side}/{label}"):
                raise CorpusError(
                    f"the {side} side of the split has no document labelled {label!r} ({shown}); {advice}"
                )
