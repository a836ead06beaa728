"""Train byte-level BPE vocabularies, as RoBERTa's (Liu et al., 2019, arXiv:1907.11692) and GPT-2's."""

from __future__ import annotations

from collections.abc import Iterable

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from bert_core.tokenizer.base import Tokenizer
from bert_core.tokenizer.runs import without_long_runs

BPE_SPECIAL_TOKENS = {
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
"""In the order of RoBERTa's ids, but for the mask, which is its last."""


def train_bpe(texts: Iterable[str], vocab_size: int, min_frequency: int) -> Tokenizer:
    """A byte-level BPE tokenizer of at most `vocab_size` tokens: the same texts give the same ids, in every process.

    No text has an unknown token: all 256 bytes are in the vocabulary. Merges are made in the order of their counts,
    ties by ids, and ids come from the bytes in a fixed order, so nothing depends on the trainer's hash maps.

    Args:
        vocab_size: at least 261: the bytes and the special tokens.
        min_frequency: a rarer merge is not made.
    """
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(BPE_SPECIAL_TOKENS.values()),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(without_long_runs(texts), trainer)
    ids = backend.get_vocab()
    first, last = BPE_SPECIAL_TOKENS["cls_token"], BPE_SPECIAL_TOKENS["sep_token"]
    backend.post_processor = processors.RobertaProcessing(
        (last, ids[last]), (first, ids[first]), add_prefix_space=False
    )
    return Tokenizer(backend, special_tokens=BPE_SPECIAL_TOKENS)
