"""Kinds, schemes and labels out of the training side; what cannot be learned is an error that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bert_core.config import PairTask, SequenceTask, SpanTask, Task, TokenTask
from tasks.labelled import LabelledDataError
from tasks.labelled.schema import description
from tests.labelled.labelled_files import dropped, jsonl, loaded, reviews, sentence, three_sides


def tagged(count: int, tags: list[str], first: int = 0) -> list[dict[str, Any]]:
    return [{"tokens": sentence(first + i).split()[: len(tags)], "tags": tags} for i in range(count)]


def test_labels_are_those_of_training_sorted(tmp_path: Path) -> None:
    data = loaded(tmp_path, **three_sides(tmp_path, reviews(30, ("b", "c", "a")), reviews(9, ("a", "b", "c"), 100)))
    assert isinstance(data.task, SequenceTask)
    assert data.task.labels == ("a", "b", "c")
    assert data.report.inferred == ("3 labels: those of the training side",)
    assert description(data.task) == "one of 3 classes for each text"


def test_labels_keep_the_order_of_the_recipe(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", reviews(40))
    data = loaded(tmp_path, SequenceTask(labels=("rotten", "fresh")), train="a.jsonl")
    assert [row.label for row in data.report.labels] == ["rotten", "fresh"]


@pytest.mark.parametrize(
    ("task", "column", "values", "expected"),
    [
        (SequenceTask(), "label", [["a"], ["a", "b"], []], SequenceTask(kind="multi", labels=("a", "b"))),
        (SequenceTask(), "label", [i / 7 for i in range(60)], SequenceTask(kind="regression")),
        (PairTask(), "label", [i / 7 for i in range(60)], PairTask(kind="regression")),
        (SequenceTask(), "label", list(range(3)), SequenceTask(labels=("0", "1", "2"))),
        (SequenceTask(), "label", [0.5, 1.5], SequenceTask(labels=("0.5", "1.5"))),
        (TokenTask(), "tags", [["B-X", "I-X"], ["O", "O"]], TokenTask(labels=("O", "B-X", "I-X"))),
        (TokenTask(), "tags", [["NN", "VB"], ["VB", "O"]], TokenTask(scheme="plain", labels=("NN", "O", "VB"))),
        (TokenTask(scheme="plain"), "tags", [["B-X", "O"]], TokenTask(scheme="plain", labels=("B-X", "O"))),
    ],
)
def test_kinds_and_schemes(task: Task, column: str, values: list[Any], expected: Task, tmp_path: Path) -> None:
    def made(first: int, count: int) -> list[dict[str, Any]]:
        return [
            {"text": sentence(first + i), "text_b": "b", "tokens": sentence(first + i).split()[:2]}
            | {column: values[i % len(values)]}
            for i in range(count)
        ]

    assert loaded(tmp_path, task, **three_sides(tmp_path, made(0, 60), made(100, 30))).task == expected


def test_whether_questions_may_have_no_answer(tmp_path: Path) -> None:
    def asked(first: int, count: int, *, none: bool) -> list[dict[str, Any]]:
        contexts = [sentence(first + i) for i in range(count)]
        return [
            {"question": f"which {i}?", "context": context, "answers": []}
            if none and i % 3 == 0
            else {"question": f"which {i}?", "context": context, "answers": [{"text": context[:4], "start": 0}]}
            for i, context in enumerate(contexts)
        ]

    with_none = three_sides(tmp_path, asked(0, 30, none=True), asked(100, 9, none=True))
    task = loaded(tmp_path, SpanTask(), **with_none).task
    assert isinstance(task, SpanTask)
    assert task.no_answer == "yes"
    assert [row.label for row in loaded(tmp_path, SpanTask(), **with_none).report.labels] == ["answer", "no answer"]
    with pytest.raises(LabelledDataError, match="no_answer = 'no', and 10 training questions have no answer"):
        loaded(tmp_path, SpanTask(no_answer="no"), **with_none)
    task = loaded(tmp_path, SpanTask(), **three_sides(tmp_path, asked(0, 30, none=False), asked(99, 9, none=True))).task
    assert isinstance(task, SpanTask)
    assert task.no_answer == "no"


def test_unseen_labels_are_named_and_counted_or_dropped(tmp_path: Path) -> None:
    sides = three_sides(tmp_path, reviews(30), reviews(9, ("fresh", "mixed", "odd"), 100))
    with pytest.raises(
        LabelledDataError, match=r"validation has labels that training lacks: 'mixed' \(3\), 'odd' \(3\); training has"
    ):
        loaded(tmp_path, **sides)
    data = loaded(tmp_path, **sides, unseen_labels="drop")
    assert dropped(data) == {"label that training lacks": 12}
    assert data.sides["test"].num_rows == 3
    sides = three_sides(tmp_path, reviews(30), reviews(9, ("odd",), 100))
    with pytest.raises(
        LabelledDataError, match=r"validation: every example has a label that training lacks: 'odd' \(9\)"
    ):
        loaded(tmp_path, **sides, unseen_labels="drop")


def test_unseen_tags_take_their_sentence_along(tmp_path: Path) -> None:
    rest = tagged(5, ["B-X", "O"], 100) + tagged(5, ["B-Z", "O"], 200)
    sides = three_sides(tmp_path, tagged(30, ["B-X", "O"]), rest)
    with pytest.raises(LabelledDataError, match=r"'B-Z' \(5\)"):
        loaded(tmp_path, TokenTask(), **sides)
    data = loaded(tmp_path, TokenTask(), **sides, unseen_labels="drop")
    assert dropped(data) == {"label that training lacks": 10}


def test_labels_that_the_recipe_does_not_name(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", reviews(60, ("fresh", "rotten", "plot")))
    task = SequenceTask(labels=("rotten", "fresh"))
    with pytest.raises(LabelledDataError, match=r"training has labels 'plot' \(\d+\), and the recipe's labels are"):
        loaded(tmp_path, task, train="a.jsonl")
    data = loaded(tmp_path, task, train="a.jsonl", unseen_labels="drop")
    assert dropped(data) == {"label that the recipe does not name": 20}


def test_an_empty_class_is_an_error(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", reviews(40))
    with pytest.raises(LabelledDataError, match=r"no training example is labelled 'mixed'; there are 'fresh' \(\d+\)"):
        loaded(tmp_path, SequenceTask(labels=("fresh", "rotten", "mixed")), train="a.jsonl")
    rows = tagged(40, ["B-X", "O"])
    jsonl(tmp_path / "b.jsonl", rows)
    with pytest.raises(LabelledDataError, match="no training example is labelled 'B-Y'"):
        loaded(tmp_path, TokenTask(labels=("O", "B-X", "I-X", "B-Y", "I-Y")), train="b.jsonl")
    data = loaded(tmp_path, TokenTask(labels=("O", "B-X", "I-X")), train="b.jsonl")
    assert data.task == TokenTask(labels=("O", "B-X", "I-X")), "I-X of a type that has B-X is no empty class"


@pytest.mark.parametrize(
    ("task", "rows", "message"),
    [
        (SequenceTask(), reviews(40, ("same",)), "all training examples are labelled 'same'"),
        (TokenTask(), tagged(40, ["O", "O"]), "all training examples are labelled 'O'"),
        (
            SequenceTask(kind="regression"),
            [{"text": sentence(i), "label": 2} for i in range(40)],
            "all training targets are 2.0",
        ),
        (
            SequenceTask(kind="multi"),
            [{"text": sentence(i), "label": []} for i in range(40)],
            "no training example has any label",
        ),
        (
            SpanTask(no_answer="yes"),
            [{"question": "q", "context": sentence(i), "answers": []} for i in range(40)],
            "no training question has an answer",
        ),
        (
            SequenceTask(),
            [{"text": sentence(i), "label": f"id {i}"} for i in range(2_000)],
            "different labels, such as .*is data.columns.label the right column",
        ),
    ],
)
def test_nothing_to_learn_is_an_error(task: Task, rows: list[dict[str, Any]], message: str, tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", rows)
    with pytest.raises(LabelledDataError, match=message):
        loaded(tmp_path, task, train="a.jsonl")


def test_tags_that_are_not_bio_where_bio_is_stated_by_labels(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", tagged(40, ["NN", "VB"]))
    with pytest.raises(LabelledDataError, match=r"tag that is not BIO: 40 .*legal are O, B-X and I-X"):
        loaded(tmp_path, TokenTask(labels=("O", "B-NN", "I-NN")), train="a.jsonl")
