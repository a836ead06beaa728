"""Checks with the tokenizer at hand: what does not fit into the model, what the vocabulary does not know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bert_core.config import ChoiceTask, EmbeddingTask, PairTask, SpanTask, Task, TokenTask
from bert_core.tokenizer import BulkEncoder, TokenArrays, Tokenizer
from tasks.labelled.checks import lengths
from tasks.labelled.report import Finding, Lengths

UNKNOWN_SHARE = 0.01
"""Of the training tokens, from which unknown ones are a warning."""
LONG_SHARE = 0.05
"""Of the training examples, from which long ones are a warning."""
FRAGMENTS = 2.5
"""Tokens a word, from which a vocabulary was made for other text (English WordPiece has 1.1 to 1.4)."""
_SHOWN_TEXTS = 2_000


def token_lengths(
    task: Task, sides: Mapping[str, pa.Table], tokenizer: Tokenizer, max_tokens: int
) -> tuple[tuple[Lengths, ...], list[Finding]]:
    """Lengths of each side's examples as the model reads them, special tokens among them, and what is wrong.

    Args:
        max_tokens: the longest sequence that the model takes.
    """
    encoder = BulkEncoder(tokenizer)
    found: list[Lengths] = []
    findings: list[Finding] = []
    for side, table in sides.items():
        texts = _parts(task, table)
        encoded = [_encode(encoder, part) for part in texts]
        counts = _joined(task, table, encoded)
        found.append(lengths(side, "tokens", counts, max_tokens))
        findings += _too_long(task, side, counts, max_tokens)
        if side == "train":
            findings += _unknown(tokenizer, texts, encoded)
    return tuple(found), findings


def _too_long(task: Task, side: str, counts: NDArray[np.int64], limit: int) -> Iterator[Finding]:
    over = int((counts > limit).sum())
    if not over:
        return
    does = {
        "span": "read in windows that overlap",
        "token": "read in pieces, or cut",
    }.get(task.type, "cut: what comes later is not read")
    yield Finding(
        check="length",
        severity="warning" if over > LONG_SHARE * len(counts) and task.type != "span" else "info",
        message=f"{over:,} of {len(counts):,} {side} examples ({over / len(counts):.1%}) have more than {limit} tokens "
        f"(the longest {counts.max():,}); they are {does}",
        counts={"over": over, "longest": int(counts.max())},
    )


def _unknown(tokenizer: Tokenizer, texts: Sequence[Sequence[str]], encoded: Sequence[TokenArrays]) -> Iterator[Finding]:
    ids = np.concatenate([each.ids for each in encoded])
    words = sum(int(each.word_starts.sum()) for each in encoded)
    unknown = int((ids == tokenizer.unk_id).sum())
    if unknown:
        frequent = _unknown_words(tokenizer, texts, encoded)
        share = unknown / len(ids)
        yield Finding(
            check="unknown-tokens",
            severity="warning" if share > UNKNOWN_SHARE else "info",
            message=f"{unknown:,} of {len(ids):,} training tokens ({share:.2%}) are not in the vocabulary; most often "
            f"(in {_SHOWN_TEXTS:,} of these texts at most) "
            + ", ".join(f"{word!r} ({count:,})" for word, count in frequent.most_common(15)),
            counts={"unknown": unknown, "tokens": len(ids)},
        )
    if words and tokenizer.type == "wordpiece" and len(ids) / words > FRAGMENTS:
        yield Finding(
            check="fragmentation",
            severity="warning",
            message=f"{len(ids) / words:.1f} tokens a word: this vocabulary was made for other text",
            counts={"tokens": len(ids), "words": words},
        )


def _unknown_words(
    tokenizer: Tokenizer, texts: Sequence[Sequence[str]], encoded: Sequence[TokenArrays]
) -> Counter[str]:
    """What stands where a token is unknown, in the first texts that have such."""
    found: Counter[str] = Counter()
    for part, arrays in zip(texts, encoded, strict=True):
        of_text = np.repeat(np.arange(len(part)), arrays.counts)
        rows = np.unique(of_text[arrays.ids == tokenizer.unk_id])[:_SHOWN_TEXTS].tolist()
        for row, each in zip(rows, tokenizer.encode_batch([part[row][:10_000] for row in rows]), strict=True):
            for start, end in each.offsets[each.ids == tokenizer.unk_id].tolist():
                found[part[row][start:end]] += 1
    return found


def _parts(task: Task, table: pa.Table) -> list[list[str]]:
    """The texts that are read, a list for each part."""
    if isinstance(task, TokenTask):
        return [[" ".join(tokens) for tokens in table["tokens"].to_pylist()]]
    if isinstance(task, SpanTask):
        return [table["question"].to_pylist(), table["context"].to_pylist()]
    if isinstance(task, ChoiceTask):
        return [table["text"].to_pylist(), [text for choices in table["choices"].to_pylist() for text in choices]]
    if isinstance(task, PairTask | EmbeddingTask):
        return [table["text"].to_pylist(), table["text_b"].to_pylist()]
    if task.type in ("seq2seq", "causal"):
        return [table["text"].to_pylist(), table["target"].to_pylist()]
    return [table["text"].to_pylist()]


def _joined(task: Task, table: pa.Table, encoded: Sequence[TokenArrays]) -> NDArray[np.int64]:
    """(N,): tokens of each example's longest sequence: [CLS] a [SEP], or [CLS] a [SEP] b [SEP]."""
    if isinstance(task, ChoiceTask):
        sizes = [len(choices) for choices in table["choices"].to_pylist()]
        longest = np.maximum.reduceat(encoded[1].counts, np.cumsum([0, *sizes[:-1]]))
        return _plus(encoded[0].counts, longest, 3)
    if task.type in ("embedding", "seq2seq"):
        return np.maximum(encoded[0].counts, encoded[1].counts) + 2
    if len(encoded) == 2:
        return _plus(encoded[0].counts, encoded[1].counts, 2 if task.type == "causal" else 3)
    return encoded[0].counts + 2


def _plus(one: Any, other: Any, special: int) -> NDArray[np.int64]:
    return np.asarray(one + other + special, np.int64)


def _encode(encoder: BulkEncoder, texts: Sequence[str]) -> TokenArrays:
    return encoder.encode(pa.array(texts, pa.string()), np.empty(0, np.int32), np.zeros(len(texts), np.int64))
