"""What a task's model says of each example, as the table that metrics, reports and gates read.

Columns by task: `label` and `probabilities`; `labels` and `probabilities`; `value`; `tags` and `confidences`; `answer`,
`score` and `best_answer`, the best span where `answer` says that there is none; `choice` and `probabilities`;
`similarity` and `rank`. Every table begins with `id`.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from bert_core.config import ChoiceTask, EmbeddingTask, SequenceTask, SpanTask, TokenTask
from bert_core.data import pack_batch
from bert_core.features import Features
from bert_core.features.columns import texts_of
from bert_core.features.windows import contexts, windows
from bert_core.task_models import TaskModel
from bert_core.tokenizer import Tokenizer

TOKENS_IN_BATCH = 4_096
QUERIES_AT_A_TIME = 512

Floats = NDArray[np.float64]


@torch.inference_mode()
def outputs(model: TaskModel, features: Features, row_length: int, pad_id: int) -> Floats:
    """What the model says of all sequences, in their order: (S, K) of sequences, (P, K) of words, (M, 2) of tokens.

    Examples of about one length are read together; what a batch holds changes an output by float tolerance alone.
    """
    bounds = features.sequence_bounds
    tokens = np.add.reduceat(features.lengths, bounds[:-1])
    order = np.argsort(-tokens, kind="stable")
    model.eval()
    parts: list[Floats] = []
    places: list[NDArray[np.int64]] = []
    at = 0
    while at < len(order):
        size = max(1, TOKENS_IN_BATCH // max(1, int(tokens[order[at]])))
        examples = order[at : at + size]
        batch = pack_batch(features, examples, row_length, pad_id, read_last=model.config.causal)
        said = model.output(batch).double()
        sequences = np.concatenate([np.arange(bounds[e], bounds[e + 1]) for e in examples])
        if isinstance(model.task, SpanTask):
            assert batch.spans is not None
            said = torch.cat([said[a:b] for a, b in batch.spans.tolist()])
            places.append(_ranges(features.offsets, sequences))
        elif isinstance(model.task, TokenTask):
            places.append(_ranges(features.position_offsets, sequences))
        else:
            places.append(sequences)
        parts.append(said.numpy())
        at += size
    whole = np.concatenate(parts)
    ordered = np.empty_like(whole)
    ordered[np.concatenate(places)] = whole
    return ordered


def decode(
    model: TaskModel, said: Floats, features: Features, table: pa.Table, tokenizer: Tokenizer, max_tokens: int
) -> pa.Table:
    """Answers to the examples of `table`, of which `features` are, from what `outputs` returned.

    Raises:
        ValueError: the outputs are not finite: the weights are damaged.
    """
    if not np.isfinite(said).all():
        raise ValueError("the model's scores are not all finite: its weights are damaged")
    match model.task:
        case SequenceTask():
            columns = _classes(model.task, said)
        case TokenTask():
            columns = _tags(model.task, said, features, table)
        case SpanTask():
            columns = _spans(model.task, said, features, table, tokenizer, max_tokens)
        case ChoiceTask():
            columns = _choices(said, features)
        case EmbeddingTask():
            columns = _similarities(said, features, table)
        case _:
            raise ValueError(f"task.type = {model.task.type!r} is not answered by scores")
    return pa.table({"id": pa.array(features.ids, pa.string()), **columns})


def _classes(task: SequenceTask, said: Floats) -> dict[str, pa.Array]:
    if task.kind == "regression":
        return {"value": pa.array(said[:, 0])}
    if task.kind == "multi":
        shares = 1 / (1 + np.exp(-said))
        given = [[task.labels[k] for k in np.flatnonzero(row >= task.threshold)] for row in shares]
        return {"labels": pa.array(given, pa.list_(pa.string())), "probabilities": _rows(shares)}
    shares = softmax(said)
    return {"label": pa.array([task.labels[k] for k in shares.argmax(axis=1)]), "probabilities": _rows(shares)}


def _tags(task: TokenTask, said: Floats, features: Features, table: pa.Table) -> dict[str, pa.Array]:
    shares = softmax(said)
    best, confidence = shares.argmax(axis=1), shares.max(axis=1)
    sizes = [len(words) for words in table["tokens"].to_pylist()]
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    tags = [task.labels[k] for k in best]
    rows = [tags[a:b] for a, b in pairwise(bounds)]
    if task.scheme == "bio":
        rows = [repair_bio(row) for row in rows]
    sure = [confidence[a:b].tolist() for a, b in pairwise(bounds)]
    return {"tags": pa.array(rows, pa.list_(pa.string())), "confidences": pa.array(sure, pa.list_(pa.float32()))}


def repair_bio(tags: list[str]) -> list[str]:
    """An I-X that continues no X begins one: the entities that conlleval counts, written as they are."""
    repaired: list[str] = []
    before = "O"
    for tag in tags:
        if tag.startswith("I-") and before[2:] != tag[2:]:
            tag = f"B-{tag[2:]}"
        repaired.append(tag)
        before = tag
    return repaired


def _choices(said: Floats, features: Features) -> dict[str, pa.Array]:
    bounds = features.sequence_bounds
    rows = [softmax(said[None, a:b, 0])[0] for a, b in pairwise(bounds)]
    best = [int(row.argmax()) for row in rows]
    return {"choice": pa.array(best, pa.int64()), "probabilities": _rows(rows)}


def _similarities(said: Floats, features: Features, table: pa.Table) -> dict[str, pa.Array]:
    texts = texts_of(table, "text_b")
    first = features.sequence_bounds[:-1]
    a, b = said[first], said[first + 1]
    own = (a * b).sum(axis=1)
    # Equal texts, read in different batches, differ by float tolerance: one stands for all, also for the right one.
    _, distinct, place = np.unique(np.array(texts), return_index=True, return_inverse=True)
    others = b[distinct]
    ranks = np.empty(len(a), dtype=np.int64)
    for at in range(0, len(a), QUERIES_AT_A_TIME):
        rows = slice(at, at + QUERIES_AT_A_TIME)
        similarity = a[rows] @ others.T
        right = np.take_along_axis(similarity, place[rows, None], axis=1)
        ranks[rows] = (similarity > right).sum(axis=1)
    labels = table["label"].to_pylist() if "label" in table.column_names else [None] * len(own)
    known = [label for label in labels if label is not None]
    top = max(known) if known else None
    is_partner = [label is None or label == top for label in labels]
    said_ranks = [int(rank) if partner else None for rank, partner in zip(ranks, is_partner, strict=True)]
    return {"similarity": pa.array(own), "rank": pa.array(said_ranks, pa.int64())}


def _spans(
    task: SpanTask, said: Floats, features: Features, table: pa.Table, tokenizer: Tokenizer, max_tokens: int
) -> dict[str, pa.Array]:
    bounds = features.sequence_bounds
    answers, best_answers, scores = [], [], []
    texts = table["context"].to_pylist()
    for example, context in enumerate(contexts(table, tokenizer)):
        best, where, none = -np.inf, (0, 0), np.inf
        sequences = range(int(bounds[example]), int(bounds[example + 1]))
        head = int(features.b_starts[sequences[0]])
        cut = windows(len(context.ids), head, max_tokens, task.stride)
        for sequence, window in zip(sequences, cut, strict=True):
            rows = said[features.offsets[sequence] : features.offsets[sequence + 1]]
            none = min(none, float(rows[0].sum()))
            score, span = best_span(rows[head : head + window.tokens], task)
            if score > best:
                best, where = score, (span[0] + window.first, span[1] + window.first)
        # Byte-level tokenizers may count the blank before a word as its first character.
        text = texts[example][context.offsets[where[0], 0] : context.offsets[where[1], 1]].strip()
        best_answers.append(text)
        answers.append("" if is_no_answer(task, best - none) else text)
        scores.append(best - none)
    return {
        "answer": pa.array(answers, pa.string()),
        "score": pa.array(scores, pa.float64()),
        "best_answer": pa.array(best_answers, pa.string()),
    }


def is_no_answer(task: SpanTask, score: float) -> bool:
    """Whether `score`, the best span's minus that of none, is so low that there is no answer.

    Without a threshold, and no word on whether there may be none, every question has an answer.
    """
    if task.no_answer == "no" or (task.no_answer == "auto" and task.no_answer_threshold is None):
        return False
    return -score > (task.no_answer_threshold or 0.0)


def best_span(rows: Floats, task: SpanTask) -> tuple[float, tuple[int, int]]:
    """Score, and first and last token, of the best span among the `n_best` starts and ends."""
    starts, ends = (np.argsort(-rows[:, side], kind="stable")[: task.n_best] for side in (0, 1))
    first, last = np.meshgrid(starts, ends, indexing="ij")
    legal = (first <= last) & (last - first < task.max_answer_tokens)
    if not legal.any():
        single = int((rows[:, 0] + rows[:, 1]).argmax())
        return float(rows[single].sum()), (single, single)
    totals = np.where(legal, rows[first, 0] + rows[last, 1], -np.inf)
    at = np.unravel_index(int(totals.argmax()), totals.shape)
    return float(totals[at]), (int(first[at]), int(last[at]))


def softmax(scores: Floats) -> Floats:
    """(…, K) -> (…, K), along the last axis."""
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares: Floats = shifted / shifted.sum(axis=-1, keepdims=True)
    return shares


def _ranges(offsets: NDArray[np.int32], sequences: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.arange(offsets[s], offsets[s + 1]) for s in sequences]).astype(np.int64)


def _rows(shares: Floats | list[Floats]) -> pa.Array:
    return pa.array([np.asarray(row, dtype=np.float32) for row in shares], pa.list_(pa.float32()))
