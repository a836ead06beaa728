"""Ask a model folder: the one engine behind the command line, the server and the evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from bert_core import hf
from bert_core.answers import Floats, decode, outputs
from bert_core.config import SequenceTask, Task
from bert_core.features import Features, FeaturesError, encode
from bert_core.features.encode import MAX_CHARACTERS
from bert_core.task_models import task_model
from bert_core.tokenizer import load as load_tokenizer

TARGETS = ("label", "tags", "answers")


class InputError(ValueError):
    """An example that cannot be answered; the message says which, and shows it."""


@dataclass(frozen=True)
class Prediction:
    label: str
    score: float
    """Probability of `label`."""
    probabilities: dict[str, float]
    """Of each label, in the order of their ids; they sum to 1."""
    note: str = ""
    """What the reader should know: that only the text's beginning was read. Empty for most texts."""


class Predictor:
    """The model of a fine-tuned folder (config.json, task.json, model.safetensors, tokenizer files), ready to answer.

    An example's answer does not depend on the others of its call, to float tolerance. A folder without task.json, as
    transformers writes it, is taken for a classifier of texts.

    Raises:
        ValueError, OSError: the folder holds no fine-tuned model, or its tokenizer does not fit.
    """

    def __init__(self, folder: str | Path, *, max_tokens: int | None = None) -> None:
        self.tokenizer = load_tokenizer(folder)
        config = hf.load_config(folder)
        if self.tokenizer.vocab_size > config.vocab_size:
            raise ValueError(
                f"{folder}: the tokenizer has {self.tokenizer.vocab_size:,} tokens and the model embeds "
                f"{config.vocab_size:,}: they are not of one model"
            )
        tuned = hf.read_task(folder)
        self.task: Task = SequenceTask(labels=hf.load_labels(folder)) if tuned is None else tuned.task
        self.model = task_model(config, self.task)
        report = hf.load_task_model(folder, self.model, head=True)
        if report.missing:
            raise ValueError(f"{folder}: not a fine-tuned model: its weights lack {', '.join(report.missing)}")
        self.model.eval()
        longest = config.max_positions if tuned is None else min(tuned.max_tokens, config.max_positions)
        self.max_tokens = min(longest, max_tokens or longest)
        """Special tokens included; a longer text is cut, or read in windows."""

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of their ids; empty for tasks without."""
        return getattr(self.task, "labels", ())

    def answer(self, table: pa.Table) -> pa.Table:
        """The answers (`bert_core.answers`) to a canonical table, in its order.

        Raises:
            InputError: the table lacks a column, or a row has nothing to read.
        """
        return decode(self.model, *self._asked(table), table, self.tokenizer, self.max_tokens)

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """One prediction for each text, in order; of classifiers of texts.

        Raises:
            InputError: the model is of another task, a text is not a string, or there is nothing in it to read.
        """
        if not isinstance(self.task, SequenceTask) or self.task.type != "sequence" or self.task.kind != "single":
            raise InputError(f"a model of task {self.task.type!r} answers examples, not single texts")
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise InputError(f"text {row} is {text!r}: expected a string")
        if not texts:
            return []
        cut = [text[:MAX_CHARACTERS] for text in texts]
        table = pa.table({"id": [str(row) for row in range(len(cut))], "text": cut})
        said, features = self._asked(table)
        answers = decode(self.model, said, features, table, self.tokenizer, self.max_tokens).to_pylist()
        return [
            self._prediction(answer, text, row, features)
            for row, (answer, text) in enumerate(zip(answers, texts, strict=True))
        ]

    def _asked(self, table: pa.Table) -> tuple[Floats, Features]:
        try:
            features = encode(self.task, _without_targets(table), self.tokenizer, self.max_tokens)
        except FeaturesError as error:
            raise InputError(str(error)) from None
        return outputs(self.model, features, self.max_tokens, self.tokenizer.pad_id), features

    def _prediction(self, answer: dict[str, Any], text: str, row: int, features: Features) -> Prediction:
        by_label = dict(zip(self.labels, answer["probabilities"], strict=True))
        kept = int(features.lengths[row]) - 2
        lost = features.lost.get(row, 0)
        note = f"only the first {kept:,} of {kept + lost:,} tokens were read" if lost else ""
        if len(text) > MAX_CHARACTERS:
            note = f"only the first {kept:,} tokens of {len(text):,} characters were read"
        return Prediction(answer["label"], by_label[answer["label"]], by_label, note)


def _without_targets(table: pa.Table) -> pa.Table:
    """What a model may see: a label that it does not know must not keep it from answering."""
    return table.drop_columns([name for name in TARGETS if name in table.column_names])
