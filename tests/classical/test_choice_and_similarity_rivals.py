"""Choices and pairs of texts, on data where the right one is known by construction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer

from bert_core.config import ChoiceTask, EmbeddingTask
from tasks.classical import fit
from tasks.classical.words import words
from tasks.config.classical import ClassicalConfig
from tests.classical.toys import BAD, COMMON, GOOD, share_right, sides, small


def echoes(rng: np.random.Generator, size: int) -> Iterable[dict[str, Any]]:
    """The right choice repeats a word of the stem; stems have two choices or three."""
    for _ in range(size):
        number = int(rng.integers(2, 4))
        telling = [str(word) for word in rng.choice((*GOOD, *BAD), number, replace=False)]
        label = int(rng.integers(number))
        choices = [f"because it is {word}" for word in telling]
        yield {"text": f"the {rng.choice(COMMON)} was {telling[label]}", "choices": choices, "label": label}


def test_the_choice_that_repeats_the_stem() -> None:
    data = sides(echoes, 200, 60)
    rivals = fit(ClassicalConfig(), ChoiceTask(), data, seed=1)
    assert tuple(rivals) == ("majority", "longest", "lexical", "logistic_regression")
    right = {name: share_right(data["test"], rival.answers, "choice") for name, rival in rivals.items()}
    assert min(right["lexical"], right["logistic_regression"]) > 0.95, right
    assert max(right["majority"], right["longest"]) < 0.75
    sizes = [len(choices) for choices in data["test"]["choices"].to_pylist()]
    for rival in rivals.values():
        rows = rival.answers["probabilities"].to_pylist()
        assert [len(row) for row in rows] == sizes
        assert np.allclose([sum(row) for row in rows], 1, atol=1e-5)
        assert [int(np.argmax(row)) for row in rows] == rival.answers["choice"].to_pylist()


def topics(rng: np.random.Generator, size: int) -> Iterable[dict[str, Any]]:
    """A pair shares one rare word, which no other pair has."""
    for _ in range(size):
        key = "".join(rng.choice(list("bcdfghklm"), 5))
        yield {"text": f"{rng.choice(COMMON)} {key} film", "text_b": f"about {key} {rng.choice(COMMON)}", "label": None}


def test_the_partner_is_found_among_all() -> None:
    data = sides(topics, 60, 40)
    data = {name: table.set_column(3, "label", table["label"].cast(pa.float64())) for name, table in data.items()}
    rivals = fit(small(character_ngrams=(2, 4)), EmbeddingTask(), data, seed=1)
    assert tuple(rivals) == ("tfidf", "bm25", "word_vectors")
    ranks = rivals["tfidf"].answers["rank"].to_numpy()
    assert rivals["tfidf"].facts["ngrams"] == "characters", "the key words are new on every side"
    assert np.mean(ranks == 0) > 0.5
    for rival in rivals.values():
        found = rival.validation["rank"].to_numpy()
        assert found.min() >= 0
        assert found.max() < 40
        assert np.isclose(rival.facts["validation_mean_reciprocal_rank"], np.mean(1 / (1 + found)))
    assert np.mean(rivals["bm25"].answers["rank"].to_numpy() == 0) < 0.3, "nothing known is no reason for a prize"


def likenesses(rng: np.random.Generator, size: int) -> Iterable[dict[str, Any]]:
    """The score is the number of words that two texts share."""
    for _ in range(size):
        known, shared = rng.permutation((*GOOD, *BAD)), int(rng.integers(0, 4))
        yield {
            "text": " ".join(known[:3]),
            "text_b": " ".join([*known[:shared], *known[4 : 7 - shared]]),
            "label": float(shared),
        }


def test_similarities_follow_the_scores() -> None:
    data = sides(likenesses, 100, 60)
    rivals = fit(ClassicalConfig(models=("tfidf", "bm25"), word_ngrams=(1, 1)), EmbeddingTask(), data, seed=1)
    gold = data["test"]["label"].to_numpy()
    for rival in rivals.values():
        similarity = rival.answers["similarity"].to_numpy()
        assert spearmanr(gold, similarity).statistic > 0.85
        ranks = rival.answers["rank"].to_pylist()
        assert [rank is not None for rank in ranks] == [label == gold.max() for label in gold]
    if rivals["tfidf"].facts["ngrams"] == "words":
        texts = [*data["train"]["text"].to_pylist(), *data["train"]["text_b"].to_pylist()]
        oracle = TfidfVectorizer(tokenizer=words, token_pattern=None, lowercase=False, sublinear_tf=True).fit(texts)
        a, b = (oracle.transform(data["test"][column].to_pylist()) for column in ("text", "text_b"))
        wanted = np.asarray(a.multiply(b).sum(axis=1)).ravel()
        assert np.allclose(rivals["tfidf"].answers["similarity"].to_numpy(), wanted)
