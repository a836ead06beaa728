"""TextCNN and BiLSTM on a text or a pair, from word vectors trained on the training side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn import functional

from tasks.classical.answers import of_numbers
from tasks.classical.job import Job, Rival
from tasks.classical.linear import answer, columns, indicators
from tasks.classical.networks import BiLstm, TextCnn, TextNetwork
from tasks.classical.scoring import score
from tasks.classical.training import learn, padded, reproducible
from tasks.classical.vectors import UNKNOWN, WordVectors, word_vectors
from tasks.classical.words import words

_BATCH = 256


def text_cnn(job: Job) -> Rival:
    """Widths of 3, 4 and 5 words."""
    return _network(job, lambda: TextCnn(job.config.dimensions, job.config.filters))


def bilstm(job: Job) -> Rival:
    return _network(job, lambda: BiLstm(job.config.dimensions, job.config.hidden_size))


def _network(job: Job, make: Callable[[], TextCnn | BiLstm]) -> Rival:
    with reproducible(job.seed):
        tokens = {name: [words(text) for text in job.train[name].to_pylist()] for name in columns(job)}
        vectors = word_vectors(job, [text for texts in tokens.values() for text in texts])
        scale = _scale(job)
        targets, held_out_targets = (_targets(job, table, scale) for table in (job.train, job.validation))
        network = TextNetwork(
            torch.from_numpy(vectors.matrix), make(), len(columns(job)), targets.shape[1], job.config.dropout
        )
        train = _ids(job, vectors, job.train)
        held_out = _ids(job, vectors, job.validation)

        def loss(rows: Sequence[int]) -> Tensor:
            return _loss(job, network(_batch(train, rows)), targets[list(rows)])

        def validate() -> tuple[float, float]:
            outputs = _outputs(network, held_out)
            value = score(job.task, job.validation, _answers(job, job.validation, outputs, scale))[1]
            return value, float(_loss(job, outputs, held_out_targets))

        lengths = [sum(len(text[row]) for text in train) for row in range(len(job.train))]
        facts = vectors.facts | learn(job, network, lengths, loss, validate)
        validation = _answers(job, job.validation, _outputs(network, held_out), scale)
        metric, value = score(job.task, job.validation, validation)
        answers = _answers(job, job.test, _outputs(network, _ids(job, vectors, job.test)), scale)
    return Rival(answers, validation, {**facts, f"validation_{metric}": value}, tuple(job.notes))


def _ids(job: Job, vectors: WordVectors, table: pa.Table) -> list[list[np.ndarray]]:
    """For each text column, each example's word ids; a text without words has one unknown word."""
    limit, cut = job.config.max_tokens, 0
    found = []
    for name in columns(job):
        ids = [vectors.ids(words(text)) or [UNKNOWN] for text in table[name].to_pylist()]
        cut += sum(len(row) > limit for row in ids)
        found.append([np.array(row[:limit], dtype=np.int64) for row in ids])
    if cut and table is job.test:
        job.note(f"{cut} of {len(table) * len(found)} test texts are longer than {limit} tokens: the rest is not read")
    return found


def _scale(job: Job) -> tuple[float, float]:
    """Mean and standard deviation of what is to be told, where that is a number."""
    if getattr(job.task, "kind", "") != "regression":
        return 0.0, 1.0
    values = job.train["label"].to_numpy()
    return float(values.mean()), float(values.std()) or 1.0


def _targets(job: Job, table: pa.Table, scale: tuple[float, float]) -> Tensor:
    """(N, O)"""
    regression = getattr(job.task, "kind", "") == "regression"
    wanted = table["label"].to_numpy().reshape(-1, 1) if regression else indicators(job, table)
    return torch.tensor((wanted - scale[0]) / scale[1], dtype=torch.float32)


def _batch(texts: Sequence[Sequence[np.ndarray]], rows: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    return [padded([text[row] for row in rows]) for text in texts]


def _outputs(network: TextNetwork, texts: Sequence[Sequence[np.ndarray]]) -> Tensor:
    """(N, O), computed by length."""
    network.eval()
    order = sorted(range(len(texts[0])), key=lambda row: sum(len(text[row]) for text in texts))
    with torch.inference_mode():
        parts = [network(_batch(texts, order[i : i + _BATCH])) for i in range(0, len(order), _BATCH)]
    outputs = torch.cat(parts)
    return outputs[torch.tensor(order).argsort()]


def _loss(job: Job, outputs: Tensor, targets: Tensor) -> Tensor:
    match getattr(job.task, "kind", ""):
        case "regression":
            return functional.mse_loss(outputs, targets)
        case "multi":
            return functional.binary_cross_entropy_with_logits(outputs, targets)
    return functional.cross_entropy(outputs, targets)


def _answers(job: Job, table: pa.Table, outputs: Tensor, scale: tuple[float, float]) -> pa.Table:
    match getattr(job.task, "kind", ""):
        case "regression":
            return of_numbers(table, outputs[:, 0].double().numpy() * scale[1] + scale[0])
        case "multi":
            return answer(job, table, outputs.sigmoid().numpy())
    return answer(job, table, outputs.softmax(dim=1).numpy())
