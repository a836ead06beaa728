"""Small shards of random documents, as tests want them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bert_core.shards import TokenizedDocument, write_shards
from bert_core.tokenizer import Tokenizer

LABELS = ("negative", "positive")


def random_documents(count: int, *, vocab_size: int = 30522, seed: int = 0) -> list[TokenizedDocument]:
    """Documents of 1 to 600 ordinary tokens (median 30), sentences of about 12; every third is without a label."""
    rng = np.random.default_rng(seed)
    documents = []
    for index in range(count):
        length = int(np.clip(rng.lognormal(3.4, 0.9), 1, 600))
        word_starts = rng.random(length) < 0.8
        word_starts[0] = True
        documents.append(
            TokenizedDocument(
                document_id=f"document-{index}",
                tokens=rng.integers(1000, vocab_size, length),
                sentence_starts=np.unique([0, *rng.integers(0, length, length // 12)]),
                word_starts=word_starts,
                kind="review",
                label=-1 if index % 3 == 2 else int(rng.integers(len(LABELS))),
            )
        )
    return documents


def write_documents(
    folder: Path, tokenizer: Tokenizer, documents: list[TokenizedDocument], *, documents_per_shard: int = 100
) -> Path:
    write_shards(
        folder,
        documents,
        vocab_size=tokenizer.vocab_size,
        fingerprint=tokenizer.fingerprint,
        labels=LABELS,
        documents_per_shard=documents_per_shard,
    )
    return folder
