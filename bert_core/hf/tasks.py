"""What a fine-tuned folder is asked, and how its answers are read: task.json, or what transformers' config says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from bert_core.config import (
    ChoiceTask,
    Config,
    ConfigError,
    EmbeddingTask,
    MethodConfig,
    SequenceTask,
    SpanTask,
    Task,
    TokenTask,
    validate,
)
from bert_core.files import write_json
from bert_core.hf.configs import WeightsError, our_values
from bert_core.hf.weights import Kind

CONFIG_FILE = "config.json"
TASK_FILE = "task.json"
PROBLEMS: dict[str, Literal["single", "multi", "regression"]] = {
    "single_label_classification": "single",
    "multi_label_classification": "multi",
    "regression": "regression",
}
"""transformers' words -> ours."""


class FineTuned(Config):
    """What task.json holds."""

    task: Task
    max_tokens: int
    method: MethodConfig | None = None
    """Of a model that transformers has no class for (`bert_core.methods.own_folder`)."""

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

    A folder that transformers saved has no task.json: its config.json names the class, and with it the task. Tags are
    then taken for those of entities if they look like them, and a question may have no answer.

    Raises:
        ConfigError: task.json is not JSON, or holds what no task has.
        WeightsError: config.json names labels that are none, or a family that this project cannot run.
    """
    path = Path(folder) / TASK_FILE
    if path.exists():
        return validate(FineTuned, _object(path), source=str(path))
    path = Path(folder) / CONFIG_FILE
    try:
        return _of_architecture(_object(path))
    except ConfigError:
        raise
    except ValueError as error:
        raise WeightsError(f"{path}: {error}") from None


def _of_architecture(config: dict[str, Any]) -> FineTuned | None:
    """Raises:
    ValueError: the labels are none, or the family is unknown.
    """
    name = next(iter(config.get("architectures") or ()), "")
    names = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}  # which transformers does not write
    if sorted(names) != sorted(str(number) for number in range(len(names))):
        raise ValueError(f"id2label = {names!r}: expected a name for each of the ids 0, 1, ...")
    labels = tuple(str(names[str(number)]) for number in range(len(names)))
    task: Task | None = None
    if name.endswith("ForSequenceClassification"):
        kind = PROBLEMS.get(config.get("problem_type") or "", "regression" if len(labels) == 1 else "single")
        task = SequenceTask(kind=kind, labels=() if kind == "regression" else labels)
    elif name.endswith("ForTokenClassification"):
        is_bio = all(label == "O" or label[:2] in ("B-", "I-") for label in labels)
        task = TokenTask(labels=labels, scheme="bio" if is_bio else "plain")
    elif name.endswith("ForQuestionAnswering"):
        task = SpanTask(no_answer="yes")
    elif name.endswith("ForMultipleChoice"):
        task = ChoiceTask()
    return None if task is None else FineTuned(task=task, max_tokens=our_values(config)["max_positions"])


def _object(path: Path) -> dict[str, Any]:
    """The object in a file of JSON; an empty one where there is no file."""
    try:
        found = json.loads(path.read_text("utf-8")) if path.exists() else {}
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: not an object, but {type(found).__name__}")
    return found
