"""Real texts for the encoding benchmark: the main text of three Debian sites, film reviews, Chinese reviews."""

from __future__ import annotations

import bz2
import csv
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tasks.text.extraction.page import Extracted, extract

SENTENCE_END = re.compile(r"[.!?]['\"”]?\s+|[。！？]\s*|\n")


def site_texts(files: Iterable[Path]) -> Iterator[str]:
    for file in files:
        found = extract(file.read_bytes())
        if isinstance(found, Extracted):
            yield found.text


def film_reviews(data: Path) -> Iterator[str]:
    csv.field_size_limit(sys.maxsize)
    with bz2.open(data / "film-reviews/rotten_tomatoes_corpus_full.csv.bz2", "rt", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            yield row["text"]


def chinese_reviews(data: Path) -> Iterator[str]:
    for name in ("pos", "neg"):
        yield from dict.fromkeys((data / f"chinese/{name}.txt").read_text("utf-8").split("\n"))


def sentence_offsets(text: str) -> list[int]:
    """Characters, by a rule that is quick: what a boundary is does not matter here, only that there are some."""
    return [0, *(match.end() for match in SENTENCE_END.finditer(text) if match.end() < len(text))]
