"""Tokens with tags: words are cut into pieces, and the first piece of each carries the word's tag."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bert_core.config import TokenTask
from bert_core.features.columns import ids_of, targets_of, text_lists_of
from bert_core.features.store import Features, FeaturesBuilder, FeaturesError
from bert_core.features.texts import tokenized
from bert_core.tokenizer import Tokenizer

MAX_WORD_CHARACTERS = 500


def encode_tags(task: TokenTask, table: pa.Table, tokenizer: Tokenizer, max_tokens: int) -> Features:
    """One sequence for each sentence; a longer one is cut into several between words, so that no word is lost.

    A word that the tokenizer makes nothing of, such as a control character, is an unknown token: each word has its tag.
    A word longer than a sequence keeps its beginning. A tag that is null is unknown.
    """
    order = {tag: number for number, tag in enumerate(task.labels)}
    rows, tags = text_lists_of(table, "tokens"), targets_of(table, "tags")
    builder = FeaturesBuilder(1)
    room = max_tokens - 2
    for name, words, said, (ids, bounds) in zip(ids_of(table), rows, tags, word_pieces(rows, tokenizer), strict=True):
        labels = _numbers(name, said, order, len(words))
        builder.example(name)
        for first, last in _stretches(np.diff(bounds).tolist(), room):
            held, starts = ids[bounds[first] : bounds[last]], bounds[first:last] - bounds[first]
            if len(held) > room:
                builder.count("cut_words")
                builder.lose(len(held) - room)
                held = held[:room]
            tokens = np.concatenate([[tokenizer.cls_id], held, [tokenizer.sep_id]], dtype=np.int32)
            builder.sequence(tokens, positions=np.stack([starts + 1, labels[first:last]], axis=1).astype(np.int32))
    return builder.build()


def word_pieces(rows: list[list[str]], tokenizer: Tokenizer) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int64]]]:
    """Of each sentence of W words: the ids of all pieces, and (W + 1,) where in them each word starts; none is empty.

    Byte-level tokenizers tell a word's beginning by the blank before it: each is given one, as transformers does under
    `add_prefix_space`, without which it refuses words.
    """
    blank = " " if _is_byte_level(tokenizer) else ""
    distinct = list(
        dict.fromkeys(word for words in rows for word in words)
    )  # what stands around a word does not matter
    pieces = dict(
        zip(distinct, tokenized([f"{blank}{w[:MAX_WORD_CHARACTERS]}" for w in distinct], tokenizer), strict=True)
    )
    unknown = np.array([tokenizer.unk_id], dtype=np.int32)
    for words in rows:
        held = [found if len(found := pieces[word]) else unknown for word in words]
        yield np.concatenate(held), np.cumsum([0, *map(len, held)])


def _is_byte_level(tokenizer: Tokenizer) -> bool:
    """Whether a blank is a letter of its words, as in RoBERTa's and GPT-2's, and not only what stands between them."""
    before = tokenizer.backend.pre_tokenizer
    return before is not None and [word for word, _ in before.pre_tokenize_str("a a")][-1:] == ["Ġa"]


def _stretches(sizes: list[int], room: int) -> Iterator[tuple[int, int]]:
    """Words first to last - 1 that fit into a sequence together; a word larger than that stands alone."""
    first = filled = 0
    for word, size in enumerate(sizes):
        if word > first and filled + size > room:
            yield first, word
            first, filled = word, 0
        filled += size
    yield first, len(sizes)


def _numbers(name: str, tags: Any, order: dict[str, int], words: int) -> NDArray[np.int64]:
    """(words,): the class of each tag; -1: unknown."""
    if tags is None:
        return np.full(words, -1)
    if not isinstance(tags, list) or len(tags) != words:
        said = f"{len(tags)} tags" if isinstance(tags, list) else f"tags {tags!r}"
        raise FeaturesError(f"example {name}: {words} tokens and {said}: they must be as many")
    try:
        return np.array([-1 if tag is None else order[tag] for tag in tags])
    except KeyError as error:
        raise FeaturesError(f"example {name}: tag {error.args[0]!r} is not one of {list(order)}") from None
