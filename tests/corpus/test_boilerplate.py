from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from tasks.text.quality.boilerplate import Boilerplate, LineCounter, line_key, merged

HOST = "example.org"
LICENCE = (
    "This page may be copied by anybody who asks nobody, provided that nobody is asked to pay anything for it at all."
)


def counted(*pages: list[str], host: str = HOST) -> LineCounter:
    counter = LineCounter()
    for page in pages:
        counter.add_page(host, page)
    return counter


def test_boilerplate_is_what_many_pages_of_the_site_show() -> None:
    pages = [["Home · Films", "Home · Films", f"Text of page {'abc'[n]}", f"{n} reviews"] for n in range(3)]
    found = merged([counted(*pages).counts()], 3)
    text = "- home | films\nText of page b\n99 reviews"
    assert found.own(text, [1, 2, 3], HOST) == ("Text of page b", [2])
    assert found.own(text, (), HOST) == ("Text of page b", ())
    assert found.own(text, [1, 2, 3], "other.org") == (text, [1, 2, 3])
    assert merged([counted(*pages).counts()], 4).own(text, [1, 2, 3], HOST) == (text, [1, 2, 3])


def test_a_line_counts_once_a_page() -> None:
    assert merged([counted(["x"] * 9).counts()], 2).own("x", (), HOST) == ("x", ())


def test_paragraphs_have_a_threshold_of_their_own() -> None:
    counts = counted(*[["Menu", LICENCE]] * 3).counts()
    assert merged([counts], 9, 3).own(f"Menu\n{LICENCE}", (), HOST) == ("Menu", ())
    assert merged([counts], 3, 9).own(f"Menu\n{LICENCE}", (), HOST) == (LICENCE, ())
    assert merged([counts], 3).own(f"Menu\n{LICENCE}", (), HOST) == ("", ())


@pytest.mark.parametrize(("one", "other"), [("A-b 12", "ab9"), ("Été n° 3", "été N°4"), ("ÉTÉ", "été")])
def test_lines_are_compared_by_letters(one: str, other: str) -> None:
    assert line_key(HOST, one) == line_key(HOST, other)
    assert line_key(HOST, one) != line_key("other.org", one)


def test_parts_in_any_order_and_files_give_the_same(tmp_path: Path) -> None:
    rng = random.Random(5)
    pages = [(f"h{rng.randrange(4)}", [f"line {chr(97 + rng.randrange(20))}" for _ in range(9)]) for _ in range(200)]
    whole, parts = LineCounter(), [LineCounter() for _ in range(7)]
    for number, (host, lines) in enumerate(pages):
        whole.add_page(host, lines)
        parts[number % 7].add_page(host, lines)
    for number, part in enumerate(parts):
        part.save(tmp_path / f"{number}.npy")
    files = [tmp_path / f"{number}.npy" for number in (3, 1, 0, 2, 6, 5, 4)]
    keys = merged([whole.counts()], 15).keys
    assert 0 < len(keys) < len(whole.counts())
    assert np.array_equal(merged(files, 15).keys, keys)
    assert np.array_equal(merged([part.counts() for part in parts], 15).keys, keys)
    assert np.all(np.diff(keys.astype(object)) > 0)


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    found = merged([counted(["a"], ["a"]).counts()], 2)
    found.save(tmp_path / "boilerplate.npy")
    assert Boilerplate.load(tmp_path / "boilerplate.npy").own("a\nb", (), HOST) == ("b", ())


def test_nothing_counted_is_nothing_found() -> None:
    assert merged([], 2).own("a", [0], HOST) == ("a", [0])
    assert merged([LineCounter().counts()], 2).own("a", [0], HOST) == ("a", [0])


def test_the_buffer_is_emptied_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.text.quality.boilerplate._BUFFERED_KEYS", 3)
    assert (
        merged([counted(*[["a", f"b{chr(97 + n)}"] for n in range(10)]).counts()], 10).own("a\nba", (), HOST)[0] == "ba"
    )
