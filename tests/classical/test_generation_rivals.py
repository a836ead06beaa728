"""Translation by a lexicon that can be read off, and language models whose probabilities sum to one."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_core.config import CausalTask, Generation, Seq2SeqTask
from tasks.classical import fit
from tasks.classical.alignment import Lexicon
from tasks.classical.kneser_ney import BREAK, END, EvenCharacters, KneserNey, Spelling, pieces
from tasks.config.classical import ClassicalConfig
from tests.classical.toys import sides

GERMAN = {
    "dog": "Hund", "cat": "Katze", "house": "Haus", "sees": "sieht", "the": "der", "big": "große", "eats": "frisst",
}  # fmt: skip


def translations(rng: np.random.Generator, size: int) -> Iterable[dict[str, Any]]:
    for _ in range(size):
        words = [str(word) for word in rng.choice(list(GERMAN), rng.integers(3, 6), replace=False)]
        yield {"text": " ".join(words) + ".", "target": " ".join(GERMAN[word] for word in words) + "."}


def test_model_1_finds_the_lexicon() -> None:
    pairs = [("the dog", "der Hund"), ("the cat", "der Katze"), ("a dog", "ein Hund"), ("a house", "ein Haus")]
    lexicon = Lexicon.fit(*([row[side].split() for row in pairs] for side in (0, 1)), max_pairs=1_000, iterations=30)
    found = {word: target for word, (target, _) in lexicon.best.items()}
    assert found == {"the": "der", "dog": "Hund", "cat": "Katze", "a": "ein", "house": "Haus"}
    assert all(0 < probability <= 1 for _, probability in lexicon.best.values())
    assert not lexicon.stopped_early
    assert Lexicon.fit([["a"]] * 3, [["b"]] * 3, max_pairs=5).pairs_read == 2


def test_translations_come_word_for_word() -> None:
    data = sides(translations, 120, 30)
    rivals = fit(ClassicalConfig(), Seq2SeqTask(), data, seed=1)
    assert tuple(rivals) == ("copy", "lead", "nearest", "lexicon")
    assert rivals["copy"].answers["output"].to_pylist() == data["test"]["text"].to_pylist()
    assert set(rivals["nearest"].answers["output"].to_pylist()) <= set(data["train"]["target"].to_pylist())
    assert rivals["lexicon"].answers["output"].to_pylist() == data["test"]["target"].to_pylist()
    assert rivals["lexicon"].facts["validation_word_f1"] == 1
    limited = fit(ClassicalConfig(models=("lexicon",), max_aligned_words=200), Seq2SeqTask(), data, seed=1)["lexicon"]
    assert any("max_aligned_words = 200" in note for note in limited.notes)


SENTENCES = ("the cat sees the dog", "the dog sees the cat", "a dog eats", "the cat eats a fish")


@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_sum_to_one(order: int) -> None:
    letters = "abc"

    class Even:
        def probability(self, token: str) -> float:
            return 0.0 if token in (END, BREAK) else 1 / 3

        def draw(self, rng: random.Random) -> str:
            return rng.choice(letters)

    model = KneserNey([list("abab"), list("ba")], order, Even())
    for context in ("", "a", "ab", "ccc", "ba"):
        assert math.isclose(sum(model.probability(list(context), token) for token in (*letters, END)), 1)


def test_kneser_ney_by_hand() -> None:
    """Of "a b", "a b", "a c": after a, b twice and c once; b and c are each new after one word only."""

    class Nothing(EvenCharacters):
        def probability(self, token: str) -> float:
            return 0.0

    model = KneserNey([["a", "b"], ["a", "b"], ["a", "c"]], 2, Nothing())
    # Bigrams: START a 3, a b 2, a c 1, b END 2, c END 1: two once, two twice; D = 2 / (2 + 4).
    # Continuations: a 1, b 1, c 1, END 2 (after b, after c): D = 3 / (3 + 2), of 5.
    discount, low = 1 / 3, {"b": (1 - 3 / 5) / 5, "c": (1 - 3 / 5) / 5}
    for token, count in (("b", 2), ("c", 1)):
        wanted = (count - discount) / 3 + 2 * discount / 3 * low[token]
        assert math.isclose(model.probability(["a"], token), wanted)


def test_samples_follow_the_probabilities() -> None:
    model = KneserNey([list("ab"), list("ab"), list("ac")], 2, EvenCharacters())
    drawn = [model.sample(["a"], 1, random.Random(seed))[:1] for seed in range(4_000)]
    for token in "bc":
        assert abs(np.mean([row == [token] for row in drawn]) - model.probability(["a"], token)) < 0.03
    assert model.sample([], 10, random.Random(0), greedy=True) == ["a", "b"]


@given(st.text(max_size=40))
def test_pieces_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text


@given(st.text(max_size=30))
def test_every_text_has_a_probability(text: str) -> None:
    rows = [pieces(sentence) for sentence in SENTENCES]
    spelling = Spelling({word for row in rows for word in row})
    for model, tokens in (
        (KneserNey(rows, 3, spelling), pieces(text)),
        (KneserNey(map(list, SENTENCES), 4, EvenCharacters()), list(text)),
    ):
        value = model.log_probability([], [*tokens, END])
        assert math.isfinite(value)
        assert value < 0


def continuations(rng: np.random.Generator, size: int) -> Iterable[dict[str, Any]]:
    for _ in range(size):
        animal = str(rng.choice(["cat", "dog", "cow"]))
        yield {
            "text": f"what does the {animal} say?",
            "target": {"cat": "it says meow", "dog": "it says woof", "cow": "it says moo"}[animal],
        }


def test_prompts_are_continued_and_weighed() -> None:
    data = sides(continuations, 80, 20)
    task = CausalTask(generation=Generation(max_new_tokens=8))
    rivals = fit(ClassicalConfig(), task, data, seed=1, count_tokens=lambda text: len(text.split()))
    assert tuple(rivals) == ("unigram", "trigram", "character_ngram", "nearest")
    assert rivals["nearest"].answers["output"].to_pylist() == data["test"]["target"].to_pylist()
    total = {name: sum(rival.answers["log_likelihood"].to_pylist()) for name, rival in rivals.items()}
    assert total["nearest"] > total["trigram"] > total["unigram"]
    for rival in rivals.values():
        assert rival.answers["num_tokens"].to_pylist() == [3] * 20
        assert max(rival.answers["log_likelihood"].to_pylist()) < 0
    again = fit(ClassicalConfig(), task, data, seed=1, count_tokens=lambda text: len(text.split()))
    assert all(again[name].answers.equals(rival.answers) for name, rival in rivals.items())


def plain(rng: np.random.Generator, size: int) -> Iterable[dict[str, Any]]:
    for _ in range(size):
        yield {"text": "", "target": str(rng.choice(SENTENCES))}


def test_text_without_prompts_has_no_nearest() -> None:
    data = sides(plain, 60, 10)
    config = ClassicalConfig(max_model_characters=500)
    rivals = fit(config, CausalTask(generation=Generation(max_new_tokens=12, temperature=0)), data, seed=1)
    assert "no training example has a prompt" in rivals.skipped["nearest"]
    assert any("max_model_characters = 500" in note for note in rivals["trigram"].notes)
    assert rivals["trigram"].answers["num_tokens"].to_pylist() == [
        len(t.split()) + 1 for t in data["test"]["target"].to_pylist()
    ]
    assert rivals["trigram"].answers["output"].to_pylist()[0].startswith("the ")
