"""Token shards: Arrow IPC files of tokenised documents, uncompressed, so that a reader maps them and copies nothing.

A row is a document. A folder of shards is complete when `shards.json`, written last, is there. `bert_core.shard_writer`
writes them; this file reads.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bert_core.files import file_sha256
from bert_core.shard_rows import MAX_SHARD_TOKENS, ShardError, TokenizedDocument
from bert_core.shard_writer import INDEX, ShardWriter, token_dtype, write_shards

__all__ = [
    "INDEX",
    "MAX_SHARD_TOKENS",
    "ShardError",
    "ShardFile",
    "ShardWriter",
    "TokenShards",
    "TokenizedDocument",
    "open_shards",
    "token_dtype",
    "write_shards",
]


def open_shards(folder: str | Path, *, fingerprint: str | None = None, verify: bool = False) -> TokenShards:
    """The shards in `folder`. Sizes of all files are checked here; tokens are mapped when they are first read.

    Args:
        fingerprint: of the tokenizer that the caller is going to use.
        verify: also read every file and compare its sha256.

    Raises:
        ShardError: no index, a missing, truncated or changed file, or another tokenizer's fingerprint.
    """
    folder = Path(folder)
    index = _read_index(folder)
    if fingerprint is not None and index["fingerprint"] != fingerprint:
        raise ShardError(
            f"{folder}: made with the tokenizer {index['fingerprint']}, to be read with {fingerprint}; "
            "encode the documents again with the tokenizer of the model"
        )
    for entry in index["files"]:
        _check_file(folder / entry["name"], entry, verify=verify)
    return TokenShards(folder, index)


class TokenShards:
    """Documents 0 to num_documents - 1 of a folder of shards, memory-mapped. Pickles: each process maps for itself."""

    def __init__(self, folder: Path, index: dict[str, Any]) -> None:
        self.folder = folder
        self.fingerprint: str = index["fingerprint"]
        self.vocab_size: int = index["vocab_size"]
        self.label_names: tuple[str, ...] = tuple(index["labels"])
        self.num_documents: int = sum(entry["documents"] for entry in index["files"])
        self.num_tokens: int = sum(entry["tokens"] for entry in index["files"])
        self._index = index
        self._first = [0, *accumulate(entry["documents"] for entry in index["files"])]
        self._maps: dict[int, ShardFile] = {}

    def __reduce__(self) -> tuple[type[TokenShards], tuple[Path, dict[str, Any]]]:
        return TokenShards, (self.folder, self._index)

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """(num_documents,): tokens in each document."""
        return np.concatenate([np.diff(each.offsets) for each in self.files()])

    @cached_property
    def labels(self) -> NDArray[np.int32]:
        """(num_documents,): label of each document, an index into `label_names`; -1 = none."""
        return np.concatenate([each.column("label").to_numpy() for each in self.files()])

    @cached_property
    def document_ids(self) -> list[str]:
        return [document_id for each in self.files() for document_id in each.column("document_id").to_pylist()]

    def token_counts(self) -> NDArray[np.int64]:
        """(vocab_size,): how often each token occurs in all the documents."""
        counts = [np.bincount(each.tokens, minlength=self.vocab_size) for each in self.files()]
        return np.sum(counts, axis=0, dtype=np.int64)

    def length(self, document: int) -> int:
        """Tokens in a document; reads no other's."""
        each, row = self._locate(document)
        return int(each.offsets[row + 1] - each.offsets[row])

    def tokens(self, document: int, start: int = 0, end: int | None = None) -> NDArray[Any]:
        """Tokens `start` to `end` of a document: (N,) uint8, uint16 or uint32, a read-only view of the mapped file."""
        each, row = self._locate(document)
        first = each.offsets[row]
        return each.tokens[first + start : each.offsets[row + 1] if end is None else first + end]

    def sentence_starts(self, document: int) -> NDArray[np.int32]:
        """Token offset at which each sentence starts; a view, as in `tokens`."""
        each, row = self._locate(document)
        return each.sentences[each.sentence_offsets[row] : each.sentence_offsets[row + 1]]

    def word_starts(self, document: int, start: int = 0, end: int | None = None) -> NDArray[np.bool_]:
        """(N,): whether a word starts at each of tokens `start` to `end` of a document."""
        each, row = self._locate(document)
        first = int(each.offsets[row])
        start, stop = first + start, int(each.offsets[row + 1]) if end is None else first + end
        bits = np.unpackbits(each.word_bits[start // 8 : (stop + 7) // 8], bitorder="little")
        return bits[start % 8 : start % 8 + stop - start].view(bool)

    def files(self) -> list[ShardFile]:
        """All files, in the order of the documents."""
        return [self._map(shard) for shard in range(len(self._index["files"]))]

    @cached_property
    def index_sha256(self) -> str:
        """Of the index, which lists every file's sha256: what the documents are, wherever they lie."""
        return hashlib.sha256(json.dumps(self._index, sort_keys=True).encode()).hexdigest()

    def _locate(self, document: int) -> tuple[ShardFile, int]:
        if not 0 <= document < self.num_documents:
            raise IndexError(f"document {document}: {self.folder} has {self.num_documents}")
        shard = bisect_right(self._first, document) - 1
        return self._map(shard), document - self._first[shard]

    def _map(self, shard: int) -> ShardFile:
        if shard not in self._maps:
            entry = self._index["files"][shard]
            self._maps[shard] = ShardFile(self.folder / entry["name"], self.fingerprint)
        return self._maps[shard]


class ShardFile:
    """One mapped file, its columns as numpy views. D documents, M tokens, S sentences.

    Attributes:
        offsets: (D + 1,) into `tokens`.
        tokens: (M,)
        sentence_offsets: (D + 1,) into `sentences`.
        sentences: (S,) token offsets inside each document.
        word_bits: (M / 8,) uint8: bit i % 8 of byte i / 8 says whether a word starts at token i.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            self._batch = reader.get_batch(0)
            found = (reader.schema.metadata or {}).get(b"fingerprint", b"").decode()
        except (OSError, pa.ArrowInvalid) as error:
            raise ShardError(f"{path}: not a readable shard ({error}); encode the documents again") from None
        if found != fingerprint:
            raise ShardError(f"{path}: made with the tokenizer {found}, but its index says {fingerprint}")
        self.offsets, tokens = _list_column(self._batch, "tokens")
        self.sentence_offsets, sentences = _list_column(self._batch, "sentence_starts")
        self.tokens = tokens.to_numpy(zero_copy_only=True)
        self.sentences = sentences.to_numpy(zero_copy_only=True)
        words = _list_column(self._batch, "word_starts")[1].buffers()[1]
        self.word_bits = np.frombuffer(words, dtype=np.uint8) if words else np.zeros(0, dtype=np.uint8)

    @property
    def num_documents(self) -> int:
        return len(self.offsets) - 1

    def column(self, name: str) -> pa.Array:
        return self._batch.column(name)


def _list_column(batch: pa.RecordBatch, name: str) -> tuple[NDArray[np.int32], pa.Array]:
    column = batch.column(name)
    return column.offsets.to_numpy(zero_copy_only=True), column.values


def _check_file(path: Path, entry: dict[str, Any], *, verify: bool) -> None:
    size = path.stat().st_size if path.exists() else None
    if size != entry["bytes"]:
        found = "is missing" if size is None else f"has {size} bytes"
        raise ShardError(f"{path} {found}; its index lists {entry['bytes']} bytes. Encode the documents again")
    if verify and (found := file_sha256(path)) != entry["sha256"]:
        raise ShardError(f"{path}: sha256 is {found}, its index lists {entry['sha256']}. Encode the documents again")


def _read_index(folder: Path) -> dict[str, Any]:
    try:
        index: dict[str, Any] = json.loads((folder / INDEX).read_text("utf-8"))
    except FileNotFoundError:
        raise ShardError(f"{folder}: no {INDEX}, so this is not a complete folder of shards") from None
    except ValueError as error:
        raise ShardError(f"{folder / INDEX}: not JSON ({error})") from None
    return index
