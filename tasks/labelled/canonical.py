"""A row of a file as an example of a task type: the columns that everything after this reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from bert_core.config import (
    CausalTask,
    ChoiceTask,
    EmbeddingTask,
    PairTask,
    Seq2SeqTask,
    SequenceTask,
    SpanTask,
    Task,
    TokenTask,
)
from tasks.config.data import DataConfig
from tasks.labelled.answers import answers_of
from tasks.labelled.tags import LENGTHS, as_bio, tags_of, tokens_of
from tasks.labelled.values import (
    EMPTY_LABEL,
    Reject,
    label_of,
    labels_of,
    list_of,
    marked_labels,
    number_of,
    optional_text,
    text_of,
)

OUTSIDE_OF_CHOICES, FEW_CHOICES, EMPTY_CHOICE = "label outside of choices", "fewer than two choices", "empty choice"
_STRING = pa.string()
_ANSWERS = pa.list_(pa.struct([("text", _STRING), ("start", pa.int64())]))

Example = dict[str, Any]
Converter = Callable[[dict[str, Any]], tuple[Example, list[str]]]
"""Raw values -> canonical columns, and what was repaired; raises Reject."""


def schema_of(task: Task) -> pa.Schema:
    """The canonical columns of a task type, without `id`."""
    if isinstance(task, SequenceTask):
        label = {"single": _STRING, "multi": pa.list_(_STRING), "regression": pa.float64()}[task.kind]
        texts = [("text", _STRING), ("text_b", _STRING)] if isinstance(task, PairTask) else [("text", _STRING)]
        return pa.schema([*texts, ("label", label)])
    if isinstance(task, TokenTask):
        return pa.schema([("tokens", pa.list_(_STRING)), ("tags", pa.list_(_STRING))])
    if isinstance(task, SpanTask):
        return pa.schema([("question", _STRING), ("context", _STRING), ("answers", _ANSWERS)])
    if isinstance(task, ChoiceTask):
        return pa.schema([("text", _STRING), ("choices", pa.list_(_STRING)), ("label", pa.int64())])
    if isinstance(task, EmbeddingTask):
        return pa.schema([("text", _STRING), ("text_b", _STRING), ("label", pa.float64()), ("negative", _STRING)])
    return pa.schema([("text", _STRING), ("target", _STRING)])


def required_columns(config: DataConfig, task: Task) -> list[str]:
    """Columns that a file must have, by its own names."""
    if isinstance(task, SequenceTask):
        labels = list(config.label_columns) or [config.column("label")]
        texts = ("text", "text_b") if isinstance(task, PairTask) else ("text",)
        return [*(config.column(name) for name in texts), *labels]
    if isinstance(task, ChoiceTask):
        return [*(config.choice_columns or [config.column("choices")]), config.column("label")]
    if isinstance(task, SpanTask):
        answers = "answer" if "answer" in config.columns else "answers"
        return [config.column(name) for name in ("question", "context", answers)]
    names = {TokenTask: ("tokens", "tags"), EmbeddingTask: ("text", "text_b"), Seq2SeqTask: ("text", "target")}
    return [config.column(name) for name in names.get(type(task), ("target",))]


def converter(config: DataConfig, task: Task) -> Converter:
    """How a row becomes an example of this task, whose kind and scheme are decided."""
    if isinstance(task, SequenceTask):
        return _labelled(config, task)
    if isinstance(task, TokenTask):
        return _tagged(config, is_bio=task.scheme == "bio")
    if isinstance(task, SpanTask):
        return _answered(config)
    if isinstance(task, ChoiceTask):
        return _chosen(config)
    if isinstance(task, EmbeddingTask):
        return _paired(config)
    return _generated(config, has_source=not isinstance(task, CausalTask))


def _labelled(config: DataConfig, task: SequenceTask) -> Converter:
    names = ("text", "text_b") if isinstance(task, PairTask) else ("text",)
    columns = [(name, config.column(name)) for name in names]
    label, most = config.column("label"), config.max_characters

    def target(values: dict[str, Any]) -> Any:
        if task.kind == "regression":
            return number_of(values.get(label))
        if task.kind == "single":
            return label_of(values.get(label), config.label_names)
        if config.label_columns:
            return marked_labels(values, config.label_columns, config.label_names)
        return labels_of(values.get(label), config.label_separator, config.label_names)

    def convert(values: dict[str, Any]) -> tuple[Example, list[str]]:
        example: Example = {name: text_of(values.get(column), name, most) for name, column in columns}
        example["label"] = target(values)
        return example, []

    return convert


def _tagged(config: DataConfig, *, is_bio: bool) -> Converter:
    def convert(values: dict[str, Any]) -> tuple[Example, list[str]]:
        tokens = tokens_of(values.get(config.column("tokens")), config.max_characters)
        tags = tags_of(values.get(config.column("tags")), config.label_names)
        if len(tokens) != len(tags):
            raise Reject(LENGTHS, f"{len(tokens)} tokens, {len(tags)} tags")
        tags, repaired = as_bio(tags) if is_bio else (tags, [])
        return {"tokens": tokens, "tags": tags}, repaired

    return convert


def _answered(config: DataConfig) -> Converter:
    def convert(values: dict[str, Any]) -> tuple[Example, list[str]]:
        question = text_of(values.get(config.column("question")), "question", config.max_characters)
        context = text_of(values.get(config.column("context")), "context", config.max_characters)
        stated = values.get(config.column("answers"))
        if "answer" in config.columns:
            text = optional_text(values.get(config.column("answer")), "answer", config.max_characters)
            stated = [{"text": text, "start": values.get(config.column("answer_start"))}] if text else []
        answers, repaired = answers_of(stated, context)
        return {"question": question, "context": context, "answers": answers}, repaired

    return convert


def _chosen(config: DataConfig) -> Converter:
    most = config.max_characters

    def convert(values: dict[str, Any]) -> tuple[Example, list[str]]:
        text = optional_text(values.get(config.column("text")), "text", most)
        if config.choice_columns:
            stated: list[Any] | None = [values.get(name) for name in config.choice_columns]
        else:
            stated = list_of(values.get(config.column("choices")))
        choices = [optional_text(each, "choice", most) for each in stated or []]
        if len(choices) < 2:
            raise Reject(FEW_CHOICES, f"{len(choices)}: {values.get(config.column('choices'))!r}"[:200])
        if not all(each.strip() for each in choices):
            raise Reject(EMPTY_CHOICE, repr(choices)[:200])
        return {"text": text, "choices": choices, "label": _index(values.get(config.column("label")), choices)}, []

    return convert


def _index(value: Any, choices: list[str]) -> int:
    """From 0; or the text of one of the choices; or its letter."""
    label = label_of(value, {})
    if label.lstrip("-").isdigit():
        index = int(label)
    elif choices.count(label) == 1:
        index = choices.index(label)
    else:
        index = ord(label.upper()) - ord("A") if len(label) == 1 else -1
    if not 0 <= index < len(choices):
        raise Reject(OUTSIDE_OF_CHOICES, f"{value!r} of {len(choices)} choices; legal: 0 to {len(choices) - 1}")
    return index


def _paired(config: DataConfig) -> Converter:
    most = config.max_characters

    def convert(values: dict[str, Any]) -> tuple[Example, list[str]]:
        example: Example = {name: text_of(values.get(config.column(name)), name, most) for name in ("text", "text_b")}
        stated = values.get(config.column("label"))
        try:
            example["label"] = number_of(stated)
        except Reject as reject:
            if reject.reason != EMPTY_LABEL:
                raise
            example["label"] = None
        example["negative"] = optional_text(values.get(config.column("negative")), "negative", most).strip() or None
        return example, []

    return convert


def _generated(config: DataConfig, *, has_source: bool) -> Converter:
    most = config.max_characters
    text, target = config.column("text"), config.column("target")

    def convert(values: dict[str, Any]) -> tuple[Example, list[str]]:
        # columns = {target = "text"}: all of the text is to be generated, and there is no prompt
        source = "" if text == target else values.get(text)
        prompt = text_of(source, "text", most) if has_source else optional_text(source, "text", most)
        return {"text": prompt, "target": text_of(values.get(target), "target", most)}, []

    return convert
