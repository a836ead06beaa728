"""Tokens with tags: words are cut into pieces, and the first piece of each carries the word's tag."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bert_core.config import TokenTask
from bert_core.features.store import Features, FeaturesBuilder, FeaturesError
from bert_core.tokenizer import Tokenizer

MAX_WORD_CHARACTERS = 500


def encode_tags(task: TokenTask, table: pa.Table, tokenizer: Tokenizer, max_tokens: int) -> Features:
    """One sequence for each sentence; a longer one is cut into several between words, so that no word is lost.

    A word that the tokenizer makes nothing of, such as a control character, is an unknown token: each word has its tag.
    A word longer than a sequence keeps its beginning.
    """
    order = {tag: number for number, tag in enumerate(task.labels)}
    rows = table["tokens"].to_pylist()
    tags = table["tags"].to_pylist() if "tags" in table.column_names else [None] * len(rows)
    names = table["id"].to_pylist() if "id" in table.column_names else [str(row) for row in range(len(rows))]
    builder = FeaturesBuilder(1)
    for name, words, said in zip(names, rows, tags, strict=True):
        if not words:
            raise FeaturesError(f"example {name}: it has no tokens")
        if said is not None and len(said) != len(words):
            raise FeaturesError(f"example {name}: {len(words)} tokens and {len(said)} tags: they must be as many")
        labels = _numbers(name, said, order) if said is not None else np.full(len(words), -1)
        builder.example(name)
        pieces = word_pieces(words, tokenizer)
        for first, last in _stretches([len(each) for each in pieces], max_tokens - 2):
            held = [each[: max_tokens - 2] for each in pieces[first:last]]
            builder.count("cut_words", sum(len(each) > max_tokens - 2 for each in pieces[first:last]))
            tokens = np.concatenate([[tokenizer.cls_id], *held, [tokenizer.sep_id]]).astype(np.int32)
            starts = 1 + np.cumsum([0, *(len(each) for each in held[:-1])])
            builder.sequence(tokens, positions=np.stack([starts, labels[first:last]], axis=1).astype(np.int32))
    return builder.build()


def word_pieces(words: list[str], tokenizer: Tokenizer) -> list[NDArray[np.int32]]:
    """The ids of each word's pieces, at least one."""
    cut = [word[:MAX_WORD_CHARACTERS] for word in words]
    encoded = tokenizer.backend.encode(cut, is_pretokenized=True, add_special_tokens=False)
    owners, ids = np.array(encoded.word_ids, dtype=np.int64), np.array(encoded.ids, dtype=np.int32)
    bounds = np.searchsorted(owners, np.arange(len(words) + 1))
    unknown = np.array([tokenizer.unk_id], dtype=np.int32)
    return [ids[a:b] if b > a else unknown for a, b in pairwise(bounds)]


def _stretches(sizes: list[int], room: int) -> Iterator[tuple[int, int]]:
    """Words first to last - 1 that fit into a sequence together; a word larger than that stands alone."""
    first = filled = 0
    for word, size in enumerate(sizes):
        if word > first and filled + size > room:
            yield first, word
            first, filled = word, 0
        filled += size
    yield first, len(sizes)


def _numbers(name: str, tags: list[str], order: dict[str, int]) -> NDArray[np.int64]:
    try:
        return np.array([order[tag] for tag in tags])
    except KeyError as error:
        raise FeaturesError(f"example {name}: tag {error.args[0]!r} is not one of {list(order)}") from None
