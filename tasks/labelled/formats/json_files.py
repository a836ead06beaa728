"""JSON Lines, arrays of objects, and SQuAD's JSON (Rajpurkar et al., 2016 and 2018, arXiv:1606.05250, 1806.03822)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from tasks.labelled.formats.row import Row
from tasks.labelled.ledger import LabelledDataError


def jsonl_rows(name: str, text: str) -> Iterator[Row]:
    """A row for each line; a line that is no JSON object is told, blank lines are passed over."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            yield Row(number, {"text": line}, "not JSON", str(error))
            continue
        yield _object(number, value)


def json_rows(name: str, text: str) -> Iterator[Row]:
    """Rows of an array of objects, or of SQuAD's articles (number: of the question). An article's title is kept.

    Raises:
        LabelledDataError: another kind of JSON.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise LabelledDataError(f"{name}: not JSON: {error}. One object a line is format jsonl") from None
    articles = value.get("data") if isinstance(value, dict) else None
    if isinstance(articles, list) and all(isinstance(each, dict) and "paragraphs" in each for each in articles):
        yield from _squad(name, articles)
    elif isinstance(rows := articles if isinstance(articles, list) else value, list):
        for number, each in enumerate(rows, 1):
            yield _object(number, each)
    else:
        found = f"an object with keys {', '.join(list(value)[:10])}" if isinstance(value, dict) else repr(value)[:80]
        raise LabelledDataError(
            f'{name}: {found}; legal: an array of objects, or SQuAD\'s {{"data": [{{"paragraphs": …}}]}}'
        )


def _object(number: int, value: Any) -> Row:
    if isinstance(value, dict):
        return Row(number, value)
    return Row(number, {"text": repr(value)}, "not a JSON object", repr(value)[:80])


def _squad(name: str, articles: list[Any]) -> Iterator[Row]:
    number = 0
    try:
        for article in articles:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    number += 1
                    answers = [] if question.get("is_impossible") else question["answers"]
                    yield Row(
                        number,
                        {
                            **{key: value for key, value in question.items() if not isinstance(value, list | dict)},
                            "title": article.get("title"),
                            "context": paragraph["context"],
                            "answers": answers,
                        },
                    )
    except (KeyError, TypeError, AttributeError) as error:
        raise LabelledDataError(
            f"{name}: after question {number}: {error!r}: SQuAD has data > paragraphs > context, qas > question, id, "
            f"answers > text, answer_start"
        ) from None
