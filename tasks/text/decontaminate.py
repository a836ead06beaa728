"""Stage decontaminate: what an evaluation set has, training must not have.

A document goes when it is a near-duplicate of an evaluation text, shares runs of words with one (of 13 words, as in
GPT-3, arXiv:2005.14165, appendix C), or has the whole of a short one. The leak report says what was found where.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.artifacts import ArtifactRef, Draft
from tasks.config.dedup import DecontaminateConfig
from tasks.text import documents as tables
from tasks.text import evaluation
from tasks.text.documents import BATCH_DOCUMENTS, DOCUMENTS, REJECT_SCHEMA, REJECTS, TableWriter
from tasks.text.joined import join, sweep
from tasks.text.overlap import Index, Overlap, index, overlaps
from tasks.text.parts import Part, Progress, Receipt, Workers, build_parts, part_files

LEAKS = "leaks.parquet"
LEAKS_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("url", pa.string()),
        ("source", pa.string()),
        ("evaluation_set", pa.string()),
        ("evaluation_row", pa.int64()),
        ("overlap", pa.string()),  # near duplicate, n-gram, whole text
        ("ngram", pa.string()),  # the first shared run
        ("share", pa.float64()),  # Jaccard similarity, or the share of the evaluation text's runs
    ]
)
PARTS_OF_LEAKS, WORK = "leaks", "work"


@dataclass(frozen=True)
class Texts:
    """Evaluation texts in the order of the index. Evaluation sets are small enough for memory; documents are not."""

    texts: list[str]
    sets: list[str]
    rows: list[int]


@dataclass(frozen=True)
class DecontaminatePart:
    """Writes the documents of a part that stay, those that go, and the leaks. Pickles."""

    config: DecontaminateConfig
    folder: str
    sets: tuple[tuple[str, int], ...]
    """Name and row of each evaluation text, where the index has its number."""

    def __call__(self, documents: str, part: Part) -> Receipt:
        receipt = Receipt()
        known = Index.load(Path(self.folder))
        with (
            pq.ParquetFile(documents) as source,
            part.writing(DOCUMENTS) as kept,
            part.writing(REJECTS) as dropped,
            part.writing(PARTS_OF_LEAKS) as leaked,
            pq.ParquetWriter(kept, source.schema_arrow, compression="zstd") as writer,
            TableWriter(dropped, REJECT_SCHEMA) as rejects,
            TableWriter(leaked, LEAKS_SCHEMA) as leaks,
        ):
            for batch in source.iter_batches(BATCH_DOCUMENTS):
                found = overlaps(self.config, known, batch["text"].to_pylist())
                chosen = pa.Table.from_batches([batch]).filter(pa.array([not each for each in found]))
                writer.write_table(chosen)
                for row, each in enumerate(found):
                    if each:
                        self._drop(batch.slice(row, 1).to_pylist()[0], each, rejects, leaks, receipt)
                receipt.rows["seen"] += batch.num_rows
                receipt.rows["kept"] += chosen.num_rows
        return receipt

    def _drop(
        self,
        document: dict[str, Any],
        found: Sequence[Overlap],
        rejects: TableWriter,
        leaks: TableWriter,
        receipt: Receipt,
    ) -> None:
        name, row = self.sets[found[0].evaluation]
        reason = f"contaminated: {name}"
        rejects.add(tables.reject(document, reason, f"{found[0].kind} with row {row}: {found[0].shown}".rstrip(": ")))
        receipt.dropped[reason] += 1
        for each in found[: self.config.leaks_per_document]:
            name, row = self.sets[each.evaluation]
            where = (document["id"], document["url"], document["source"])
            leaks.add((*where, name, row, each.kind, each.shown, each.share))
        for name in {self.sets[each.evaluation][0] for each in found}:
            receipt.rows[f"leaked from {name}"] += 1


def decontaminate(
    config: DecontaminateConfig,
    home: Path,
    documents: ArtifactRef,
    out: Draft,
    workers: Workers,
    progress: Progress,
) -> None:
    """Write documents and rejects part by part, and leaks.parquet.

    Args:
        home: folder that the evaluation sets' paths are relative to.
        documents: an artifact with documents, of which every column is kept.

    Raises:
        CorpusError: an evaluation set cannot be read in full; there are no parts of documents.
    """
    files = tables.document_files(documents)
    known = read(config, home)
    sweep(out.path)
    work = out.path / WORK
    work.mkdir(exist_ok=True)
    indexed = index(config, known.texts)
    indexed.save(work)
    make = DecontaminatePart(config, str(work), tuple(zip(known.sets, known.rows, strict=True)))
    keys = [f"{documents.content} {file.name}" for file in files]
    folders = (DOCUMENTS, REJECTS, PARTS_OF_LEAKS)
    build_parts([str(file) for file in files], keys, make, out, workers, progress, folders=folders)
    leaked = {name: out.rows.pop(f"leaked from {name}", 0) for name in sorted({*known.sets})}
    texts = Counter(known.sets)
    short = Counter(name for name, runs in zip(known.sets, indexed.distinct_runs, strict=True) if not runs)
    out.facts |= {"evaluation_texts": dict(texts), "too_short_for_runs": dict(short), "documents_leaked": leaked}
    tables.check_balance(out)
    join(part_files(out.path / PARTS_OF_LEAKS), out.path / LEAKS, LEAKS_SCHEMA)
    shutil.rmtree(out.path / PARTS_OF_LEAKS)
    shutil.rmtree(work)


def read(config: DecontaminateConfig, home: Path) -> Texts:
    """All evaluation texts of a recipe."""
    found = Texts([], [], [])
    for each in config.sets:
        for row, text in evaluation.texts(each, home):
            found.texts.append(text)
            found.sets.append(each.name)
            found.rows.append(row)
    return found
