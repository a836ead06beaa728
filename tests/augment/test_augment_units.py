"""Texts as units and back, and what is done with these units: each operation by name, and what must always hold."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.augment import operations
from tasks.augment.characters import ALL_TYPOS, NEIGHBOURS, mistyped, typos
from tasks.augment.function_words import function_words, is_negation
from tasks.augment.operations import Rules
from tasks.augment.polish import article, polished
from tasks.augment.units import Unit, join, split, tagged, untagged, words_of
from tasks.config.augment import Typo

RULES = Rules()
ANY = Rules(min_words=1, keep_negations=False)
SYNONYMS = {"film": ("movie",), "great": ("superb", "fine"), "amazing": ("superb",), "superb": ("amazing",)}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def synonymous(word: str) -> tuple[str, ...]:
    return SYNONYMS.get(word, ())


def anything_fits(word: str, tag: str) -> bool:
    return True


def units_of(text: str) -> list[Unit]:
    return split(text)[0]


# -------------------------------------------------------------------------------------------------- cutting and joining


def test_words_marks_and_fixed_things() -> None:
    text = 'It\'s a "well-known" film, @me said (#wow): 3.5 of 10, see https://a.b/c?d=1 or me@x.org'
    kinds = [(unit.text, unit.kind) for unit in units_of(text)]
    words = [text for text, kind in kinds if kind == "word"]
    assert words == ["It's", "a", "well-known", "film", "said", "of", "see", "or"]
    fixed = {text for text, kind in kinds if kind == "fixed"}
    assert {"@me", "#wow", "3", "10", "https://a.b/c?d=1", "me@x.org", ",", '"'} <= fixed


def test_scripts_without_blanks_are_cut_into_characters_and_others_are_not() -> None:
    assert words_of("这部电影很好,真的 good") == ["这", "部", "电", "影", "很", "好", "真", "的", "good"]
    assert words_of("हिन्दी में") == ["हिन्दी", "में"], "vowel signs belong to their letters"
    assert words_of("한국어 좋아요") == ["한국어", "좋아요"]
    assert words_of("กี่") == ["กี่"], "Thai marks stay on their letter"


def test_phrases_of_a_thesaurus_are_units() -> None:
    units, _ = split("这部电影很好看", frozenset({"电影", "好看", "电影院"}))
    assert [unit.text for unit in units] == ["这", "部", "电影", "很", "好看"]


@given(st.text(max_size=60))
def test_joining_undoes_cutting(text: str) -> None:
    assert join(*split(text)) == text


def test_an_entity_is_one_unit() -> None:
    tokens = ["Mr", "Tom", "Cruise", "met", "Anna", "Paris", "Ltd"]
    tags = ["O", "B-PER", "I-PER", "O", "B-PER", "B-ORG", "I-ORG"]
    units = tagged(tokens, tags, "bio")
    assert [unit.tokens for unit in units] == [("Mr",), ("Tom", "Cruise"), ("met",), ("Anna",), ("Paris", "Ltd")]
    assert untagged(units) == (tokens, tags)
    with pytest.raises(ValueError, match="zip"):
        tagged(["a"], ["O", "O"], "bio")


def test_an_entity_that_begins_with_i_begins_with_b() -> None:
    assert untagged(tagged(["Tom", "Cruise", "in", "Rome"], ["I-PER", "I-PER", "O", "I-LOC"], "bio"))[1] == [
        "B-PER",
        "I-PER",
        "O",
        "B-LOC",
    ]


# -------------------------------------------------------------------------------------------------------- one operation


def test_deletion_leaves_words_out_and_marks_where_they_were() -> None:
    units = units_of("The film, though, is (really) great.")
    assert join(operations.without(units, {0, 1})) == "though, is (really) great."
    assert join(operations.without(units, {5})) == "The film, though, (really) great."
    for seed in range(50):
        changed = join(operations.deletion(units, 0.3, rng(seed), RULES) or [])
        assert "()" not in changed
        assert changed[0] not in " ,"
        assert "  " not in changed


def test_deletion_and_swap_keep_negations_and_short_texts() -> None:
    units = units_of("I do not like this film and never did, nor didn't")
    for seed in range(30):
        kept = [unit.text for unit in operations.deletion(units, 0.9, rng(seed), RULES) or []]
        assert {"not", "never", "nor", "didn't"} <= set(kept)
        swapped = operations.swap(units, 0.9, rng(seed), RULES) or []
        assert [unit.text for unit in swapped].index("not") == 2
    assert operations.deletion(units_of("Not bad film"), 0.5, rng(), RULES) is None
    assert operations.swap(units_of("Bad film"), 0.5, rng(), RULES) is None
    assert operations.deletion(units_of("word"), 0.5, rng(), ANY) is None, "never all of them"


def test_swap_exchanges_words_but_not_blanks_marks_or_the_capital() -> None:
    units = units_of("The film:  good fun.")
    seen = {join(operations.swap(units, 0.1, rng(seed), ANY) or []) for seed in range(60)}
    assert seen == {
        "Film the:  good fun.",
        "Good film:  the fun.",
        "Fun film:  good the.",
        "The good:  film fun.",
        "The fun:  good film.",
        "The film:  fun good.",
    }


def test_swap_within_a_distance() -> None:
    units = units_of(" ".join("abcdefghij"))
    for seed in range(40):
        changed = [unit.text.lower() for unit in operations.swap(units, 0.01, rng(seed), ANY, 2) or []]
        moved = [i for i, letter in enumerate("abcdefghij") if changed[i] != letter]
        assert len(moved) == 2
        assert moved[1] - moved[0] <= 2


def test_names_keep_their_capital_and_are_no_synonyms() -> None:
    known = Rules(min_words=1, lower_case=frozenset({"the", "film", "stars"}))
    swapped = {join(operations.swap(units_of("Film stars Tom"), 0.1, rng(seed), known) or []) for seed in range(30)}
    assert swapped == {"Stars film Tom", "Tom stars film", "Film Tom stars"}
    names = {join(operations.swap(units_of("Tom stars"), 0.1, rng(seed), known) or []) for seed in range(5)}
    assert names == {"Stars Tom"}
    assert operations.synonyms(units_of("I saw Great"), 1, rng(), ANY, synonymous, anything_fits) is None


def test_synonyms_keep_case_and_leave_function_words() -> None:
    units = units_of("FILM is great. Film, the film!")
    changed = operations.synonyms(units, 1.0, rng(), RULES, synonymous, anything_fits)
    assert join(changed or []).replace("fine", "superb") == "MOVIE is superb. Movie, the movie!"
    assert (
        operations.synonyms(units_of("this is the one"), 1.0, rng(), RULES, lambda word: ("x",), anything_fits) is None
    )


def test_insertion_adds_as_many_words_as_it_says() -> None:
    units = units_of("This film is great and it is long.")
    for seed in range(30):
        changed = operations.insertion(units, 0.25, rng(seed), RULES, synonymous, anything_fits) or []
        text = join(changed)
        assert len(changed) == len(units) + 2
        assert text[0].isupper()
        assert "  " not in text
        assert not Counter(words_of("this film is great and it is long")) - Counter(words_of(text.lower()))
        own = operations.insertion_of_own(units, 0.25, rng(seed), RULES) or []
        assert {unit.text.lower() for unit in own} <= {unit.text.lower() for unit in units}


def test_entities_give_way_to_others_of_their_type() -> None:
    units = tagged(["Tom", "Cruise", "left", "Rome"], ["B-PER", "I-PER", "O", "B-LOC"], "bio")
    pool = {"PER": [("Tom", "Cruise"), ("Anna",)], "LOC": [("Rome",)]}
    assert untagged(operations.entities(units, 1.0, rng(), pool) or []) == (
        ["Anna", "left", "Rome"],
        ["B-PER", "O", "B-LOC"],
    )
    assert operations.entities(units, 1.0, rng(), {"PER": [], "LOC": []}) is None


@pytest.mark.parametrize(
    ("typo", "possible"),
    [
        ("swap", {"flim", "fiml"}),
        ("drop", {"flm", "fim", "fil"}),
        ("double", {"fiilm", "fillm", "filmm"}),
    ],
)
def test_typos_of_a_word(typo: Typo, possible: set[str]) -> None:
    assert {mistyped("film", typo, rng(seed)) for seed in range(60)} == possible


def test_a_key_is_missed_by_one() -> None:
    assert set(NEIGHBOURS["s"]) == set("adwezx")
    assert set(NEIGHBOURS["q"]) == set("wa")
    for seed in range(60):
        word = mistyped("Film's", "keyboard", rng(seed))
        (place,) = [i for i, (a, b) in enumerate(zip("Film's", word, strict=True)) if a != b]
        assert place > 0
        assert word[place] in NEIGHBOURS["Film's"[place]]
    assert mistyped("aaa", "swap", rng()) == "aaa", "nothing to swap"


def test_chinese_characters_change_places_go_or_double() -> None:
    units = units_of("电影很好")
    seen = {join(typos(units, 0.01, rng(seed), ANY) or []) for seed in range(200)}
    swapped, shorter = {"影电很好", "电很影好", "电影好很"}, {"影很好", "电很好", "电影好", "电影很"}
    assert seen <= swapped | shorter | {"电电影很好", "电影影很好", "电影很很好", "电影很好好"}
    assert swapped <= seen
    assert seen & shorter
    negated = units_of("电影不好")
    assert all("不" in join(typos(negated, 0.5, rng(seed), Rules(language="zh")) or negated) for seed in range(50))
    for operation in (operations.swap, operations.deletion):
        changed = operation(units, 0.3, rng(), RULES)
        assert changed
        assert " " not in join(changed)


@pytest.mark.parametrize(("word", "expected"), [("amazing", "an"), ("film", "a"), ("hour", "an"), ("unique", "a")])
def test_the_article_before_a_word(word: str, expected: str) -> None:
    assert article(word) == expected


def test_articles_follow_what_is_now_behind_them() -> None:
    before = units_of("An amazing film, a history, an historic one")
    after = [unit.saying("superb") if unit.text == "amazing" else unit for unit in before]
    assert join(polished(after, before, "en")) == "A superb film, a history, an historic one"
    assert join(polished(after, before, "de")).startswith("An superb")


def test_negations_and_function_words() -> None:
    assert all(is_negation(word, "en") for word in ("not", "NEVER", "isn’t", "couldn't"))
    assert not is_negation("note", "en")
    assert is_negation("不", "zh")
    assert "the" in function_words("en")
    assert function_words("xx-none") == frozenset()


# ----------------------------------------------------------------------------------------------------------- invariants

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
TOKENS = st.lists(st.sampled_from(["Tom", "Rome", "film", "great", "not", "the", ",", "42", "电", "影"]), max_size=14)


def is_legal(tags: list[str]) -> bool:
    """No I-X but after B-X or I-X."""
    return all(
        not tag.startswith("I-") or (i > 0 and tags[i - 1][2:] == tag[2:] and tags[i - 1] != "O")
        for i, tag in enumerate(tags)
    )


def entities_of(tokens: list[str], tags: list[str]) -> Counter[tuple[str, tuple[str, ...]]]:
    return Counter((unit.tags[0], unit.tokens) for unit in tagged(tokens, tags, "bio") if unit.kind == "entity")


@settings(max_examples=150)
@given(TOKENS, st.data(), st.integers(0, 99), st.floats(0.01, 1))
def test_tags_stay_legal_and_entities_whole(tokens: list[str], data: st.DataObject, seed: int, rate: float) -> None:
    tags = data.draw(st.lists(st.sampled_from(TAGS), min_size=len(tokens), max_size=len(tokens)))
    units = tagged(tokens, tags, "bio")
    before = entities_of(*untagged(units))
    for changed in (
        operations.swap(units, rate, rng(seed), ANY),
        operations.deletion(units, rate, rng(seed), ANY),
        operations.synonyms(units, rate, rng(seed), ANY, synonymous, anything_fits),
        operations.insertion(units, rate, rng(seed), ANY, synonymous, anything_fits),
        operations.insertion_of_own(units, rate, rng(seed), ANY),
    ):
        if changed is not None:
            new_tokens, new_tags = untagged(changed)
            assert len(new_tokens) == len(new_tags)
            assert all(new_tokens)
            assert is_legal(new_tags)
            assert entities_of(new_tokens, new_tags) == before
    noisy = typos(units, rate, rng(seed), ANY)
    if noisy is not None:
        new_tokens, new_tags = untagged(noisy)
        assert len(new_tokens) == len(new_tags)
        assert is_legal(new_tags)
        assert sum(entities_of(new_tokens, new_tags).values()) == sum(before.values())


@given(st.text(max_size=80), st.integers(0, 9), st.floats(0.01, 1))
def test_no_text_makes_an_operation_stumble(text: str, seed: int, rate: float) -> None:
    units = units_of(text)
    for changed in (
        operations.swap(units, rate, rng(seed), ANY),
        operations.deletion(units, rate, rng(seed), ANY),
        operations.insertion_of_own(units, rate, rng(seed), ANY),
        typos(units, rate, rng(seed), ANY),
    ):
        if changed is not None:
            assert join(polished(changed, units, "en")).strip()


# ---------------------------------------------------------------------------------------------------------- their rates


def test_rates_are_what_they_say() -> None:
    words = [f"{a}{b}ing" for a in "bcdfghjklm" for b in "aeiouaeiou"]
    units = units_of(" ".join(words))
    counts = Counter(
        {
            "deletion": len(units) - len(operations.deletion(units, 0.1, rng(), ANY) or []),
            "insertion": len(operations.insertion_of_own(units, 0.1, rng(), ANY) or []) - len(units),
            "typos": sum(a != b for a, b in zip(units, typos(units, 0.1, rng(), ANY) or [], strict=True)),
        }
    )
    assert counts == {"deletion": 10, "insertion": 10, "typos": 10}
    swapped = [operations.swap(units, 0.1, rng(seed), ANY) or [] for seed in range(30)]
    moved = [sum(a.text.lower() != b.text.lower() for a, b in zip(units, each, strict=True)) for each in swapped]
    assert 14 <= float(np.mean(moved)) <= 20, "ten swaps move at most twenty words"
    kinds = [ALL_TYPOS[int(rng(s).integers(4))] for s in range(400)]
    assert min(Counter(kinds).values()) > 70


def test_operations_are_functions_of_the_generator() -> None:
    units = units_of("This film is great and it is long, or is it?")
    for operation in (operations.swap, operations.deletion, operations.insertion_of_own, typos):
        assert operation(units, 0.2, rng(3), RULES) == operation(units, 0.2, rng(3), RULES)  # type: ignore[operator]
        assert len({tuple(operation(units, 0.2, rng(s), RULES) or ()) for s in range(20)}) > 3  # type: ignore[operator]
