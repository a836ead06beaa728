"""Deduplication part by part: against comparing everything with everything, with many workers, and killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tasks.artifacts import ArtifactRef, Draft, find
from tasks.config.dedup import DedupConfig
from tasks.text.dedup import GONE, dedup
from tasks.text.documents import CorpusError
from tasks.text.normalise import canonical
from tasks.text.parts import Serial, Workers
from tests.corpus.duplicates import (
    Row,
    changed,
    cleaned,
    document,
    jaccard,
    pages,
    sentence,
    shingles,
    twins,
    vocabulary,
)
from tests.corpus.killed_dedup import run, run_in
from tests.tasks.corpora import ignore, publish, rows

CONFIG = DedupConfig()
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["tests.corpus.killed_dedup"])


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERT_FOUNDRY_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))  # the fork server looks there for what it imports beforehand


class Processes:
    """Four processes, which finish in any order."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        under_way = {self._pool.submit(function, item): index for index, item in enumerate(items)}
        for done in as_completed(under_way):
            yield under_way[done], done.result()


def deduplicated(
    source: ArtifactRef,
    name: str = "1",
    previous: ArtifactRef | None = None,
    against: Sequence[ArtifactRef] = (),
    config: DedupConfig = CONFIG,
    workers: Workers | None = None,
) -> ArtifactRef:
    def fill(out: Draft) -> None:
        dedup(config, source, previous, against, out, workers or Serial(), ignore)

    return publish("dedup", name, fill)


def greedy(texts: Sequence[str], threshold: float = 0.8) -> tuple[set[int], int]:
    """The rows that stay by comparing each text with all that stay, and how many comparisons found a duplicate."""
    sets = [shingles(canonical(text), 5) for text in texts]
    kept: list[int] = []
    dropped = 0
    for j, mine in enumerate(sets):
        if any(jaccard(sets[i], mine) >= threshold for i in kept):
            dropped += 1
        else:
            kept.append(j)
    return set(kept), dropped


@pytest.mark.parametrize("seed", [1, 2])
def test_what_stays_is_what_comparing_everything_with_everything_leaves(seed: int) -> None:
    texts = twins(seed, 120, 3)
    ref = deduplicated(cleaned("c", *pages(texts, 3)))
    stays, dropped = greedy(texts)
    kept = {int(row["url"].rsplit("/", 1)[1]) for row in rows(ref)}
    assert len(kept ^ stays) <= 0.01 * dropped
    assert dropped > 150
    texts_of = {row["id"]: row["text"] for row in rows(ref)}
    for audit, reject in zip(rows(ref, "clusters.parquet"), rows(ref, "rejects"), strict=True):
        assert audit["duplicate_of"] == reject["duplicate_of"] in texts_of
        text = texts[int(audit["url"].rsplit("/", 1)[1])]
        exact = jaccard(shingles(canonical(text), 5), shingles(canonical(texts_of[audit["duplicate_of"]]), 5))
        assert audit["similarity"] == exact >= 0.8


def test_pairs_above_the_clusters_threshold_are_found() -> None:
    """Short texts too: a text of four words has fewer shingles than the sketch has entries."""
    rng = random.Random(3)
    words = vocabulary(rng)
    originals = [sentence(rng, words, 4, 12) for _ in range(400)]
    texts = originals + [changed(rng, text, words, 0.2) for text in originals]
    ref = deduplicated(cleaned("c", *pages(texts, 2)))
    clusters = {row["text"]: row["cluster"] for row in rows(ref)}
    missed = found = 0
    for one, other in zip(texts, texts[len(originals) :], strict=False):
        similarity = jaccard(shingles(one, 5), shingles(other, 5))
        if one in clusters and other in clusters and similarity >= 0.5:
            found += clusters[one] == clusters[other]
            missed += clusters[one] != clusters[other]
    assert missed <= 0.01 * found
    assert found > 50


def test_one_and_four_workers_give_the_same_bytes() -> None:
    source = cleaned("c", *pages(twins(4, 40, 2), 5))
    first = deduplicated(source, "1")
    with ProcessPoolExecutor(4, FORKED) as pool:
        assert deduplicated(source, "2", workers=Processes(pool)).content == first.content
        source = cleaned("d", *pages(twins(4, 30, 2), 4))
        night = deduplicated(source, "3", previous=first)
        again = deduplicated(source, "4", previous=first, workers=Processes(pool))
    assert night.content == again.content
    assert night.manifest["rows"]["gone"] > 10


def test_parts_are_the_inputs() -> None:
    source = cleaned("c", *pages(twins(5, 40, 2), 4))
    ref = deduplicated(source)
    before, after = ([path.name for path in sorted((each / "documents").iterdir())] for each in (source, ref))
    assert before == after
    for name in before:
        ids = pq.read_table(source / "documents" / name)["id"].to_pylist()
        kept = pq.read_table(ref / "documents" / name)["id"].to_pylist()
        gone = pq.read_table(ref / "rejects" / name)["id"].to_pylist()
        assert sorted(kept + gone) == sorted(ids)
        assert kept == [each for each in ids if each in set(kept)]
    assert not [path for path in Path(ref.path).iterdir() if path.name.startswith("work")]


def snapshot(folder: Path) -> set[tuple[str, int]]:
    """Files and when they were written. One that goes while this looks ends the look: that is a change, too."""
    found = set()
    with suppress(FileNotFoundError):
        for path in folder.rglob("*"):
            found.add((str(path), path.stat().st_mtime_ns))
    return found


PHASES = ("receipts", "layout.json", "own.npy", "pairs", "texts", "similar", "winners", "audit")
"""What stands in the folder when the stage has come so far."""


def test_killed_at_every_phase_and_at_random_points_it_ends_with_the_same_bytes() -> None:
    texts = twins(6, 50, 2)
    before = run(cleaned("b", *pages(texts[:60], 2)), None, "before")
    source = cleaned("c", *pages(texts, 4))
    whole = run(source, before, "whole")
    folder = Path(whole.path).with_name(f"killed-{'killed':0<16}.partial")
    rng = random.Random(7)
    seen: set[str] = set()

    def names() -> set[str]:
        return {Path(path).name for path, _ in snapshot(folder)}

    for phase in (*PHASES, *[""] * 50):
        if phase in seen:
            continue
        process = FORKED.Process(target=run_in, args=(os.environ["BERT_FOUNDRY_STORE"], source, before, "killed"))
        before_start = snapshot(folder)
        process.start()
        while process.is_alive() and not (phase in names() if phase else snapshot(folder) != before_start):
            time.sleep(0.001)
        if not phase:
            time.sleep(rng.random() * 0.3)
        process.kill()
        process.join()
        if find("dedup", "killed", f"{'killed':0<64}"):
            break
        seen |= names()
    assert seen.issuperset(PHASES)
    assert run(source, before, "killed").content == whole.content


def test_a_part_that_last_night_had_is_not_sketched_again() -> None:
    texts = twins(8, 40, 1)
    parts = pages(texts, 4)
    first = deduplicated(cleaned("a", *parts), "1")
    parts[2] = pages(["a text that was not there"], 1, "other.example")[0]
    second = deduplicated(cleaned("b", *parts), "2", previous=first)
    same = [
        os.path.samefile(
            first / f"sketches/documents/part-{n:05d}.arrow", second / f"sketches/documents/part-{n:05d}.arrow"
        )
        for n in range(4)
    ]
    assert same == [True, True, False, True]
    fresh = deduplicated(cleaned("b", *parts), "3", previous=None)
    kept = [[row["id"] for row in rows(ref)] for ref in (second, fresh)]
    assert kept[0] == kept[1]


def test_an_address_has_one_page() -> None:
    canonical_link = json.dumps({"canonical": "https://site.example/article"})
    found = deduplicated(
        cleaned(
            "c",
            [
                document("The first version of the article.", "https://site.example/article?b=2&a=1"),
                document("Quite another thing at the same address.", "HTTPS://SITE.example:443/article?a=1&b=2#top"),
                document("An article, to be read.", "https://site.example/article"),
            ],
            [
                document("An article, to be printed.", "https://site.example/print/article", meta=canonical_link),
                document("Says that it is elsewhere.", "https://mirror.example/article", meta=canonical_link),
                document("Two opinions", "https://site.example/opinions", kind="review"),
                document("of one page", "https://site.example/opinions", kind="review"),
                document("A text from a file.", "texts.jsonl:1"),
                document("Another text from a file.", "texts.jsonl:1"),
            ],
        )
    )
    audit = [(row["url"], row["kept_url"], row["reason"]) for row in rows(found, "clusters.parquet")]
    assert audit == [
        ("HTTPS://SITE.example:443/article?a=1&b=2#top", "https://site.example/article?b=2&a=1", "same address"),
        ("https://site.example/print/article", "https://site.example/article", "same address"),
    ]
    assert [row["similarity"] for row in rows(found, "rejects")] == [
        jaccard(
            shingles("quite another thing at the same address.", 5), shingles("the first version of the article.", 5)
        ),
        jaccard(shingles("an article, to be printed.", 5), shingles("an article, to be read.", 5)),
    ]


def test_pages_that_all_claim_to_be_the_home_page_stay() -> None:
    meta = json.dumps({"canonical": "https://site.example/"})
    texts = ["One page about apples.", "Two pages about pears.", "Three pages on plums."]
    part = [document(text, f"https://site.example/{n}", meta=meta) for n, text in enumerate(texts)]
    assert deduplicated(cleaned("c", part)).manifest["rows"]["kept"] == 3


def test_an_addresss_loser_does_not_take_its_own_twin_away() -> None:
    """B goes because A has its address; C, which has B's text at its own address, must stay."""
    a = document("The page as it was yesterday.", "https://site.example/a")
    b = document("The page as it is today, with much news.", "https://site.example/a#today")
    c = document("The page as it is today, with much news.", "https://site.example/c")
    found = deduplicated(cleaned("c", [a, b, c]))
    assert [row["url"] for row in rows(found)] == [a["url"], c["url"]]


def test_another_corpus_comes_first() -> None:
    texts = twins(9, 60, 1)
    other = deduplicated(cleaned("a", *pages(texts[:60], 2, "other.example")), "1")
    mine = deduplicated(cleaned("b", *pages(texts, 3)), "2", against=[other])
    audit = rows(mine, "clusters.parquet")
    from_other = [row for row in audit if row["reason"] == "duplicate of another corpus"]
    assert {row["kept_corpus"] for row in from_other} == {"test"}
    assert {row["kept_corpus"] for row in audit if row not in from_other} <= {""}
    assert {row["kept_url"].split("/")[2] for row in from_other} == {"other.example"}
    theirs = {row["id"] for row in rows(other)}
    assert {row["duplicate_of"] for row in from_other} <= theirs
    stays, _ = greedy([row["text"] for row in rows(other)] + texts)
    kept = {int(row["url"].rsplit("/", 1)[1]) for row in rows(mine)}
    assert kept == {row - len(theirs) for row in stays if row >= len(theirs)}
    assert mine.manifest["rows"]["gone"] == 0


def test_sketches_of_other_settings_are_not_compared() -> None:
    texts = twins(10, 40, 1)
    other = deduplicated(cleaned("a", *pages(texts[:40], 2, "other.example")), "1")
    config = DedupConfig(unit="word", shingle=3, seed=7)
    with_old = deduplicated(cleaned("b", *pages(texts, 3)), "2", against=[other], config=config)
    fresh = deduplicated(cleaned("a", *pages(texts[:40], 2, "other.example")), "3", config=config)
    kept = [row["id"] for row in rows(with_old)]
    again = deduplicated(cleaned("b", *pages(texts, 3)), "4", against=[other], config=config)
    assert kept == [row["id"] for row in rows(again)]
    assert with_old.manifest["dropped"]["duplicate of another corpus"] > 10
    assert fresh.manifest["rows"]["seen"] == 40


def test_word_shingles() -> None:
    rng = random.Random(11)
    words = vocabulary(rng)
    text = sentence(rng, words, 60, 60)
    other = text.replace(text.split()[30], "elsewhere", 1)
    found = deduplicated(cleaned("c", *pages([text, other], 1)), config=DedupConfig(unit="word", threshold=0.7))
    sets = [{tuple(each.split()[n : n + 5]) for n in range(56)} for each in (text, other)]
    (reject,) = rows(found, "rejects")
    assert reject["similarity"] == len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_a_large_bucket_costs_no_square_and_still_finds_its_twins() -> None:
    rng = random.Random(12)
    words = vocabulary(rng)
    text = sentence(rng, words, 100, 100)
    copies = [text] + [changed(rng, text, words, 0.02) for _ in range(600)]
    ref = deduplicated(cleaned("c", *pages(copies, 2)), config=DedupConfig(bucket_limit=16))
    facts = ref.manifest["facts"]
    assert facts["largest_bucket"] > 200
    assert facts["pairs_compared"] < 0.25 * 601 * 600 / 2
    stays, _ = greedy(copies)
    assert ref.manifest["rows"]["kept"] <= len(stays) + 1


def test_an_id_that_is_none_is_an_error() -> None:
    rows_: list[Row] = [document("A text.", "https://site.example/1", id="7")]
    with pytest.raises(CorpusError, match="id '7' is not 32 hexadecimal digits"):
        deduplicated(cleaned("c", rows_))


def test_parts_without_documents() -> None:
    ref = deduplicated(cleaned("c", [], [document("A text.", "https://site.example/1")], []))
    assert ref.manifest["rows"] == {"seen": 1, "kept": 1, "clusters": 0, "clustered": 0, "gone": 0}


def test_rejects_have_the_columns_of_all_rejects_and_two_more() -> None:
    ref = deduplicated(cleaned("c", *pages(["One and the same text.", "One and the same text."], 1)))
    (reject,) = rows(ref, "rejects")
    assert list(reject) == [
        *("id", "url", "source", "kind", "reason", "detail", "text", "characters", "duplicate_of", "similarity")
    ]
    assert (reject["reason"], reject["detail"], reject["similarity"]) == (
        "exact duplicate",
        "https://site.example/0",
        1.0,
    )
    assert rows(ref, GONE) == []


def test_a_document_more_does_not_move_a_cluster() -> None:
    """What was kept stays kept, whatever comes before it the night after."""
    texts = twins(13, 40, 2)
    first = deduplicated(cleaned("a", *pages(texts, 2)), "1")
    kept = {row["id"] for row in rows(first)}
    parts = [pages(twins(14, 10, 2) + texts[::-1], 1, "new.example")[0], *pages(texts, 2)]
    second = deduplicated(cleaned("b", *parts), "2", previous=first)
    assert kept <= {row["id"] for row in rows(second)}
