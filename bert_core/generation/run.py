"""Any number of texts from a model, some at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from bert_core.config.task import Generation
from bert_core.generation.readers import CausalReader, Reader, Seq2SeqReader
from bert_core.generation.search import beam_search, one_by_one
from bert_core.heads import PretrainingModel
from bert_core.seq2seq import Seq2SeqModel
from bert_core.seq2seq_batch import Ids, SpecialTokens

TOKENS_AT_ONCE = 8_192
"""Whose keys and values are kept at one time: 600 MB of a 12 x 768 model in fp32."""


def generate(
    model: PretrainingModel,
    prompts: Sequence[Ids],
    generation: Generation,
    *,
    end_id: int,
    example_ids: Sequence[int | str] | None = None,
) -> list[list[int]]:
    """How a causal model goes on with each prompt: ids up to `end_id`, which is not part of them, or as many as asked.

    Args:
        prompts: ids, the first token included; none is empty.
        example_ids: what drawing depends on beside the seed; None: the prompt's number.

    Raises:
        ValueError: a model that is not causal or damaged, an empty prompt, or one too long for the model's positions.
    """

    def reader(some: list[int]) -> Reader:
        return CausalReader(model, [prompts[i] for i in some], generation.max_new_tokens)

    lengths = [len(prompt) + generation.max_new_tokens for prompt in prompts]
    return _in_batches(model, reader, lengths, generation, end_id, example_ids)


def generate_from_sources(
    model: Seq2SeqModel,
    sources: Sequence[Ids],
    tokens: SpecialTokens,
    generation: Generation,
    *,
    example_ids: Sequence[int | str] | None = None,
) -> list[list[int]]:
    """The target of each source, without special tokens.

    Args:
        sources: ids without special tokens.
        tokens: the tokenizer, whose [CLS] begins a target and whose [SEP] ends it.
        example_ids: what drawing depends on beside the seed; None: the source's number.

    Raises:
        ValueError: a damaged model, or targets longer than its positions.
        DataError: a source longer than the encoder's positions.
    """

    def reader(some: list[int]) -> Reader:
        return Seq2SeqReader(model, [sources[i] for i in some], tokens, generation.max_new_tokens)

    lengths = [len(source) + generation.max_new_tokens for source in sources]
    return _in_batches(model, reader, lengths, generation, tokens.sep_id, example_ids)


def _in_batches(
    model: nn.Module,
    reader: Callable[[list[int]], Reader],
    lengths: Sequence[int],
    generation: Generation,
    end_id: int,
    example_ids: Sequence[int | str] | None,
) -> list[list[int]]:
    """Equally long ones together, the longest first."""
    ids = range(len(lengths)) if example_ids is None else example_ids
    if len(ids) != len(lengths):
        raise ValueError(f"{len(ids)} example ids for {len(lengths)} examples")
    texts: list[list[int]] = [[] for _ in lengths]
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    with evaluating(model):
        while order:
            size = max(1, TOKENS_AT_ONCE // (lengths[order[0]] * generation.beams))
            some, order = order[:size], order[size:]
            if generation.beams > 1:
                found = beam_search(reader(some), generation, end_id, len(some))
            else:
                found = one_by_one(reader(some), generation, end_id, [ids[i] for i in some])
            for i, text in zip(some, found, strict=True):
                texts[i] = text
    return texts


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within the block `model` drops nothing and keeps nothing for gradients."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)
