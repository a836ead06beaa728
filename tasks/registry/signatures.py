"""What MLflow is told of a model's inputs and outputs, by task: one row an example, in the columns of its task."""

from __future__ import annotations

from typing import Any

import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types.schema import Array, ColSpec, DataType, Map, Schema

from bert_core.config import EmbeddingTask, SequenceTask, Task
from bert_core.predict import INPUTS

TEXT, NUMBER = DataType.string, DataType.double
LISTS = {"tokens", "choices"}
OUTPUTS: dict[str, tuple[ColSpec, ...]] = {
    "single": (
        ColSpec(TEXT, "label"),
        ColSpec(NUMBER, "score"),
        ColSpec(Map(NUMBER), "probabilities"),
        ColSpec(TEXT, "note"),
    ),
    "multi": (ColSpec(Array(TEXT), "labels"), ColSpec(Map(NUMBER), "probabilities"), ColSpec(TEXT, "note")),
    "regression": (ColSpec(NUMBER, "value"), ColSpec(TEXT, "note")),
    "token": (ColSpec(Array(TEXT), "tags"), ColSpec(Array(NUMBER), "confidences")),
    "span": (ColSpec(TEXT, "answer"), ColSpec(NUMBER, "score")),
    "choice": (ColSpec(DataType.long, "choice"), ColSpec(Array(NUMBER), "probabilities")),
    "embedding": (ColSpec(Array(NUMBER), "embedding"),),
    "seq2seq": (ColSpec(TEXT, "output"),),
    "causal": (ColSpec(TEXT, "output"),),
}
EXAMPLES: dict[str, Any] = {
    "text": "A neat trick, bundling perversity and romance into a tempting bouquet.",
    "text_b": "A trick that works.",
    "tokens": ["Alice", "lives", "in", "Paris", "."],
    "question": "Where does Alice live?",
    "context": "Alice lives in Paris.",
    "choices": ["in Paris", "on the moon"],
}


def signature(task: Task) -> ModelSignature:
    inputs = Schema([ColSpec(Array(TEXT) if name in LISTS else TEXT, name) for name in INPUTS[task.type]])
    kind = task.kind if isinstance(task, SequenceTask) else task.type
    return ModelSignature(inputs=inputs, outputs=Schema(list(OUTPUTS[kind])))


def example(task: Task) -> pd.DataFrame:
    """A row that a model of `task` can be asked."""
    return pd.DataFrame([{name: EXAMPLES[name] for name in INPUTS[task.type]}])


def is_asked_texts(task: Task) -> bool:
    """Whether one text is all that the model needs."""
    return INPUTS[task.type] == ("text",) or isinstance(task, EmbeddingTask)
