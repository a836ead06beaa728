"""Explain a predictor's answers by one of three methods."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from bert_core.answers import outputs
from bert_core.config import ChoiceTask, SequenceTask, SpanTask, TokenTask
from bert_core.explain.attention import attention_maps, rollout
from bert_core.explain.explanation import Explanation
from bert_core.explain.gradients import Score, integrated_gradients
from bert_core.explain.targets import Target, targets_of
from bert_core.features import FeaturesError, encode
from bert_core.predict import TARGETS, Predictor
from bert_core.task_models import TaskModel

METHODS = ("integrated_gradients", "leave_one_out", "attention")
TOKENS_AT_A_TIME = 4_096
Floats = NDArray[np.float64]


class ExplainError(ValueError):
    """What cannot be explained; the message says why, and what can."""


def explain(
    predictor: Predictor,
    table: pa.Table,
    method: str = "integrated_gradients",
    steps: int = 32,
    *,
    tags: int = 3,
) -> list[Explanation]:
    """Why the model answers what it answers to each example of a canonical table, in its order.

    Explained is what the model says, right or wrong: of kind multi the most probable label, of questions the best
    span. Weights of integrated gradients sum to `score` - `baseline_score` but for `gap`: of 40 film reviews read by
    a model of 6 x 384, 16 steps left up to 8 % of what the weights without their signs sum to, 32 steps 0.4 %, and 64
    steps 0.01 %.

    Args:
        steps: of integrated gradients: points at which gradients are taken.
        tags: of a token task: so many tags that are not O, the surest, have an explanation each; where there are none,
            the word with the least sure tag has.

    Raises:
        ExplainError: a method that there is not, a task whose answers are no scores of classes, spans or numbers, or an
            example with nothing to read.
    """
    if method not in METHODS:
        raise ExplainError(f"method {method!r}: legal: {', '.join(METHODS)}")
    if steps < 1:
        raise ExplainError(f"steps {steps}: legal: 1 or more")
    return [_explained(predictor, target, method, steps) for target in _targets(predictor, table, tags)]


@dataclass(frozen=True)
class AttentionMaps:
    """Of the sequence that one answer was read from."""

    id: str
    label: str
    tokens: list[str]
    """(L,): special ones too."""
    weights: NDArray[np.float32]
    """(layers, heads, L, L): how much each token (third) takes of each (last); sums to 1 over the last."""


def attention_of(predictor: Predictor, table: pa.Table, *, tags: int = 3) -> list[AttentionMaps]:
    """Every head's attention in every layer, as the model read each example of a canonical table; see `explain`.

    Raises:
        ExplainError: see `explain`.
    """
    vocabulary = predictor.tokenizer.tokens
    return [
        AttentionMaps(
            id=target.id,
            label=target.label,
            tokens=[vocabulary[token] for token in target.tokens.tolist()],
            weights=attention_maps(predictor.model, target).numpy(),
        )
        for target in _targets(predictor, table, tags)
    ]


def _targets(predictor: Predictor, table: pa.Table, tags: int) -> Iterator[Target]:
    if not isinstance(predictor.task, SequenceTask | TokenTask | SpanTask | ChoiceTask):
        raise ExplainError(
            f"task.type = {predictor.task.type!r}: explained are answers of sequence, pair, token, span and choice"
        )
    if predictor.method.virtual_tokens or predictor.method.cloze is not None:
        raise ExplainError("a model of method prompt, prefix or cloze reads more than the text: it is not explained")
    asked = table.drop_columns([name for name in TARGETS if name in table.column_names])
    try:
        features = encode(predictor.task, asked, predictor.tokenizer, predictor.max_tokens)
    except FeaturesError as error:
        raise ExplainError(str(error)) from None
    said = outputs(predictor.model, features, predictor.max_tokens, predictor.tokenizer.pad_id)
    predictor.model.eval()
    return targets_of(predictor, asked, features, said, tags)


def _explained(predictor: Predictor, target: Target, method: str, steps: int) -> Explanation:
    model, tokenizer = predictor.model, predictor.tokenizer
    ids = target.tokens
    with torch.no_grad():
        words = model.encoder.embeddings.word
        embeddings = words(ids)  # (L, E)
        # A model that reads from left to right has never seen its [MASK].
        blank = words(torch.tensor(tokenizer.pad_id if target.causal else tokenizer.mask_id))
        is_text = torch.zeros(len(ids), dtype=torch.bool)
        for each in (each for piece in target.pieces for each in piece.tokens):
            is_text[each.start : each.stop] = True
        baseline = torch.where(is_text[:, None], blank, embeddings)
    score = scorer(model, target)
    at_a_time = max(1, TOKENS_AT_A_TIME // len(ids))
    whole, without = _scores(score, torch.stack([embeddings, baseline]), at_a_time)
    gap = None
    if method == "attention":
        weights = rollout(attention_maps(model, target).double())[target.place].mean(dim=0).numpy()
    elif method == "leave_one_out":
        weights = _omitted(score, embeddings, blank, target, whole, at_a_time)
    else:
        adds = integrated_gradients(score, embeddings, baseline, steps, at_a_time=at_a_time)
        weights = adds.double().numpy()
        gap = float(weights.sum() - (whole - without))
    return Explanation(
        id=target.id,
        label=target.label,
        about=target.about,
        score=whole,
        probability=target.probability,
        method=method,
        baseline_score=without,
        gap=gap,
        passages=tuple(piece.weighed(weights) for piece in target.pieces),
    )


def scorer(model: TaskModel, target: Target) -> Score:
    """The score of `target` as a function of its sequence's word embeddings."""

    def score(variants: Tensor) -> Tensor:
        batch = target.batch(len(variants))
        assert batch.spans is not None
        at = torch.cat([torch.arange(a, b) for a, b in batch.spans.tolist()])
        words = variants.new_zeros(batch.input_ids.numel(), variants.shape[2])
        words = words.index_copy(0, at, variants.flatten(0, 1)).view(*batch.input_ids.shape, -1)
        return target.read(model.output(batch, words), batch)

    return score


@torch.no_grad()
def _scores(score: Score, variants: Tensor, at_a_time: int) -> list[float]:
    return [float(value) for part in variants.split(at_a_time) for value in score(part).double()]


def _omitted(score: Score, embeddings: Tensor, blank: Tensor, target: Target, whole: float, at_a_time: int) -> Floats:
    """(L,): what the score loses without each word, written at the word's first token."""
    words = [each for piece in target.pieces for each in piece.tokens]
    weights = np.zeros(len(embeddings))
    for at in range(0, len(words), at_a_time):
        part = words[at : at + at_a_time]
        variants = embeddings.repeat(len(part), 1, 1)
        for variant, each in zip(variants, part, strict=True):
            variant[each.start : each.stop] = blank
        for each, without in zip(part, _scores(score, variants, at_a_time), strict=True):
            weights[each.start] = whole - without
    return weights
