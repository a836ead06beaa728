"""The report of every task type, and each part of it against what was planted."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from evidence_cases import CASES, DRAW, SIZE, single, token
from metric_tables import LABELS, class_tables, names

from bert_core.config import ChoiceTask, SequenceTask, TokenTask
from bert_core.intervals import EvaluationError
from bert_core.metrics import aligned
from tasks.evidence.calibration import calibration, confidences, ece, temperature
from tasks.evidence.examples import main_text, parts
from tasks.evidence.page import page
from tasks.evidence.report import EvalReport, build_report
from tasks.evidence.schema import Costs
from tasks.evidence.slices import chosen, periods, quarters, slice_columns
from tasks.evidence.suspects import suspects
from tasks.evidence.tag_errors import tag_errors

TASK = SequenceTask(labels=LABELS)


@pytest.mark.parametrize("case", CASES)
def test_every_task_type_has_a_report_that_survives_json(case: str) -> None:
    evidence = CASES[case]()
    report = build_report(evidence)
    assert EvalReport.model_validate_json(report.model_dump_json()) == report
    assert build_report(evidence) == report, "equal evidence, equal report"
    assert report.primary in report.candidate.metrics
    assert report.examples == SIZE
    for model in report.models.values():
        for name, metric in model.metrics.items():
            assert len(metric.runs) == model.runs
            assert metric.interval.estimate == pytest.approx(np.mean(metric.runs)), name
    best = report.best_baseline(report.primary)
    assert best is not None
    lead = report.models[best].leads[report.primary]
    ours, theirs = (report.models[name].metrics[report.primary].interval.estimate for name in ("model", best))
    assert lead.interval.estimate == pytest.approx(ours - theirs)


def test_a_candidate_without_answers_is_refused() -> None:
    evidence = single()
    with pytest.raises(EvaluationError, match="no answers of 'model', the candidate; there are: bert"):
        build_report(replace(evidence, answers={"bert": evidence.answers["model"]}))


def test_classes_count_what_is_and_what_was_said() -> None:
    evidence = single()
    report = build_report(evidence)
    true = evidence.gold["label"].to_pylist()
    said = [label for run in evidence.answers["model"] for label in run["label"].to_pylist()]
    for one in report.classes:
        assert one.support == true.count(one.name)
        assert one.said == said.count(one.name) / 2
    assert report.confusion is not None
    assert np.array(report.confusion.counts).sum() == 2 * SIZE


def test_a_slice_that_is_worse_is_marked_and_no_other() -> None:
    size = 600
    gold, ours = class_tables(size, wrong=0.0)
    ours = aligned(gold, ours)
    place = np.arange(size) % 4
    spoilt = [
        LABELS[(LABELS.index(label) + 1) % 3] if row % 4 == 2 and row % 8 < 4 else label
        for row, label in enumerate(gold["label"].to_pylist())
    ]
    gold = gold.append_column("forum", pa.array([f"f{i}" for i in place]))
    ours = ours.drop_columns("probabilities").set_column(1, "label", pa.array(spoilt))
    evidence = replace(single(), gold=gold, answers={"model": [ours]}, slice_by=("forum",))
    worse = {one.name for one in build_report(evidence).slices if one.is_worse}
    assert worse == {"forum=f2"}


def test_slices_are_by_length_source_time_and_named_columns() -> None:
    gold, _ = class_tables(200)
    rare = ["rare"] * 3 + ["often"] * 100 + ["also"] * 97
    gold = gold.append_column("source", pa.array(["web"] * 120 + ["mail"] * 80))
    gold = gold.append_column("author", pa.array(rare))
    gold = gold.append_column("day", pa.array([f"20{10 + i % 4}-05-01" for i in range(200)]))
    cuts, left_out = chosen(slice_columns(TASK, gold, ["author"], "day"))
    found = {f"{column}={value}": len(rows) for column, value, rows in cuts}
    assert {"source=web", "source=mail", "author=often", "author=also", "day=2010", "day=2013"} <= set(found)
    assert "author=rare" not in found
    assert left_out["author"] == "1 with fewer than 20 examples each"
    assert sum(count for name, count in found.items() if name.startswith("length=")) == 200
    with pytest.raises(EvaluationError, match="no column 'colour' to slice by; the examples have: id, text"):
        slice_columns(TASK, gold, ["colour"])
    with pytest.raises(EvaluationError, match="day: 'yesterday' is no time"):
        periods(["yesterday"], "day")
    assert periods(["2024-01-05", "2024-02-05T10:00:00+02:00", None], "t") == ["2024-01", "2024-02", ""]
    assert quarters([1, 1, 1, 1]) == ["up to 1"] * 4


def scaled_answers(size: int, by: float, seed: int = 0) -> tuple[pa.Table, pa.Table]:
    """Labels drawn from the very probabilities that the answers hold, once sharpened `by`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (size, 3))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    true = [LABELS[rng.choice(3, p=one)] for one in honest]
    sharp = np.exp(by * logits) / np.exp(by * logits).sum(axis=1, keepdims=True)
    gold = pa.table({"id": names(size), "text": [""] * size, "label": true})
    said = [LABELS[i] for i in sharp.argmax(axis=1)]
    return gold, pa.table({"id": names(size), "label": said, "probabilities": sharp.tolist()})


def test_temperature_scaling_finds_how_much_too_sure_a_model_is() -> None:
    gold, answers = scaled_answers(4_000, by=2.5)
    held = confidences(TASK, gold, answers)
    assert held is not None
    assert temperature(held) == pytest.approx(2.5, rel=0.07)
    validation = scaled_answers(2_000, by=2.5, seed=1)
    found = calibration(TASK, gold, [answers], (validation[0], [validation[1]]), DRAW)
    assert found is not None
    assert found.scaled_ece is not None
    assert found.ece.estimate > 0.1
    assert found.scaled_ece < 0.03
    assert found.nll is not None
    assert found.scaled_nll is not None
    assert found.scaled_nll < found.nll
    assert found.mean_confidence > found.accuracy


def test_expected_calibration_error_is_that_of_equally_filled_bins() -> None:
    gold, answers = scaled_answers(1_000, by=1.7)
    held = confidences(TASK, gold, answers)
    assert held is not None
    order = np.argsort(held.said_confidence)
    expected = sum(
        abs(held.said_confidence[part].mean() - held.is_right[part].mean()) * len(part) / 1_000
        for part in np.array_split(order, 10)
    )
    assert ece(held) == pytest.approx(expected, abs=2e-3)


def test_planted_wrong_labels_are_suspected() -> None:
    size = 400
    gold, answers = class_tables(size, wrong=0.0)
    label = gold["label"].to_pylist()
    wrong = set(np.random.default_rng(0).choice(size, 30, replace=False).tolist())
    told = [LABELS[(LABELS.index(one) + 1) % 3] if row in wrong else one for row, one in enumerate(label)]
    found = suspects("train", TASK, gold.set_column(2, "label", pa.array(told)), [answers], shown=size)
    assert found is not None
    names_found = {one.id for one in found.shown}
    planted = {f"x{row:05}" for row in wrong}
    assert len(names_found & planted) >= 24
    assert len(names_found - planted) <= 8
    assert all(one.confidence_suggested > one.confidence_given for one in found.shown)


def test_entities_go_wrong_in_four_ways() -> None:
    tags = [["B-PER", "I-PER", "O", "B-LOC", "O", "B-ORG", "O", "O", "B-PER"]]
    said = [["B-PER", "O", "O", "B-ORG", "O", "O", "O", "B-LOC", "B-PER"]]
    words = [["Ada", "Lovelace", "in", "Paris", "at", "IBM", "and", "Rome", "Bob"]]
    gold = pa.table({"id": ["1"], "tokens": words, "tags": tags})
    found = tag_errors(gold, [pa.table({"id": ["1"], "tags": said})] * 2)
    assert (found.right, found.boundary, found.type, found.missed, found.invented) == (1, 1, 1, 1, 1)
    assert set(found.confused) == {("Paris", "LOC", "ORG", 1.0), ("IBM", "ORG", "O", 1.0), ("Rome", "O", "LOC", 1.0)}


def test_the_hardest_example_is_the_one_most_surely_wrong() -> None:
    gold = pa.table({"id": ["a", "b", "c"], "text": ["x", "y", "z"], "label": ["rotten", "fresh", "fresh"]})
    first = [[0.9, 0.05, 0.05], [0.98, 0.01, 0.01], [0.3, 0.6, 0.1]]
    second = [[0.9, 0.05, 0.05], [0.02, 0.97, 0.01], [0.3, 0.6, 0.1]]

    def said(rows: list[list[float]]) -> pa.Table:
        return pa.table(
            {"id": ["a", "b", "c"], "label": [LABELS[int(np.argmax(r))] for r in rows], "probabilities": rows}
        )

    evidence = replace(single(), gold=gold, answers={"model": [said(first), said(second)]})
    hardest = build_report(evidence).hardest[0]
    assert hardest.id == "b"
    assert hardest.said == "rotten (1 of 2) / fresh (1 of 2)"
    assert hardest.parts == (("text", "y"),)


def test_perplexities_of_other_tokens_are_not_compared() -> None:
    evidence = CASES["causal"]()
    report = build_report(evidence)
    assert report.primary == "bits_per_character"
    assert {"perplexity", "bits_per_character"} <= {*report.models["n-grams"].metrics}
    (said,) = evidence.answers["n-grams"]
    characters = pa.array([len(target) for target in evidence.gold["target"].to_pylist()])
    others = said.set_column(said.schema.get_field_index("num_tokens"), "num_tokens", characters)
    report = build_report(replace(evidence, answers={**evidence.answers, "n-grams": [others]}))
    assert "perplexity" in report.models["model"].metrics
    assert "perplexity" not in report.models["n-grams"].metrics
    assert report.models["n-grams"].left_out["perplexity"] == "its tokens are not those of this model"
    assert report.models["n-grams"].leads.keys() == {"bits_per_character"}
    assert "bits per character" in page(report)


def test_choices_are_told_apart_and_chinese_tokens_are_not() -> None:
    asked = {"text": "Where to?", "choices": ["Buy a pair of shoes", "Bowl next"]}
    assert dict(parts(ChoiceTask(), asked))["choices"] == "Buy a pair of shoes | Bowl next"
    assert main_text(TokenTask(), {"tokens": ["北", "京"]}) == "北京"


def test_costs_are_priced_by_the_hour() -> None:
    evidence = replace(single(), costs={"model": Costs(seconds_per_thousand=36.0)}, price_per_hour=2.0)
    assert build_report(evidence).costs["model"].price_per_thousand == pytest.approx(0.02)


def test_tags_have_no_temperature_but_an_error() -> None:
    report = build_report(token())
    assert report.calibration is not None
    assert report.calibration.of == "tokens"
    assert report.calibration.temperature is None
    assert report.calibration.ece.estimate == pytest.approx(abs(0.9 - report.calibration.accuracy), abs=0.02)
