from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tasks.artifacts import ArtifactRef
from tasks.config.dedup import DedupConfig
from tasks.text.dedup import GONE, dedup
from tasks.text.documents import CorpusError
from tasks.text.minhash import bands
from tasks.text.parts import Serial
from tests.corpus.duplicates import jaccard, shingles
from tests.tasks.corpora import documents, ignore, publish, rows

CONFIG = DedupConfig()
HEART = "Will warm your heart without making you feel guilty about it."
ABOUT = "About a Boy will warm your heart without making you feel guilty about it."
COUSIN = "Will warm your heart without making you feel like a fool in the dark."
OTHER = "Not a schlocky creature feature but something far more stylish."


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERT_FOUNDRY_STORE", str(tmp_path / "store"))


def deduplicated(
    *texts: tuple[str, str, str | None],
    night: str = "1",
    previous: ArtifactRef | None = None,
    against: Sequence[ArtifactRef] = (),
    takedown: Path | None = None,
) -> ArtifactRef:
    source = documents(night, texts)
    return publish(
        "dedup",
        night,
        lambda out: dedup(CONFIG, source, previous, against, out, Serial(), ignore, takedown),
    )


def kept(ref: ArtifactRef) -> list[tuple[str, str]]:
    return [(row["group"], row["text"]) for row in rows(ref)]


def test_exact_duplicates_by_normalised_text() -> None:
    ref = deduplicated(("a", HEART, "fresh"), ("b", HEART.upper() + " ", "fresh"), ("c", f"\n{HEART}", "rotten"))
    assert kept(ref) == [("a", HEART)]
    rejects = rows(ref, "rejects")
    assert [row["reason"] for row in rejects] == ["exact duplicate", "exact duplicate, other label"]
    assert {row["duplicate_of"] for row in rejects} == {rows(ref)[0]["id"]}


def test_near_duplicates_are_dropped_and_similar_ones_clustered() -> None:
    ref = deduplicated(("a", HEART, None), ("b", ABOUT, None), ("c", COUSIN, None), ("d", OTHER, None))
    assert [text for _, text in kept(ref)] == [HEART, COUSIN, OTHER]
    first, cousin, other = rows(ref)
    assert first["cluster"] == cousin["cluster"] == min(first["id"], cousin["id"])
    assert other["cluster"] == other["id"]
    (reject,) = rows(ref, "rejects")
    assert (reject["reason"], reject["duplicate_of"]) == ("near duplicate", first["id"])
    assert reject["similarity"] == jaccard(shingles(HEART.lower(), 5), shingles(ABOUT.lower(), 5)) > 0.8
    assert ref.manifest["rows"] == {"seen": 4, "kept": 3, "clusters": 1, "clustered": 2, "gone": 0}


def test_texts_shorter_than_a_shingle() -> None:
    ref = deduplicated(("a", "好", None), ("b", "好", None), ("c", "好 ", None), ("d", "差", None))
    assert kept(ref) == [("a", "好"), ("d", "差")]


def test_the_night_before_wins() -> None:
    first = deduplicated(("m", ABOUT, "fresh"))
    second = deduplicated(
        ("a", HEART, "fresh"), ("b", ABOUT, "fresh"), ("m", ABOUT, "fresh"), night="2", previous=first
    )
    assert kept(second) == [("m", ABOUT)]
    assert second.manifest["dropped"] == {"exact duplicate": 1, "near duplicate": 1}


def test_a_text_that_moved_shares_the_cluster_of_the_one_that_is_gone() -> None:
    first = deduplicated(("old", HEART, None), ("x", OTHER, None))
    gone = next(row["id"] for row in rows(first) if row["group"] == "old")
    second = deduplicated(("new", HEART, None), ("x", OTHER, None), night="2", previous=first)
    third = deduplicated(("newer", COUSIN, None), ("x", OTHER, None), night="3", previous=second)
    assert kept(second) == [("new", HEART), ("x", OTHER)]
    assert {row["id"] for row in rows(second, GONE)} == {gone}
    cousin = next(row["cluster"] for row in rows(third) if row["group"] == "newer")
    assert {row["cluster"] for row in rows(third, GONE)} == {cousin}
    assert third.manifest["rows"]["gone"] == 2


def test_what_is_gone_is_forgotten_when_somebody_asks(tmp_path: Path) -> None:
    first = deduplicated(("http://127.0.0.1/old", HEART, None), ("x", OTHER, None))
    second = deduplicated(("x", OTHER, None), night="2", previous=first)
    assert [row["text"] for row in rows(second, GONE)] == [HEART]
    wishes = tmp_path / "takedown.jsonl"
    wishes.write_text('{"url": "http://127.0.0.1/old"}\n')
    third = deduplicated(("y", COUSIN, None), ("x", OTHER, None), night="3", previous=second, takedown=wishes)
    assert rows(third, GONE) == []
    assert [row["cluster"] for row in rows(third)] == [row["id"] for row in rows(third)]


def test_a_text_that_was_kept_once_stays_known_while_another_stands_in_for_it() -> None:
    other = deduplicated(("theirs", ABOUT, None), night="7")
    first = deduplicated(("mine", HEART, None), ("x", OTHER, None))
    second = deduplicated(("mine", HEART, None), ("x", OTHER, None), night="2", previous=first, against=[other])
    assert kept(second) == [("x", OTHER)]
    assert second.manifest["dropped"] == {"duplicate of another corpus": 1}
    assert [row["text"] for row in rows(second, GONE)] == [HEART]


def test_the_same_documents_give_the_same_bytes() -> None:
    texts = [("a", HEART, None), ("b", ABOUT, None), ("c", COUSIN, None)]
    assert deduplicated(*texts).content == deduplicated(*texts, night="2").content


def test_no_documents_is_an_error() -> None:
    with pytest.raises(CorpusError, match="no documents to deduplicate"):
        deduplicated()


def test_pairs_agree_with_comparing_everything_with_everything() -> None:
    """Of every pair at the clusters' threshold both sides are in one cluster, or one has gone for the other."""
    rng = random.Random(5)
    words = [f"{rng.choice('bcdfg')}{rng.choice('aeiou')}{rng.choice('klmnp')}{number}" for number in range(60)]
    texts = [" ".join(rng.choices(words, k=12)) for _ in range(60)]
    texts += [" ".join(text.split()[: rng.randint(6, 12)]) for text in texts]
    sets = [shingles(text, 5) for text in texts]
    ref = deduplicated(*((str(number), text, None) for number, text in enumerate(texts)))
    clusters = {row["text"]: row["cluster"] for row in rows(ref)}
    every = [
        (texts[i], texts[j])
        for j in range(len(texts))
        for i in range(j)
        if jaccard(sets[i], sets[j]) >= 0.5 and texts[i] in clusters and texts[j] in clusters
    ]
    found = [(one, other) for one, other in every if clusters[one] == clusters[other]]
    assert len(found) >= 0.97 * len(every) > 15
    together = [
        (one, other) for one in clusters for other in clusters if one < other and clusters[one] == clusters[other]
    ]
    assert {frozenset(pair) for pair in together} <= _connected(every)  # exact precision


def _connected(pairs: Sequence[tuple[str, str]]) -> set[frozenset[str]]:
    """All pairs that hang together by pairs."""
    groups: list[set[str]] = []
    for pair in pairs:
        touched = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if group not in touched] + [set(pair).union(*touched)]
    return {frozenset((one, other)) for group in groups for one in group for other in group if one != other}


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 1.0])
def test_bands_find_what_is_as_similar_as_the_threshold(threshold: float) -> None:
    count, size = bands(threshold, 128)
    assert count * size <= 128
    assert 1 - (1 - threshold**size) ** count >= 0.995
