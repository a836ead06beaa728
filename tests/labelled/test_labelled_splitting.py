"""Nothing similar is on two sides; nothing old moves; the same for every order of the files."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bert_core.config import PairTask, SequenceTask, SpanTask
from tasks.config.data import DataConfig
from tasks.labelled import LabelledDataError
from tasks.labelled.similar import similar_texts
from tasks.labelled.splitting import position, sample
from tasks.text.ngrams import characters, distinct, jaccard, ngrams
from tests.labelled.labelled_files import dropped, jsonl, loaded, reviews, sentence, three_sides

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def sides_of(rows: list[dict[str, Any]], seed: int = 1, **config: Any) -> dict[str, str]:
    """The side of each text. (Not of a fixture: hypothesis calls this many times.)"""
    with tempfile.TemporaryDirectory() as folder:
        jsonl(Path(folder) / "a.jsonl", rows)
        data = loaded(Path(folder), seed=seed, train="a.jsonl", **config)
        return {text: side for side, table in data.sides.items() for text in table["text"].to_pylist()}


def families(count: int) -> list[dict[str, Any]]:
    """Three texts each that differ in their last word."""
    return [
        {"text": f"{sentence(i)} {sentence(i + 500)} {word}", "label": ("fresh", "rotten")[i % 2], "film": i // 4}
        for i in range(count)
        for word in ("one", "two", "six")
    ]


@QUICK
@given(st.randoms(use_true_random=False), st.integers(0, 5))
def test_the_order_of_the_examples_does_not_matter(random: Any, seed: int) -> None:
    rows = families(30)
    before = sides_of(rows, seed)
    random.shuffle(rows)
    assert sides_of(rows, seed) == before


@QUICK
@given(st.integers(0, 60), st.integers(0, 5))
def test_more_examples_move_no_old_one(more: int, seed: int) -> None:
    old = reviews(300)  # so many that chance leaves no side without a label
    before = sides_of(old, seed)
    after = sides_of(reviews(more, first=1_000) + old, seed)
    assert {text: after[text] for text in before} == before


@QUICK
@given(st.integers(0, 20), st.sampled_from([(), ("film",)]))
def test_similar_texts_and_groups_stay_together(seed: int, group: tuple[str, ...]) -> None:
    rows = families(40)
    sides = sides_of(rows, seed, group=group)
    assert len(sides) == len(rows)
    for key in ("film",) if group else ():
        for value in {row[key] for row in rows}:
            assert len({sides[row["text"]] for row in rows if row[key] == value}) == 1
    for first in range(0, len(rows), 3):
        assert len({sides[row["text"]] for row in rows[first : first + 3]}) == 1


def test_more_of_a_group_joins_it(tmp_path: Path) -> None:
    rows = [{**row, "film": i % 25} for i, row in enumerate(reviews(100))]
    before = sides_of(rows, group="film")
    more = [{**row, "film": i % 25} for i, row in enumerate(reviews(100, first=300))]
    after = sides_of(rows + more, group="film")
    assert {text: after[text] for text in before} == before
    assert all(after[new["text"]] == after[old["text"]] for new, old in zip(more, rows, strict=True))


def test_labels_do_not_decide_a_side() -> None:
    rows = reviews(200)
    other = [{**row, "label": "rotten" if i % 7 else "fresh"} for i, row in enumerate(rows)]
    assert sides_of(rows) == sides_of(other)


def test_shares_are_those_asked_for_and_each_label_has_its_share() -> None:
    rows = reviews(4_000, ("a", "a", "a", "b"))
    sides = sides_of(rows, validation_share=0.2, test_share=0.1)
    counts = Counter(sides.values())
    assert abs(counts["validation"] / 4_000 - 0.2) < 0.02
    assert abs(counts["test"] / 4_000 - 0.1) < 0.02
    of_b = Counter(sides[row["text"]] for row in rows if row["label"] == "b")
    assert abs(of_b["test"] / 1_000 - 0.1) < 0.03


def test_a_rare_label_is_on_every_side(tmp_path: Path) -> None:
    rows = reviews(200) + [{**row, "label": "rare"} for row in reviews(3, first=900)]
    for seed in range(5):
        jsonl(tmp_path / "a.jsonl", rows)
        data = loaded(tmp_path, seed=seed, train="a.jsonl")
        counts = next(row.counts for row in data.report.labels if row.label == "rare")
        assert counts == {"train": 1, "validation": 1, "test": 1}


def test_only_what_is_missing_is_split_off(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", reviews(300))
    jsonl(tmp_path / "test.jsonl", reviews(30, first=500))
    data = loaded(tmp_path, train="a.jsonl", test="test.jsonl")
    assert data.sides["test"]["text"].to_pylist() == [row["text"] for row in reviews(30, first=500)]
    assert 10 < data.sides["validation"].num_rows < 60
    both = loaded(tmp_path, train="a.jsonl")
    given_test = set(data.sides["validation"]["text"].to_pylist())
    assert given_test == set(both.sides["validation"]["text"].to_pylist()), "the same validation side either way"


def test_too_few_components_are_an_error(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", [{**row, "film": "one"} for row in reviews(40)])
    with pytest.raises(
        LabelledDataError, match="no example is left for validation, test: 40 examples hang together in 1"
    ):
        loaded(tmp_path, train="a.jsonl", group="film")
    with pytest.raises(LabelledDataError, match=r"no column 'movie'; it has 'text', 'label', 'film'"):
        loaded(tmp_path, train="a.jsonl", group="movie")


def test_one_large_component_is_a_warning(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", [{**row, "film": max(0, i - 50)} for i, row in enumerate(reviews(100))])
    finding = loaded(tmp_path, train="a.jsonl", group="film").report.of("split")[0]
    assert finding.severity == "warning"
    assert finding.counts["largest"] == 51


def test_examples_without_a_group_stand_for_themselves() -> None:
    rows = [{**row, "film": None} for row in reviews(200)]
    assert sides_of(rows, group="film") == sides_of(rows)


def test_questions_on_one_context_stay_together(tmp_path: Path) -> None:
    rows = [
        {
            "question": f"what is {sentence(n)}?",
            "context": sentence(i),
            "answers": [{"text": sentence(i)[:4], "start": 0}],
        }
        for i in range(60)
        for n in range(3)
    ]
    jsonl(tmp_path / "a.jsonl", rows)
    data = loaded(tmp_path, SpanTask(), train="a.jsonl")
    contexts = [set(table["context"].to_pylist()) for table in data.sides.values()]
    assert sum(map(len, contexts)) == len(set.union(*contexts)) == 60
    assert dropped(data) == {}


def test_samples_are_nested_and_leave_the_other_sides_alone(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", reviews(400))
    whole = loaded(tmp_path, train="a.jsonl")
    few, more = (loaded(tmp_path, train="a.jsonl", max_train=size) for size in (20, 80))
    assert (few.sides["train"].num_rows, more.sides["train"].num_rows) == (20, 80)
    assert set(few.sides["train"]["id"].to_pylist()) < set(more.sides["train"]["id"].to_pylist())
    assert few.sides["test"].equals(whole.sides["test"])
    assert dropped(few) == {"beyond the sample": whole.sides["train"].num_rows - 20}
    assert few.task == whole.task


@given(st.lists(st.text(max_size=5), unique=True, max_size=40), st.integers(0, 50), st.integers(0, 9))
def test_a_sample_is_of_its_size_in_order_and_part_of_a_larger_one(ids: list[str], size: int, seed: int) -> None:
    found = sample(ids, size, seed)
    assert len(found) == min(size, len(ids))
    assert found == sorted(found)
    assert set(found) <= set(sample(ids, size + 1, seed))


def test_positions_are_spread_evenly() -> None:
    values = [position(3, str(number)) for number in range(5_000)]
    histogram, _ = np.histogram(values, 10, (0, 1))
    assert histogram.min() > 420
    assert histogram.max() < 580


def test_the_same_pairs_as_comparing_all_with_all() -> None:
    rng = np.random.default_rng(0)
    texts = []
    for number in range(60):
        words = sentence(number).split() + sentence(number + 300).split()
        for _ in range(4):
            changed = [word if rng.random() > 0.12 else "other" for word in words]
            texts.append(" ".join(changed))
    found = similar_texts(texts, 0.6, 5)
    known = list(dict.fromkeys(texts))
    hashed = ngrams(characters(known), 5)
    sets = [distinct(hashed[i]) for i in range(len(known))]
    all_pairs = {
        (i, j) for i in range(len(known)) for j in range(i + 1, len(known)) if jaccard(sets[i], sets[j]) >= 0.6
    }
    assert set(zip(found.one.tolist(), found.other.tolist(), strict=True)) == all_pairs
    assert len(all_pairs) > 100


def test_duplicates_across_given_sides_are_dropped_or_reported(tmp_path: Path) -> None:
    rest = reviews(20, first=500)
    near = {**rest[0], "text": f"{rest[0]['text']} x"}
    rows = [*reviews(40), {**rest[1], "text": f" {rest[1]['text'].upper()} "}, near]
    sides = three_sides(tmp_path, rows, rest[:10])
    sides["duplicates"] = "drop"
    jsonl(tmp_path / "validation.jsonl", rest[10:])
    data = loaded(tmp_path, **sides)
    assert dropped(data) == {"exact duplicate of test": 1, "near duplicate of test": 1}
    reject = next(row for row in data.rejects.to_pylist() if row["reason"].startswith("near"))
    assert reject["detail"].startswith("0.9")
    assert reject["side"] == "train"
    assert loaded(tmp_path, **sides, near_threshold=None).rejects["reason"].to_pylist() == ["exact duplicate of test"]
    kept = loaded(tmp_path, **{**sides, "duplicates": "keep"})
    assert dropped(kept) == {}
    assert {each.severity for each in kept.report.of("duplicates-across-sides")} == {"warning"}
    assert sum(sum(each.counts.values()) for each in kept.report.of("duplicates-across-sides")) == 2


def test_a_side_of_nothing_but_duplicates_is_an_error(tmp_path: Path) -> None:
    sides = three_sides(tmp_path, reviews(40), reviews(10, first=100))
    with pytest.raises(
        LabelledDataError, match=r"validation: none of 10 examples is left .*exact duplicate of test: 10"
    ):
        loaded(tmp_path, **{**sides, "duplicates": "drop"})


def test_two_questions_on_one_context_are_no_duplicates_and_pairs_need_both(tmp_path: Path) -> None:
    def pairs(first: int, claims: int) -> list[dict[str, Any]]:
        return [{"text": sentence(first + i), "text_b": sentence(claims + i), "label": "ab"[i % 2]} for i in range(20)]

    for side, rows in (("train", pairs(0, 300)), ("validation", pairs(100, 500)), ("test", pairs(0, 400))):
        jsonl(tmp_path / f"{side}.jsonl", rows)
    files = {side: f"{side}.jsonl" for side in ("train", "validation", "test")}
    assert dropped(loaded(tmp_path, PairTask(), **files)) == {}, "equal evidence, other claims"
    jsonl(tmp_path / "test.jsonl", pairs(0, 300))
    with pytest.raises(LabelledDataError, match="exact duplicate of test: 20"):
        loaded(tmp_path, PairTask(), **files)


def test_a_group_on_two_given_sides_is_told(tmp_path: Path) -> None:
    rows = [{**row, "film": "one"} for row in reviews(40)]
    for first, side in ((0, "train"), (100, "validation"), (200, "test")):
        jsonl(tmp_path / f"{side}.jsonl", [{**row, "film": side[0]} for row in reviews(20, first=first)])
    jsonl(tmp_path / "train.jsonl", [*rows, {**rows[0], "text": sentence(900), "film": "t"}])
    files = {side: f"{side}.jsonl" for side in ("train", "validation", "test")}
    finding = loaded(tmp_path, **files, group="film").report.of("groups-across-sides")[0]
    assert "1 values of film are in train and in test: t" in finding.message


def test_shares_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="less than a tenth"):
        DataConfig(train="a", validation_share=0.45, test_share=0.45)


def test_an_unknown_column_of_ours_is_refused() -> None:
    with pytest.raises(ValueError, match="columns: txt: not one of id, text"):
        DataConfig(train="a", columns={"txt": "review"})
    with pytest.raises(ValueError, match="slices: label: a name of ours"):
        DataConfig(train="a", slices="label")


def test_the_task_stays_frozen_in_the_report(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", reviews(60))
    data = loaded(tmp_path, SequenceTask(class_weights="balanced"), train="a.jsonl")
    assert data.report.task == data.task
    assert isinstance(data.task, SequenceTask)
    assert data.task.class_weights == "balanced"
