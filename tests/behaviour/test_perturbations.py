"""Changes that mean nothing, each by name, and the exchange of terms that name groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_core.config import ConfigError, TokenTask, validate
from tasks.augment.operations import entity
from tasks.augment.units import tagged
from tasks.behaviour.cases import Case, carried_over, changed_tokens, fill
from tasks.behaviour.contractions import contracted, expanded
from tasks.behaviour.groups import Axis, axes_of
from tasks.behaviour.lexicons import GENDER, SHIPPED
from tasks.behaviour.perturb import Perturber
from tasks.behaviour.results import BehaviourError
from tasks.config.behaviour import (
    ROBUSTNESS,
    BehaviourConfig,
    BiasConfig,
    Casing,
    Contractions,
    EntityNames,
    Perturbation,
    Punctuation,
    Regex,
    Sentence,
    SynonymWords,
    Typos,
    Whitespace,
    Words,
)

GENDERS = Axis("gender", GENDER)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def changed(how: Perturbation, *texts: str, seed: int = 0) -> list[str] | None:
    return Perturber()(how, texts, rng(seed))


@pytest.mark.parametrize(
    ("how", "before", "after"),
    [
        (Casing(how="lower"), "It's A Film", "it's a film"),
        (Casing(how="upper"), "It's a Film", "IT'S A FILM"),
        (Casing(how="swap"), "It's a Film", "iT'S A fILM"),
        (Casing(how="title"), "it's a well-known film", "It's A Well-Known Film"),
        (Punctuation(how="strip_final"), "Good. Very good!!", "Good. Very good"),
        (Punctuation(how="strip_final"), 'He said "go."', 'He said "go"'),
        (Punctuation(how="remove"), "Well, it's -- a 'well-known' film (so-so)!", "Well it's a well-known film so-so"),
        (Punctuation(how="double"), "Well, good. 很好。", "Well,, good.. 很好。。"),
        (Whitespace(), "a b  c", "  a  b    c \n"),
        (Contractions(how="expand"), "I don't think it's bad, they’re fine", "I do not think it is bad, they are fine"),
        (Contractions(how="contract"), "I do not think it is bad. It is.", "I don't think it's bad. It is."),
        (Sentence(sentences=("Ok.",)), "Good. ", "Good. Ok."),
        (Sentence(sentences=("Ok.",), where="start"), "Good.", "Ok. Good."),
        (Sentence(sentences=("今天星期二。",)), "很好。", "很好。今天星期二。"),
        (Regex(pattern=r"\bfilm\b", replacement="movie"), "A film on films", "A movie on films"),
    ],
)
def test_each_change_by_name(how: Perturbation, before: str, after: str) -> None:
    assert changed(how, before) == [after]


def test_none_where_a_change_does_not_apply() -> None:
    assert changed(Casing(), "all lower") is None
    assert changed(Contractions(), "nothing here") is None
    assert changed(Words(shipped=("cities",)), "no place at all") is None
    assert changed(Punctuation(how="remove"), "?!") is None, "nothing would be left"
    assert changed(Typos(), "a b c") is None


def test_a_name_becomes_the_same_other_name_everywhere() -> None:
    for seed in range(20):
        found = changed(
            Words(shipped=("names", "cities")), "Tom met Mary in Rome. Tomorrow Tom left.", "Tom left Rome", seed=seed
        )
        assert found is not None
        first, second = found
        him, her, town = first.split()[0], first.split()[2], first.split()[4].rstrip(".")
        assert first == f"{him} met {her} in {town}. Tomorrow {him} left." or " " in town or len(first.split()) > 8
        assert him in SHIPPED["names"][0]
        assert her in SHIPPED["names"][1]
        assert him != "Tom"
        assert second.startswith(f"{him} left ")
    own = Words(lists=(("New York", "Rome"),))
    assert changed(own, "In New York, not in Romeo") == ["In Rome, not in Romeo"]


def test_contractions_in_doubt_are_left_alone() -> None:
    assert (
        expanded("She's got it, he'd go, it's been fun, Tom's hat") == "She's got it, he'd go, it's been fun, Tom's hat"
    )
    assert expanded("LET'S go. CAN'T! I'm, won't") == "LET US go. CANNOT! I am, will not"
    assert contracted("Who Is Cletis Tout? better than it is now. I am IT IS ME") == (
        "Who Is Cletis Tout? better than it is now. I'm IT'S ME"
    )
    assert contracted("Do not go. You can not") == "Don't go. You can not"


@given(st.text(max_size=60), st.sampled_from(sorted(set(ROBUSTNESS) - {"synonyms"})))
def test_no_text_makes_a_change_stumble(text: str, name: str) -> None:
    found = Perturber()(ROBUSTNESS[name], [text], rng())
    assert found is None or (found != [text] and found[0].strip())


def test_changes_that_need_more_say_so() -> None:
    with pytest.raises(BehaviourError, match="thesaurus"):
        changed(SynonymWords(), "a film")
    with pytest.raises(BehaviourError, match="not for plain texts"):
        changed(EntityNames(), "a film")
    with pytest.raises(ConfigError, match="not a regular expression"):
        validate(Regex, {"pattern": "(", "replacement": ""})
    with pytest.raises(ConfigError, match="two words"):
        validate(Words, {"lists": [["one"]]})


# --------------------------------------------------------------------------------------------------------------- tokens


def test_tokens_keep_their_number() -> None:
    row = {"tokens": ["The", "wonderful", "City", "of", "Rome", ",", "42"], "tags": ["O"] * 7}
    for how in (Typos(rate=1.0), Casing(how="upper")):
        tokens = changed_tokens(how, TokenTask(), row, rng())
        assert tokens is not None
        assert len(tokens) == 7
        assert tokens[5:] == [",", "42"]
    with pytest.raises(BehaviourError, match="typos, casing and entities"):
        changed_tokens(Whitespace(), TokenTask(), row, rng())


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (["O", "B-PER", "I-PER", "O"], ["O", "B-PER", "O"]),
        (["B-X", "B-LOC", "I-LOC", "O"], ["B-X", "B-LOC", "O"]),
        (["O", "O", "O", "O"], ["O", "O", "O"]),
        (["O", "B-PER", "O", "O"], None),
        (["O", "B-PER", "I-PER", "I-PER"], None),
    ],
)
def test_what_was_said_is_carried_over_to_another_entity(said: list[str], expected: list[str] | None) -> None:
    before = tagged(["saw", "Tom", "Cruise", "again"], ["O", "B-PER", "I-PER", "O"], "bio")
    after = [before[0], entity(["Anna"], "PER"), before[2]]
    assert carried_over(Case({}, {}, tuple(zip(before, after, strict=True))), said) == expected


# --------------------------------------------------------------------------------------------------------------- groups


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("He said that his mother saw him.", "She said that her father saw her."),
        ("She said that her film was hers.", "He said that his film was his."),
        ("I saw her. I gave her the book. Her own words.", "I saw him. I gave him the book. His own words."),
        ("It was his.", "It was hers."),
        ("I saw her really moving film, and love her dearly.", "I saw his really moving film, and love him dearly."),
        ("HIS and HER, Himself", "HERS and HIM, Herself"),
        ("James and Mary, the actor's wife", "Mary and James, the actress's husband"),
        ("the theme of Hershey and chess, mr", "the theme of Hershey and chess, ms"),
        ("他喜欢她的电影", "她喜欢他的电影"),
    ],
)
def test_gender_is_exchanged(before: str, after: str) -> None:
    assert GENDERS.exchanged(before, "male", "female") == after


def test_groups_that_a_text_mentions() -> None:
    assert GENDERS.mentioned("He and she") == {"male", "female"}
    assert GENDERS.mentioned("Thomas wrote hers") == {"male", "female"}
    assert GENDERS.mentioned("the theme, Hershey, scott") == frozenset()
    assert (
        GENDERS.exchanged(GENDERS.exchanged("A king and his son", "male", "female"), "male", "female")
        == "A king and his son"
    )


def test_axes_of_ones_own_and_additions_to_shipped_ones() -> None:
    config = BiasConfig(
        axes={
            "gender": {"male": ("fella",), "female": ("dame",)},
            "age": {"old": ("old man", "pensioner"), "young": ("lad",), "mid": ("adult",)},
        }
    )
    gender, age = axes_of(config)
    assert gender.exchanged("That Fella here", "male", "female") == "That Dame here"
    assert age.pairs == [("old", "young"), ("old", "mid"), ("young", "mid")]
    assert age.exchanged("An old man, a lad, an adult", "old", "young") == "A lad, an old man, an adult"
    assert age.exchanged("a Pensioner", "old", "young") == "a Lad"
    for wrong, fault in (
        ({"axes": {"age": {"old": ["a"]}}}, "two at least"),
        ({"axes": {"age": {"old": ["a"], "young": ["A"]}}}, "twice"),
        ({"shipped": [], "axes": {}}, "set axes"),
    ):
        with pytest.raises(ConfigError, match=fault):
            validate(BiasConfig, wrong)


def test_shipped_terms_stand_opposite_each_other() -> None:
    assert len(GENDER["male"]) == len(GENDER["female"])
    pairs = set(zip(GENDER["male"], GENDER["female"], strict=True))
    assert {("king", "queen"), ("waiters", "waitresses"), ("James", "Mary"), ("丈夫", "妻子")} <= pairs
    assert not set(GENDER["male"]) & set(GENDER["female"])


# ------------------------------------------------------------------------------------------------------------ templates


def test_templates_are_filled_in() -> None:
    assert fill("This is {a:adj} {noun}.", {"adj": "awful", "noun": "film"}) == "This is an awful film."


@pytest.mark.parametrize(
    ("test", "fault"),
    [
        ({"templates": ["{x}"], "expected": "a"}, r"words lacks: \['x'\]"),
        ({"templates": ["y"], "words": {"x": ["1"]}, "expected": "a"}, "no template names"),
        ({"templates": ["{x}"], "words": {"x": []}, "expected": "a"}, "without a word"),
        ({"templates": ["y"]}, "exactly one of expected"),
        ({"templates": ["y"], "templates_b": ["y", "z"], "expected": "a"}, "not in pairs"),
    ],
)
def test_templates_that_cannot_be_filled_in(test: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        validate(BehaviourConfig, {"tests": [{"kind": "mft", "name": "t", **test}]})


def test_two_tests_of_one_name() -> None:
    test = {"kind": "mft", "name": "t", "templates": ["x"], "expected": "a"}
    with pytest.raises(ConfigError, match="one name"):
        validate(BehaviourConfig, {"tests": [test, test]})
