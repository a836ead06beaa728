"""task.json: what a fine-tuned folder is asked, and how its answers are read."""

from __future__ import annotations

import json
from pathlib import Path

from bert_core.config import (
    ChoiceTask,
    Config,
    EmbeddingTask,
    SequenceTask,
    SpanTask,
    Task,
    TokenTask,
    validate,
)
from bert_core.files import write_json
from bert_core.hf.weights import Kind

TASK_FILE = "task.json"


class FineTuned(Config):
    """What task.json holds."""

    task: Task
    max_tokens: int

    @property
    def kind(self) -> Kind:
        return kind_of(self.task)

    def is_same_head(self, task: Task) -> bool:
        """Whether a head of this folder answers `task`."""
        mine, other = (
            (each.type, getattr(each, "kind", None), getattr(each, "labels", None)) for each in (self.task, task)
        )
        return mine == other


def kind_of(task: Task) -> Kind:
    """Of the folder of a model for `task`."""
    match task:
        case SequenceTask():
            return "classifier"
        case TokenTask():
            return "token"
        case SpanTask():
            return "span"
        case ChoiceTask():
            return "choice"
        case EmbeddingTask():
            return "bare"
    return "pretraining"


def write_task(fine_tuned: FineTuned, folder: str | Path) -> None:
    write_json(Path(folder) / TASK_FILE, fine_tuned.model_dump(mode="json"))


def read_task(folder: str | Path) -> FineTuned | None:
    """What the model in `folder` was fine-tuned for; None: nothing that it says.

    Raises:
        ConfigError: task.json holds what no task has.
    """
    path = Path(folder) / TASK_FILE
    if not path.exists():
        return None
    return validate(FineTuned, json.loads(path.read_text("utf-8")), source=str(path))
