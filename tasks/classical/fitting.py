"""Which baselines there are for a task, and how they are fitted one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa

from bert_core.config import Task
from tasks.classical import choices, generation, language_models, linear, similarity, spans, tagging
from tasks.classical.job import Budget, ClassicalError, Job, OutOfTime, Rival, Unavailable
from tasks.classical.lemmas import spacy_lemmas
from tasks.classical.neural import bilstm, text_cnn
from tasks.classical.sides import checked
from tasks.config.classical import BASELINES, REGRESSION, ClassicalConfig

Progress = Callable[[str, int, int], None]
"""(name of the baseline that is next, how many are done, how many there are)"""

_TEXT: dict[str, Callable[[Job], Rival]] = {
    "majority": linear.majority, "mean": linear.mean, "hypothesis_only": linear.hypothesis_only,
    "naive_bayes": linear.naive_bayes, "logistic_regression": linear.logistic_regression, "ridge": linear.ridge,
    "spacy_lemmas": spacy_lemmas, "text_cnn": text_cnn, "bilstm": bilstm,
}  # fmt: skip
FITTERS: dict[str, dict[str, Callable[[Job], Rival]]] = {
    "sequence": _TEXT,
    "pair": _TEXT,
    "token": {"majority": tagging.majority, "crf": tagging.crf, "bilstm": tagging.bilstm},
    "span": {"first_sentence": spans.first_sentence, "lexical": spans.lexical},
    "choice": {
        "majority": choices.majority, "longest": choices.longest, "lexical": choices.lexical,
        "logistic_regression": choices.logistic_regression,
    },
    "embedding": {"tfidf": similarity.tfidf, "bm25": similarity.bm25, "word_vectors": similarity.word_vector_means},
    "seq2seq": {
        "copy": generation.copy, "lead": generation.lead, "nearest": generation.nearest, "lexicon": generation.lexicon,
    },
    "causal": {
        "unigram": language_models.unigram, "trigram": language_models.trigram,
        "character_ngram": language_models.character_ngram, "nearest": language_models.nearest,
    },
}  # fmt: skip


class Rivals(dict[str, Rival]):
    """Baselines by name, in the order of a report."""

    skipped: dict[str, str]
    """Those that were wanted and could not be fitted, and why."""


def legal(task: Task) -> tuple[str, ...]:
    """Names of the baselines of a task, in the order of a report."""
    return (REGRESSION if getattr(task, "kind", "") == "regression" else BASELINES)[task.type]


def fit(
    config: ClassicalConfig,
    task: Task,
    sides: Mapping[str, pa.Table],
    *,
    seed: int,
    on_progress: Progress | None = None,
    count_tokens: Callable[[str], int] | None = None,
) -> Rivals:
    """Every baseline that `config` names: fitted on train, its settings chosen on validation, asked once about test.

    Deterministic, but for those whose notes say that they ran out of time. One that the machine or the language has not
    is in `skipped` under models = "auto"; so is, always, one whose budget did not suffice for any answer.

    Args:
        sides: "train", "validation" and "test", labelled tables of the task's type; what each column is, says DESIGN.
        count_tokens: causal tasks: tokens of a text by the tokenizer of the model that the baselines are set beside,
            so that the perplexities of all are of the same tokens; None: each baseline counts its own.

    Raises:
        ClassicalError: as `sides.checked`, or a name that is no baseline of this type of task.
        Unavailable: a baseline that is named cannot be had; the message says what to do.
    """
    names = legal(task) if config.models == "auto" else config.models
    if unknown := [name for name in names if name not in legal(task)]:
        raise ClassicalError(
            f"baseline(s) {unknown} are not for a {_described(task)} task; legal are {list(legal(task))}"
        )
    train, validation, test, labels = checked(task, sides)
    rivals = Rivals()
    memo: dict[str, Any] = {}
    rivals.skipped = {}
    for done, name in enumerate(names):
        if on_progress:
            on_progress(name, done, len(names))
        job = Job(
            config, task, labels, train, validation, test, seed, Budget(config.budget_s), count_tokens, memo
        )  # fmt: skip
        try:
            rival = FITTERS[task.type][name](job)
        except OutOfTime as late:
            rivals.skipped[name] = str(late)
        except Unavailable as missing:
            if config.models != "auto":
                raise
            rivals.skipped[name] = str(missing)
        else:
            rivals[name] = replace(rival, facts={**rival.facts, "fit_s": round(job.budget.used, 3)})
    return rivals


def _described(task: Task) -> str:
    return " ".join(filter(None, (task.type, getattr(task, "kind", ""))))
