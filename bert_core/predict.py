"""Ask a model folder: the one engine behind the command line, the server and the evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from bert_core import hf
from bert_core.answers import Floats, decode, outputs
from bert_core.config import CausalTask, EmbeddingTask, MethodConfig, Seq2SeqTask, SequenceTask, SpanTask, Task
from bert_core.features import Features, FeaturesError
from bert_core.features.encode import MAX_CHARACTERS
from bert_core.generator import Generator
from bert_core.methods.cloze import encode_for
from bert_core.methods.own_folder import is_own, load_own
from bert_core.methods.prepare import method_model
from bert_core.methods.virtual import add_virtual, insert_places, real_tokens
from bert_core.tokenizer import load as load_tokenizer

TARGETS = ("label", "tags", "answers")
INPUTS: dict[str, tuple[str, ...]] = {
    "sequence": ("text",),
    "pair": ("text", "text_b"),
    "token": ("tokens",),
    "span": ("question", "context"),
    "choice": ("text", "choices"),
    "embedding": ("text",),
    "seq2seq": ("text",),
    "causal": ("text",),
}
"""What a served model is asked, by type of task. An embedding model gives the vector of one text."""


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
        self.method = MethodConfig() if tuned is None or tuned.method is None else tuned.method
        self.model = method_model(config, self.task, self.method, self.tokenizer, {})
        if is_own(self.method):
            add_virtual(self.model, self.method)
            load_own(folder, self.model)
        elif missing := hf.load_task_model(folder, self.model, head=True).missing:
            raise ValueError(f"{folder}: not a fine-tuned model: its weights lack {', '.join(missing)}")
        self.model.eval()
        longest = config.max_positions if tuned is None else min(tuned.max_tokens, config.max_positions)
        self.max_tokens = min(longest, max_tokens or longest)
        """Special tokens included; a longer text is cut, or read in windows."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns of an example that `serve` reads."""
        return INPUTS[self.task.type]

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

    def serve(self, examples: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """One answer, as JSON has it, for each example, in order; columns are those of `INPUTS`.

        Raises:
            InputError: an example lacks a column, or there is nothing in it to read; says which.
        """
        if not examples:
            return []
        columns = INPUTS[self.task.type]
        for row, example in enumerate(examples):
            for name in columns:
                _check(row, name, example.get(name))
        table = pa.table(
            {
                "id": [str(row) for row in range(len(examples))],
                **{name: [e[name] for e in examples] for name in columns},
            }
        )
        if isinstance(self.task, EmbeddingTask):
            return [{"embedding": vector} for vector in self.embed(table["text"].to_pylist()).tolist()]
        said, features = self._asked(table)
        answers = decode(self.model, said, features, table, self.tokenizer, self.max_tokens).to_pylist()
        return [self._served(answer, row, features) for row, answer in enumerate(answers)]

    def embed(self, texts: Sequence[str]) -> Floats:
        """(N, C): the vector of each text, of length 1; of embedding models.

        Raises:
            InputError: the model is of another task, or a text has nothing in it to read.
        """
        if not isinstance(self.task, EmbeddingTask):
            raise InputError(f"a model of task {self.task.type!r} has no embedding of texts to give")
        table = pa.table({"id": [str(row) for row in range(len(texts))], "text": list(texts)})
        return self._asked(table)[0]

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
            features = encode_for(self.method, self.task, _without_targets(table), self.tokenizer, self.max_tokens)
        except FeaturesError as error:
            raise InputError(str(error)) from None
        return self._said(features), features

    def _said(self, features: Features) -> Floats:
        """What `outputs` gives, of the text's own tokens."""
        count, pad_id = self.method.virtual_tokens, self.tokenizer.pad_id
        if not count:
            return outputs(self.model, features, self.max_tokens, pad_id)
        read = insert_places(features, count, self.model.config.vocab_size, targets_are_places=False)
        said = outputs(self.model, read, self.max_tokens + count, pad_id)
        return said[real_tokens(features, count)] if isinstance(self.task, SpanTask) else said

    def _served(self, answer: dict[str, Any], row: int, features: Features) -> dict[str, Any]:
        del answer["id"]
        if not isinstance(self.task, SequenceTask):
            return answer
        if "probabilities" in answer:
            answer["probabilities"] = dict(zip(self.labels, answer["probabilities"], strict=True))
        if "label" in answer:
            answer = {"label": answer["label"], "score": answer["probabilities"][answer["label"]], **answer}
        return {**answer, "note": _note(features, row)}

    def _prediction(self, answer: dict[str, Any], text: str, row: int, features: Features) -> Prediction:
        by_label = dict(zip(self.labels, answer["probabilities"], strict=True))
        note = _note(features, row)
        if len(text) > MAX_CHARACTERS:
            note = f"only the first {features.lengths[row] - 2:,} tokens of {len(text):,} characters were read"
        return Prediction(answer["label"], by_label[answer["label"]], by_label, note)


def _note(features: Features, row: int) -> str:
    """That an example was cut, if it was."""
    if not (lost := features.lost.get(row, 0)):
        return ""
    kept = int(features.lengths[features.sequence_bounds[row] : features.sequence_bounds[row + 1]].sum()) - 2
    return f"only the first {kept:,} of {kept + lost:,} tokens were read"


def _check(row: int, name: str, value: Any) -> None:
    """Raises:
    InputError: `value` is not what a column of this name holds.
    """
    if name not in ("tokens", "choices"):
        if not isinstance(value, str):
            raise InputError(f"{name} {row} is {value!r}: expected a string")
    elif not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise InputError(f"{name} {row} is {value!r}: expected a list of strings, at least one")


def _without_targets(table: pa.Table) -> pa.Table:
    """What a model may see: a label that it does not know must not keep it from answering."""
    return table.drop_columns([name for name in TARGETS if name in table.column_names])


def open_model(folder: str | Path) -> Predictor | Generator:
    """The fine-tuned model in `folder`, whatever its task.

    Raises:
        ValueError, OSError: the folder holds no fine-tuned model.
    """
    tuned = hf.read_task(folder)
    if tuned is not None and isinstance(tuned.task, Seq2SeqTask | CausalTask):
        return Generator(folder)
    return Predictor(folder)
