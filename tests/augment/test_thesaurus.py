"""Synonyms from files, from WordNet's own format, and from word vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasks.augment.inflection import forms_of, inflected
from tasks.augment.thesaurus import FileThesaurus, ThesaurusError, VectorThesaurus, WordNetThesaurus, open_thesaurus
from tasks.augment.wordnet import WordNetDatabase
from tasks.config.augment import SynonymFile, Vectors, WordNet

LICENCE = "  1 This software and database is provided by its authors  \n"
SYNSETS = {
    "noun": [
        ("00000010", ["film", "movie", "motion_picture"]),
        ("00000020", ["picture", "image"]),
        ("00000030", ["go"]),
    ],
    "verb": [("00000010", ["try", "attempt"]), ("00000020", ["film", "shoot"]), ("00000030", ["go", "travel"])],
    "adj": [("00000010", ["boring", "tedious"]), ("00000020", ["galore(ip)"])],
    "adv": [("00000010", ["quickly", "rapidly"])],
}
COUNTS = {"film%1:10:00::": 9, "movie%1:10:00::": 5, "try%2:41:00::": 3, "attempt%2:41:00::": 2, "tedious%5:00:00::": 4}
IRREGULAR = {"noun": "", "verb": "went go\nshot shoot\n", "adj": "", "adv": ""}


@pytest.fixture
def wordnet(tmp_path: Path) -> Path:
    """A database of eight synsets in the format of wndb(5WN)."""
    for part, synsets in SYNSETS.items():
        data, index = LICENCE, {}
        for offset, words in synsets:
            listed = " ".join(f"{word} 0" for word in words)
            data += f"{offset} 00 {part[0]} {len(words):02x} {listed} 000 | a gloss\n"
            for word in words:
                index.setdefault(word.partition("(")[0], []).append(offset)
        lines = [f"{w} {part[0]} {len(o)} 0 {len(o)} 0 {' '.join(o)}  \n" for w, o in sorted(index.items())]
        (tmp_path / f"data.{part}").write_text(data, "ascii")
        (tmp_path / f"index.{part}").write_text(LICENCE + "".join(lines), "ascii")
        (tmp_path / f"{part}.exc").write_text(IRREGULAR[part], "ascii")
    counts = {**COUNTS, "boring%5:00:00::": 1, "quickly%4:02:00::": 1, "rapidly%4:02:00::": 1}
    (tmp_path / "cntlist.rev").write_text("".join(f"{key} 1 {n}\n" for key, n in counts.items()), "ascii")
    return tmp_path


def test_synonyms_have_the_words_form(wordnet: Path) -> None:
    database = WordNetDatabase(wordnet)
    assert database.synonyms("film") == ("movie",), "single words that people use; a noun more often than a verb"
    assert database.synonyms("films") == ("movies",)
    assert database.synonyms("tries") == ("attempts",)
    assert database.synonyms("tried") == ("attempted",)
    assert database.synonyms("boring") == ("tedious",)
    assert database.synonyms("quickly") == ("rapidly",)
    assert database.synonyms("picture") == (), "image is tagged nowhere: nobody says it, as far as the counts know"
    assert database.synonyms("went") == database.synonyms("house") == ()


def test_a_folder_without_counts_and_one_that_is_none(wordnet: Path, tmp_path: Path) -> None:
    (wordnet / "cntlist.rev").unlink()
    assert WordNetDatabase(wordnet).synonyms("picture") == ("image",)
    with pytest.raises(ThesaurusError, match="wordnet-base"):
        WordNetThesaurus(tmp_path / "nowhere")
    assert open_thesaurus(WordNet(path="."), [], 0, home=wordnet)("picture") == ("image",)


@pytest.mark.parametrize(
    ("base", "ending", "form"),
    [
        ("film", "s", "films"),
        ("try", "s", "tries"),
        ("play", "s", "plays"),
        ("watch", "s", "watches"),
        ("try", "ed", "tried"),
        ("agree", "ed", "agreed"),
        ("stop", "ed", "stopped"),
        ("offer", "ed", "offered"),
        ("play", "ed", "played"),
        ("make", "ing", "making"),
        ("lie", "ing", "lying"),
        ("see", "ing", "seeing"),
        ("fix", "ing", "fixing"),
    ],
)
def test_regular_endings(base: str, ending: str, form: str) -> None:
    assert inflected(base, ending) == form
    assert (base, ending) in list(forms_of(form, "v"))


def test_irregular_words_are_not_guessed() -> None:
    assert inflected("go", "ed", is_irregular=True) is None
    assert inflected("athletics", "s") is None
    assert inflected("go", "", is_irregular=True) == "go"
    assert list(forms_of("as", "n")) == []


@pytest.mark.parametrize(
    ("content", "fault"), [("film\n", "line 1: 'film' has one word"), ("# nothing\n", "no set"), (None, "No such file")]
)
def test_a_file_that_is_no_thesaurus(tmp_path: Path, content: str | None, fault: str) -> None:
    if content is not None:
        (tmp_path / "words.txt").write_text(content, "utf-8")
    with pytest.raises(ThesaurusError, match=fault):
        FileThesaurus(tmp_path / "words.txt")


def test_a_byte_order_mark_and_another_charset(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_bytes("film, movie".encode("utf-8-sig"))
    assert open_thesaurus(SynonymFile(path="words.txt"), [], 0, home=tmp_path)("film") == ("movie",)
    (tmp_path / "words.txt").write_bytes("Müll, Abfall".encode("latin-1"))
    with pytest.raises(ThesaurusError, match="UTF-8"):
        FileThesaurus(tmp_path / "words.txt")


def sentences() -> list[str]:
    """Two kinds of words that stand in two kinds of places, and a name."""
    rng = np.random.default_rng(0)
    animals, foods = ["cat", "dog", "horse"], ["bread", "cheese", "soup"]
    eats = [f"the {rng.choice(animals)} eats some {rng.choice(foods)} today" for _ in range(300)]
    return eats + [f"we saw the {rng.choice(animals)} run away with Tom" for _ in range(200)]


def test_word_vectors_find_words_of_a_kind_and_no_names() -> None:
    config = Vectors(dimensions=16, min_count=5, epochs=20, top_k=2, min_similarity=0.3)
    words = open_thesaurus(config, sentences(), 1)
    assert words("cat")[0] in {"dog", "horse"}
    assert words("soup")[0] in {"bread", "cheese"}
    assert words("unknown") == ()
    again = open_thesaurus(config, sentences(), 1)
    vocabulary = {word for text in sentences() for word in text.split()}
    assert all(words(word) == again(word) for word in vocabulary)
    neighbours = {other for word in vocabulary for other in words(word)}
    assert not neighbours & {"Tom", "tom", "the", "with", "we"}, "no names, no function words"
    with pytest.raises(ThesaurusError, match="min_count"):
        open_thesaurus(Vectors(min_count=5), ["a few words"], 1)


def test_vectors_of_ones_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for one, other in (
        ("film", "movie"),
        ("house", "home"),
        ("Tom", "actor"),
        *((f"a{i}", f"b{i}") for i in range(20)),
    ):
        vector = rng.normal(size=10)
        rows += [f"{word} " + " ".join(map(str, vector + rng.normal(size=10, scale=0.1))) for word in (one, other)]
    (tmp_path / "vectors.txt").write_text(f"{len(rows)} 10\n" + "\n".join(rows) + "\n", "utf-8")
    words = open_thesaurus(Vectors(path="vectors.txt", top_k=1), [], 0, home=tmp_path)
    assert isinstance(words, VectorThesaurus)
    assert [words(word) for word in ("film", "movie", "house", "actor")] == [("movie",), ("film",), ("home",), ()]
    (tmp_path / "vectors.txt").write_text("not vectors", "utf-8")
    with pytest.raises(ThesaurusError, match="word2vec"):
        open_thesaurus(Vectors(path="vectors.txt"), [], 0, home=tmp_path)
