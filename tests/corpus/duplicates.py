"""Similarity as the book has it, and corpora of near twins: what the tests of deduplication compare with."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from tasks.artifacts import ArtifactRef, Draft
from tasks.text.documents import DOCUMENT_SCHEMA, DOCUMENTS, document_id, rows_table, write_table
from tasks.text.parts import Part
from tests.tasks.corpora import publish

Row = dict[str, Any]


def shingles(text: str, size: int) -> frozenset[str]:
    """All runs of `size` characters; a shorter text is its own only shingle."""
    return frozenset(text[start : start + size] for start in range(max(1, len(text) - size + 1)))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


def vocabulary(rng: random.Random, size: int = 400) -> list[str]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return ["".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(size)]


def sentence(rng: random.Random, words: Sequence[str], least: int = 3, most: int = 120) -> str:
    return " ".join(rng.choices(words, k=rng.randint(least, most)))


def changed(rng: random.Random, text: str, words: Sequence[str], share: float) -> str:
    """The text with about this share of its words replaced."""
    return " ".join(rng.choice(words) if rng.random() < share else word for word in text.split())


def twins(seed: int, originals: int, copies: int) -> list[str]:
    """Random texts, each followed somewhere by copies with 0 to 40% of the words replaced, in a random order."""
    rng = random.Random(seed)
    words = vocabulary(rng)
    texts = [sentence(rng, words) for _ in range(originals)]
    texts += [
        changed(rng, text, words, rng.choice((0.0, 0.01, 0.03, 0.1, 0.4))) for text in texts for _ in range(copies)
    ]
    rng.shuffle(texts)
    return texts


def document(text: str, url: str, **fields: Any) -> Row:
    """A document as clean leaves it, its empty columns filled in."""
    row: Row = {"url": url, "source": "site", "language": "en", "text": text, "kind": "page", "meta": "{}"} | fields
    row.setdefault("group", row["url"])
    row.setdefault("id", document_id(row["kind"], row["group"], text))
    row = {"sentences": [0], "levels": [0] * (text.count("\n") + 1), "label": None} | row
    return {name: row.get(name, "") for name in DOCUMENT_SCHEMA.names}


def cleaned(name: str, *parts: Sequence[Row]) -> ArtifactRef:
    """A clean artifact with these parts."""

    def fill(out: Draft) -> None:
        for number, rows in enumerate(parts):
            table = rows_table([tuple(row.values()) for row in rows], DOCUMENT_SCHEMA)
            write_table(Part(out.path, number).file(DOCUMENTS), table)

    return publish("clean", name, fill)


def pages(texts: Sequence[str], parts: int, host: str = "site.example") -> list[list[Row]]:
    """Documents with an address each, spread over parts."""
    rows = [document(text, f"https://{host}/{number}") for number, text in enumerate(texts)]
    size = max(1, -(-len(rows) // parts))
    return [rows[number * size : (number + 1) * size] for number in range(parts)]
