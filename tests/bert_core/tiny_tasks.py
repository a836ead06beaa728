"""A small table, model and tokenizer for each type of fine-tuning task."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from bert_core.config import (
    ChoiceTask,
    EmbeddingTask,
    ModelConfig,
    PairTask,
    SequenceTask,
    SpanTask,
    Task,
    TokenTask,
)
from bert_core.features import Features, encode
from bert_core.model import init_weights
from bert_core.task_models import TaskModel, task_model
from bert_core.tokenizer import Tokenizer, train_bpe, train_wordpiece

WORDS = [f"{start}{end}" for start in ("ba", "ko", "mi", "ru", "te", "lo") for end in ("n", "sh", "lla", "rk", "t")]
TAGS = ("O", "B-X", "I-X", "B-Y", "I-Y")
TASKS: dict[str, Task] = {
    "single": SequenceTask(labels=("a", "b", "c")),
    "multi": SequenceTask(kind="multi", labels=("a", "b", "c")),
    "regression": SequenceTask(kind="regression"),
    "pair": PairTask(labels=("a", "b")),
    "token": TokenTask(labels=TAGS),
    "span": SpanTask(stride=6, no_answer="yes"),
    "choice": ChoiceTask(),
    "in_batch": EmbeddingTask(),
    "cosine": EmbeddingTask(loss="cosine", pooling="cls"),
}
CAUSAL = [name for name in TASKS if name not in ("span", "in_batch", "cosine")]
"""What a model that reads from left to right can be asked."""


def text(rng: np.random.Generator, low: int = 2, high: int = 12) -> str:
    return " ".join(rng.choice(WORDS, int(rng.integers(low, high))))


def table(name: str, rows: int = 24, seed: int = 0, *, unknown: bool = False) -> pa.Table:
    """A table of `TASKS[name]`.

    Args:
        unknown: every third example has no target.
    """
    rng = np.random.default_rng(seed)
    made = [{"id": f"{name}-{row}", **_example(name, rng)} for row in range(rows)]
    if unknown:
        target = {"token": "tags", "span": "answers"}.get(name, "label")
        for row in made[::3]:
            row[target] = None
    return pa.Table.from_pylist(made)


def _example(name: str, rng: np.random.Generator) -> dict[str, Any]:
    task = TASKS[name]
    said = text(rng)
    match name:
        case "single" | "pair":
            label: Any = str(rng.choice(task.labels))  # type: ignore[union-attr]
            return {"text": said, "label": label} | ({"text_b": text(rng)} if name == "pair" else {})
        case "multi":
            return {"text": said, "label": [label for label in "abc" if rng.random() < 0.5]}
        case "regression":
            return {"text": said, "label": float(100 * rng.normal() - 50)}
        case "token":
            words = said.split()
            return {"tokens": words, "tags": [str(tag) for tag in rng.choice(TAGS, len(words))]}
        case "span":
            context = text(rng, 4, 60)
            word = str(rng.choice(context.split()))
            answers = [{"text": word, "start": context.index(word)}] if rng.random() < 0.7 else []
            return {"question": said, "context": context, "answers": answers}
        case "choice":
            return {"text": said, "choices": [text(rng) for _ in range(rng.integers(2, 5))], "label": 1}
    score = float(rng.uniform(-1, 1)) if name == "cosine" else None
    return {"text": said, "text_b": text(rng), "label": score} | ({"negative": text(rng)} if name == "in_batch" else {})


@cache
def wordpiece() -> Tokenizer:
    rng = np.random.default_rng(1)
    return train_wordpiece(iter([f"{text(rng)}. Élan, ¿qué?" for _ in range(50)]), 110, 1, True)


@cache
def bpe() -> Tokenizer:
    """Byte-level, with two separators between two texts, as RoBERTa's."""
    rng = np.random.default_rng(1)
    return train_bpe(iter([f"{text(rng)}. Élan, ¿qué?" for _ in range(50)]), 330, 1)


def shape(family: str, tokenizer: Tokenizer, **more: Any) -> ModelConfig:
    small: dict[str, Any] = {
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 4,
        "intermediate_size": 48,
        "max_positions": 64,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "initializer_range": 0.2,
    }
    small |= {"embedding_size": 16} if family == "albert" else {}
    small |= {"num_layers": 4, "local_window": 8} if family == "modernbert" else {}
    config = ModelConfig(family=family, **{**small, **more})  # type: ignore[arg-type]
    return config.for_tokenizer(vocab_size=tokenizer.vocab_size, pad_token_id=tokenizer.pad_id)


def random_model(config: ModelConfig, task: Task, statistics: dict[str, Any] | None = None, seed: int = 1) -> TaskModel:
    """All weights at random, biases and norms too."""
    model = task_model(config, task, statistics)
    generator = torch.Generator().manual_seed(seed)
    init_weights(model, config.initializer_range, generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return model.eval()


def features(name: str, rows: int = 24, row_length: int = 48, *, unknown: bool = False) -> Features:
    return encode(TASKS[name], table(name, rows, unknown=unknown), wordpiece(), row_length)


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
