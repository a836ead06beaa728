"""Tokenizers and token shards."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bert_core.config import Config


class PretrainedTokenizer(Config):
    """The tokenizer of existing weights."""

    type: Literal["pretrained"] = "pretrained"
    path: str = Field(description="folder with tokenizer.json or vocab.txt, relative to the home folder")


class WordPieceTokenizer(Config):
    """A WordPiece vocabulary trained on the training split."""

    type: Literal["wordpiece"] = "wordpiece"
    vocab_size: int = Field(8_000, ge=100, le=1_000_000)
    min_frequency: int = Field(2, ge=1)
    lowercase: bool = True


Tokenizer = Annotated[PretrainedTokenizer | WordPieceTokenizer, Field(discriminator="type")]


class EncodeConfig(Config):
    """Documents to Arrow token shards."""

    tokenizer: Tokenizer
    documents_per_shard: int = Field(50_000, ge=1)
