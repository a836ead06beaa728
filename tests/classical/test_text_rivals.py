"""Baselines of texts and pairs against scikit-learn, and against tasks that they can or cannot learn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from bert_core.config import PairTask, SequenceTask
from tasks.classical import fit
from tasks.classical.words import words
from tasks.config.classical import ClassicalConfig
from tests.classical.toys import BAD, COMMON, GOOD, chinese_like, opinions, orders, share_right, sides, small

ALL = ("majority", "naive_bayes", "logistic_regression", "text_cnn", "bilstm")


def test_one_telling_word_is_learnt_by_all_but_the_majority() -> None:
    data = sides(opinions, 300, 60)
    rivals = fit(small(models=ALL), SequenceTask(), data, seed=1)
    assert tuple(rivals) == ALL
    assert not rivals.skipped
    for name, rival in rivals.items():
        assert rival.answers["id"].to_pylist() == data["test"]["id"].to_pylist()
        assert rival.validation["id"].to_pylist() == data["validation"]["id"].to_pylist()
        probabilities = np.array(rival.answers["probabilities"].to_pylist())
        assert probabilities.shape == (60, 2)
        assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
        assert rival.answers["label"].to_pylist() == [("bad", "good")[i] for i in probabilities.argmax(axis=1)]
        assert rival.facts["validation_accuracy"] == share_right(data["validation"], rival.validation)
        right = share_right(data["test"], rival.answers)
        assert right > 0.95 if name != "majority" else right < 0.8, name
    assert rivals["majority"].answers["label"].unique().to_pylist() == ["good"]


def test_naive_bayes_is_the_pipeline_of_scikit_learn() -> None:
    data = sides(opinions, 80, 40)
    rival = fit(ClassicalConfig(models=("naive_bayes",)), SequenceTask(), data, seed=1)["naive_bayes"]
    how: dict[str, Any] = {"tokenizer": words, "token_pattern": None, "lowercase": False, "ngram_range": (1, 2)}
    if rival.facts["ngrams"] == "characters":
        how = {"analyzer": "char_wb", "ngram_range": (2, 5)}
    oracle = make_pipeline(CountVectorizer(**how), MultinomialNB(alpha=rival.facts["alpha"]))
    oracle.fit(data["train"]["text"].to_pylist(), data["train"]["label"].to_pylist())
    wanted = oracle.predict_proba(data["test"]["text"].to_pylist())
    assert np.allclose(rival.answers["probabilities"].to_pylist(), wanted, atol=1e-6)


def test_word_order_is_learnt_by_networks_and_not_by_a_bag_of_words() -> None:
    data = sides(orders, 300, 100)
    models = ("naive_bayes", "logistic_regression", "text_cnn", "bilstm")
    bag = small(models=models, word_ngrams=(1, 1), character_ngrams=(1, 1))
    right = {
        name: share_right(data["test"], rival.answers) for name, rival in fit(bag, SequenceTask(), data, seed=1).items()
    }
    assert max(right["naive_bayes"], right["logistic_regression"]) < 0.7, right
    assert min(right["text_cnn"], right["bilstm"]) > 0.95, right


@pytest.mark.parametrize("vectors", ["cbow", "skipgram", "glove", "random"])
def test_the_same_seed_gives_the_same_answers(vectors: str) -> None:
    data = sides(opinions, 60, 20)
    config = small(models=("logistic_regression", "text_cnn", "bilstm"), vectors=vectors, epochs=2)
    np.random.seed(5)
    state = np.random.get_state()[1].copy()  # type: ignore[union-attr]
    first, second = (fit(config, SequenceTask(), data, seed=3) for _ in range(2))
    assert np.array_equal(state, np.random.get_state()[1]), "the global generator is as it was"  # type: ignore[arg-type]
    for name in config.models:
        assert first[name].answers.equals(second[name].answers)
    other = fit(config, SequenceTask(), data, seed=4)
    assert not first["text_cnn"].answers.equals(other["text_cnn"].answers)
    assert first["text_cnn"].facts["vectors"] == vectors


def several(rng: np.random.Generator, size: int) -> Iterable[dict[str, Any]]:
    for _ in range(size):
        labels = [name for name in ("funny", "sad") if rng.random() < 0.4]
        telling = [rng.choice(GOOD if name == "funny" else BAD) for name in labels]
        yield {"text": " ".join([*rng.choice(COMMON, 3), *telling]), "label": labels}


def test_several_labels_are_each_told_from_the_rest() -> None:
    data = sides(several, 300, 60)
    task = SequenceTask(kind="multi", labels=("sad", "never", "funny"))
    rivals = fit(small(models=ALL), task, data, seed=1)
    truth = [set(labels) for labels in data["test"]["label"].to_pylist()]
    for name, rival in rivals.items():
        found = [set(labels) for labels in rival.answers["labels"].to_pylist()]
        right = np.mean([a == b for a, b in zip(truth, found, strict=True)])
        assert right > 0.9 if name != "majority" else right < 0.6, name
        assert np.array(rival.answers["probabilities"].to_pylist()).shape == (60, 3)
    assert max(row[1] for row in rivals["logistic_regression"].answers["probabilities"].to_pylist()) == 0


def graded(rng: np.random.Generator, size: int) -> Iterable[dict[str, Any]]:
    for _ in range(size):
        telling = rng.integers(0, 4, 2)
        text = [*rng.choice(COMMON, 3), *rng.choice(GOOD, telling[0]), *rng.choice(BAD, telling[1])]
        yield {"text": " ".join(text), "label": float(telling[0] - telling[1]) + 10}


def test_numbers_are_told_better_than_by_their_mean() -> None:
    data = sides(graded, 300, 60)
    models = ("mean", "ridge", "text_cnn", "bilstm")
    rivals = fit(small(models=models), SequenceTask(kind="regression"), data, seed=1)
    truth = data["test"]["label"].to_numpy()
    error = {n: float(np.mean((r.answers["value"].to_numpy() - truth) ** 2)) for n, r in rivals.items()}
    assert set(rivals["mean"].answers["value"].to_pylist()) == {np.mean(data["train"]["label"].to_numpy())}
    assert max(error[name] for name in models[1:]) < 0.4 * error["mean"], error
    assert isinstance(rivals["ridge"].facts["alpha"], float)


def inference(rng: np.random.Generator, size: int) -> Iterable[dict[str, Any]]:
    """b follows from a if its word is in a; b alone tells nothing."""
    for _ in range(size):
        said = rng.choice((*GOOD, *BAD), 3, replace=False)
        follows = bool(rng.random() < 0.5)
        word = rng.choice(said if follows else [w for w in (*GOOD, *BAD) if w not in said])
        yield {"text": " ".join(["the", *said]), "text_b": f"it is {word}", "label": "yes" if follows else "no"}


def test_of_a_pair_both_texts_count() -> None:
    data = sides(inference, 400, 100)
    models = ("hypothesis_only", "naive_bayes", "logistic_regression", "bilstm")
    rivals = fit(small(models=models, epochs=20), PairTask(), data, seed=1)
    right = {name: share_right(data["test"], rival.answers) for name, rival in rivals.items()}
    assert right["logistic_regression"] > 0.95
    assert right["hypothesis_only"] < 0.65
    assert min(right["naive_bayes"], right["bilstm"]) > right["hypothesis_only"], right


def test_three_classes_of_which_one_is_not_in_training() -> None:
    data = sides(opinions, 100, 30)
    task = SequenceTask(labels=("good", "unseen", "bad"))
    for rival in fit(small(models=("majority", "naive_bayes", "logistic_regression")), task, data, seed=1).values():
        probabilities = np.array(rival.answers["probabilities"].to_pylist())
        assert probabilities.shape == (30, 3)
        assert probabilities[:, 1].max() == 0


def test_characters_are_the_words_of_a_script_without_blanks() -> None:
    data = sides(chinese_like, 120, 40)
    rivals = fit(small(models=("naive_bayes", "logistic_regression", "bilstm")), SequenceTask(), data, seed=1)
    assert min(share_right(data["test"], rival.answers) for rival in rivals.values()) > 0.95
    assert rivals["naive_bayes"].facts["ngrams"] == "words"


def test_a_text_does_not_depend_on_its_neighbours() -> None:
    data = sides(orders, 60, 30)
    whole = fit(small(models=("text_cnn", "bilstm"), epochs=2), SequenceTask(), data, seed=1)
    alone = fit(
        small(models=("text_cnn", "bilstm"), epochs=2),
        SequenceTask(),
        data | {"test": data["test"].slice(3, 1)},
        seed=1,
    )
    for name, rival in alone.items():
        one, many = rival.answers["probabilities"][0].as_py(), whole[name].answers["probabilities"][3].as_py()
        assert np.allclose(one, many, atol=1e-5)


def test_lemmas_join_the_forms_of_a_word() -> None:
    forms = {"good": ("moves", "moved", "moving"), "bad": ("bores", "bored", "boring")}
    found = {}
    for place, name in enumerate(("train", "validation", "test")):
        rows = []
        for number in range(24):
            label = ("good", "bad")[number % 2]
            form = forms[label][place]
            text = f"It was {form} me, the plot of number {number}." if place else f"The film {form} us."
            rows.append({"id": f"{name}-{number}", "text": text, "label": label})
        found[name] = pa.Table.from_pylist(rows)
    rivals = fit(ClassicalConfig(models=("spacy_lemmas",)), SequenceTask(), found, seed=1)
    assert share_right(found["test"], rivals["spacy_lemmas"].answers) == 1
