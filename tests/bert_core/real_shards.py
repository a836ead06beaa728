"""Token shards of real texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from real_texts import sentences

from bert_core.shards import TokenizedDocument, TokenShards, open_shards, write_shards
from bert_core.tokenizer import Tokenizer


def write_texts(folder: Path, tokenizer: Tokenizer, texts: list[str]) -> TokenShards:
    documents = []
    for number, (text, encoding) in enumerate(zip(texts, tokenizer.encode_batch(texts), strict=True)):
        starts = np.unique(np.searchsorted(encoding.offsets[:, 0], sentences(text)))
        documents.append(
            TokenizedDocument(
                document_id=str(number),
                tokens=encoding.ids,
                sentence_starts=starts[starts < len(encoding.ids)],
                word_starts=encoding.word_starts,
            )
        )
    write_shards(folder, documents, vocab_size=tokenizer.vocab_size, fingerprint=tokenizer.fingerprint)
    return open_shards(folder)
