"""Tokenizers and token shards."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bert_core.config import Config


class PretrainedTokenizer(Config):
    """The tokenizer of existing weights: WordPiece, BPE or Unigram."""

    type: Literal["pretrained"] = "pretrained"
    path: str = Field(description="folder with tokenizer.json or vocab.txt, relative to the home folder")


class TrainedTokenizer(Config):
    """A vocabulary trained on a sample of the training split: the documents with the smallest hashes of their ids."""

    sample_characters: int = Field(50_000_000, ge=1_000, le=2_000_000_000, description="the sample's size, at most")
    sample_documents: int = Field(500_000, ge=1, le=10_000_000, description="documents in the sample, at most")


class WordPieceTokenizer(TrainedTokenizer):
    """BERT's: lower-cased words, each Chinese character a word, pieces marked with ##."""

    type: Literal["wordpiece"] = "wordpiece"
    vocab_size: int = Field(8_000, ge=100, le=1_000_000)
    min_frequency: int = Field(2, ge=1, description="a character or merge that is rarer is left out")
    lowercase: bool = True


class BpeTokenizer(TrainedTokenizer):
    """Byte-level BPE, as RoBERTa's: nothing is unknown, nothing is normalised."""

    type: Literal["bpe"] = "bpe"
    vocab_size: int = Field(16_000, ge=300, le=1_000_000, description="256 bytes and 5 special tokens included")
    min_frequency: int = Field(2, ge=1, description="a merge that is rarer is not made")


class UnigramTokenizer(TrainedTokenizer):
    """SentencePiece's Unigram, as ALBERT's and XLNet's: pieces with probabilities, words marked with ▁."""

    type: Literal["unigram"] = "unigram"
    vocab_size: int = Field(8_000, ge=100, le=1_000_000)
    min_frequency: int = Field(2, ge=1, description="a character or piece that is rarer is left out")
    lowercase: bool = True
    sample_characters: int = Field(10_000_000, ge=1_000, le=200_000_000, description="the sample's size, at most")


Tokenizer = Annotated[
    PretrainedTokenizer | WordPieceTokenizer | BpeTokenizer | UnigramTokenizer, Field(discriminator="type")
]


class EncodeConfig(Config):
    """Documents to Arrow token shards."""

    tokenizer: Tokenizer
    documents_per_shard: int = Field(50_000, ge=1, le=10_000_000)
    tokens_per_shard: int = Field(
        2**24, ge=1, le=2**31 - 1, description="a longer document has a shard of its own; memory holds three shards"
    )
