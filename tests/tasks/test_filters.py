from __future__ import annotations

import pytest

from tasks.config import CleanConfig
from tasks.text.filters import QUALITY, LineCounts, bad_label, quality, unsentenced, wrong_language

CONFIG = CleanConfig(min_characters=10, max_characters=200, labels=("fresh", "rotten"), boilerplate_pages=3)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty text"),
        ("Crummy.", "too short"),
        ("word " * 50, "too long"),
        ("12.50 | 13.70 | 99 (a)", "few letters"),
        ("हिन्दी में एक वाक्य", None),  # its vowels are marks
        ("one line\none line\nanother line", "repeated lines"),
        ("A neat trick, bundling perversity and romance.", None),
    ],
)
def test_quality(text: str, reason: str | None) -> None:
    assert quality(text, CONFIG) == reason


def test_a_list_is_not_prose() -> None:
    filters = (*QUALITY, unsentenced)
    assert quality("Films: A\n- Abandon 12 reviews\n- About a Boy 30 reviews", CONFIG, filters) == "no sentences"
    assert quality("About us\nWe collect what critics write about films.”", CONFIG, filters) is None


@pytest.mark.parametrize(
    ("label", "reason"), [("fresh", None), (None, None), ("", "no label"), ("so-so", "unknown label")]
)
def test_labels(label: str | None, reason: str | None) -> None:
    assert bad_label(label, CONFIG) == reason


def test_language() -> None:
    assert wrong_language("en", 0.9, CONFIG) is None
    assert wrong_language("es", 0.9, CONFIG) == "wrong language"
    assert wrong_language("en", 0.4, CONFIG) == "uncertain language"


def test_boilerplate_is_what_many_pages_show() -> None:
    lines = LineCounts()
    for number in range(3):
        lines.add_page(["Home · Films", "Home · Films", f"Text of page {'abc'[number]}", f"{number} reviews"])
    assert lines.own("- home | films\nText of page b\n99 reviews", CONFIG) == "Text of page b"
