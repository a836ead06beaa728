from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest

from tasks.artifacts import ArtifactRef, Draft
from tasks.config import DedupConfig, SplitConfig
from tasks.text.dedup import dedup
from tasks.text.documents import CorpusError
from tasks.text.parts import Serial
from tasks.text.sides import BRIDGE, side_of
from tasks.text.split import SIDES_FILE, UNMIXED, copies_of, split
from tests.tasks.corpora import documents, ignore, publish, reasons, rows
from tests.tasks.split_reference import Document, Memory, decide

CONFIG = SplitConfig()
NUMBERS = itertools.count(1)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERT_FOUNDRY_STORE", str(tmp_path / "store"))


class Nights:
    """Dedup and split, night after night."""

    def __init__(
        self, labels: Sequence[str] = (), cluster_threshold: float = 0.5, weights: dict[str, float] | None = None
    ) -> None:
        self.labels = labels
        self.weights = weights or {}
        self.config = DedupConfig(cluster_threshold=cluster_threshold)
        self.dedup: ArtifactRef | None = None
        self.split: ArtifactRef | None = None

    def run(self, texts: Sequence[tuple[str, str, str | None]]) -> dict[tuple[str, str], str]:
        """The side by (group, text)."""
        night = f"{next(NUMBERS):x}-"
        source = documents(night, texts, parts=3)
        before, sides = self.dedup, self.split
        unique = publish("dedup", night, lambda out: dedup(self.config, source, before, (), out, Serial(), ignore))
        self.dedup = unique

        def fill(out: Draft) -> None:
            split(CONFIG, unique, unique, sides, self.labels, self.weights, out, Serial(), ignore)

        self.split = publish("split", night, fill)
        return {(row["group"], row["text"]): row["split"] for row in rows(self.split)}


def review(number: int) -> str:
    """Texts of which no two are similar."""
    return " ".join(f"{word}{number * 7919 % 10007}" for word in ("film", "plot", "cast", "score", "light", "cut"))


def films(count: int, reviews: int = 2) -> list[tuple[str, str, str | None]]:
    labels = ("fresh", "rotten")
    return [
        (f"http://site/film/{film:03}", review(film * reviews + number), labels[number % 2])
        for film in range(count)
        for number in range(reviews)
    ]


def test_shares_and_groups() -> None:
    nights = Nights(labels=("fresh", "rotten"))
    sides = nights.run(films(400))
    by_film: dict[str, set[str]] = {}
    for (group, _), side in sides.items():
        by_film.setdefault(group, set()).add(side)
    assert all(len(found) == 1 for found in by_film.values())
    shares = {side: list(sides.values()).count(side) / len(sides) for side in ("train", "validation", "test")}
    assert shares == pytest.approx({"train": 0.8, "validation": 0.1, "test": 0.1}, abs=0.05)
    assert nights.split is not None
    counts = nights.split.manifest["rows"]
    assert counts["train"] + counts["validation"] + counts["test"] == counts["kept"] == counts["seen"] == 800
    assert counts["test/fresh"] == counts["test/rotten"] == counts["test"] / 2


def test_similar_texts_of_different_films_are_on_one_side() -> None:
    pairs = [
        (f"http://site/{name}/{number}", f"{review(number)} {name}", None) for number in range(60) for name in "ab"
    ]
    sides = Nights().run(pairs)
    for number in range(60):
        one, other = ((group, text) for group, text, _ in pairs if group.endswith(f"/{number}"))
        assert sides.get(one) == sides.get(other) or other not in sides  # or too similar, and dropped


def test_the_split_of_a_site_does_not_depend_on_its_port(tmp_path: Path) -> None:
    one, other = (
        decide(CONFIG, tmp_path / name, [[Document(f"{n}", f"{host}/film/{n}", f"{n}") for n in range(50)]])[0]
        for name, host in (("one", "http://127.0.0.1:1"), ("other", "https://films.org"))
    )
    assert one == other


def test_a_later_night_keeps_every_side() -> None:
    nights = Nights()
    before = nights.run(films(60))
    more = [(group, f"{text} again", label) for group, text, label in films(60, 1)]
    new_film = [("http://site/film/000-new", review(900), "fresh")]
    after = nights.run(
        [*new_film, *films(60), *[(group, review(700 + n), label) for n, (group, _, label) in enumerate(more)]]
    )
    assert {key: after[key] for key in before} == before
    for group, text in after:
        if (group, text) not in before and not group.endswith("new"):
            assert after[group, text] == next(side for (page, _), side in before.items() if page == group)
    assert after["http://site/film/000-new", review(900)] == side_of(CONFIG, "/film/000-new")


def test_a_page_that_was_away_comes_back_to_its_side() -> None:
    nights = Nights()
    before = nights.run(films(60))
    test_page = next(group for (group, _), side in before.items() if side == "test")
    nights.run([row for row in films(60) if row[0] != test_page])
    assert nights.split is not None
    assert test_page in {row["group"] for row in rows(nights.split, SIDES_FILE)}
    assert nights.run(films(60)) == before


def test_a_text_that_moved_to_another_page_keeps_its_side() -> None:
    nights = Nights()
    before = nights.run(films(60, 1))
    moved = [(group.replace("/film/", "/movie/"), text, label) for group, text, label in films(60, 1)]
    after = nights.run(moved)
    assert {text: side for (_, text), side in after.items()} == {text: side for (_, text), side in before.items()}


def test_a_new_document_that_would_bridge_is_dropped() -> None:
    nights = Nights(cluster_threshold=0.4)
    left = "a quiet film about a painter who lost her way in the long winter of her life"
    right = "and the cast is so good that nobody will ask why the plot never made any sense"
    sides = ("train", "test")
    train, test = (next(f"http://s/{n}" for n in range(99) if side_of(CONFIG, f"/{n}") == side) for side in sides)
    old = [*films(60, 1), (train, left, None), (test, right, None)]
    before = nights.run(old)
    assert (before[train, left], before[test, right]) == ("train", "test")
    bridge = f"{left} {right}"
    after = nights.run([*old, ("http://s/bridge", bridge, None)])
    assert nights.split is not None
    assert reasons(nights.split) == [(bridge, BRIDGE)]
    assert after == before


def test_new_twins_on_pages_of_different_sides(tmp_path: Path) -> None:
    """The first takes its page's side, and its twin on a page of another side goes."""
    memory = Memory({"x": "train", "y": "test"}, {"x": "A", "y": "B"})
    found = [Document("x", "A", "x"), Document("y", "B", "y"), Document("n1", "A", "c"), Document("n2", "B", "c")]
    sides, dropped = decide(CONFIG, tmp_path, [found], memory=memory)
    assert sides == {"x": "train", "y": "test", "n1": "train"}
    assert dropped == {"n2": BRIDGE}


def test_sides_spread_through_new_pages_and_clusters(tmp_path: Path) -> None:
    memory = Memory({"x": "test"}, {"x": "A"})
    chain = [Document("n3", "C", "c2"), Document("n2", "B", "c2"), Document("n1", "B", "c1"), Document("x", "A", "c1")]
    assert set(decide(CONFIG, tmp_path, [chain], memory=memory)[0].values()) == {"test"}


def test_the_same_documents_give_the_same_bytes() -> None:
    one, other = Nights(), Nights()
    one.run(films(40))
    assert one.split is not None
    content = one.split.content
    other.run(films(40))
    assert other.split is not None
    assert other.split.content == content


def test_a_side_without_a_class_is_named() -> None:
    texts = [(group, text, "fresh" if number else "rotten") for number, (group, text, _) in enumerate(films(60))]
    with pytest.raises(CorpusError, match=r"the \w+ side of the split has no document labelled 'rotten' \(train \d+"):
        Nights(labels=("fresh", "rotten")).run(texts)


def test_an_empty_side_is_named() -> None:
    with pytest.raises(CorpusError, match=r"the \w+ side of the split is empty \(train \d, .*split\.seed"):
        Nights().run(films(1))


def test_weights_mix_the_training_side_alone() -> None:
    half, twice = Nights(weights={"site": 0.5}), Nights(weights={"site": 2.25})
    half.run(films(200))
    twice.run(films(200))
    assert half.split is not None
    assert twice.split is not None
    few, many = half.split.manifest["rows"], twice.split.manifest["rows"]
    train = 400 - few["validation"] - few["test"]
    assert few["train"] == pytest.approx(train / 2, rel=0.15)
    assert many["train"] == train
    assert many["repeated by weight"] == pytest.approx(train * 1.25, rel=0.1)
    assert len(rows(twice.split)) == 400 + many["repeated by weight"]
    assert (many["validation"], many["test"]) == (few["validation"], few["test"])
    assert {reason for _, reason in reasons(half.split)} == {UNMIXED}
    assert few["kept"] + half.split.manifest["dropped"][UNMIXED] == few["seen"] == 400


def test_a_document_that_is_taken_at_a_weight_is_taken_at_every_higher_one() -> None:
    for weight in (0.1, 0.5, 0.9):
        taken = {key for key in map(str, range(500)) if copies_of(1, key, weight)}
        assert taken <= {key for key in map(str, range(500)) if copies_of(1, key, weight + 0.1)}
        assert len(taken) == pytest.approx(500 * weight, rel=0.35)
