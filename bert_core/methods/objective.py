"""What a task's model is trained by: its loss, over moved words, and the distance between two passes of R-Drop.

Shapes: B rows, T tokens in a row, N sequences, K classes, Q candidates of answers.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from bert_core.data import Batch
from bert_core.loss import Loss
from bert_core.methods.multitask import asked_of
from bert_core.methods.passes import ADVERSARIAL, RDROP, Pass
from bert_core.segments import segment_log_softmax
from bert_core.task_models import ChoiceModel, SpanModel, TaskModel


def task_losses(model: TaskModel, asked: Batch | Pass, rdrop_alpha: float = 0.0) -> dict[str, Loss]:
    """Named losses of a batch, each summed over its items.

    With `rdrop_alpha`, in training alone, the batch is read twice under different dropout and this is half of the
    paper's equation 3, so that it compares with the loss of one pass: the mean of both losses and, as "rdrop",
    alpha / 2 times their symmetric divergence (Liang et al., 2021, arXiv:2106.14448).
    """
    asked = asked if isinstance(asked, Pass) else Pass(asked)
    batch, words = asked.batch, None
    model, own_name = asked_of(model, batch)
    doubles = rdrop_alpha > 0 and model.training
    if asked.delta is None and not doubles:
        return {rename(own_name, model, each): loss for each, loss in model.losses(batch).items()}
    if asked.delta is not None:
        words = model.encoder.embeddings.word(batch.input_ids) + asked.delta
    name = ADVERSARIAL if asked.is_adversarial else own_name
    if not doubles:
        return {name: model.loss_of(model.output(batch, words), batch)}
    both = model.output(twice(batch), None if words is None else torch.cat([words, words]))
    first, second = both[: len(both) // 2], both[len(both) // 2 :]
    totals = [model.loss_of(each, batch) for each in (first, second)]
    distance = rdrop_alpha / 2 * divergence(model, first, second, batch)
    return {
        name: Loss((totals[0].total + totals[1].total) / 2, totals[0].correct),
        RDROP: Loss(distance, totals[0].correct * 0),
    }


def task_counted(model: TaskModel, batch: Batch) -> dict[str, int]:
    """How many items the loss of a batch counts, by the loss's name."""
    model, name = asked_of(model, batch)
    return {rename(name, model, each): count for each, count in model.counted(batch).items()}


def rename(name: str, model: TaskModel, loss: str) -> str:
    """`name` for the task's own loss; others keep theirs."""
    return name if loss == model.task.type else loss


def divergence(model: TaskModel, first: Tensor, second: Tensor, batch: Batch) -> Tensor:
    """(): the distance between two outputs, summed over items: KL(p, q) / 2 + KL(q, p) / 2 of what they predict.

    Of several labels it is their mean. Numbers and embeddings have no distribution: their squared distance.
    """
    p, parts = _log_probabilities(model, first, batch)
    q, _ = _log_probabilities(model, second, batch)
    if p is None or q is None:
        return (first - second).square().flatten(1).mean(1).sum()
    return ((p.exp() - q.exp()) * (p - q)).sum() / (2 * parts)


def twice(batch: Batch) -> Batch:
    """The rows of `batch`, and again below them, for `TaskModel.output`; labels and examples stay those of once."""
    size = batch.input_ids.numel()

    def again(flat: Tensor) -> Tensor:
        return torch.cat([flat, flat + size])

    def rows(values: Tensor) -> Tensor:
        return torch.cat([values, values])

    return replace(
        batch,
        input_ids=rows(batch.input_ids),
        token_type_ids=rows(batch.token_type_ids),
        position_ids=rows(batch.position_ids),
        document_ids=rows(batch.document_ids),
        cls_positions=again(batch.cls_positions),
        predict_positions=again(batch.predict_positions),
        cu_seqlens=torch.cat([batch.cu_seqlens, batch.cu_seqlens[1:] + size]),
        spans=None if batch.spans is None else again(batch.spans),
    )


def _log_probabilities(model: TaskModel, output: Tensor, batch: Batch) -> tuple[Tensor | None, int]:
    """The logarithms of all that is predicted, in any shape; and how many distributions make up an item."""
    if isinstance(model, ChoiceModel) and batch.examples is not None:
        return segment_log_softmax(output.squeeze(1), batch.examples, len(batch.sample_ids)), 1
    if isinstance(model, SpanModel) and batch.spans is not None:
        is_candidate = (batch.token_type_ids.flatten() == 1).index_fill(0, batch.spans[:, 0], True)
        flat = is_candidate.nonzero().squeeze(1)
        owners, count = torch.bucketize(flat, batch.cu_seqlens[1:].long(), right=True), len(batch.cu_seqlens) - 1
        return torch.stack([segment_log_softmax(output[flat, side], owners, count) for side in (0, 1)]), 2
    logs = model.log_probabilities(output, batch)
    return logs, 1 if logs is None or not len(output) else len(logs) // len(output)
