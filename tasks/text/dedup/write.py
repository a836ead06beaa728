"""What deduplication leaves: documents with their cluster, rejects, the audit of both, and the texts that are gone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.text import documents as tables
from tasks.text.dedup import sketches
from tasks.text.dedup.decide import NAMER, REASON, SCORE, WINNER, Reason
from tasks.text.dedup.shelves import Layout, rows_of
from tasks.text.documents import BATCH_DOCUMENTS, DOCUMENTS, REJECTS, TableWriter
from tasks.text.joined import join, replacing
from tasks.text.parts import Part, Receipt, part_files

GONE = "gone.parquet"
GONE_SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "url", "text", "cluster")])
CLUSTERS = "clusters.parquet"
CLUSTERS_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("url", pa.string()),
        ("source", pa.string()),
        ("duplicate_of", pa.string()),
        ("kept_url", pa.string()),
        ("kept_source", pa.string()),
        ("kept_corpus", pa.string()),  # "" = this one
        ("reason", pa.string()),
        ("similarity", pa.float64()),  # Jaccard similarity of shingles
    ]
)
REJECT_SCHEMA = pa.schema(
    [*tables.REJECT_SCHEMA, pa.field("duplicate_of", pa.string()), pa.field("similarity", pa.float64())]
)
IDS, STANDING, AUDIT = "ids.npy", "standing", "audit"
WINNERS = "winners"
_STANDING_SCHEMA = pa.schema([("row", pa.int64()), ("url", pa.string()), ("source", pa.string())])


@dataclass(frozen=True)
class NameWinners:
    """Writes address and source of a shelf's documents that stand in for others. Pickles."""

    folder: str

    def __call__(self, number: int, part: Part) -> Receipt:
        folder = Path(self.folder)
        layout = Layout.load(folder)
        start, stop = layout.starts[number], layout.starts[number + 1]
        winners = np.unique(np.load(folder / WINNER, mmap_mode="r"))
        rows = winners[(winners >= start) & (winners < stop)].astype(np.int64) - start
        found = rows_of(layout.shelves[number], rows, ["url", "source"]) if len(rows) else ()
        with part.writing(STANDING, ".arrow") as path:
            values = sorted((int(start) + row, document["url"], document["source"]) for row, document in found)
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, _STANDING_SCHEMA) as writer:
                writer.write_table(tables.rows_table(values, _STANDING_SCHEMA))
        return Receipt()


@dataclass(frozen=True)
class WritePart:
    """Writes the documents of one of tonight's parts that stay, those that go, and the audit. Pickles."""

    folder: str

    def __call__(self, number: int, part: Part) -> Receipt:
        folder = Path(self.folder)
        layout, receipt = Layout.load(folder), Receipt()
        shelf, row = layout.shelves[number], int(layout.starts[number])
        verdicts = _Verdicts(folder, layout)
        with (
            pq.ParquetFile(shelf.documents) as source,
            part.writing(DOCUMENTS) as kept,
            part.writing(REJECTS) as dropped,
            Part(folder, part.number).writing(AUDIT) as audit,
        ):
            schema = source.schema_arrow.append(pa.field("cluster", pa.string()))
            with (
                pq.ParquetWriter(kept, schema, compression="zstd") as documents,
                TableWriter(dropped, REJECT_SCHEMA) as rejects,
                TableWriter(audit, CLUSTERS_SCHEMA) as audits,
            ):
                for batch in source.iter_batches(BATCH_DOCUMENTS):
                    stay = verdicts.winner[row : row + batch.num_rows] < 0
                    names = verdicts.ids(verdicts.namer[row : row + batch.num_rows][stay])
                    chosen = pa.Table.from_batches([batch]).filter(pa.array(stay))
                    documents.write_table(chosen.append_column(schema.field("cluster"), pa.array(names, pa.string())))
                    for local in np.flatnonzero(~stay).tolist():
                        document = batch.slice(local, 1).to_pylist()[0]
                        reject, entry = verdicts.rejected(row + local, document)
                        rejects.add(reject)
                        audits.add(entry)
                        receipt.dropped[str(reject[4])] += 1
                    receipt.rows["seen"] += batch.num_rows
                    receipt.rows["kept"] += chosen.num_rows
                    row += batch.num_rows
        return receipt


class _Verdicts:
    """What was decided, looked up on disk."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self.winner, self._reason, self._score, self.namer = (
            np.load(folder / name, mmap_mode="r") for name in (WINNER, REASON, SCORE, NAMER)
        )
        self._folder, self._layout, self._ids = folder, layout, np.load(folder / IDS, mmap_mode="r")
        self._standing: dict[int, tuple[NDArray[np.int64], pa.Table]] = {}

    def ids(self, rows: NDArray[np.int32]) -> list[str]:
        return [each.tobytes().hex() for each in self._ids[rows]]

    def rejected(self, row: int, document: dict[str, Any]) -> tuple[tuple[object, ...], tuple[object, ...]]:
        """A row of rejects and one of the audit."""
        winner, reason, score = int(self.winner[row]), Reason(int(self._reason[row])), float(self._score[row])
        number = int(self._layout.shelf_of(np.array([winner]))[0])
        kept, corpus = self._ids[winner].tobytes().hex(), self._layout.shelves[number].corpus
        url, source = self._stands(number, winner)
        reject = (*tables.reject(document, reason.text, url), kept, score)
        entry = (document["id"], document["url"], document["source"], kept, url, source, corpus, reason.text, score)
        return reject, entry

    def _stands(self, number: int, row: int) -> tuple[str, str]:
        """Address and source of a row that stands in for others."""
        if number not in self._standing:
            with pa.memory_map(str(self._folder / WINNERS / STANDING / f"part-{number:05d}.arrow")) as source:
                table = pa.ipc.open_file(source).read_all()
            self._standing[number] = table["row"].to_numpy(), table
        rows, table = self._standing[number]
        place = int(np.searchsorted(rows, row))
        return table["url"][place].as_py(), table["source"][place].as_py()


def write_clusters(folder: Path, out: Path) -> None:
    """One table of the parts' audits."""
    join(part_files(folder / AUDIT), out / CLUSTERS, CLUSTERS_SCHEMA)


def write_gone(layout: Layout, ghosts: NDArray[np.int64], folder: Path, sketch_schema: pa.Schema, out: Path) -> None:
    """The texts of earlier nights that are gone, with their sketches in the same order."""
    namer, ids = np.load(folder / NAMER, mmap_mode="r"), np.load(folder / IDS, mmap_mode="r")
    with (
        replacing(out / GONE) as table,
        replacing(out / "sketches" / "gone.arrow") as sketch_path,
        TableWriter(table, GONE_SCHEMA) as writer,
        pa.OSFile(str(sketch_path), "wb") as sink,
        pa.ipc.new_file(sink, sketch_schema) as sketched,
    ):
        for _, shelf, rows in layout.numbered():
            mine = ghosts[(ghosts >= rows.start) & (ghosts < rows.stop)] - rows.start
            if not len(mine):
                continue
            order = []
            for local, document in rows_of(shelf, mine, ["id", "url", "text"]):
                cluster = ids[namer[rows.start + local]].tobytes().hex()
                writer.add((document["id"], document["url"] or "", document["text"], cluster))
                order.append(local)
            for batch in sketches.rows(Path(shelf.sketches), order):
                sketched.write_batch(batch)
