"""The data sets of the fine-tuning benchmarks: what is asked of each, and the budget that both sides get.

Budgets by default are samples with which transformers' Trainer takes two to seven minutes a seed on two cores; --full
takes all. Learning rates are what is usual for an encoder of 6 x 384, one for both sides and tuned for neither: 2e-4,
and 1e-4 for classes in batches of 16, where 2e-4 left some seeds of either side on a plateau; so did 3e-4 for tags. The
test side is never smaller than about 300 examples, nor trained on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bert_core import tokenizer as tokenizers
from bert_core.config import (
    CausalTask,
    ChoiceTask,
    Config,
    EmbeddingTask,
    Generation,
    ModelConfig,
    PairTask,
    Seq2SeqTask,
    SequenceTask,
    SpanTask,
    Task,
    TokenTask,
    validate,
)
from bert_core.files import write_json
from bert_core.tokenizer import train_bpe
from tasks.artifacts import home
from tasks.config.data import DataConfig
from tasks.labelled import load_dataset

SIDES = ("train", "validation", "test")
WEIGHTS = "data/all-minilm-l6-v2"
SPLIT_SEED = 13
"""One split and one sample for all seeds, so that figures of two seeds differ by training alone."""
VALIDATION_EXAMPLES = 500
"""Of each set at most: by them baselines choose their settings, and span models from which score on there is no answer.
No training stops by them."""
TEXTS = ("text", "text_b", "question", "context", "target")
GPT = validate(ModelConfig, {"family": "gpt2", "size": "mini", "max_positions": 256})
BPE_VOCABULARY = 8_000


@dataclass(frozen=True)
class BenchmarkSet:
    """One data set with its budget; both sides train on the same examples for as many steps."""

    name: str
    data: DataConfig
    task: Task
    examples: tuple[int, int] = (3_000, 1_000)
    """Of the training and of the test side, at most."""
    row_length: int = 128
    """Tokens of a sequence at most, special ones included; also of our packed rows."""
    epochs: float = 3
    batch: int = 32
    """Examples in a step. Trainer's batches of windows are as much larger as there are more windows than examples."""
    lr: float = 2e-4
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    weights: str | None = WEIGHTS
    """Folder under the home folder that both start from; None: `model` with random weights, those of
    `trainer_models.first_weights`."""
    model: ModelConfig | None = None
    metric: str | None = None
    """What models are compared by; None: what leads for the task. It decides no run, so it is none of `settings`."""

    def sampled(self, train: int | None, validation: int | None, test: int | None) -> BenchmarkSet:
        """The same with so many examples of each side at most; None: with all."""
        most = {"max_train": train, "max_validation": validation, "max_test": test}
        return replace(self, data=self.data.model_copy(update=most))

    def whole(self) -> BenchmarkSet:
        """The same with all examples to train on and to be tested by."""
        return self.sampled(None, self.data.max_validation, None)

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its figures, as JSON has it; without defaults, so that a new key of a schema changes nothing."""
        return {
            "data": self.data.model_dump(mode="json", exclude_defaults=True),
            "task": {"type": self.task.type, **self.task.model_dump(mode="json", exclude_defaults=True)},
            **{name: getattr(self, name) for name in ("row_length", "epochs", "batch", "lr", "warmup_share")},
            **{name: getattr(self, name) for name in ("weight_decay", "clip_norm", "weights")},
            "model": None if self.model is None else self.model.model_dump(mode="json", exclude_defaults=True),
        }


@dataclass(frozen=True)
class Prepared:
    """A set's sides on disk, its task with labels filled in, and what both sides start from."""

    folder: Path
    task: Task
    tokenizer: Path
    weights: Path | None
    model: ModelConfig | None

    def side(self, name: str) -> pa.Table:
        return pq.read_table(self.folder / f"{name}.parquet")

    @property
    def sha256(self) -> str:
        """Of the sides' bytes."""
        found = hashlib.sha256()
        for name in SIDES:
            found.update((self.folder / f"{name}.parquet").read_bytes())
        return found.hexdigest()


class _About(Config):
    task: Task


def _set(name: str, task: Task, path: str, data: Mapping[str, Any] | None = None, **budget: Any) -> BenchmarkSet:
    train, *rest = path.split(" ")
    test = {"test": f"data/labelled/{rest[0]}"} if rest else {"test_share": 0.2}
    config = DataConfig(train=f"data/labelled/{train}", **{**test, **(data or {})})
    made = BenchmarkSet(name, config, task, **budget)
    return made.sampled(made.examples[0], VALIDATION_EXAMPLES, made.examples[1])


SPAN = SpanTask(stride=64)
SETS: dict[str, BenchmarkSet] = {
    each.name: each
    for each in (
        _set("trec", SequenceTask(), "trec/questions.csv", examples=(4_000, 1_000), row_length=64),
        _set("sms-spam", SequenceTask(), "sms-spam/messages.csv", examples=(2_000, 1_000), epochs=2),
        _set("film-reviews", SequenceTask(), "film-reviews/reviews.csv", {"group": "movie_name"},
             examples=(2_500, 2_000), epochs=2),
        _set("chinese-reviews", SequenceTask(), "chinese-reviews/reviews.jsonl", examples=(1_000, 1_500),
             batch=16, lr=1e-4),
        _set("reuters-r8", SequenceTask(), "reuters-r8/train.tsv reuters-r8/test.tsv",
             examples=(1_000, 1_000), batch=16, lr=1e-4, epochs=2),
        _set("newsgroups", SequenceTask(), "newsgroups/train.csv newsgroups/test.csv", examples=(1_500, 1_000)),
        _set("graded-sentiment", SequenceTask(kind="regression"), "graded-sentiment/sentences.csv",
             {"group": "document"}, examples=(2_000, 1_000), row_length=64),
        _set("vitaminc", PairTask(), "vitaminc/claims.jsonl", {"group": "page"}, examples=(1_500, 1_500),
             batch=16, lr=1e-4, epochs=2),
        _set("tweet-ner", TokenTask(), "tweet-ner/tweets.conll", batch=16),
        _set("newspaper-ner-zh", TokenTask(), "newspaper-ner-zh/news.conll", examples=(1_000, 1_000), batch=16,
             epochs=4),
        _set("newspaper-pos-zh", TokenTask(scheme="plain"), "newspaper-pos-zh/news.conll",
             {"unseen_labels": "drop"}, examples=(1_000, 1_000), batch=16, epochs=2),
        _set("knowledge-conflicts", SPAN, "knowledge-conflicts/questions.json",
             examples=(700, 500), row_length=256, batch=16, epochs=2),
        _set("disfl-qa", SPAN, "disfl-qa/questions.json",
             examples=(700, 500), row_length=256, batch=16, epochs=2),
        _set("social-iqa", ChoiceTask(), "social-iqa/questions.jsonl", examples=(1_000, 500), batch=16, lr=1e-4,
             epochs=2),
        _set("claims-and-evidence", EmbeddingTask(), "claims-and-evidence/pairs.jsonl", {"group": "page"},
             examples=(1_000, 1_000), batch=64, lr=5e-5, epochs=2),
        _set("help-en-de", Seq2SeqTask(max_target_tokens=64, generation=Generation(beams=1, max_new_tokens=64)),
             "help-en-de/pairs.jsonl", {"group": "page"}, examples=(1_500, 300), row_length=64),
        _set("help-en-zh", Seq2SeqTask(max_target_tokens=64, generation=Generation(beams=1, max_new_tokens=64)),
             "help-en-zh/pairs.jsonl", {"group": "page"}, examples=(1_500, 300), row_length=64),
        _set("state-of-the-union", CausalTask(), "state-of-the-union/addresses.jsonl", {"group": "president"},
             examples=(1_000, 500), lr=1e-3, weights=None, model=GPT),
    )
}  # fmt: skip
FEW, FEW_VALIDATION = 300, 100


def _few(name: str, *, test: int, epochs: float, metric: str | None = None) -> BenchmarkSet:
    few = replace(SETS[name], name=f"{name}-few", epochs=epochs, batch=16, metric=metric)
    return few.sampled(FEW, FEW_VALIDATION, test)


FEW_LABELS: dict[str, BenchmarkSet] = {
    each.name: each
    for each in (
        _few("film-reviews", test=2_000, epochs=4),
        _few("sms-spam", test=1_000, epochs=4, metric="macro_f1"),
        _few("reuters-r8", test=1_000, epochs=4, metric="macro_f1"),
    )
}
"""Sets of `SETS` with few labels, for `few_labels.py`."""
EVERY = SETS | FEW_LABELS


def chosen(names: list[str], *, full: bool = False, limit: int | None = None) -> list[BenchmarkSet]:
    """The sets of these names; all of `SETS` without names.

    Args:
        limit: so many examples of each side at most, for a quick look.

    Raises:
        ValueError: a name that no set has.
    """
    if unknown := [name for name in names if name not in EVERY]:
        raise ValueError(f"no set {unknown}; there are {', '.join(EVERY)}")
    found = [EVERY[name] for name in names or SETS]
    found = [each.whole() for each in found] if full else found
    return found if limit is None else [each.sampled(limit, limit, limit) for each in found]


def prepare(chosen_set: BenchmarkSet, root: Path | None = None) -> Prepared:
    """Read, split and check the set, and write its sides, the first time; a set of random weights also gets a
    vocabulary, trained on its training side.

    Args:
        root: where prepared sets lie (default: bench/finetuning in the home folder).
    """
    key = json.dumps([chosen_set.settings, SPLIT_SEED], sort_keys=True).encode()
    folder = (root or home() / "bench/finetuning") / f"{chosen_set.name}-{hashlib.sha256(key).hexdigest()[:12]}"
    if not (folder / "task.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        found = load_dataset(chosen_set.data, chosen_set.task, home=home(), seed=SPLIT_SEED)
        for name, table in found.sides.items():
            pq.write_table(table, folder / f"{name}.parquet", compression="zstd")
        if chosen_set.weights is None:
            train_bpe(_texts(found.sides["train"]), BPE_VOCABULARY, 2).save(folder / "tokenizer")
        write_json(folder / "task.json", {"task": found.task.model_dump(mode="json")})
    return opened(chosen_set, folder)


def opened(chosen_set: BenchmarkSet, folder: Path) -> Prepared:
    """The set that `prepare` wrote to `folder`."""
    task = _About.model_validate_json((folder / "task.json").read_text("utf-8")).task
    weights = None if chosen_set.weights is None else home() / chosen_set.weights
    tokens, model = weights or folder / "tokenizer", chosen_set.model
    if model is not None:
        found = tokenizers.load(tokens)
        model = model.for_tokenizer(vocab_size=found.vocab_size, pad_token_id=found.pad_id)
    return Prepared(folder, task, tokens, weights, model)


def _texts(table: pa.Table) -> list[str]:
    return [text for name in TEXTS if name in table.column_names for text in table[name].to_pylist()]
