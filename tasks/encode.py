"""Documents to Arrow token shards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bert_core.config import Config
from tasks.artifacts import Draft
from tasks.config import EncodeConfig
from tasks.stage import progress, stage
from tasks.text import encoding
from tasks.workers import workers


class EncodeSpec(Config):
    encode: EncodeConfig
    labels: tuple[str, ...]
    tokenizer_content: str | None
    """Content hash of the given tokenizer's folder: the recipe has only its path."""


@stage("encode", code="tasks.text.encoding", resume=True)
def encode(config: EncodeSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Tokenize each side of the split into memory-mapped Arrow shards, with a given vocabulary or one trained here."""
    documents, previous = inputs
    shown = progress("encode documents")
    encoding.encode(
        config.encode, documents, config.labels, out, workers(documents.manifest["rows"]["kept"]), shown, previous
    )
