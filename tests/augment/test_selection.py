"""Pseudo-labels and active learning on answers small enough to check by hand, and on a real model's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import entropy as scipy_entropy
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from bert_core.config import ConfigError, PairTask, SequenceTask, TokenTask, validate
from tasks.config.augment import ActiveLearningConfig, PseudoLabelConfig
from tasks.selection import SelectionError, pseudo_label, read_sheet, select, write_sheet
from tasks.selection.active import SCORES, k_center
from tasks.selection.opinions import opinions
from tasks.selection.pseudo import PseudoLabelReport

TASK = SequenceTask(labels=("a", "b"))
WORDS = ["sun", "moon", "star", "rain", "snow", "wind"]
TEXTS = pa.table({"id": [f"t{i}" for i in range(6)], "text": [f"the {word} is over there" for word in WORDS]})
SURE = [0.99, 0.96, 0.9, 0.3, 0.05, 0.02]
"""Probability of "a" of each text."""


def answers(of_a: list[float], ids: list[str] | None = None) -> pa.Table:
    ids = ids or [f"t{i}" for i in range(len(of_a))]
    labels = ["a" if p >= 0.5 else "b" for p in of_a]
    probabilities = pa.array([[p, 1 - p] for p in of_a], pa.list_(pa.float32()))
    return pa.table({"id": ids, "label": labels, "probabilities": probabilities})


def named(result: pa.Table) -> dict[str, str]:
    return dict(zip(result["id"].to_pylist(), result["label"].to_pylist(), strict=True))


# -------------------------------------------------------------------------------------------------------- pseudo-labels


def test_answers_above_the_threshold_become_labels() -> None:
    result = pseudo_label(PseudoLabelConfig(threshold=0.95), TASK, TEXTS, [answers(SURE)])
    assert named(result.table) == {"t0": "a", "t1": "a", "t4": "b", "t5": "b"}
    assert set(result.table["pseudo"].to_pylist()) == {True}
    assert result.report.kept == {"a": 2, "b": 2}
    assert result.report.dropped == {"a": {"below_threshold": 1}, "b": {"below_threshold": 1}}
    assert result.report.lowest_probability["a"] == pytest.approx(0.96)
    assert PseudoLabelReport.model_validate_json(result.report.model_dump_json()) == result.report
    assert "| a | 2 | 0.960 | 1 |" in result.report.markdown()


def test_the_top_share_of_each_class() -> None:
    config = PseudoLabelConfig(threshold=None, top_share=0.34)
    result = pseudo_label(config, TASK, TEXTS, [answers(SURE)])
    assert named(result.table) == {"t0": "a", "t1": "a", "t4": "b", "t5": "b"}, "two of three, rounded up"
    assert result.report.dropped["a"] == {"not_among_surest": 1}


def test_balance_takes_as_many_of_each_class_as_of_the_rarest() -> None:
    config = PseudoLabelConfig(threshold=0.85, class_balanced=True)
    uneven = [0.99, 0.96, 0.9, 0.89, 0.3, 0.02]
    result = pseudo_label(config, TASK, TEXTS, [answers(uneven)])
    assert named(result.table) == {"t0": "a", "t5": "b"}
    assert result.report.dropped["a"] == {"over_balance": 3}
    limited = pseudo_label(PseudoLabelConfig(threshold=0.85, max_per_class=2), TASK, TEXTS, [answers(uneven)])
    assert limited.report.kept == {"a": 2, "b": 1}


def test_seeds_must_agree() -> None:
    other = [0.99, 0.4, 0.95, 0.3, 0.05, 0.6]
    config = PseudoLabelConfig(threshold=0.5)
    result = pseudo_label(config, TASK, TEXTS, [answers(SURE), answers(other)])
    assert result.report.dropped == {"a": {"seeds_disagree": 1}, "b": {"seeds_disagree": 1}}
    majority = PseudoLabelConfig(threshold=0.5, min_agreement=0.6)
    three = pseudo_label(majority, TASK, TEXTS, [answers(SURE), answers(other), answers(SURE)])
    assert sum(three.report.kept.values()) == 6
    shuffled = answers(SURE).take(pa.array([5, 3, 1, 0, 2, 4]))
    assert named(pseudo_label(config, TASK, TEXTS, [shuffled]).table) == named(
        pseudo_label(config, TASK, TEXTS, [answers(SURE)]).table
    )


def test_a_temperature_makes_answers_less_sure() -> None:
    logits = np.log(np.array([0.99, 0.01])) / 2
    expected = np.exp(logits) / np.exp(logits).sum()
    assert opinions(["t0"], [answers([0.99])], 2.0)[0, 0] == pytest.approx(expected, abs=1e-5)
    calibrated = PseudoLabelConfig(threshold=0.95, temperature=2.0)
    assert pseudo_label(calibrated, TASK, TEXTS, [answers(SURE)]).table.num_rows == 0


def test_texts_of_the_test_side_get_no_label() -> None:
    test = pa.table({"id": ["x"], "text": ["The SUN is over there!"], "label": ["b"]})
    result = pseudo_label(PseudoLabelConfig(threshold=0.9), TASK, TEXTS, [answers(SURE)], forbidden=[test])
    assert result.report.dropped["a"]["held_out"] == 1
    assert "t0" not in named(result.table)


def test_answers_that_do_not_fit_are_refused() -> None:
    config = PseudoLabelConfig()
    for wrong, fault in (
        (answers(SURE[:5]), "nothing of 1 texts"),
        (answers([*SURE[:5], 1.5]), "not probabilities"),
        (answers(SURE, ["t0"] * 6), "twice"),
        (answers(SURE).drop_columns(["probabilities"]), "lack columns"),
    ):
        with pytest.raises(SelectionError, match=fault):
            pseudo_label(config, TASK, TEXTS, [wrong])
    with pytest.raises(SelectionError, match="no answers"):
        pseudo_label(config, TASK, TEXTS, [])
    with pytest.raises(SelectionError, match="the task 3"):
        pseudo_label(config, SequenceTask(labels=("a", "b", "c")), TEXTS, [answers(SURE)])
    with pytest.raises(SelectionError, match=r"task\.labels is empty"):
        pseudo_label(config, SequenceTask(), TEXTS, [answers(SURE)])
    with pytest.raises(SelectionError, match="not for token"):
        pseudo_label(config, TokenTask(), TEXTS, [answers(SURE)])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="threshold"):
        validate(PseudoLabelConfig, {"threshold": None})


# ------------------------------------------------------------------------------------------------------ active learning


def chosen(strategy: str, n: int, *tables: pa.Table, seed: int = 0) -> list[str]:
    config = ActiveLearningConfig(strategy=strategy)  # type: ignore[arg-type]
    return select(config, tables, TEXTS, n, seed)["id"].to_pylist()


@pytest.mark.parametrize("strategy", ["least_confidence", "margin", "entropy"])
def test_the_least_sure_come_first(strategy: str) -> None:
    assert chosen(strategy, 3, answers(SURE)) == ["t3", "t2", "t4"]


def test_scores_are_what_they_say() -> None:
    three = np.array([[[0.5, 0.3, 0.2], [0.9, 0.1, 0.0]], [[0.1, 0.7, 0.2], [0.7, 0.3, 0.0]]])  # (S, N, K)
    mean = three.mean(axis=0)
    assert SCORES["least_confidence"](three) == pytest.approx([0.5, 0.2])
    assert SCORES["margin"](three) == pytest.approx([1 - (0.5 - 0.3), 1 - (0.8 - 0.2)])
    assert SCORES["entropy"](three) == pytest.approx(scipy_entropy(mean, axis=1))
    assert SCORES["vote_entropy"](three) == pytest.approx([np.log(2), 0])
    divergence = scipy_entropy(three, mean[None], axis=2).mean(axis=0)
    assert SCORES["kl"](three) == pytest.approx(divergence)


@pytest.mark.parametrize("strategy", ["vote_entropy", "kl"])
def test_a_committee_asks_about_what_it_quarrels_over(strategy: str) -> None:
    other = [0.99, 0.1, 0.9, 0.3, 0.05, 0.02]
    assert chosen(strategy, 1, answers(SURE), answers(other)) == ["t1"]
    with pytest.raises(SelectionError, match="two seeds or more"):
        chosen(strategy, 1, answers(SURE))


def test_k_center_goes_where_nothing_is_yet() -> None:
    points = np.array([[1.0, 0], [0.99, 0.14], [0, 1], [-1, 0], [0, -1]])
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    config = ActiveLearningConfig(strategy="k_center")
    table = select(config, [], TEXTS.slice(0, 5), 4, 3, embeddings=points, labelled=points[:1])
    assert table["id"].to_pylist()[0] == "t3", "opposite to what is labelled"
    assert set(table["id"].to_pylist()[:3]) == {"t2", "t3", "t4"}
    assert table["score"][0].as_py() == pytest.approx(2.0)
    order, scores = k_center(np.repeat(points[:1], 4, axis=0), None, 9, np.random.default_rng(0))
    assert sorted(order.tolist()) == [0, 1, 2, 3], "duplicates too, each once"
    assert np.isfinite(scores).all()


def test_k_center_on_words_alone() -> None:
    texts = pa.table({"id": list("abcd"), "text": ["red red car", "red car", "green tree", "蓝色的海"]})
    picked = select(ActiveLearningConfig(strategy="k_center"), [], texts, 2, 0, labelled=["a red car"])
    assert set(picked["id"].to_pylist()) == {"c", "d"}


def test_diverse_among_the_unsure() -> None:
    unsure = [0.5, 0.51, 0.52, 0.99, 0.99, 0.99]
    points = np.array([[1.0, 0], [1, 0.01], [0, 1], [-1, 0], [0, -1], [1, 1]])
    config = ActiveLearningConfig(strategy="margin", diverse_among=1.5)
    picked = select(config, [answers(unsure)], TEXTS, 2, 0, embeddings=points)["id"].to_pylist()
    assert len(picked) == 2
    assert "t2" in picked
    assert not {"t3", "t4", "t5"} & set(picked)


def test_random_is_a_function_of_the_seed_and_ties_are_drawn() -> None:
    assert chosen("random", 6, seed=1) == chosen("random", 6, seed=1) != chosen("random", 6, seed=2)
    assert len(chosen("random", 99)) == 6
    firsts = {chosen("margin", 1, answers([0.5] * 6), seed=seed)[0] for seed in range(40)}
    assert len(firsts) == 6
    with pytest.raises(SelectionError, match="n = 0"):
        chosen("random", 0)
    with pytest.raises(SelectionError, match="expected \\(6, dimensions\\)"):
        select(ActiveLearningConfig(strategy="k_center"), [], TEXTS, 2, 0, embeddings=np.ones((5, 2)))


def test_asking_about_the_unsure_beats_asking_at_random() -> None:
    """A model that learns from what was asked for is right more often than one that learns from as many at random."""
    rng = np.random.default_rng(0)
    words = {"a": ["good", "great", "fine", "lovely", "superb"], "b": ["bad", "awful", "dull", "poor", "weak"]}
    rows = []
    for i in range(1200):
        label = "ab"[i % 2]
        kind = rng.choice(words[label], p=[0.8, 0.1, 0.05, 0.03, 0.02])
        rows.append({"id": f"{i}", "text": f"{' '.join(rng.choice(WORDS, 3))} {kind}", "label": label})
    pool, test = pa.Table.from_pylist(rows[:900]), rows[900:]
    accuracies = {}
    for strategy in ("margin", "random"):
        scores = []
        for seed in range(5):
            known = set(pool["id"].to_pylist()[:10])
            for _ in range(4):
                labelled = [row for row in pool.to_pylist() if row["id"] in known]
                features = TfidfVectorizer().fit(pool["text"].to_pylist())
                model = LogisticRegression(C=10).fit(
                    features.transform([r["text"] for r in labelled]), [r["label"] for r in labelled]
                )
                rest = pool.filter(pa.array([id not in known for id in pool["id"].to_pylist()]))
                probabilities = model.predict_proba(features.transform(rest["text"].to_pylist()))
                said = answers(probabilities[:, 0].tolist(), rest["id"].to_pylist())
                config = ActiveLearningConfig(strategy=strategy)  # type: ignore[arg-type]
                known |= set(select(config, [said], rest, 10, seed)["id"].to_pylist())
            predicted = model.predict(features.transform([row["text"] for row in test]))
            scores.append(float(np.mean(predicted == [row["label"] for row in test])))
        accuracies[strategy] = float(np.mean(scores))
    assert accuracies["margin"] > accuracies["random"], accuracies


# ---------------------------------------------------------------------------------------------------- a person's labels


def test_a_sheet_goes_out_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "sheet.jsonl"
    write_sheet(path, TASK, TEXTS, ["t3", "t1"])
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [line["id"] for line in lines] == ["t3", "t1"]
    assert lines[0] == {"id": "t3", "text": "the rain is over there", "legal": ["a", "b"], "label": ""}
    assert read_sheet(path, TASK).open_ids == ("t3", "t1")
    lines[0]["label"] = " b "
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n", "utf-8")
    back = read_sheet(path, TASK)
    assert back.table.to_pylist() == [{"id": "t3", "text": "the rain is over there", "label": "b"}]
    assert back.open_ids == ("t1",)


@pytest.mark.parametrize(
    ("task", "label", "expected"),
    [
        (SequenceTask(kind="multi", labels=("x", "y")), ["x", "y"], ["x", "y"]),
        (SequenceTask(kind="regression"), 3, 3.0),
        (PairTask(labels=("x", "y")), "x", "x"),
    ],
)
def test_sheets_of_other_kinds(tmp_path: Path, task: SequenceTask, label: object, expected: object) -> None:
    texts = TEXTS.append_column("text_b", TEXTS["text"]) if task.type == "pair" else TEXTS
    write_sheet(tmp_path / "s", task, texts, ["t0", "t1"])
    lines = [json.loads(line) for line in (tmp_path / "s").read_text("utf-8").splitlines()]
    lines[0]["label"] = label
    (tmp_path / "s").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    back = read_sheet(tmp_path / "s", task)
    assert back.table["label"].to_pylist() == [expected]
    assert ("text_b" in back.table.column_names) == (task.type == "pair")
    assert back.open_ids == ("t1",)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"id": "t0", "text": "x", "label": "c"}', r"line 2: label 'c' is not one of \['a', 'b'\]"),
        ('{"id": "t1", "text": "x", "label": ["a"]}', "line 2: label 'a'|expected a string"),
        ('{"id": "t9", "text": "x", "label": ""}', "line 2: the id 't9' came before"),
        ("not json", "line 2: not JSON"),
        ('["t0"]', "line 2: .*expected an object"),
    ],
)
def test_faulty_lines_are_named(tmp_path: Path, line: str, fault: str) -> None:
    (tmp_path / "s").write_text('{"id": "t9", "text": "x", "label": ""}\n' + line, "utf-8")
    with pytest.raises(SelectionError, match=fault):
        read_sheet(tmp_path / "s", TASK)
    with pytest.raises(SelectionError, match="not among the 6 texts"):
        write_sheet(tmp_path / "s", TASK, TEXTS, ["nope"])
