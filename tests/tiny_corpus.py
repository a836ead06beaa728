"""Token shards of random documents over a vocabulary of some 60 words: a step of a tiny model takes milliseconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from bert_core.config import TrainConfig
from bert_core.tokenizer import Tokenizer, train_wordpiece
from tests.bert_core.random_shards import random_documents, write_documents

SPECIALS = 5
TEXTS = ["a neat trick, bundling perversity and romance", "a bore from start to end", "the cast is tempting"]


def write_corpus(folder: Path, documents: int) -> Tokenizer:
    """`folder` with `tokenizer/`, `train/` and `validation/`, so many documents each."""
    tokenizer = train_wordpiece(iter(TEXTS * 5), 200, 1, True)
    tokenizer.save(folder / "tokenizer")
    words = tokenizer.vocab_size - SPECIALS
    for side, seed in (("train", 0), ("validation", 1)):
        found = random_documents(documents, seed=seed)
        write_documents(
            folder / side, tokenizer, [replace(each, tokens=each.tokens % words + SPECIALS) for each in found]
        )
    return tokenizer


def tiny_run(folder: Path, documents: int, *, model: dict[str, Any] | None = None, **changes: Any) -> TrainConfig:
    """A training over such a corpus, written into `folder`, that logs its order."""
    tokenizer = write_corpus(folder, documents)
    shape = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "intermediate_size": 16}
    asked: dict[str, Any] = {
        "model": {**shape, "vocab_size": tokenizer.vocab_size, **(model or {})},
        "optimizer": {"lr": 1e-3},
        "train_data": str(folder / "train"),
        "eval_data": str(folder / "validation"),
        "tokenizer": str(folder / "tokenizer"),
        "runtime": {"log_order": True},
    }
    return TrainConfig.model_validate(asked | changes)
