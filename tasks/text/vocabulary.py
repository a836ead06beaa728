"""The tokenizer of a corpus: of existing weights, or trained on a sample that a hash of the documents' ids decides."""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from bert_core import tokenizer as tokenizers
from bert_core.files import write_json
from bert_core.tokenizer import Tokenizer
from tasks import artifacts
from tasks.config.tokens import BpeTokenizer, PretrainedTokenizer, UnigramTokenizer, WordPieceTokenizer
from tasks.text.parts import Workers

TOKENIZER = "tokenizer"
SAMPLE = "sample.json"
BATCH_DOCUMENTS = 512
HEAD_CHARACTERS = 100_000
"""Of a document: one book must not be the whole sample."""

Trained = WordPieceTokenizer | BpeTokenizer | UnigramTokenizer


def make_tokenizer(
    config: PretrainedTokenizer | Trained, files: Sequence[Path], folder: Path, workers: Workers
) -> tuple[Tokenizer, dict[str, Any]]:
    """The tokenizer in `folder/tokenizer`, which is made unless an earlier attempt left it; and what it was trained on.

    Args:
        files: parts of the documents, with their split.

    Raises:
        TokenizerError: the given folder holds no tokenizer, or the sample no character that is frequent enough.
    """
    target = folder / TOKENIZER
    if not target.exists():
        for _ in workers.map(_Make(config, tuple(map(str, files)), str(target)), [None]):
            pass
    sample: dict[str, Any] = json.loads((target / SAMPLE).read_text("utf-8"))
    return tokenizers.load(target), sample


def train(config: Trained, texts: Sequence[str]) -> Tokenizer:
    """A vocabulary by the recipe; the same texts in the same order give the same ids."""
    if isinstance(config, WordPieceTokenizer):
        return tokenizers.train_wordpiece(texts, config.vocab_size, config.min_frequency, config.lowercase)
    if isinstance(config, BpeTokenizer):
        return tokenizers.train_bpe(texts, config.vocab_size, config.min_frequency)
    return tokenizers.train_unigram(texts, config.vocab_size, config.min_frequency, config.lowercase)


def sample(files: Sequence[Path], max_characters: int, max_documents: int) -> list[str]:
    """Texts of training documents in the order of the hashes of their ids, as many as fit the budgets, at least one.

    A document is sampled or not whatever the order of the others and the number of parts. A text counts with its first
    `HEAD_CHARACTERS`. Memory holds the sample and a batch.
    """
    heap: list[tuple[int, str, str]] = []  # the largest hash first
    limit, held, characters = 2**64, set[str](), 0
    for key, text in _training_texts(files, min(HEAD_CHARACTERS, max_characters)):
        order = _order(key)
        if order >= limit or key in held:  # a document that a mix takes twice is sampled once
            continue
        heapq.heappush(heap, (-order, key, text))
        held.add(key)
        characters += len(text)
        while characters > max_characters or len(heap) > max_documents:
            largest, gone, dropped = heapq.heappop(heap)
            limit, characters = min(limit, -largest), characters - len(dropped)
            held.remove(gone)
    return [text for _, _, text in sorted(heap, reverse=True)]


@dataclass(frozen=True)
class _Make:
    """Writes the tokenizer's folder, whole or not at all."""

    config: PretrainedTokenizer | Trained
    files: tuple[str, ...]
    target: str

    def __call__(self, _: None) -> None:
        target = Path(self.target)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.rmtree(temporary, ignore_errors=True)
        tokenizer, facts = self._tokenizer()
        tokenizer.save(temporary)
        write_json(temporary / SAMPLE, facts)
        try:
            temporary.rename(target)
        except OSError:  # a worker that was given up for lost was first: it made the same
            shutil.rmtree(temporary)

    def _tokenizer(self) -> tuple[Tokenizer, dict[str, Any]]:
        if isinstance(self.config, PretrainedTokenizer):
            return tokenizers.load(artifacts.home() / self.config.path), {}
        files = [Path(file) for file in self.files]
        texts = sample(files, self.config.sample_characters, self.config.sample_documents)
        facts = {"documents": len(texts), "characters": sum(map(len, texts)), "vocabulary": self.config.type}
        return train(self.config, texts), facts


def _training_texts(files: Sequence[Path], max_characters: int) -> Iterator[tuple[str, str]]:
    """(id, beginning of the text)"""
    for file in files:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(BATCH_DOCUMENTS, columns=["id", "text", "split"]):
                training = batch.filter(pc.equal(batch["split"], "train"))
                heads = pc.utf8_slice_codeunits(training["text"], 0, max_characters)
                yield from zip(training["id"].to_pylist(), heads.to_pylist(), strict=True)


def _order(key: str) -> int:
    """Below 2**64; apart from the hash that decides the split."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8, person=b"vocabulary").digest(), "big")
