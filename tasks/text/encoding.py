"""Stage encode: split documents to token shards, part by part, and an index that leads back to documents and URLs.

A part of the documents becomes a part of each side, `train/part-00000.arrow`, and of the index. Whichever worker makes
it, whatever it made before and however often it was killed, its bytes are the same.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bert_core import tokenizer as tokenizers
from bert_core.files import file_sha256
from bert_core.shard_rows import ShardHeader, TokenizedBatch
from bert_core.shard_writer import ShardFiles, write_index
from bert_core.tokenizer import BulkEncoder, TokenArrays, Tokenizer
from tasks.artifacts import ArtifactRef, Draft, code_hash
from tasks.config.tokens import EncodeConfig
from tasks.text import token_counts
from tasks.text.parts import Part, Receipt, Workers, build_parts, part_files
from tasks.text.token_counts import Counts
from tasks.text.tracing import INDEX, index_rows, shard_suffix, write_index_part
from tasks.text.vocabulary import TOKENIZER, make_tokenizer

SPLITS = ("train", "validation", "test")
COLUMNS = ("id", "url", "source", "language", "text", "kind", "label", "sentences", "split")
BATCH_BYTES = 1 << 25
BATCH_DOCUMENTS = 4_096


class EncodeError(ValueError):
    """Documents that cannot be encoded; the message names the document."""


def encode(
    config: EncodeConfig,
    documents: ArtifactRef | Path,
    labels: tuple[str, ...],
    out: Draft,
    workers: Workers,
    progress: Any,
    previous: ArtifactRef | None = None,
) -> None:
    """Write `tokenizer/`, `train/`, `validation/`, `test/` and `index/`; a vocabulary is of the training split alone.

    Args:
        documents: folder with the split's `documents/part-*.parquet`.
        labels: names in the order of their ids; a document without a label gets -1. Empty: all documents get -1.
        previous: an earlier artifact of this stage; parts of equal documents and an equal tokenizer are linked.

    Raises:
        EncodeError: a document's label or split is not a legal one, or there are no parts.
        TokenizerError: there is no tokenizer where the recipe says, or nothing to train one on.
        ShardError: a split has no documents.
    """
    files = part_files(documents / "documents")
    if not files:
        raise EncodeError(f"{documents / 'documents'}: no parts of documents; the stage that writes them has not run")
    tokenizer, sample = make_tokenizer(config.tokenizer, files, out.path, workers)
    header = ShardHeader(tokenizer.vocab_size, tokenizer.fingerprint, labels)
    make = EncodePart(str(out.path / TOKENIZER), header, config.documents_per_shard, config.tokens_per_shard)
    items, keys = [str(file) for file in files], [make.key(sha256) for sha256 in _contents(documents, files)]
    folders = (*SPLITS, INDEX)
    receipts = build_parts(items, keys, make, out, workers, progress, folders=folders, previous=previous)
    for split in SPLITS:
        _finish(out.path / split, header, [receipt.facts["shards"][split] for receipt in receipts])
    out.rows = {name: out.rows.get(name, 0) for name in ("seen", *SPLITS)}
    out.facts |= _facts(tokenizer, sample, receipts)


@dataclass(frozen=True)
class EncodePart:
    """Makes the shards and the index of a file of documents. Pickles; the tokenizer is loaded where it is used."""

    tokenizer: str
    """Its folder."""
    header: ShardHeader
    documents_per_shard: int
    tokens_per_shard: int

    def key(self, content: str) -> str:
        """What decides a part: the documents' bytes, the tokenizer, the shards' limits and the code."""
        header = [self.header.fingerprint, self.header.vocab_size, list(self.header.labels)]
        identity = [content, header, self.documents_per_shard, self.tokens_per_shard, code_hash(__name__)]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()

    def __call__(self, file: str, part: Part) -> Receipt:
        encoder = _encoder(self.tokenizer, self.header.fingerprint)
        writers = {split: self._writer(split, part) for split in SPLITS}
        receipt, rows, languages = Receipt(), [], []
        sides: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        for split, batch in _sides(Path(file)):
            encoded = _encoded(batch, encoder)
            labels = label_ids(batch, self.header.labels)
            places = writers[split].add(_rows(batch, encoded, labels))
            rows.append(index_rows(batch, split, places, encoded.counts))
            by_language, counts = token_counts.count_batch(
                batch["text"], batch["language"], encoded, encoder.tokenizer.unk_id
            )
            languages.append(by_language)
            sides[split] += counts + Counter(labelled=int(pc.count(batch["label"]).as_py()))
            receipt.rows.update({"seen": len(batch), split: len(batch)})
        for writer in writers.values():
            writer.flush()
        with part.writing(INDEX) as path:
            write_index_part(path, rows)
        receipt.facts["shards"] = {split: writer.entries for split, writer in writers.items()}
        receipt.facts |= {"sides": sides, "languages": token_counts.add(languages)}
        return receipt

    def _writer(self, split: str, part: Part) -> ShardFiles:
        def opening(number: int) -> AbstractContextManager[Path]:
            return part.writing(split, shard_suffix(number))

        return ShardFiles(
            self.header, opening, max_documents=self.documents_per_shard, max_tokens=self.tokens_per_shard
        )


def label_ids(batch: pa.RecordBatch, labels: Sequence[str]) -> NDArray[np.int32]:
    """(D,): index of each document's label, or -1.

    Raises:
        EncodeError: a label is not among `labels`; names the document.
    """
    if not labels:
        return np.full(len(batch), -1, dtype=np.int32)
    found = pc.index_in(batch["label"], value_set=pa.array(labels, pa.string()))
    illegal = pc.and_(pc.is_valid(batch["label"]), pc.is_null(found))
    if pc.any(illegal).as_py():
        _refuse(batch, illegal, "label", labels)
    return pc.fill_null(found, -1).to_numpy().astype(np.int32)


@lru_cache(maxsize=2)
def _encoder(folder: str, fingerprint: str) -> BulkEncoder:
    """A worker keeps it from part to part, with the pieces that it knows by then."""
    tokenizer = tokenizers.load(folder)
    if tokenizer.fingerprint != fingerprint:
        raise EncodeError(
            f"{folder}: the tokenizer is {tokenizer.fingerprint}, and this stage began with {fingerprint}; "
            "remove the folder above it and run the stage again"
        )
    return BulkEncoder(tokenizer)


def _sides(file: Path) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Batches of documents of one side of the split, in the order of the file."""
    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(_batch_size(parquet), columns=list(COLUMNS)):
            known = pc.is_in(batch["split"], value_set=pa.array(SPLITS))
            if not pc.all(known, min_count=0).as_py():
                _refuse(batch, pc.invert(known), "split", SPLITS)
            for split in SPLITS:
                side = batch.filter(pc.equal(batch["split"], split))
                if len(side):
                    yield split, side


def _batch_size(parquet: pq.ParquetFile) -> int:
    """Documents that have about `BATCH_BYTES` of text."""
    groups = [parquet.metadata.row_group(index) for index in range(parquet.num_row_groups)]
    mean = max((group.total_byte_size // max(1, group.num_rows) for group in groups), default=1)
    return max(1, min(BATCH_DOCUMENTS, BATCH_BYTES // max(1, mean)))


def _encoded(batch: pa.RecordBatch, encoder: BulkEncoder) -> TokenArrays:
    sentences = batch["sentences"]
    counts = pc.fill_null(pc.list_value_length(sentences), 0).to_numpy().astype(np.int64)
    return encoder.encode(batch["text"], sentences.flatten().to_numpy(), counts)


def _rows(batch: pa.RecordBatch, encoded: TokenArrays, labels: NDArray[np.int32]) -> TokenizedBatch:
    return TokenizedBatch(
        document_ids=batch["id"],
        kinds=batch["kind"],
        labels=labels,
        counts=encoded.counts,
        tokens=encoded.ids,
        word_starts=encoded.word_starts,
        sentence_counts=encoded.sentence_counts,
        sentence_starts=encoded.sentence_starts,
    )


def _refuse(batch: pa.RecordBatch, illegal: pa.BooleanArray, column: str, legal: Sequence[str]) -> None:
    row = batch.filter(illegal).select(["id", column]).to_pylist()[0]
    raise EncodeError(f"document {row['id']}: {column} {row[column]!r}; legal: {', '.join(legal)}")


def _contents(documents: ArtifactRef | Path, files: Sequence[Path]) -> list[str]:
    """sha256 of each file; from the manifest, where there is one."""
    if isinstance(documents, Path):
        return [file_sha256(file) for file in files]
    entries = documents.manifest["files"]
    return [entries[file.relative_to(documents.path).as_posix()]["sha256"] for file in files]


def _finish(folder: Path, header: ShardHeader, shards: Sequence[Sequence[dict[str, Any]]]) -> None:
    """Write the shards' index in the order of parts; files that an earlier attempt left beside them go."""
    entries = [
        {"name": f"part-{part:05d}{shard_suffix(number)}", **entry}
        for part, found in enumerate(shards)
        for number, entry in enumerate(found)
    ]
    folder.mkdir(exist_ok=True)
    names = {entry["name"] for entry in entries}
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()
    write_index(folder, header, entries)


def _facts(tokenizer: Tokenizer, sample: Mapping[str, Any], receipts: Sequence[Receipt]) -> dict[str, Any]:
    sides = token_counts.add(receipt.facts["sides"] for receipt in receipts)
    languages: Counts = token_counts.add(receipt.facts["languages"] for receipt in receipts)
    total = sum(languages.values(), Counter[str]())
    rates = token_counts.rates(total)
    return {
        "tokenizer": tokenizer.fingerprint,
        "tokenizer_type": tokenizer.type,
        "vocab_size": tokenizer.vocab_size,
        "pad_token_id": tokenizer.pad_id,
        "sample": dict(sample),
        "tokens": {split: sides[split]["tokens"] for split in SPLITS},
        "documents": {split: sides[split]["documents"] for split in SPLITS},
        "labelled": {split: sides[split]["labelled"] for split in SPLITS},
        "empty_documents": sum(side["empty"] for side in sides.values()),
        "unknown_rate": rates["unknown_rate"],
        "fertility": rates["fertility"],
        "characters_per_token": rates["characters_per_token"],
        "languages": {language: token_counts.rates(counts) for language, counts in languages.items()},
    }
