"""Majority, naive Bayes, logistic regression and ridge: of one text or of two, for a class, labels or a number.

Shapes: N examples, K labels.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import MultinomialNB

from tasks.classical.answers import Floats, of_classes, of_labels, of_numbers
from tasks.classical.features import Features, counts, has_character_ngrams, tf_idf
from tasks.classical.job import Answer, Candidate, Job, Rival, best

# The first ones bracket the rest, should the time run out.
NAIVE_BAYES_ALPHAS = (1.0, 0.5, 0.25, 0.1)
INVERSE_PENALTIES = (4.0, 1.0, 16.0, 2.0, 8.0, 0.5)
RIDGE_PENALTIES = (3.0, 1.0, 10.0, 30.0, 0.3)


def columns(job: Job) -> tuple[str, ...]:
    """Of the texts."""
    return ("text", "text_b") if job.task.type == "pair" else ("text",)


def majority(job: Job) -> Rival:
    """Each label as often as in training, whatever the text."""
    shares = indicators(job, job.train).mean(axis=0)
    return best(job, [Candidate({}, lambda: lambda table: answer(job, table, np.tile(shares, (len(table), 1))))])


def mean(job: Job) -> Rival:
    """The mean of the training side, whatever the text."""
    value = float(np.mean(job.train["label"].to_numpy()))
    return best(job, [Candidate({}, lambda: lambda table: of_numbers(table, np.full(len(table), value)))])


def naive_bayes(job: Job) -> Rival:
    """Multinomial naive Bayes on counts of n-grams, of words or of characters, whichever is the better."""
    candidates = []
    for characters in (False, True) if has_character_ngrams(job, columns(job)) else (False,):
        for alpha in NAIVE_BAYES_ALPHAS:

            def fit(characters: bool = characters, alpha: float = alpha) -> Answer:
                features = counts(job, columns(job), characters=characters)
                return classifier(job, features, MultinomialNB(alpha=alpha))

            candidates.append(Candidate({"ngrams": "characters" if characters else "words", "alpha": alpha}, fit))
    return best(job, candidates)


def logistic_regression(job: Job) -> Rival:
    """L2-penalised, on TF-IDF of n-grams of words and characters together."""
    return linear(job, tf_idf(job, columns(job)))


def ridge(job: Job) -> Rival:
    """Least squares with an L2 penalty, on the same features."""
    return linear(job, tf_idf(job, columns(job)))


def hypothesis_only(job: Job) -> Rival:
    """The same linear model that sees the second text alone: what it gets right, the annotators gave away
    (Gururangan et al., 2018, arXiv:1803.02324)."""
    return linear(job, tf_idf(job, ("text_b",)))


def linear(job: Job, features: Features, train: pa.Table | None = None) -> Rival:
    """Logistic regression or, for numbers, ridge; its penalty chosen on the validation side.

    Args:
        train: the rows on which `features` were fitted; the whole training side by default.
    """
    train = job.train if train is None else train
    facts = {"features": int(features.train.shape[1]), "examples": len(train)}
    if getattr(job.task, "kind", "") == "regression":
        candidates = [
            Candidate({"alpha": alpha}, lambda alpha=alpha: _regressor(job, features, alpha, train))  # type: ignore[misc]
            for alpha in RIDGE_PENALTIES
        ]
        return best(job, candidates, facts)
    # The dual coordinate descent of liblinear: 0.1 s on 10,000 reviews with 120,000 features, where lbfgs takes 5 s.
    models = {
        c: LogisticRegression(C=c, solver="liblinear", dual=True, max_iter=200, tol=1e-3, random_state=job.seed)
        for c in INVERSE_PENALTIES
    }
    candidates = [
        Candidate({"C": c}, lambda model=model: classifier(job, features, model, train))  # type: ignore[misc]
        for c, model in models.items()
    ]
    return best(job, candidates, facts)


def classifier(job: Job, features: Features, model: Any, train: pa.Table | None = None) -> Answer:
    """`model` fitted on the features: as it is where it knows K classes, else one for each label against the rest."""
    train = job.train if train is None else train
    wanted = indicators(job, train)
    if isinstance(model, MultinomialNB) and getattr(job.task, "kind", "") == "single":
        model.fit(features.of(train), wanted.argmax(axis=1))
        known = model.classes_

        def all_at_once(table: pa.Table) -> pa.Table:
            probabilities = np.zeros((len(table), len(job.labels)))
            probabilities[:, known] = model.predict_proba(features.of(table))
            return answer(job, table, probabilities)

        return all_at_once
    return _one_against_rest(job, features, model, features.of(train), wanted)


def _one_against_rest(job: Job, features: Features, model: Any, known: Any, wanted: np.ndarray) -> Answer:
    single = getattr(job.task, "kind", "") == "single"
    halves = single and len(job.labels) == 2  # the second class is what the first is not
    fitted = [_binary(model, known, wanted[:, label]) for label in range(1 if halves else 0, len(job.labels))]

    def each(table: pa.Table) -> pa.Table:
        probabilities = np.stack([_positive(one, features.of(table)) for one in fitted], axis=1)
        if halves:
            probabilities = np.hstack([1 - probabilities, probabilities])
        elif single:
            probabilities = probabilities / np.maximum(probabilities.sum(axis=1, keepdims=True), 1e-12)
        return answer(job, table, probabilities)

    return each


def _binary(model: Any, features: Any, wanted: np.ndarray) -> Any:
    """A model of its own, or the one answer that there is."""
    if wanted.min() == wanted.max():
        return float(wanted[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged to the last digit: the validation side judges what it is worth
        return clone(model).fit(features, wanted)


def _positive(model: Any, features: Any) -> Floats:
    if isinstance(model, float):
        return np.full(features.shape[0], model)
    found: Floats = model.predict_proba(features)[:, 1]
    return found


def _regressor(job: Job, features: Features, alpha: float, train: pa.Table) -> Answer:
    model = Ridge(alpha=alpha, solver="sparse_cg", random_state=job.seed)
    model.fit(features.of(train), train["label"].to_numpy())
    return lambda table: of_numbers(table, model.predict(features.of(table)))


def indicators(job: Job, table: pa.Table) -> np.ndarray:
    """(N, K) of 0 and 1: which labels each example has; one that no training example had is nobody's."""
    place = {label: i for i, label in enumerate(job.labels)}
    wanted = np.zeros((len(table), len(job.labels)))
    for row, labels in enumerate(table["label"].to_pylist()):
        for label in [labels] if isinstance(labels, str) else labels:
            if label in place:
                wanted[row, place[label]] = 1
    return wanted


def answer(job: Job, table: pa.Table, probabilities: Floats) -> pa.Table:
    labels: Sequence[str] = job.labels
    if getattr(job.task, "kind", "") == "multi":
        return of_labels(table, probabilities, labels, getattr(job.task, "threshold", 0.5))
    return of_classes(table, probabilities, labels)
