"""The training side with changed copies: what they keep, what is dropped and counted, and real film reviews."""

from __future__ import annotations

import bz2
import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bert_core.config import (
    CausalTask,
    ChoiceTask,
    ConfigError,
    EmbeddingTask,
    PairTask,
    Seq2SeqTask,
    SequenceTask,
    SpanTask,
    TokenTask,
    validate,
)
from tasks.augment import Augmented, AugmentError, AugmentReport, augment
from tasks.augment.guard import LabelGuard
from tasks.augment.leakage import TextIndex, normalised, similarity
from tasks.augment.thesaurus import FileThesaurus
from tasks.config.augment import (
    AugmentConfig,
    BackTranslation,
    Characters,
    Deletion,
    Entities,
    Insertion,
    Substitution,
    Swap,
    SynonymFile,
    Synonyms,
)

SEQUENCE = SequenceTask(labels=("fresh", "rotten"))
PLAIN = AugmentConfig(methods=(Swap(), Deletion(), Insertion(words="own"), Characters()), label_guard=None)


def reviews(*texts: str, label: str = "fresh") -> pa.Table:
    return pa.table({"id": [f"r{i}" for i in range(len(texts))], "text": list(texts), "label": [label] * len(texts)})


def copies(result: Augmented) -> list[dict[str, Any]]:
    return [row for row in result.table.to_pylist() if row["augmented_from"] is not None]


def total(report: AugmentReport) -> int:
    return report.augmented + sum(sum(counts.values()) for counts in report.dropped.values())


# --------------------------------------------------------------------------------------------------------- what is kept


def test_copies_come_after_their_examples_with_label_id_and_source() -> None:
    table = reviews("A film that is great and long.", "Nobody could ever like this dull thing.").append_column(
        "film", pa.array(["One", "Two"])
    )
    result = augment(PLAIN, SEQUENCE, table, forbidden=[], seed=1)
    assert result.table.slice(0, 2).drop_columns(["augmented_from", "augmented_by"]).equals(table)
    made = copies(result)
    assert [row["id"] for row in made] == [f"r{i}#aug{n}" for i in (0, 1) for n in (1, 2, 3, 4)]
    assert {row["augmented_by"] for row in made} == {"swap", "deletion", "insertion", "characters"}
    assert all(row["film"] == {"r0": "One", "r1": "Two"}[row["augmented_from"]] for row in made)
    assert all(row["label"] == "fresh" for row in made)
    assert result.report.kept == {"swap": 2, "deletion": 2, "insertion": 2, "characters": 2}
    assert result.report.share == pytest.approx(0.8)
    assert total(result.report) == 8
    assert len({row["text"] for row in result.table.to_pylist()}) == 10


def test_an_examples_copies_do_not_depend_on_the_others_nor_on_their_order() -> None:
    texts = [f"This is the film of number word{chr(97 + i)} and it is quite long" for i in range(8)]
    table = reviews(*texts)
    whole = augment(PLAIN, SEQUENCE, table, forbidden=[], seed=1)
    assert whole.table.equals(augment(PLAIN, SEQUENCE, table, forbidden=[], seed=1).table)
    assert not whole.table.equals(augment(PLAIN, SEQUENCE, table, forbidden=[], seed=2).table)
    turned = augment(PLAIN, SEQUENCE, table.take(pa.array(range(7, -1, -1))), forbidden=[], seed=1)
    assert {(r["id"], r["text"]) for r in copies(turned)} == {(r["id"], r["text"]) for r in copies(whole)}


def test_several_copies_differ() -> None:
    config = AugmentConfig(methods=(Swap(copies=5),), label_guard=None)
    result = augment(config, SEQUENCE, reviews("one two three four five six seven eight nine"), forbidden=[], seed=0)
    assert len({row["text"] for row in copies(result)}) == len(copies(result)) == 5


def test_one_side_of_a_pair_is_changed_at_a_time() -> None:
    table = pa.table(
        {
            "id": [f"p{i}" for i in range(30)],
            "text": [f"The premise of number{i} says that all is well" for i in range(30)],
            "text_b": [f"A hypothesis says something else about thing{i} here" for i in range(30)],
            "label": ["neutral"] * 30,
        }
    )
    changed = {"text": 0, "text_b": 0}
    before = {row["id"]: row for row in table.to_pylist()}
    for row in copies(augment(PLAIN, PairTask(), table, forbidden=[], seed=0)):
        sides = [side for side in changed if row[side] != before[row["augmented_from"]][side]]
        assert len(sides) == 1
        changed[sides[0]] += 1
    assert min(changed.values()) > 40
    scored = table.set_column(3, "label", pa.array([0.5] * 30))
    assert all(row["label"] == 0.5 for row in copies(augment(PLAIN, EmbeddingTask(), scored, forbidden=[], seed=0)))


def test_only_the_question_of_a_span_is_changed() -> None:
    context, question = "Ada Lovelace wrote the first program in 1843.", "Who wrote the very first program of all?"
    answers = [{"text": "Ada Lovelace", "start": 0}]
    table = pa.table({"id": ["q"], "question": [question], "context": [context], "answers": pa.array([answers])})
    made = copies(augment(PLAIN, SpanTask(), table, forbidden=[], seed=0))
    assert len(made) == 4
    for row in made:
        assert (row["context"], row["answers"]) == (context, answers)
        assert row["question"] != question


@pytest.mark.parametrize("task", [ChoiceTask(), Seq2SeqTask(), CausalTask()])
def test_choices_and_targets_are_never_touched(task: Any) -> None:
    table = pa.table(
        {
            "id": ["a", "b"],
            "text": ["What comes after the long night of winter?", ""],
            "choices": [["the day", "the noon"], ["one", "two"]],
            "target": ["the day", "one"],
            "label": [0, 1],
        }
    )
    result = augment(PLAIN, task, table, forbidden=[], seed=0)
    assert copies(result)
    for row in copies(result):
        assert (row["choices"], row["target"], row["label"]) == (["the day", "the noon"], "the day", 0)
    without_stem = {name: counts["nothing_to_change"] for name, counts in result.report.dropped.items()}
    assert without_stem == {"swap": 1, "deletion": 1, "insertion": 1, "characters": 1}


def tagged_table() -> pa.Table:
    return pa.table(
        {
            "id": ["t1", "t2"],
            "tokens": [
                ["Yesterday", "Tom", "Cruise", "went", "to", "sunny", "Rome", "."],
                ["Anna", "likes", "Berlin", "and", "her", "old", "house", "."],
            ],
            "tags": [["O", "B-PER", "I-PER", "O", "O", "O", "B-LOC", "O"], ["B-PER", "O", "B-LOC", *["O"] * 5]],
        }
    )


def test_tags_follow_their_tokens() -> None:
    config = AugmentConfig(methods=(Swap(copies=3), Deletion(copies=3), Entities(rate=1.0), Characters(copies=2)))
    made = copies(augment(config, TokenTask(), tagged_table(), forbidden=[], seed=0))
    assert {row["augmented_by"] for row in made} == {"swap", "deletion", "entities", "characters"}
    home = {"Tom": "B-PER", "Cruise": "I-PER", "Rome": "B-LOC", "Anna": "B-PER", "Berlin": "B-LOC"}
    for row in made:
        assert len(row["tokens"]) == len(row["tags"])
        if row["augmented_by"] != "characters":
            assert all(tag == home.get(token, "O") for token, tag in zip(row["tokens"], row["tags"], strict=True))
    (swapped,) = [row for row in made if row["augmented_by"] == "entities" and row["augmented_from"] == "t1"]
    assert swapped["tokens"] == ["Yesterday", "Anna", "went", "to", "sunny", "Berlin", "."]
    assert swapped["tags"] == ["O", "B-PER", "O", "O", "O", "B-LOC", "O"]


def test_a_synonym_for_a_part_of_speech_must_be_known_under_that_tag(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("house, home, Berlin\nlikes, loves, home", "utf-8")
    table = pa.table(
        {
            "id": ["a", "b"],
            "tokens": [["Ann", "likes", "every", "big", "house"], ["He", "loves", "one", "warm", "home"]],
            "tags": [["NOUN", "VERB", "DET", "ADJ", "NOUN"], ["PRON", "VERB", "NUM", "ADJ", "NOUN"]],
        }
    )
    config = AugmentConfig(methods=(Synonyms(rate=1.0),), thesaurus=SynonymFile(path="words.txt"))
    made = copies(augment(config, TokenTask(scheme="plain"), table, forbidden=[], seed=0, home=tmp_path))
    assert [row["tokens"][1] for row in made] == ["loves", "likes"]
    assert [row["tokens"][4] for row in made] == ["home", "house"]
    entities = copies(augment(config, TokenTask(), tagged_table(), forbidden=[], seed=0, home=tmp_path))
    assert "home" in entities[0]["tokens"]
    assert all("Berlin" not in row["tokens"][3:] for row in entities), "elsewhere it is an entity"


# ----------------------------------------------------------------------------------------------------- what is left out


def speaking(answers: dict[str, str]) -> Any:
    """A `substitute` that says what it is told."""

    def substitute(texts: list[str], rng: np.random.Generator) -> list[str]:
        return [answers.get(text, text) for text in texts]

    return substitute


BY_MODEL = AugmentConfig(methods=(Substitution(folder="model"),), label_guard=None)


def test_leaks_are_dropped_and_counted() -> None:
    numbers = "one two three four five six seven eight nine ten"
    train = reviews("the film is great and long", f"{numbers} eleven", "Abcdef ghijkl")
    substitute = speaking(
        {"the film is great and long": "The FILM is great, and very long!!", f"{numbers} eleven": f"{numbers} thirteen"}
    )
    held_out = reviews("the film is great and very long", f"{numbers} twelve")
    report = augment(BY_MODEL, SEQUENCE, train, forbidden=[held_out], seed=0, substitute=substitute).report
    assert report.kept == {"mlm": 0}
    assert report.dropped == {"mlm": {"unchanged": 1, "equals_held_out": 1, "near_held_out": 1}}
    assert augment(BY_MODEL, SEQUENCE, train, forbidden=[], seed=0, substitute=substitute).report.kept == {"mlm": 2}


def test_empty_ones_and_duplicates_are_dropped() -> None:
    train = reviews("a good film indeed", "A GOOD film... indeed!", "quite another thing here")
    substitute = speaking(
        {
            "a good film indeed": "A good film, indeed",
            "A GOOD film... indeed!": " ?! ",
            "quite another thing here": "new words",
        }
    )
    config = AugmentConfig(methods=(Substitution(folder="m", copies=2),), label_guard=None)
    report = augment(config, SEQUENCE, train, forbidden=[], seed=0, substitute=substitute).report
    assert report.dropped == {"mlm": {"empty": 2, "duplicate": 3}}
    assert report.kept == {"mlm": 1}


def test_a_premise_that_is_shared_is_no_leak() -> None:
    premise = "the same long premise of many words stands in every side of the data"
    hypothesis = "it is short and white and small"
    index = TextIndex([(premise, hypothesis), ("other", "words")], near=0.8)
    assert index.find((premise, hypothesis)) == "equal"
    assert index.find((premise.upper() + "!", "It is short, and white and small")) == "equal"
    assert index.find((premise + " here", hypothesis)) == "near"
    assert index.find((premise, "nothing of the kind was ever said")) is None
    assert index.find(("", "")) is None
    assert similarity("a b c d", "a b c e") == pytest.approx(1 / 3)
    assert normalised("Ｆｉｌｍ, it’s — 5!") == "film it’s 5"


def test_a_sentence_in_characters_is_the_same_in_words() -> None:
    words, characters = ["包起帆", "说", "１９９８年", "要", "做", "的", "："], list("包起帆说１９９８年要做的：")
    index = TextIndex([(" ".join(words),)], near=0.8)
    assert index.find((" ".join(characters),)) == "equal"
    assert index.find((" ".join(characters[:-4]),)) is None


def test_the_guard_drops_what_turns_a_label_round() -> None:
    good = [f"a great and moving film about thing{i}" for i in range(30)]
    bad = [f"a dull and tedious film about item{i}" for i in range(30)]
    table = pa.concat_tables([reviews(*good), reviews(*bad, label="rotten")])
    table = table.set_column(0, "id", pa.array([str(i) for i in range(60)]))
    substitute = speaking({text: text.replace("great", "dull").replace("tedious", "boring") for text in (*good, *bad)})
    strict = BY_MODEL.model_copy(update={"label_guard": 2.0})
    result = augment(strict, SEQUENCE, table, forbidden=[], seed=0, substitute=substitute)
    assert result.report.dropped["mlm"]["label_in_doubt"] >= 30
    assert "fresh" not in {row["label"] for row in copies(result)}
    assert augment(BY_MODEL, SEQUENCE, table, forbidden=[], seed=0, substitute=substitute).report.kept == {"mlm": 60}
    guard = LabelGuard([*good, *bad], ["fresh"] * 30 + ["rotten"] * 30)
    (fall,) = guard.fall(["a great film"], ["a dull film"], ["fresh"])
    (gain,) = guard.fall(["a dull film"], ["a great film"], ["fresh"])
    assert fall == pytest.approx(-gain)
    assert fall > 4


def test_no_more_copies_than_the_share_allows() -> None:
    table = reviews(*(f"this is quite a long review of the film number {chr(97 + i)}x" for i in range(20)))
    config = AugmentConfig(methods=(Swap(copies=4),), max_share=0.5, label_guard=None)
    result = augment(config, SEQUENCE, table, forbidden=[], seed=0)
    assert len(copies(result)) == 20
    assert total(result.report) == 80
    assert 55 <= result.report.dropped["swap"]["over_share"] <= 60, "but for duplicates"


def test_protected_words_stay() -> None:
    config = AugmentConfig(methods=(Deletion(rate=0.9, copies=4),), protected=("Great", "film"), label_guard=None)
    made = copies(
        augment(config, SEQUENCE, reviews("This great film is a very long and old one"), forbidden=[], seed=0)
    )
    assert made
    assert all({"great", "film"} <= set(row["text"].lower().split()) for row in made)


# ------------------------------------------------------------------------------------------------------------ by models


def test_back_translation_goes_there_and_back() -> None:
    calls: list[str] = []

    def there(texts: Any) -> list[str]:
        calls.append("there")
        return [text[::-1] for text in texts]

    def back(texts: Any) -> list[str]:
        calls.append("back")
        return [text[::-1].replace("great", "splendid") for text in texts]

    config = AugmentConfig(methods=(BackTranslation(there="a", back="b"),), label_guard=None)
    result = augment(config, SEQUENCE, reviews("a great film", "a film"), forbidden=[], seed=0, translate=(there, back))
    assert [row["text"] for row in copies(result)] == ["a splendid film"]
    assert calls == ["there", "back"]
    with pytest.raises(AugmentError, match="translate"):
        augment(config, SEQUENCE, reviews("a great film"), forbidden=[], seed=0)
    with pytest.raises(AugmentError, match="tags"):
        augment(config, TokenTask(), tagged_table(), forbidden=[], seed=0, translate=(there, back))
    pair = (there, lambda texts: ["one"])
    with pytest.raises(AugmentError, match="1 texts came back for 2"):
        augment(config, SEQUENCE, reviews("a great film", "a film"), forbidden=[], seed=0, translate=pair)


def test_a_models_words_take_the_place_of_tokens_but_not_of_entities() -> None:
    spoken = {"Yesterday": "Today", "Tom": "Bob", "sunny": "rainy"}

    def substitute(texts: Any, rng: np.random.Generator) -> list[str]:
        words = [[spoken.get(word, word) for word in text.split(" ")] for text in texts]
        return [" ".join(words[0]), " ".join(words[1][1:])]

    result = augment(BY_MODEL, TokenTask(), tagged_table(), forbidden=[], seed=0, substitute=substitute)
    (row,) = copies(result)
    assert row["tokens"] == ["Today", "Tom", "Cruise", "went", "to", "rainy", "Rome", "."]
    assert result.report.dropped["mlm"] == {"tokens_lost": 1}
    with pytest.raises(AugmentError, match="substitute"):
        augment(BY_MODEL, TokenTask(), tagged_table(), forbidden=[], seed=0)


# ------------------------------------------------------------------------------------------------------------- refusals


def test_what_cannot_be_done_is_said() -> None:
    with pytest.raises(ConfigError, match="needs a thesaurus"):
        validate(AugmentConfig, {"methods": [{"type": "synonyms"}]})
    with pytest.raises(AugmentError, match="entities is for token tasks"):
        augment(AugmentConfig(methods=(Entities(),)), SEQUENCE, reviews("a film"), forbidden=[], seed=0)
    with pytest.raises(AugmentError, match=r"needs columns \['text_b'\]"):
        augment(PLAIN, PairTask(), reviews("a"), forbidden=[], seed=0)
    done = augment(PLAIN, SEQUENCE, reviews("a film that is long enough"), forbidden=[], seed=0).table
    with pytest.raises(AugmentError, match="already"):
        augment(PLAIN, SEQUENCE, done, forbidden=[], seed=0)
    empty = augment(PLAIN, SEQUENCE, reviews("a").slice(0, 0), forbidden=[], seed=0)
    assert empty.table.num_rows == 0
    assert empty.report.share == 0


def test_the_report_is_read_again_and_shows_texts_as_texts() -> None:
    table = reviews("A <b>bold</b> | film *with* marks and many words", "Another long text of many words here")
    report = augment(PLAIN, SEQUENCE, table, forbidden=[], seed=0).report
    assert AugmentReport.model_validate_json(report.model_dump_json()) == report
    shown = report.markdown()
    assert "80.0% of the training side" in shown
    assert "| swap | 2 |" in shown
    assert len(report.examples) == 8
    assert "\\<b\\>" in shown
    assert "<b>" not in shown


# ------------------------------------------------------------------------------------------------------------ real data


@pytest.fixture(scope="module")
def film_reviews(data_folder: Path) -> pa.Table:
    with bz2.open(data_folder / "film-reviews" / "rotten_tomatoes_corpus_full.csv.bz2", "rt", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["category"] != "plot"][::40]
    texts = list(dict.fromkeys((row["text"], row["category"]) for row in rows))
    ids = [f"r{i}" for i in range(len(texts))]
    return pa.table({"id": ids, "text": [text for text, _ in texts], "label": [label for _, label in texts]})


def test_real_reviews(film_reviews: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "synonyms.txt"
    path.write_text("film, movie, picture\nfunny, amusing, hilarious\nboring, dull, tedious\nstory, plot\n", "utf-8")
    config = AugmentConfig(
        methods=(Synonyms(), Insertion(), Swap(), Deletion(), Characters()), thesaurus=SynonymFile(path=str(path))
    )
    train, test = film_reviews.slice(0, 250), film_reviews.slice(250)
    result = augment(config, SEQUENCE, train, forbidden=[test], seed=0)
    assert total(result.report) == 1250
    assert result.report.augmented > 800
    labels = dict(zip(train["id"].to_pylist(), train["label"].to_pylist(), strict=True))
    held_out = {normalised(text) for text in test["text"].to_pylist()}
    for row in copies(result):
        assert row["label"] == labels[row["augmented_from"]]
        assert normalised(row["text"]) not in held_out
        assert row["text"].strip()
    elsewhere = train.set_column(0, "id", pa.array([f"x{i}" for i in range(250)]))
    strict = config.model_copy(update={"near": 0.3})
    report = augment(strict, SEQUENCE, train, forbidden=[elsewhere], seed=0).report
    near = sum(counts.get("near_held_out", 0) for counts in report.dropped.values())
    assert near > 0.8 * result.report.augmented, "had their examples been in the test side too, most would be leaks"


def test_chinese_reviews(data_folder: Path, tmp_path: Path) -> None:
    lines = (data_folder / "chinese" / "pos.txt").read_text("utf-8").splitlines()
    texts = list(dict.fromkeys(line for line in lines[:200] if line.strip()))
    path = tmp_path / "words.txt"
    path.write_text("喜欢, 喜爱\n质量, 品质\n便宜, 实惠\n", "utf-8")
    config = AugmentConfig(
        methods=(Synonyms(), Swap(max_distance=2), Deletion(), Characters(), Insertion(words="own")),
        thesaurus=SynonymFile(path=str(path)),
        language="zh",
    )
    result = augment(config, SEQUENCE, reviews(*texts), forbidden=[], seed=0)
    made = copies(result)
    assert {row["augmented_by"] for row in made} == {"synonyms", "swap", "deletion", "characters", "insertion"}
    source = dict(zip(reviews(*texts)["id"].to_pylist(), texts, strict=True))
    for row in made:
        before = source[row["augmented_from"]]
        assert row["text"].count(" ") <= before.count(" ") + 3, "no blanks between characters"
        assert row["text"].count("不") >= before.count("不"), "negations stay"
    assert any("喜爱" in row["text"] for row in made)


def test_a_file_of_synonyms_is_read_with_care(tmp_path: Path) -> None:
    path = tmp_path / "synonyms.txt"
    path.write_text("# films\nfilm, Movie\tpicture\n\nmovie, flick # slang\n", "utf-8")
    words = FileThesaurus(path)
    assert words("movie") == ("film", "picture", "flick")
    assert words("film") == ("Movie", "picture")
    assert words("house") == ()
