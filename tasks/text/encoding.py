"""Split documents to token shards: the tokenizer, shards for each split, and what the text cost in tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bert_core import tokenizer as tokenizers
from bert_core.shards import ShardWriter, TokenizedDocument
from bert_core.tokenizer import Encoding, Tokenizer
from tasks import artifacts
from tasks.artifacts import ArtifactRef, Draft
from tasks.config import EncodeConfig, PretrainedTokenizer

SPLITS = ("train", "validation", "test")
BATCH_DOCUMENTS = 512
COLUMNS = ("id", "text", "kind", "label", "sentences", "split")


class EncodeError(ValueError):
    """Documents that cannot be encoded; the message names the document."""


def encode(
    config: EncodeConfig,
    documents: ArtifactRef | Path,
    labels: tuple[str, ...],
    out: Draft,
    progress: Callable[[int, int], None],
) -> None:
    """Write `tokenizer/`, `train/`, `validation/` and `test/`; a vocabulary is trained on the training split alone.

    Args:
        documents: folder with the split's `documents.parquet`.
        labels: names in the order of their ids; a document without a label gets -1. Empty: all documents get -1.

    Raises:
        EncodeError: a document's label or split is not a legal one.
        ShardError: a split has no documents.
    """
    source = pq.ParquetFile(documents / "documents.parquet")
    tokenizer = _tokenizer(config, source)
    tokenizer.save(out.path / "tokenizer")
    counts: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    done, total = 0, source.metadata.num_rows
    with ExitStack() as stack:
        writers = {split: stack.enter_context(_writer(config, tokenizer, labels, out.path / split)) for split in SPLITS}
        for rows in _batches(source, COLUMNS):
            encodings = tokenizer.encode_batch([row["text"] for row in rows])
            for row, encoding in zip(rows, encodings, strict=True):
                writers[_split(row)].add(_document(row, encoding, labels))
                counts[row["split"]] += _count(encoding, tokenizer, row["label"])
            done += len(rows)
            progress(done, total)
    out.rows = {"seen": total, **{split: counts[split]["documents"] for split in SPLITS}}
    out.facts |= _facts(tokenizer, counts)


def _tokenizer(config: EncodeConfig, source: pq.ParquetFile) -> Tokenizer:
    wanted = config.tokenizer
    if isinstance(wanted, PretrainedTokenizer):
        return tokenizers.load(artifacts.home() / wanted.path)
    texts = (row["text"] for rows in _batches(source, ("text", "split")) for row in rows if row["split"] == "train")
    return tokenizers.train_wordpiece(texts, wanted.vocab_size, wanted.min_frequency, wanted.lowercase)


def _writer(config: EncodeConfig, tokenizer: Tokenizer, labels: tuple[str, ...], folder: Path) -> ShardWriter:
    return ShardWriter(
        folder,
        vocab_size=tokenizer.vocab_size,
        fingerprint=tokenizer.fingerprint,
        labels=labels,
        documents_per_shard=config.documents_per_shard,
    )


def _batches(source: pq.ParquetFile, columns: tuple[str, ...]) -> Iterator[list[dict[str, Any]]]:
    for batch in source.iter_batches(BATCH_DOCUMENTS, columns=list(columns)):
        yield batch.to_pylist()


def _split(row: Mapping[str, Any]) -> str:
    if row["split"] not in SPLITS:
        raise EncodeError(f"document {row['id']}: split {row['split']!r}; legal: {', '.join(SPLITS)}")
    return str(row["split"])


def _document(row: Mapping[str, Any], encoding: Encoding, labels: tuple[str, ...]) -> TokenizedDocument:
    return TokenizedDocument(
        document_id=row["id"],
        tokens=encoding.ids,
        sentence_starts=sentence_starts(encoding, row["sentences"]),
        word_starts=encoding.word_starts,
        kind=row["kind"],
        label=_label(row, labels),
    )


def _label(row: Mapping[str, Any], labels: tuple[str, ...]) -> int:
    if row["label"] is None or not labels:
        return -1
    if row["label"] not in labels:
        raise EncodeError(f"document {row['id']}: label {row['label']!r}; legal: {', '.join(labels)}")
    return labels.index(row["label"])


def sentence_starts(encoding: Encoding, characters: list[int]) -> NDArray[np.int32]:
    """Character offsets of sentences as token offsets: the first token at or after each. The first is always 0.

    Sentences without a token (blanks, characters that the normaliser removes) disappear.
    """
    starts = np.unique(np.searchsorted(encoding.offsets[:, 0], [0, *characters]))
    return starts[starts < len(encoding.ids)].astype(np.int32)


def _count(encoding: Encoding, tokenizer: Tokenizer, label: str | None) -> Counter[str]:
    return Counter(
        documents=1,
        labelled=int(label is not None),
        tokens=len(encoding.ids),
        words=int(encoding.word_starts.sum()),
        unknown=int((encoding.ids == tokenizer.unk_id).sum()),
        empty=int(len(encoding.ids) == 0),
    )


def _facts(tokenizer: Tokenizer, counts: Mapping[str, Counter[str]]) -> dict[str, Any]:
    total = sum(counts.values(), Counter[str]())
    return {
        "tokenizer": tokenizer.fingerprint,
        "vocab_size": tokenizer.vocab_size,
        "tokens": {split: counts[split]["tokens"] for split in SPLITS},
        "documents": {split: counts[split]["documents"] for split in SPLITS},
        "labelled": {split: counts[split]["labelled"] for split in SPLITS},
        "empty_documents": total["empty"],
        "unknown_rate": round(total["unknown"] / max(1, total["tokens"]), 6),
        "fertility": round(total["tokens"] / max(1, total["words"]), 4),
    }
