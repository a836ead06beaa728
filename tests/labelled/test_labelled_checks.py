"""What the report says of data with a known fault, and of real data."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bert_core.config import ChoiceTask, PairTask, SequenceTask, Task, TokenTask
from bert_core.tokenizer import load
from tasks.config.data import DataConfig
from tasks.labelled import DataReport, LabelledData, load_dataset
from tests.labelled.labelled_files import check_accounts, dropped, jsonl, loaded, reviews, sentence, three_sides


def with_tokenizer(home: Path, minilm: Path, task: Task, max_tokens: int, **config: Any) -> LabelledData:
    data = load_dataset(DataConfig(**config), task, home=home, seed=1, tokenizer=load(minilm), max_tokens=max_tokens)
    check_accounts(data)
    return data


def test_repeats_and_contradictions(tmp_path: Path) -> None:
    rows = [*reviews(60), *reviews(60)[:5], {**reviews(60)[7], "label": "fresh"}]
    jsonl(tmp_path / "a.jsonl", rows)
    data = loaded(tmp_path, train="a.jsonl")
    assert dropped(data) == {"repeated example": 5}
    conflict = data.report.of("conflicting-labels")[0]
    assert (conflict.severity, conflict.counts) == ("warning", {"equal text with another label": 2})
    assert "[rotten]" in conflict.examples[0]
    assert "[fresh]" in conflict.examples[0]
    both = loaded(tmp_path, train="a.jsonl", conflicts="drop")
    assert dropped(both) == {"repeated example": 5, "equal text with another label": 2}
    assert dropped(loaded(tmp_path, train="a.jsonl", repeats="keep")) == {}


def test_imbalance_and_rare_and_absent_classes(tmp_path: Path) -> None:
    train = reviews(200, ("a",)) + reviews(5, ("b",), 300)
    data = loaded(tmp_path, **three_sides(tmp_path, train, reviews(40, ("a",), 400)))
    assert "'a' is 40 times as frequent as 'b'" in data.report.of("class-balance")[0].message
    assert data.report.of("rare-classes")[0].counts == {"b": 5}
    assert len(data.report.of("absent-classes")) == 2
    assert data.report.worst == "warning"


def test_labels_that_are_distributed_otherwise(tmp_path: Path) -> None:
    train, rest = reviews(200, ("a", "b")), reviews(200, ("a", "a", "a", "b"), 400)
    data = loaded(tmp_path, **three_sides(tmp_path, train, rest))
    assert data.report.of("label-shift")[0].counts == {"total variation distance": 0.25}
    assert not loaded(tmp_path, train="train.jsonl").report.of("label-shift")


def test_a_side_in_another_language(tmp_path: Path) -> None:
    russian = [
        {"text": f"этот фильм мне очень понравился, номер {i} из списка {i * 37}", "label": "ab"[i % 2]}
        for i in range(20)
    ]
    sides = three_sides(tmp_path, reviews(60, ("a", "b")), russian)
    finding = loaded(tmp_path, **sides, repeats="keep").report.of("script-shift")[0]
    assert "validation is in ru" in finding.message
    assert "100% of the letters are of other scripts" in finding.message


def test_lengths_against_the_models_limit(tmp_path: Path, minilm: Path) -> None:
    rows = [{"text": f"{'word ' * (10 if i % 4 else 40)}{i}", "label": "ab"[i % 2]} for i in range(100)]
    sides = three_sides(tmp_path, rows, [{**row, "text": f"short {i}"} for i, row in enumerate(rows)])
    data = with_tokenizer(tmp_path, minilm, SequenceTask(), 32, **sides)
    tokens = next(each for each in data.report.lengths if (each.side, each.unit) == ("train", "tokens"))
    assert (tokens.median, tokens.longest, tokens.over) == (13, 43, 25)  # [CLS], words, number, [SEP]
    finding = data.report.of("length")[0]
    assert (finding.severity, finding.counts) == ("warning", {"over": 25, "longest": 43})
    assert "25 of 100 train examples (25.0%) have more than 32 tokens" in finding.message


@pytest.mark.parametrize(
    ("task", "row", "expected"),
    [
        (PairTask(), {"text": "one two", "text_b": "three", "label": 1}, 3 + 3),
        (ChoiceTask(), {"text": "one two", "choices": ["three", "four five six"], "label": 1}, 5 + 3),
        (TokenTask(), {"tokens": ["one", "two"], "tags": ["B-X", "O"]}, 2 + 2),
    ],
)
def test_lengths_count_special_tokens(
    task: Task, row: dict[str, Any], expected: int, tmp_path: Path, minilm: Path
) -> None:
    other = {**row, "label": 0} if "label" in row else row
    sides = three_sides(tmp_path, [row, other], [row, other])
    policy = {"repeats": "keep"}
    data = with_tokenizer(tmp_path, minilm, task, 64, **sides, **policy)
    assert {each.longest for each in data.report.lengths if each.unit == "tokens"} == {expected}


def test_words_that_the_vocabulary_does_not_know(tmp_path: Path, minilm: Path) -> None:
    rows = [{**row, "text": f"{row['text']} ☃☃ ꙮ"} for row in reviews(60)]
    jsonl(tmp_path / "a.jsonl", rows)
    data = with_tokenizer(tmp_path, minilm, SequenceTask(), 64, train="a.jsonl")
    finding = data.report.of("unknown-tokens")[0]
    train = data.sides["train"].num_rows
    assert finding.severity == "warning"
    assert finding.counts["unknown"] == 2 * train
    assert f"'☃☃' ({train})" in finding.message
    assert data.report.of("fragmentation"), "words such as film7919 are many pieces"


def test_sentences_of_one_token_look_like_missing_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text(
        "".join(f"word{i * 7919}\t{'B-X' if i % 2 else 'O'}\n\n" for i in range(100)), "utf-8"
    )
    assert loaded(tmp_path, TokenTask(), train="a.conll").report.of("one-token-sentences")[0].severity == "warning"


def test_where_the_right_choice_stands_is_shown(tmp_path: Path) -> None:
    rows = [{"text": sentence(i), "choices": ["x", "y"], "label": int(i % 10 == 0)} for i in range(200)]
    jsonl(tmp_path / "a.jsonl", rows)
    data = loaded(tmp_path, ChoiceTask(), train="a.jsonl")
    assert [row.label for row in data.report.labels] == ["choice 0", "choice 1"]
    assert data.report.labels[0].share > 0.8


def test_markdown_is_escaped_and_complete(tmp_path: Path) -> None:
    rows = [*reviews(60, ("a|b", "<script>")), {"text": "", "label": "a|b"}]
    jsonl(tmp_path / "a.jsonl", rows)
    data = loaded(tmp_path, train="a.jsonl")
    text = data.report.markdown()
    assert "<script>" not in text
    assert r"| a\|b |" in text
    for part in ("### Findings", "### Labels", "### Lengths", "### Files", "empty text: 1", "a.jsonl:61"):
        assert part in text
    assert DataReport.model_validate_json(data.report.model_dump_json()).markdown() == text


def test_a_real_slice_of_film_reviews(data_folder: Path, minilm: Path) -> None:
    file = "film-reviews/rotten_tomatoes_corpus_full.csv.bz2"
    config = {"train": file, "columns": {"label": "category"}, "group": "movie_name", "unseen_labels": "drop"}
    task = SequenceTask(labels=("rotten", "fresh"))
    data = with_tokenizer(data_folder, minilm, task, 64, **config, slices="movie_name", max_train=500)
    assert dropped(data)["label that the recipe does not name"] == 1_083
    assert dropped(data)["empty text"] == 14
    films = [set(table["movie_name"].to_pylist()) for table in data.sides.values()]
    assert not films[0] & films[1]
    assert not (films[0] | films[1]) & films[2]
    assert data.sides["train"].num_rows == 500
    assert "train is en" in data.report.of("scripts")[0].message


def test_a_real_slice_of_chinese_reviews_has_its_repeats_and_contradictions(data_folder: Path, tmp_path: Path) -> None:
    rows = [
        {"text": line, "label": side}
        for side in ("pos", "neg")
        for line in (data_folder / f"chinese/{side}.txt").read_text("utf-8").split("\n")
        if line
    ]
    jsonl(tmp_path / "a.jsonl", rows)
    data = loaded(tmp_path, train="a.jsonl", conflicts="drop")
    assert dropped(data)["equal text with another label"] == 2 * 47
    assert sum(table.num_rows for table in data.sides.values()) == 8_379 + 9_078 - 2 * 47
    assert "train is zh" in data.report.of("scripts")[0].message


def test_a_hundred_thousand_rows_take_seconds(tmp_path: Path, minilm: Path) -> None:
    words = [word for word in (minilm / "vocab.txt").read_text("utf-8").split("\n") if word[:1].isalpha()]
    drawn = np.random.default_rng(0).integers(len(words), size=(100_000, 12))
    rows = [{"text": " ".join(words[i] for i in line), "label": "ab"[n % 2]} for n, line in enumerate(drawn.tolist())]
    jsonl(tmp_path / "a.jsonl", rows)
    started = time.process_time()
    data = load_dataset(DataConfig(train="a.jsonl"), SequenceTask(), home=tmp_path, seed=1)
    assert time.process_time() - started < 30  # 5 s where nothing else runs
    assert sum(table.num_rows for table in data.sides.values()) > 99_000
