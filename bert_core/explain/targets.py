"""What is explained: one score of one sequence, and where its words lie in the texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from bert_core.answers import Floats, best_span, decode, softmax
from bert_core.config import ChoiceTask, PairTask, SequenceTask, SpanTask, TokenTask
from bert_core.data import Batch, pack_batch
from bert_core.explain.passages import Piece, passages_of, word_passage
from bert_core.features import Features
from bert_core.features.texts import Specials
from bert_core.features.windows import contexts, windows
from bert_core.predict import Predictor


@dataclass(frozen=True)
class Target:
    """One score, and the sequence it is read from."""

    id: str
    label: str
    about: str
    probability: float | None
    features: Features
    """Of this sequence alone."""
    pieces: list[Piece]
    read: Callable[[Tensor, Batch], Tensor]
    """(output of n copies of the sequence, their batch) -> (n,)"""
    place: NDArray[np.int64]
    """Tokens of the sequence that the score is read at."""
    pad_id: int
    causal: bool

    @property
    def tokens(self) -> Tensor:
        """(L,) int64"""
        return torch.from_numpy(self.features.tokens.astype(np.int64))

    def batch(self, copies: int) -> Batch:
        """`copies` of the sequence, packed, in rows that one alone fills."""
        width = int(self.features.lengths[0])
        return pack_batch(self.features, np.zeros(copies, np.int64), width, self.pad_id, read_last=self.causal)


def targets_of(predictor: Predictor, table: pa.Table, features: Features, said: Floats, most: int) -> Iterator[Target]:
    """What the model answers to each example; of tags, the surest `most` that are not O, or else the least sure one."""
    task, model = predictor.task, predictor.model
    answers = decode(model, said, features, table, predictor.tokenizer, predictor.max_tokens).to_pylist()
    rows = table.to_pylist()
    spans = list(contexts(table, predictor.tokenizer)) if isinstance(task, SpanTask) else []
    for example, (row, answer) in enumerate(zip(rows, answers, strict=True)):
        first, last = (int(bound) for bound in features.sequence_bounds[example : example + 2])
        match task:
            case SequenceTask():
                yield _of_class(predictor, features, said, first, row, answer)
            case ChoiceTask():
                yield _of_choice(predictor, features, first, row, answer)
            case TokenTask():
                yield from _of_tags(predictor, features, said, range(first, last), row, answer, most)
            case SpanTask():
                yield _of_span(predictor, features, said, range(first, last), row, answer, spans[example])


def _of_class(
    predictor: Predictor, features: Features, said: Floats, sequence: int, row: dict[str, Any], answer: dict[str, Any]
) -> Target:
    task = predictor.task
    assert isinstance(task, SequenceTask)
    texts = [("text", row["text"])] + ([("text_b", row["text_b"])] if isinstance(task, PairTask) else [])
    if task.kind == "regression":
        return _target(predictor, features, sequence, "value", None, texts, lambda output, batch: output[:, 0])
    number = int(said[sequence].argmax())

    def read(output: Tensor, batch: Batch) -> Tensor:
        return output[:, number] if task.kind == "multi" else log_odds(output, number)

    return _target(predictor, features, sequence, task.labels[number], answer["probabilities"][number], texts, read)


def _of_choice(
    predictor: Predictor, features: Features, first: int, row: dict[str, Any], answer: dict[str, Any]
) -> Target:
    number = answer["choice"]
    texts = [("text", row["text"]), ("choice", row["choices"][number])]
    probability = answer["probabilities"][number]
    return _target(
        predictor, features, first + number, row["choices"][number], probability, texts, lambda out, batch: out[:, 0]
    )


def _of_span(
    predictor: Predictor,
    features: Features,
    said: Floats,
    sequences: range,
    row: dict[str, Any],
    answer: dict[str, Any],
    context: Any,
) -> Target:
    """The best span, also where the answer is that there is none; in the window that it is best in."""
    task = predictor.task
    assert isinstance(task, SpanTask)
    head = int(features.b_starts[sequences[0]])
    cut = windows(len(context.ids), head, predictor.max_tokens, task.stride)
    found = []
    for sequence, window in zip(sequences, cut, strict=True):
        scores = said[features.offsets[sequence] : features.offsets[sequence + 1]]
        found.append((best_span(scores[head : head + window.tokens], task), sequence, window))
    (_, (a, b)), sequence, window = max(found, key=lambda each: each[0][0])
    first, last = head + a, head + b

    def read(output: Tensor, batch: Batch) -> Tensor:
        assert batch.spans is not None
        starts = batch.spans[:, 0]
        return output[starts + first, 0] + output[starts + last, 1]

    texts = [("question", row["question"]), ("context", row["context"])]
    target = _target(predictor, features, sequence, answer["best_answer"], None, texts, read, skipped=window.first)
    return replace(target, place=np.array([first, last]))


def _of_tags(
    predictor: Predictor,
    features: Features,
    said: Floats,
    sequences: range,
    row: dict[str, Any],
    answer: dict[str, Any],
    most: int,
) -> Iterator[Target]:
    task = predictor.task
    assert isinstance(task, TokenTask)
    first = int(features.position_offsets[sequences[0]])
    shares = softmax(said[first : first + len(row["tokens"])])
    best = shares.argmax(axis=1)
    sure = np.argsort(-shares.max(axis=1), kind="stable")
    named = [int(word) for word in sure if task.labels[best[word]] != "O" and task.scheme == "bio"]
    for word in sorted(named[:most]) or [int(sure[-1])]:
        sequence = int(np.searchsorted(features.position_offsets, first + word, side="right")) - 1
        offset = int(features.position_offsets[sequence])
        place, number = int(features.positions[first + word]), int(best[word])
        alone = replace(
            _only(features, sequence),
            positions=np.array([place], np.int32),
            position_labels=np.array([-1], np.int32),
            position_offsets=np.array([0, 1], np.int32),
        )
        bounds = np.append(features.positions[offset : features.position_offsets[sequence + 1]], alone.lengths[0] - 1)
        yield Target(
            id=answer["id"],
            label=task.labels[number],
            about=row["tokens"][word],
            probability=float(shares[word, number]),
            features=alone,
            pieces=word_passage(row["tokens"], offset - first, bounds),
            read=_log_odds_of(number),
            place=np.array([place]),
            pad_id=predictor.tokenizer.pad_id,
            causal=predictor.model.config.causal,
        )


def _target(
    predictor: Predictor,
    features: Features,
    sequence: int,
    label: str,
    probability: float | None,
    texts: list[tuple[str, str]],
    read: Callable[[Tensor, Batch], Tensor],
    skipped: int = 0,
) -> Target:
    alone = _only(features, sequence)
    between = Specials.of(predictor.tokenizer, predictor.max_tokens).between
    length, causal = int(alone.lengths[0]), predictor.model.config.causal
    return Target(
        id=features.ids[int(features.example_of[sequence])],
        label=label,
        about="",
        probability=probability,
        features=alone,
        pieces=passages_of(texts, predictor.tokenizer, int(alone.b_starts[0]), length, between, skipped),
        read=read,
        place=np.array([length - 1 if causal else 0]),
        pad_id=predictor.tokenizer.pad_id,
        causal=causal,
    )


def _only(features: Features, sequence: int) -> Features:
    """Of one sequence, as an example of its own, without its labels."""
    first, last = features.offsets[sequence : sequence + 2]
    return Features(
        ids=["0"],
        example_of=np.zeros(1, np.int32),
        tokens=features.tokens[first:last],
        offsets=np.array([0, last - first], np.int32),
        b_starts=features.b_starts[sequence : sequence + 1],
        positions=np.zeros(0, np.int32),
        position_labels=np.zeros(0, np.int32),
        position_offsets=np.zeros(2, np.int32),
        targets=np.full((1, features.targets.shape[1]), np.nan, np.float32),
    )


def _log_odds_of(number: int) -> Callable[[Tensor, Batch], Tensor]:
    return lambda output, batch: log_odds(output, number)


def log_odds(scores: Tensor, number: int) -> Tensor:
    """(n, K) -> (n,): the logarithm of p / (1 - p) of a class."""
    others = torch.cat([scores[:, :number], scores[:, number + 1 :]], dim=1)
    return scores[:, number] - others.logsumexp(dim=1)
