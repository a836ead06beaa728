"""Questions that their words answer, and those that nothing answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bert_core.config import SpanTask
from tasks.classical import fit
from tasks.classical.scoring import word_f1
from tasks.config.classical import ClassicalConfig

PLACES = ("Oslo", "Lima", "Cairo", "Quito", "Hanoi", "Accra", "Dakar", "Minsk", "Sofia", "Tunis")
PEOPLE = ("Ada Byron", "Max Born", "Emmy Noether", "Paul Dirac", "Rosa Parks")


def case(number: int, kind: int, *, answerable: bool = True) -> dict[str, Any]:
    place, other, person = PLACES[number % 10], PLACES[(number + 3) % 10], PEOPLE[number % 5]
    year, people = 1700 + 13 * number, 40 + number
    context = (
        f"The museum of {place} was opened in {year}. It was designed by {person} for the old town. "
        f"The library of {other} employs {people} clerks in its halls."
    )
    question, answer = (
        (f"When was the museum of {place} opened?", str(year)),
        (f"How many clerks does the library of {other} employ?", str(people)),
        ("Who designed it for the old town?", person),
    )[kind]
    answers = [{"text": answer, "start": context.index(answer)}]
    if not answerable:
        question, answers = "Which spices improve a stew with lentils?", []
    return {"id": f"{number}-{kind}-{answerable}", "question": question, "context": context, "answers": answers}


def tables(*, unanswerable: bool) -> dict[str, pa.Table]:
    schema = pa.Table.from_pylist([case(0, 0)]).schema
    found = {}
    for name, start in (("train", 0), ("validation", 100), ("test", 200)):
        rows = [case(start + n, n % 3, answerable=not unanswerable or n % 2 == 0) for n in range(30)]
        found[name] = pa.Table.from_pylist(rows, schema=schema)
    return found


def f1(gold: pa.Table, answers: pa.Table) -> float:
    rows = zip(gold["answers"].to_pylist(), answers["answer"].to_pylist(), strict=True)
    return float(np.mean([word_f1(a[0]["text"], given) if a else not given for a, given in rows]))


@pytest.mark.parametrize("unanswerable", [False, True])
def test_words_of_the_question_lead_to_the_answer(unanswerable: bool) -> None:
    data = tables(unanswerable=unanswerable)
    rivals = fit(ClassicalConfig(), SpanTask(), data, seed=1)
    found = {name: f1(data["test"], rival.answers) for name, rival in rivals.items()}
    assert found["lexical"] > 0.9, rivals["lexical"].answers.to_pylist()
    assert found["first_sentence"] < 0.6
    for rival in rivals.values():
        contexts = data["test"]["context"].to_pylist()
        given = rival.answers["answer"].to_pylist()
        assert all(answer in context for answer, context in zip(given, contexts, strict=True))
        assert np.isfinite(rival.answers["score"].to_numpy()).all()
        assert np.isclose(rival.facts["validation_f1"], f1(data["validation"], rival.validation))
    assert (rivals["lexical"].facts["threshold"] > 0) == unanswerable
    assert ("" in rivals["lexical"].answers["answer"].to_pylist()) == unanswerable


def test_chinese_and_empty_contexts() -> None:
    rows = [
        {
            "id": "1",
            "question": "谁写了这本书？",
            "context": "天气很好。鲁迅写了这本书。",
            "answers": [{"text": "鲁迅", "start": 5}],
        },
        {"id": "2", "question": "Who?", "context": "", "answers": []},
        {"id": "3", "question": "", "context": "Nothing was asked.", "answers": []},
    ]
    table = pa.Table.from_pylist(rows)
    rivals = fit(
        ClassicalConfig(), SpanTask(no_answer="no"), dict.fromkeys(("train", "validation", "test"), table), seed=1
    )
    answers = rivals["lexical"].answers["answer"].to_pylist()
    assert answers[0] == "鲁迅"
    assert answers[1] == ""
