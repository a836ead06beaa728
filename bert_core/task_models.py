"""An encoder with the head of a fine-tuning task: what it is trained by, and what it says.

Shapes: B rows, T tokens in a row, C hidden size, N sequences, E examples, P labelled positions, K classes, L targets.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from math import hypot
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert_core.config import (
    ChoiceTask,
    ConfigError,
    EmbeddingTask,
    ModelConfig,
    PairTask,
    SequenceTask,
    SpanTask,
    Task,
    TokenTask,
)
from bert_core.data import Batch
from bert_core.dropout import Dropout
from bert_core.heads import Pooler
from bert_core.loss import Loss
from bert_core.model import Encoder
from bert_core.segments import segment_fingerprints, segment_log_softmax, segment_mean

MIN_DEVIATION = 1e-6


class TaskModel(nn.Module):
    """What every task's model is to the training loop: named losses of a batch, and how many predictions each counts.

    `statistics` are those of the training side's targets (`bert_core.features.Features.statistics`).
    """

    task: Task
    config: ModelConfig
    encoder: Encoder
    measures_accuracy = True
    """Whether `Loss.correct` is filled in."""

    @abstractmethod
    def output(self, batch: Batch, words: Tensor | None = None) -> Tensor:
        """Scores, one row for each item that is counted.

        Args:
            words: (B, T, E), the word embeddings of the batch, where somebody looked them up before.
        """

    @abstractmethod
    def loss_of(self, output: Tensor, batch: Batch) -> Loss:
        """Summed over the items that have a target."""

    @abstractmethod
    def count(self, batch: Batch) -> int:
        """Items that have a target: what the loss is divided by."""

    def log_probabilities(self, output: Tensor, batch: Batch) -> Tensor | None:
        """(items, K) of what the model predicts, for distances between predictions; None: it predicts no classes."""
        return None

    def losses(self, batch: Batch) -> dict[str, Loss]:
        return {self.task.type: self.loss_of(self.output(batch), batch)}

    def counted(self, batch: Batch) -> dict[str, int]:
        return {self.task.type: self.count(batch)}


class TextModel(TaskModel):
    """One row of scores for each sequence, read from its first token (a causal model's last): texts, pairs, choices."""

    def __init__(self, config: ModelConfig, task: Task, num_outputs: int, statistics: Mapping[str, Any]) -> None:
        super().__init__()
        self.config, self.task, self.statistics = config, task, dict(statistics)
        self.encoder = Encoder(config)
        self.pooler = Pooler(config)
        self.dropout = Dropout(config.hidden_dropout)
        self.classifier = nn.Linear(config.hidden_size, num_outputs, bias=not config.causal)

    def output(self, batch: Batch, words: Tensor | None = None) -> Tensor:
        """(N, outputs)"""
        states = self.encoder(batch, batch.cls_positions, words)
        if self.config.family == "roberta":
            states = self.dropout(states)
        scores: Tensor = self.classifier(self.dropout(self.pooler(states))).float()
        return scores

    def count(self, batch: Batch) -> int:
        return batch.num_labelled


class ClassModel(TextModel):
    """Classes, several labels or a number, of a text or a pair of texts."""

    task: SequenceTask

    def __init__(self, config: ModelConfig, task: SequenceTask, statistics: Mapping[str, Any]) -> None:
        super().__init__(config, task, max(1, len(task.labels)), statistics)
        self.measures_accuracy = task.kind == "single"

    @property
    def center_and_spread(self) -> tuple[float, float]:
        """Of the training side's numbers. The head learns standardised ones: a number of any scale is as easy.

        A head without a bias could not give the center back: around 0 then, as far as the numbers are from it.
        """
        center, spread = self.statistics.get("mean", 0.0), self.statistics.get("deviation", 1.0)
        if self.classifier.bias is None:
            center, spread = 0.0, hypot(center, spread)
        return center, spread if spread > MIN_DEVIATION else 1.0

    def loss_of(self, output: Tensor, batch: Batch) -> Loss:
        task, targets = self.task, _targets(batch)
        known = batch.sample_labels >= 0
        if task.kind == "regression":
            center, spread = self.center_and_spread
            distance = (output.squeeze(1) - (targets[:, 0].nan_to_num(0) - center) / spread) ** 2
            return Loss(torch.where(known, distance, 0.0).sum(), known.sum() * 0)
        if task.kind == "multi":
            targets = targets.nan_to_num(0)
            smoothed = targets + task.label_smoothing * (0.5 - targets)
            each = F.binary_cross_entropy_with_logits(output, smoothed, reduction="none")
            if task.focal_gamma:
                each = self._focused(each, torch.where(targets > 0.5, output, -output).sigmoid())
            each = each * self._weights(output.device, targets)
            right = ((output > 0) == (targets > 0.5)).all(dim=1) & known
            return Loss(torch.where(known, each.mean(dim=1), 0.0).sum(), right.sum())
        labels = batch.sample_labels
        each = F.cross_entropy(
            output, labels, reduction="none", ignore_index=-1, label_smoothing=self.task.label_smoothing
        )
        if task.focal_gamma:
            own = output.log_softmax(-1).gather(1, labels.clamp(min=0).unsqueeze(1)).squeeze(1)
            each = self._focused(each, own.exp())
        if task.class_weights == "balanced":
            each = each * self._class_weights(output.device)[labels.clamp(min=0)]
        return Loss(each.sum(), (output.detach().argmax(-1) == labels).sum())

    @torch.no_grad()
    def standardise_head(self) -> None:
        """Of a regression: a head that was read from a folder, and gives numbers as they are, for standardised ones."""
        center, spread = self.center_and_spread
        self.classifier.weight /= spread
        if self.classifier.bias is not None:
            self.classifier.bias.sub_(center).div_(spread)

    def log_probabilities(self, output: Tensor, batch: Batch) -> Tensor | None:
        if self.task.kind == "single":
            return output.log_softmax(-1)
        if self.task.kind == "multi":
            return torch.stack([F.logsigmoid(output), F.logsigmoid(-output)], dim=-1).flatten(0, 1)
        return None

    def _focused(self, loss: Tensor, probability: Tensor) -> Tensor:
        """Lin et al., 2017, arXiv:1708.02002, section 3.2: what is right already counts less."""
        return loss * (1 - probability).clamp(min=0) ** self.task.focal_gamma

    def _class_weights(self, device: torch.device) -> Tensor:
        """(K,): examples / (classes * examples of the class), as scikit-learn's "balanced"."""
        counts = torch.tensor(self.statistics.get("class_counts", [1] * len(self.task.labels)), dtype=torch.float32)
        return (counts.sum() / (len(counts) * counts.clamp(min=1))).to(device)

    def _weights(self, device: torch.device, targets: Tensor) -> Tensor:
        if self.task.class_weights != "balanced":
            return torch.ones((), device=device)
        return torch.where(targets > 0.5, self._class_weights(device), 1.0)


class ChoiceModel(TextModel):
    """A score for each choice; those of one example compete."""

    def __init__(self, config: ModelConfig, task: ChoiceTask, statistics: Mapping[str, Any]) -> None:
        super().__init__(config, task, 1, statistics)

    def loss_of(self, output: Tensor, batch: Batch) -> Loss:
        examples, is_right = _examples(batch), _targets(batch)[:, 0] > 0.5
        logs = segment_log_softmax(output.squeeze(1), examples, len(batch.sample_ids))
        best = logs.new_full((len(batch.sample_ids),), -torch.inf).scatter_reduce(0, examples, logs.detach(), "amax")
        return Loss(-logs[is_right].sum(), (is_right & (logs.detach() >= best[examples])).sum())

    def count(self, batch: Batch) -> int:
        return int((_targets(batch)[:, 0] > 0.5).sum())


class TokenModel(TaskModel):
    """One row of scores for each word, read from its first piece."""

    task: TokenTask

    def __init__(self, config: ModelConfig, task: TokenTask, statistics: Mapping[str, Any]) -> None:
        super().__init__()
        self.config, self.task, self.statistics = config, task, dict(statistics)
        self.encoder = Encoder(config)
        self.pooler = Pooler(config) if config.family == "modernbert" else None
        self.dropout = Dropout(config.hidden_dropout)
        self.classifier = nn.Linear(config.hidden_size, len(task.labels))

    def output(self, batch: Batch, words: Tensor | None = None) -> Tensor:
        """(P, K)"""
        states = self.encoder(batch, batch.predict_positions, words)
        states = states if self.pooler is None else self.pooler(states)
        scores: Tensor = self.classifier(self.dropout(states)).float()
        return scores

    def loss_of(self, output: Tensor, batch: Batch) -> Loss:
        if not len(output):
            return Loss(output.sum() * 0, batch.predict_labels.sum() * 0)
        labels = batch.predict_labels
        total = F.cross_entropy(output, labels, reduction="sum", ignore_index=-1)
        return Loss(total, (output.detach().argmax(-1) == labels).sum())

    def log_probabilities(self, output: Tensor, batch: Batch) -> Tensor | None:
        return output.log_softmax(-1)

    def count(self, batch: Batch) -> int:
        return int((batch.predict_labels >= 0).sum())


class SpanModel(TaskModel):
    """Scores of each token as an answer's first and as its last; [CLS] stands for no answer in this window."""

    task: SpanTask

    def __init__(self, config: ModelConfig, task: SpanTask, statistics: Mapping[str, Any]) -> None:
        super().__init__()
        self.config, self.task, self.statistics = config, task, dict(statistics)
        self.encoder = Encoder(config)
        self.pooler = Pooler(config) if config.family == "modernbert" else None
        self.classifier = nn.Linear(config.hidden_size, 2)

    def output(self, batch: Batch, words: Tensor | None = None) -> Tensor:
        """(B * T, 2)"""
        states = self.encoder(batch, None, words).flatten(0, 1)
        states = states if self.pooler is None else self.pooler(states)
        scores: Tensor = self.classifier(states).float()
        return scores

    def loss_of(self, output: Tensor, batch: Batch) -> Loss:
        logs, place = self._competing(output, batch)
        known = batch.sample_labels >= 0
        starts = _spans(batch)[:, 0]
        wanted = place[starts[:, None] + _targets(batch).nan_to_num(0).long()]  # (N, 2)
        chosen = torch.stack([logs[wanted[:, 0], 0], logs[wanted[:, 1], 1]], dim=1)
        best = logs.new_full((len(starts), 2), -torch.inf)
        best = best.scatter_reduce(0, self._owners(batch)[:, None].expand(-1, 2), logs.detach(), "amax")
        right = (chosen.detach() >= best).all(dim=1) & known
        return Loss(-torch.where(known, chosen.mean(dim=1), 0.0).sum(), right.sum())

    def log_probabilities(self, output: Tensor, batch: Batch) -> Tensor | None:
        return None

    def count(self, batch: Batch) -> int:
        return batch.num_labelled

    def _competing(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """(Q, 2) log-probabilities of the tokens that may be chosen, and at each flat position its number among Q."""
        flat = self._candidates(batch)
        place = flat.new_zeros(batch.input_ids.numel())
        place[flat] = torch.arange(len(flat), device=flat.device)
        owners, count = self._owners(batch), len(batch.cls_positions)
        logs = [segment_log_softmax(output[flat, side], owners, count) for side in (0, 1)]
        return torch.stack(logs, dim=1), place

    def _candidates(self, batch: Batch) -> Tensor:
        """(Q,) flat positions, ascending: those of contexts, and each [CLS]."""
        chosen = batch.token_type_ids.flatten() == 1
        chosen = chosen.index_fill(0, _spans(batch)[:, 0], True)
        return chosen.nonzero().squeeze(1)

    def _owners(self, batch: Batch) -> Tensor:
        """(Q,): the sequence that each candidate is of."""
        order = _spans(batch)[:, 0].argsort()
        found = torch.searchsorted(_spans(batch)[order, 0], self._candidates(batch), right=True) - 1
        return order[found]


class EmbeddingModel(TaskModel):
    """A vector for each text, of length 1; an example's first two texts belong together, a third does not."""

    task: EmbeddingTask

    def __init__(self, config: ModelConfig, task: EmbeddingTask, statistics: Mapping[str, Any]) -> None:
        super().__init__()
        self.config, self.task, self.statistics = config, task, dict(statistics)
        self.encoder = Encoder(config)
        self.measures_accuracy = task.loss == "in_batch"

    def output(self, batch: Batch, words: Tensor | None = None) -> Tensor:
        """(N, C)"""
        if self.task.pooling == "cls":
            states = self.encoder(batch, batch.cls_positions, words)
        else:
            states = segment_mean(self.encoder(batch, None, words).flatten(0, 1).float(), _spans(batch))
        return F.normalize(states.float(), dim=-1)

    def loss_of(self, output: Tensor, batch: Batch) -> Loss:
        """in_batch: of all second and third texts of the micro batch, each first text's partner is its own (Henderson
        et al., 2017, arXiv:1705.00652); one with the same tokens elsewhere in the batch does not count against it, and
        a text whose second is no partner looks for none."""
        first = self._first(batch)
        a, b = output[first], output[first + 1]
        if self.task.loss == "cosine":
            scores = _targets(batch)[first, 0]
            known = ~scores.isnan()
            distance = ((a * b).sum(-1) - scores.nan_to_num(0)) ** 2
            return Loss(torch.where(known, distance, 0.0).sum(), known.sum() * 0)
        is_other = torch.ones(len(output), dtype=torch.bool, device=output.device)
        is_other[first] = False
        own = torch.cumsum(is_other, 0)[first + 1] - 1
        texts = segment_fingerprints(batch.input_ids.flatten(), _spans(batch))
        same = texts[first + 1, None] == texts[is_other]
        same[torch.arange(len(own)), own] = False
        with torch.autocast(output.device.type, enabled=False):  # a cosine of 8 bits, times 20, is off by 0.08
            similarity = self.task.scale * a @ output[is_other].t()  # (E, texts that are not first)
        similarity = similarity.masked_fill(same, -torch.inf)
        seeks = _targets(batch)[first, 1] > 0.5
        each = F.cross_entropy(similarity, own, reduction="none")
        right = (similarity.detach().argmax(-1) == own) & seeks
        return Loss(torch.where(seeks, each, 0.0).sum(), right.sum())

    def count(self, batch: Batch) -> int:
        targets = _targets(batch)[self._first(batch)]
        return int((targets[:, 1] > 0.5).sum() if self.task.loss == "in_batch" else (~targets[:, 0].isnan()).sum())

    def _first(self, batch: Batch) -> Tensor:
        """(E,): which of the sequences is each example's first."""
        examples = _examples(batch)
        return torch.searchsorted(examples, torch.arange(len(batch.sample_ids), device=examples.device))


def task_model(config: ModelConfig, task: Task, statistics: Mapping[str, Any] | None = None) -> TaskModel:
    """The model of `task` with an encoder of shape `config`, its weights not drawn yet.

    Raises:
        ConfigError: the task's labels are not known, or the architecture cannot be asked this.
    """
    known = statistics or {}
    if config.family == "xlnet":
        raise ConfigError("a model of family 'xlnet' is pretrained here and not fine-tuned: take another encoder")
    if config.causal and not isinstance(task, SequenceTask | ChoiceTask | TokenTask):
        raise ConfigError(
            f"task.type = {task.type!r}: a {config.family} reads from left to right; it takes sequence, pair, choice, "
            "token and causal"
        )
    match task:
        case PairTask() | SequenceTask():
            if task.kind != "regression" and not task.labels:
                raise ConfigError("task.labels is empty: fill it in from the data first")
            return ClassModel(config, task, known)
        case ChoiceTask():
            return ChoiceModel(config, task, known)
        case TokenTask():
            if not task.labels:
                raise ConfigError("task.labels is empty: fill it in from the data first")
            return TokenModel(config, task, known)
        case SpanTask():
            return SpanModel(config, task, known)
        case EmbeddingTask():
            return EmbeddingModel(config, task, known)
    raise ConfigError(f"task.type = {task.type!r} has another kind of model")


def _targets(batch: Batch) -> Tensor:
    assert batch.targets is not None
    return batch.targets


def _examples(batch: Batch) -> Tensor:
    assert batch.examples is not None
    return batch.examples


def _spans(batch: Batch) -> Tensor:
    assert batch.spans is not None
    return batch.spans
