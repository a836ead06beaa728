"""The task's text as token shards, to pretrain on before fine-tuning (Gururangan et al., 2020, arXiv:2004.10964)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from bert_core import tokenizer
from bert_core.config import Config
from bert_core.shards import TokenizedDocument, write_shards
from bert_core.tokenizer import Tokenizer
from tasks import artifacts
from tasks.artifacts import Draft
from tasks.finetuning.prepare import side
from tasks.stage import stage

COLUMNS = ("text", "text_b", "negative", "question", "context", "target", "choices", "tokens")
AT_A_TIME = 2_048


class TextSpec(Config):
    tokenizer: str
    tokenizer_content: str


@stage("task-text", code="tasks.finetuning.text")
def task_text(config: TextSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Write the distinct texts of the training and the validation side as shards; the test side is not read."""
    (prepared,) = inputs
    tokens = tokenizer.load(artifacts.home() / config.tokenizer)
    for name in ("train", "validation"):
        found = dict.fromkeys(texts(side(prepared, name)))
        documents = _documents(list(found), tokens)
        write_shards(out.path / name, documents, vocab_size=tokens.vocab_size, fingerprint=tokens.fingerprint)
        out.rows[name] = len(found)
    tokens.save(out.path / "tokenizer")
    out.facts |= {"vocab_size": tokens.vocab_size, "pad_token_id": tokens.pad_id}


def texts(table: pa.Table) -> Iterator[str]:
    """Every text of a canonical table; a sentence of tokens is joined by blanks."""
    for name in COLUMNS:
        for value in table[name].to_pylist() if name in table.column_names else ():
            if name == "tokens":
                yield " ".join(value)
            elif name == "choices":
                yield from value
            elif value and value.strip():
                yield value


def _documents(found: list[str], tokens: Tokenizer) -> Iterator[TokenizedDocument]:
    for at in range(0, len(found), AT_A_TIME):
        for number, encoding in enumerate(tokens.encode_batch(found[at : at + AT_A_TIME]), start=at):
            if len(encoding.ids):
                yield TokenizedDocument(str(number), encoding.ids, np.zeros(1, dtype=np.int32), encoding.word_starts)
