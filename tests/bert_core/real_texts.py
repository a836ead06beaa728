"""Real texts and hostile ones, for what must hold for any text."""

from __future__ import annotations

import bz2
import csv
import random
import re
import sys
from pathlib import Path

ODD = [
    "",
    " ",
    "\n\n  b \t\r\n c  ",
    "a\u00a0 b \u3000c \x85 d",
    "x'sy 's''s don't, (can't) \"'ll they'RE 5's",
    "a \u0301b ≠≠ !\u0301 今\u0301",
    "\u200b \u200b one two \u200b three.",
    "🙂 👍🏽 x" * 30,
    "ﬁ ﬂ ① ㈱ \x00 a\x00b \x1c y",
    "ｆｕｌｌ　ｗｉｄｔｈ，今天。Ａ１",
    "Straße ΣΊΣΥΦΟΣ İstanbul ¨ ´x",
    "'" * 20 + "s t",
    "[CLS] <s> [SEP]x <mask> </s>",
    "\u4dc0 x\u4dffy 㐀䶿x \U00020000y",
    "x" * 300,
]
LETTERS = "ab'S ,.\n\t 1天，。é\u0301\u00a0\u200b“’s🙂\u3000"
SENTENCE_END = re.compile(r"[.!?。！？]['\"”]?\s*")


def film_reviews(folder: Path, count: int) -> list[str]:
    csv.field_size_limit(sys.maxsize)
    with bz2.open(folder / "film-reviews/rotten_tomatoes_corpus_full.csv.bz2", "rt", encoding="utf-8") as lines:
        return [row["text"] for row, _ in zip(csv.DictReader(lines), range(count), strict=False)]


def chinese_reviews(folder: Path, count: int) -> list[str]:
    return (folder / "chinese/pos.txt").read_text("utf-8").split("\n")[:count]


def random_texts(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choice(LETTERS) for _ in range(rng.randrange(60))) for _ in range(count)]


def sentences(text: str) -> list[int]:
    """Character offsets, as a splitter by rules finds them."""
    return [0, *(match.end() for match in SENTENCE_END.finditer(text) if match.end() < len(text))]
