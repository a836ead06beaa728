"""Texts, pairs of texts, choices and texts side by side, as their models' sequences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bert_core.config import EmbeddingTask, SequenceTask
from bert_core.features.columns import class_targets, ids_of, number_of, targets_of, text_lists_of, texts_of, values_of
from bert_core.features.store import Features, FeaturesBuilder, FeaturesError
from bert_core.tokenizer import Tokenizer

MAX_CHARACTERS = 100_000
"""Of one text: what follows could not fit into any model here, and tokenizing it would only cost time."""
MIN_TOKENS = 8
"""Of a sequence: two texts with two separators between them, and something of each."""
AT_A_TIME = 2_048


@dataclass(frozen=True)
class Specials:
    """How texts become a model's sequences."""

    cls_id: int
    sep_id: int
    between: int
    """Separators between two texts: one; two in RoBERTa's files."""
    max_tokens: int
    """Of a sequence, special ones included."""

    @classmethod
    def of(cls, tokenizer: Tokenizer, max_tokens: int) -> Specials:
        """Raises:
        FeaturesError: sequences so short that nothing would be left of a pair of texts.
        """
        if max_tokens < MIN_TOKENS:
            raise FeaturesError(f"sequences of at most {max_tokens} tokens: legal: {MIN_TOKENS} or more")
        template = tokenizer.backend.num_special_tokens_to_add(True)
        return cls(tokenizer.cls_id, tokenizer.sep_id, max(1, template - 2), max_tokens)

    def single(self, ids: NDArray[np.int32], builder: FeaturesBuilder) -> NDArray[np.int32]:
        """[CLS] a [SEP]; what does not fit is cut off the end, and counted."""
        kept = ids[: self.max_tokens - 2]
        builder.lose(len(ids) - len(kept))
        return np.concatenate([[self.cls_id], kept, [self.sep_id]], dtype=np.int32)

    def pair(
        self, a: NDArray[np.int32], b: NDArray[np.int32], builder: FeaturesBuilder
    ) -> tuple[NDArray[np.int32], int]:
        """[CLS] a [SEP] b [SEP] and where b starts; the longer text is cut until both fit, then both alike."""
        room = self.max_tokens - 2 - self.between
        half = (room + int(len(a) > len(b))) // 2
        keep_a = min(len(a), max(half, room - len(b)))
        keep_b = min(len(b), room - keep_a)
        builder.lose(len(a) + len(b) - keep_a - keep_b)
        head = [self.cls_id, *a[:keep_a], *[self.sep_id] * self.between]
        return np.array([*head, *b[:keep_b], self.sep_id], dtype=np.int32), len(head)


def tokenized(texts: Sequence[str], tokenizer: Tokenizer) -> list[NDArray[np.int32]]:
    """The ids of each text, without special tokens."""
    encode, found = tokenizer.backend.encode_batch_fast, []
    for at in range(0, len(texts), AT_A_TIME):
        cut = [text[:MAX_CHARACTERS] for text in texts[at : at + AT_A_TIME]]
        found += [np.array(each.ids, dtype=np.int32) for each in encode(cut, add_special_tokens=False)]
    return found


def encode_texts(task: SequenceTask, table: pa.Table, tokenizer: Tokenizer, specials: Specials) -> Features:
    width, targets = class_targets(task, table)
    builder = FeaturesBuilder(width)
    texts = texts_of(table, "text")
    for row, (name, ids) in enumerate(zip(ids_of(table), tokenized(texts, tokenizer), strict=True)):
        demand(len(ids), name, "text", texts[row])
        builder.example(name)
        builder.sequence(specials.single(ids, builder), targets=targets[row])
    return builder.build()


def encode_pairs(task: SequenceTask, table: pa.Table, tokenizer: Tokenizer, specials: Specials) -> Features:
    width, targets = class_targets(task, table)
    builder = FeaturesBuilder(width)
    texts = [texts_of(table, name) for name in ("text", "text_b")]
    a, b = (tokenized(each, tokenizer) for each in texts)
    for row, name in enumerate(ids_of(table)):
        demand(len(a[row]) + len(b[row]), name, "text", texts[0][row])
        builder.example(name)
        ids, b_start = specials.pair(a[row], b[row], builder)
        builder.sequence(ids, b_start=b_start, targets=targets[row])
    return builder.build()


def encode_choices(table: pa.Table, tokenizer: Tokenizer, specials: Specials) -> Features:
    """A sequence for each choice: [CLS] stem [SEP] choice [SEP]; its target is whether it is the right one."""
    builder = FeaturesBuilder(1)
    stems = tokenized(texts_of(table, "text"), tokenizer)
    rows, right = text_lists_of(table, "choices"), targets_of(table, "label")
    choices: Iterable[NDArray[np.int32]] = iter(tokenized([text for texts in rows for text in texts], tokenizer))
    for row, (name, texts) in enumerate(zip(ids_of(table), rows, strict=True)):
        label = right[row]
        if label is not None and (not isinstance(label, int) or not 0 <= label < len(texts)):
            raise FeaturesError(f"example {name}: label {label!r} is not one of its {len(texts)} choices, from 0")
        builder.example(name)
        for number, ids in enumerate(islice(choices, len(texts))):
            demand(len(ids) + len(stems[row]), name, "choice", texts[number])
            sequence, b_start = specials.pair(stems[row], ids, builder)
            builder.sequence(sequence, b_start=b_start, targets=() if label is None else [float(number == label)])
    return builder.build()


def encode_side_by_side(task: EmbeddingTask, table: pa.Table, tokenizer: Tokenizer, specials: Specials) -> Features:
    """A sequence for each text of an example: one, its partner, and one that is none, as far as there are columns.

    Targets are the score (NaN where there is none), and whether the two are partners: they have no score, or the
    table's highest.
    """
    names = ids_of(table)
    labels = zip(names, targets_of(table, "label"), strict=True)
    scores = [np.nan if label is None else number_of(name, label) for name, label in labels]
    top = np.nanmax(scores) if np.isfinite(scores).any() else np.nan
    columns = {"text": texts_of(table, "text")}
    if "text_b" in table.column_names:
        columns["text_b"] = texts_of(table, "text_b")
    if "negative" in table.column_names:
        columns["negative"] = [text or "" for text in values_of(table, "negative")]
    tokens = {name: tokenized(texts, tokenizer) for name, texts in columns.items()}
    builder = FeaturesBuilder(2)
    for row, name in enumerate(names):
        is_partner = not scores[row] < top
        builder.count("pairs_without_partner", int(task.loss == "in_batch" and not is_partner))
        builder.example(name)
        for column, texts in columns.items():
            if column == "negative" and not texts[row]:
                continue
            ids = tokens[column][row]
            demand(len(ids), name, column, texts[row])
            builder.sequence(specials.single(ids, builder), targets=(scores[row], float(is_partner)))
    return builder.build()


def demand(tokens: int, name: str, what: str, text: str) -> None:
    """Raises:
    FeaturesError: `what`, which is `text`, came to no tokens.
    """
    if not tokens:
        raise FeaturesError(f"example {name}: {what} is {text[:40]!r}: there is nothing in it to read")
