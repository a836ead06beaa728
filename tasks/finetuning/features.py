"""Sides to features: tokens, targets, and where each answer belongs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from bert_core import tokenizer
from bert_core.config import Config, MethodConfig
from bert_core.features import write_features
from bert_core.methods.cloze import encode_for
from tasks import artifacts
from tasks.artifacts import Draft
from tasks.config import PretrainedTokenizer, Tokenizer
from tasks.finetuning.prepare import side, task_of
from tasks.stage import stage
from tasks.text.vocabulary import train

TEXTS = ("text", "text_b", "question", "context", "target")


class FeaturesSpec(Config):
    tokenizer: Tokenizer | None
    """None: that of the last input."""
    tokenizer_content: str | None
    """Content hash of a given one's folder: the recipe has only its path."""
    max_tokens: int
    method: MethodConfig = MethodConfig()
    share: float = 1.0
    """Of the training examples; a smaller share is part of a larger one."""


@stage("features", code="tasks.finetuning.features")
def features(config: FeaturesSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Encode the training side, and the validation side that its loss is measured on, with the model's tokenizer."""
    prepared, augmented, encoded = inputs
    learned = sample(side(augmented or prepared, "train"), config.share)
    sides = {"train": learned, "validation": side(prepared, "validation")}
    if config.tokenizer is None:
        tokens = tokenizer.load(encoded / "tokenizer")
    elif isinstance(config.tokenizer, PretrainedTokenizer):
        tokens = tokenizer.load(artifacts.home() / config.tokenizer.path)
    else:
        tokens = train(config.tokenizer, list(_texts(learned, config.tokenizer.sample_characters)))
    task = task_of(prepared)
    for name, table in sides.items():
        encoded = encode_for(config.method, task, table, tokens, config.max_tokens)
        write_features(encoded, out.path / name)
        out.rows |= {f"{name} examples": encoded.num_examples, f"{name} sequences": encoded.num_sequences}
        out.facts |= {f"{name} {what.replace('_', ' ')}": count for what, count in encoded.counts.items()}
    out.facts["vocabulary"] = {"vocab_size": tokens.vocab_size, "pad_token_id": tokens.pad_id}
    tokens.save(out.path / "tokenizer")


def sample(table: pa.Table, share: float) -> pa.Table:
    """The examples whose ids' hashes are lowest, as many as `share` of the table and at least one."""
    if share >= 1:
        return table
    keys = [hashlib.sha256(name.encode()).digest() for name in table["id"].to_pylist()]
    kept = sorted(range(len(keys)), key=keys.__getitem__)[: max(1, round(share * len(keys)))]
    return table.take(sorted(kept))


def _texts(table: pa.Table, most: int) -> Iterator[str]:
    """What a vocabulary is trained on: the side's texts in their order, up to so many characters."""
    seen = 0
    for name in TEXTS:
        for text in table[name].to_pylist() if name in table.column_names else ():
            seen += len(text)
            if seen > most:
                return
            yield text
