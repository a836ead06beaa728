"""spaCy's own sentencizer, asked line by line, is the oracle."""

from __future__ import annotations

import random

import pytest
from spacy.language import Language

from tasks.text.analysis import MissingModel, lemmas, load, tokens
from tasks.text.sentences import pipeline, sentence_starts

PIECES = [
    "Mr. Deeds", "e.g.", "i.e.", "U.S.", "3.5", "v1.2.3", "etc.", '"Why?"', "(So", "did we.)",
    "He left.", "end.Next", "...", "What?!", "¿Qué?", "EE. UU.", "z. B.", "Dr. rer. nat.", "и т. д.",
    "Он ушёл.", "。", "好！", "《书》", "“Yes.”", "’s", "'tis.", "!", "--", "—", "a", "the", ":)",
    "http://a.org/x.html.", "No. 5", "«Oui.»", "है।", "ab.", "A.", "1.", "(a)", "foo.c", "؟", "נגמר.",
    "끝.", "จบ", "[1].", "*", "&", "don't.", "J.R.R.", "x.\u2009y",
]  # fmt: skip
LANGUAGES = ["en", "de", "it", "es", "ru", "zh", "ja", "th", "hi", "ar", "fa", "pl", "el", "tr", "sr", "gd", "xx"]


def oracle(line: str, nlp: Language) -> set[int]:
    return {sentence.start_char for sentence in nlp(line).sents} | {0}


@pytest.mark.parametrize("language", LANGUAGES)
def test_starts_are_those_of_spacy(language: str) -> None:
    """But for an opening quote or bracket, which goes with the sentence that it opens: at most those few before."""
    rng, nlp = random.Random(language), pipeline(language)
    lines = [" ".join(rng.choices(PIECES, k=rng.randint(1, 12))) for _ in range(400)]
    for line, starts in zip(lines, sentence_starts(lines, language), strict=True):
        wanted = set()
        for start in oracle(line, nlp):
            while start and (
                line[start - 1] in "([“«《" or (line[start - 1] in "\"'" and line[start - 2 : start - 1] == " ")
            ):
                start -= 1
            wanted.add(start)
        assert starts == sorted(wanted), line


def test_lines_and_offsets() -> None:
    assert sentence_starts(["Aé. B.\n好\nC? D", "x", ""], "en") == [[0, 4, 7, 9, 12], [0], [0]]


def test_a_long_stretch_takes_no_minutes_and_costs_no_other_sentence() -> None:
    address = "https://a.example/" + "x?y.z!" * 20_000  # the tokenizer needs the square of a run of marks
    text = f"One. Two {address}. Three. (Four) {'?!' * 50_000} Five."
    found = [text[start:].split(" ")[0][:6] for start in sentence_starts([text], "en")[0]]
    assert found == ["One.", "Two", "Three.", "(Four)", "Five."]
    wide = "这是一句话。" * 200
    assert sentence_starts([wide], "ja")[0] == list(range(0, len(wide), 6))
    unprintable = f"One. Two.\ue000 {'?!' * 50_000} Three."
    assert sentence_starts([unprintable], "en")[0] == [0, 5, unprintable.index("Three")]


def test_lemmas_and_parts_of_speech() -> None:
    assert list(lemmas(["The painters were falling.", ""], "en_core_web_sm")) == [["the", "painter", "be", "fall"], []]
    (found,) = tokens(["Painters paint ."], "en_core_web_sm")
    assert [token.pos for token in found] == ["NOUN", "VERB", "PUNCT"]


def test_a_missing_pipeline_is_named() -> None:
    with pytest.raises(MissingModel, match="de_core_news_xl is not installed: install its package"):
        load("de_core_news_xl")
    with pytest.raises(MissingModel, match="/no/such/folder is not installed"):
        load("/no/such/folder")
