"""Write token shards: columns of documents to files, in the order in which they come.

D documents, M tokens of all of them, S sentences.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bert_core.files import file_sha256, write_json
from bert_core.shard_rows import (
    MAX_SHARD_TOKENS,
    ShardError,
    ShardHeader,
    TokenizedBatch,
    TokenizedDocument,
    batch_of,
    check_rows,
)

INDEX = "shards.json"


@dataclass(frozen=True)
class Places:
    """(D,) each: where documents went."""

    shard: NDArray[np.int32]
    """Which of the files, from 0."""
    row: NDArray[np.int64]
    first_token: NDArray[np.int64]
    """In the shard's tokens."""


def token_dtype(vocab_size: int) -> type[np.uint8 | np.uint16 | np.uint32]:
    """The narrowest unsigned type that holds every id below `vocab_size`."""
    return np.uint8 if vocab_size <= 2**8 else np.uint16 if vocab_size <= 2**16 else np.uint32


class ShardFiles:
    """Documents to one file after the other; memory holds the one that is being filled.

    Args:
        opening: a shard's number -> a context that gives the path to write, and publishes it when it ends.
    """

    def __init__(
        self,
        header: ShardHeader,
        opening: Callable[[int], AbstractContextManager[Path]],
        *,
        max_documents: int,
        max_tokens: int = MAX_SHARD_TOKENS,
    ) -> None:
        self._header, self._opening = header, opening
        self._max_documents, self._max_tokens = max_documents, min(max_tokens, MAX_SHARD_TOKENS)
        self._pending: list[TokenizedBatch] = []
        self._documents = self._tokens = 0
        self.entries: list[dict[str, Any]] = []
        """Of each file: documents, tokens, bytes, sha256."""

    def add(self, batch: TokenizedBatch) -> Places:
        """Raises:
        ShardError: a document has an id, label or boundary out of range, or more tokens than a shard can hold.
        """
        check_rows(batch, self._header)
        places = []
        start = 0
        while start < len(batch):
            stop = start + self._room(batch.counts[start:])
            if stop == start:
                self.flush()
                continue
            part = batch.slice(start, stop)
            places.append(self._place(part.counts))
            self._pending.append(_narrow(part, self._header.vocab_size))
            self._documents += len(part)
            self._tokens += len(part.tokens)
            start = stop
        return Places(*(np.concatenate([np.zeros(0, np.int64), *column]) for column in zip(*places, strict=True)))

    def flush(self) -> None:
        """Write what is pending; an empty shard is not written."""
        if not self._pending:
            return
        table = _record_batch(self._pending, self._header)
        self._pending = []
        with self._opening(len(self.entries)) as path:
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_batch(table)
            entry = {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        self.entries.append({"documents": self._documents, "tokens": self._tokens, **entry})
        self._documents = self._tokens = 0

    def _room(self, counts: NDArray[np.int64]) -> int:
        """How many of the next documents fit; a document that is too long for any shard fits into an empty one."""
        fitting = int(np.searchsorted(np.cumsum(counts), self._max_tokens - self._tokens, side="right"))
        alone = 1 if not self._documents else 0
        return min(max(fitting, alone), self._max_documents - self._documents, len(counts))

    def _place(self, counts: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        return (
            np.full(len(counts), len(self.entries), dtype=np.int32),
            self._documents + np.arange(len(counts)),
            self._tokens + np.cumsum(counts) - counts,
        )


class ShardWriter:
    """A folder of shards, `shard-00000.arrow` and so on. Leaving the block writes the index."""

    def __init__(
        self,
        folder: str | Path,
        *,
        vocab_size: int,
        fingerprint: str,
        labels: Sequence[str] = (),
        documents_per_shard: int = 50_000,
    ) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._header = ShardHeader(vocab_size, fingerprint, tuple(labels))
        self._files = ShardFiles(self._header, self._opening, max_documents=documents_per_shard)

    def add(self, document: TokenizedDocument) -> None:
        self._files.add(batch_of(document))

    def close(self) -> None:
        """Write what is pending and, last, the index.

        Raises:
            ShardError: no document was added.
        """
        self._files.flush()
        entries = [{"name": _name(number), **entry} for number, entry in enumerate(self._files.entries)]
        write_index(self._folder, self._header, entries)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.close()

    @contextmanager
    def _opening(self, number: int) -> Iterator[Path]:
        yield self._folder / _name(number)


def write_index(folder: Path, header: ShardHeader, entries: Sequence[dict[str, Any]]) -> None:
    """Make the files in `folder` a complete folder of shards.

    Args:
        entries: name, documents, tokens, bytes and sha256 of each file, in the order of the documents.

    Raises:
        ShardError: there are none.
    """
    if not entries:
        raise ShardError(f"{folder}: no document was written; empty shards are an error")
    index = {"fingerprint": header.fingerprint, "vocab_size": header.vocab_size, "labels": list(header.labels)}
    write_json(folder / INDEX, {**index, "files": list(entries)})


def write_shards(
    folder: str | Path,
    documents: Iterable[TokenizedDocument],
    *,
    vocab_size: int,
    fingerprint: str,
    labels: Sequence[str] = (),
    documents_per_shard: int = 50_000,
) -> None:
    """Write `documents` as shards under `folder`, index last.

    Raises:
        ShardError: there are no documents, or one has an id, label or boundary out of range.
    """
    with ShardWriter(
        folder,
        vocab_size=vocab_size,
        fingerprint=fingerprint,
        labels=labels,
        documents_per_shard=documents_per_shard,
    ) as writer:
        for document in documents:
            writer.add(document)


def _name(number: int) -> str:
    return f"shard-{number:05d}.arrow"


def _narrow(batch: TokenizedBatch, vocab_size: int) -> TokenizedBatch:
    """The same documents in arrays of their own: what waits for its shard must not hold larger ones in memory."""
    tokens = batch.tokens.astype(token_dtype(vocab_size))
    return TokenizedBatch(**{**vars(batch), "tokens": tokens, "word_starts": batch.word_starts.copy()})


def _record_batch(batches: Sequence[TokenizedBatch], header: ShardHeader) -> pa.RecordBatch:
    counts = np.concatenate([each.counts for each in batches])
    sentence_counts = np.concatenate([each.sentence_counts for each in batches])
    sentences = np.concatenate([each.sentence_starts for each in batches]).astype(np.int32)
    columns = {
        "tokens": _lists(counts, np.concatenate([each.tokens for each in batches])),
        "sentence_starts": _lists(sentence_counts, sentences),
        "word_starts": _lists(counts, np.concatenate([each.word_starts for each in batches])),
        "document_id": pa.concat_arrays([each.document_ids for each in batches]),
        "kind": pa.concat_arrays([each.kinds for each in batches]),
        "label": pa.array(np.concatenate([each.labels for each in batches]), pa.int32()),
    }
    metadata = {
        "fingerprint": header.fingerprint,
        "vocab_size": str(header.vocab_size),
        "labels": json.dumps(list(header.labels), ensure_ascii=False),
    }
    return pa.RecordBatch.from_pydict(columns).replace_schema_metadata(metadata)


def _lists(counts: NDArray[np.int64], values: NDArray[Any]) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
