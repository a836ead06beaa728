"""CheckList's tests, bias and robustness, against models whose faults are known, and a real one's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from film_classifier import TASK, answers, by_rule, classifier, film_reviews, right
from scipy.stats import binomtest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from bert_core.config import ChoiceTask, PairTask, SequenceTask, SpanTask, TokenTask
from bert_core.intervals import paired_bootstrap
from tasks.augment.thesaurus import FileThesaurus
from tasks.behaviour import (
    BehaviourError,
    BehaviourReport,
    BiasReport,
    RobustnessReport,
    measure_bias,
    measure_robustness,
    run_tests,
    wilson,
)
from tasks.config.behaviour import (
    BehaviourConfig,
    BiasConfig,
    Casing,
    Contractions,
    Direction,
    EntityNames,
    Invariance,
    MinimumFunctionality,
    Punctuation,
    Regex,
    RobustnessConfig,
    SynonymWords,
    Typos,
    Words,
)

GOOD = ("great", "fine", "amazing")
SIDE = pa.table(
    {
        "id": [f"x{i}" for i in range(8)],
        "text": [
            f"{word} film, says {name}." for word in ("great", "dull") for name in ("Tom", "Mary", "Paul", "nobody")
        ],
        "label": ["fresh"] * 4 + ["rotten"] * 4,
    }
)


def honest(text: str) -> float:
    """Sees what is good, in any case."""
    return 0.9 if any(word in text.lower() for word in GOOD) else 0.2


def run(test: Any, answer: Callable[[pa.Table], pa.Table], task: Any = TASK, side: pa.Table = SIDE, **more: Any) -> Any:
    report = run_tests(BehaviourConfig(tests=(test,), **more), task, side, answer, seed=1)
    return report.tests[0]


# ------------------------------------------------------------------------------------------------ minimum functionality


def test_every_combination_of_a_template() -> None:
    test = MinimumFunctionality(
        name="praise",
        templates=("This is {a:adj} {noun}.", "What {a:noun}!"),
        words={"adj": ("great", "amazing", "odd"), "noun": ("film", "opera")},
        expected="fresh",
    )
    result = run(test, by_rule(honest))
    assert (result.total, result.passed) == (3 * 2 + 2, 4)
    assert [failure.text for failure in result.failures] == [
        "This is an odd film.",
        "This is an odd opera.",
        "What a film!",
        "What an opera!",
    ]
    assert result.failures[0].expected == "fresh"
    assert result.failures[0].said == "rotten (0.80)"
    assert result.rate.estimate == 0.5


def test_samples_of_very_many_combinations() -> None:
    words = {name: tuple(f"{name}{i}" for i in range(50)) for name in "abcd"}
    test = MinimumFunctionality(name="t", templates=("{a} {b} {c} {d}",), words=words, expected="rotten", samples=40)
    result = run(test, by_rule(honest))
    assert result.total == 40
    with pytest.raises(BehaviourError, match="6,250,000 combinations, 10,000 at most: set samples"):
        run(test.model_copy(update={"samples": None}), by_rule(honest))


def test_pairs_several_labels_and_numbers() -> None:
    pair = MinimumFunctionality(
        name="same", templates=("{x} runs",), templates_b=("A {x} runs",), words={"x": ("dog", "cat")}, expected="fresh"
    )

    def says_whether_in(table: pa.Table) -> pa.Table:
        return answers(
            table, [a[:3] in b for a, b in zip(table["text"].to_pylist(), table["text_b"].to_pylist(), strict=True)]
        )

    assert run(pair, says_whether_in, PairTask(labels=("fresh", "rotten"))).passed == 2
    many = MinimumFunctionality(name="m", templates=("x", "y"), expected=("b", "a"))
    said = pa.table(
        {"id": ["case-0", "case-1"], "labels": [["a", "b"], ["a"]], "probabilities": [[0.9, 0.9], [0.9, 0.1]]}
    )
    assert run(many, lambda table: said, SequenceTask(kind="multi", labels=("a", "b"))).passed == 1
    number = MinimumFunctionality(name="n", templates=("x", "y"), expected_between=(0.5, 1.0))
    values = pa.table({"id": ["case-0", "case-1"], "value": [0.5, 1.1]})
    result = run(number, lambda table: values, SequenceTask(kind="regression"))
    assert (result.passed, result.failures[0].said, result.failures[0].expected) == (1, "1.1", "0.5 to 1")


# ----------------------------------------------------------------------------------------------------------- invariance


def test_a_model_that_looks_at_names_fails_and_an_honest_one_does_not() -> None:
    test = Invariance(name="names", perturbation=Words(shipped=("names",)))
    fair = run(test, by_rule(honest))
    assert (fair.passed, fair.total, fair.skipped) == (6, 6, 2), "two texts name nobody"
    partial = run(test, by_rule(lambda text: 0.9 if "Mary" in text or "Tom" in text else 0.2))
    assert partial.passed < partial.total
    assert "as for: great film, says" in " ".join(failure.expected for failure in partial.failures)


def test_texts_of_ones_own_and_no_more_than_asked_for() -> None:
    test = Invariance(name="case", perturbation=Casing(how="upper"), texts=("a great one", "A DULL ONE"))
    result = run(test, by_rule(lambda text: 0.9 if "great" in text else 0.1))
    assert (result.total, result.passed, result.skipped) == (1, 0, 1)
    few = Invariance(name="case", perturbation=Casing(how="upper"), max_examples=3)
    assert run(few, by_rule(honest)).total == 3
    nothing = Invariance(name="none", perturbation=Regex(pattern="qqq", replacement=""))
    result = run(nothing, by_rule(honest))
    assert (result.total, result.rate) == (0, None)


def test_numbers_may_change_by_the_tolerance() -> None:
    task = SequenceTask(kind="regression")
    model = make_pipeline(TfidfVectorizer(lowercase=False), Ridge()).fit(
        SIDE["text"].to_pylist(), [1.0] * 4 + [0.0] * 4
    )

    def answer(table: pa.Table) -> pa.Table:
        return pa.table({"id": table["id"], "value": model.predict(table["text"].to_pylist())})

    test = Invariance(name="t", perturbation=Regex(pattern="great|dull", replacement="so-so"), tolerance=0.01)
    side = SIDE.set_column(2, "label", pa.array([1.0] * 4 + [0.0] * 4))
    assert run(test, answer, task, side).passed == 0
    assert run(test.model_copy(update={"tolerance": 1.0}), answer, task, side).passed == 8


def test_entities_are_swapped_for_others_of_their_type() -> None:
    side = pa.table(
        {
            "id": ["a", "b", "c"],
            "tokens": [["Tom", "Cruise", "left"], ["Anna", "saw", "Rome"], ["nothing", "here"]],
            "tags": [["B-PER", "I-PER", "O"], ["B-PER", "O", "B-LOC"], ["O", "O"]],
        }
    )
    task = TokenTask(labels=("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
    known = {"Tom": "B-PER", "Cruise": "I-PER", "Anna": "B-PER", "Rome": "B-LOC", "Ada": "B-PER", "Lovelace": "I-PER"}

    def answer(table: pa.Table) -> pa.Table:
        tags = [[known.get(token, "O") for token in tokens] for tokens in table["tokens"].to_pylist()]
        return pa.table({"id": table["id"], "tags": tags})

    names = {"PER": ("Ada Lovelace", "Tom Cruise", "Anna"), "LOC": ("Paris", "Rome")}
    test = Invariance(name="entities", perturbation=EntityNames(names=names))
    result = run(test, answer, task, side)
    assert (result.total, result.skipped) == (2, 1)
    assert result.passed == 1, "Paris is not known to the model, all people are"
    assert "Paris" in result.failures[0].text
    assert "B-LOC" in result.failures[0].expected
    own = run(Invariance(name="own", perturbation=EntityNames()), answer, task, side)
    assert (own.total, own.passed) == (2, 2)
    assert run(Invariance(name="typos", perturbation=Typos()), answer, task, side).passed < 3


def test_a_question_mistyped() -> None:
    side = pa.table(
        {
            "id": ["q"],
            "question": ["Who wrote the program?"],
            "context": ["Ada wrote it."],
            "answers": pa.array([[{"text": "Ada", "start": 0}]]),
        }
    )

    def answer(table: pa.Table) -> pa.Table:
        assert table["context"].to_pylist() == ["Ada wrote it."]
        found = ["Ada" if "program" in text else "" for text in table["question"].to_pylist()]
        return pa.table({"id": table["id"], "answer": found, "score": [1.0]})

    assert run(Invariance(name="q", perturbation=Punctuation()), answer, SpanTask(), side).passed == 1
    upper = run(Invariance(name="q", perturbation=Casing(how="upper")), answer, SpanTask(), side)
    assert upper.failures[0].said == "(none)"
    with pytest.raises(BehaviourError, match="names are those of its context"):
        run(Invariance(name="q", perturbation=Words(shipped=("names",))), answer, SpanTask(), side)


# ------------------------------------------------------------------------------------------------------------ direction


@pytest.mark.parametrize(("must_not", "passed"), [("fall", 8), ("rise", 4)])
def test_praise_must_not_lower_what_is_good(must_not: Any, passed: int) -> None:
    test = Direction(name="d", add=("It is great.", "So fine!"), label="fresh", must_not=must_not)
    result = run(test, by_rule(honest))
    assert (result.total, result.passed) == (8, passed)
    if must_not == "rise":
        assert result.failures[0].expected == "fresh at most 0.30, before 0.20"
        assert result.failures[0].said == "fresh 0.90"


def test_direction_within_the_tolerance() -> None:
    test = Direction(name="d", add=("Great!",), label="fresh", must_not="fall", where="start")
    slightly = by_rule(lambda text: 0.45 if "Great!" in text else 0.5)
    assert run(test, slightly).passed == 8
    assert run(test.model_copy(update={"tolerance": 0.01}), slightly).passed == 0


# ------------------------------------------------------------------------------------------------- results and refusals


@pytest.mark.parametrize(("passed", "total"), [(0, 10), (10, 10), (7, 10), (1, 3), (950, 1000)])
def test_wilson_equals_scipy(passed: int, total: int) -> None:
    interval = wilson(passed, total, 0.9)
    expected = binomtest(passed, total).proportion_ci(0.9, method="wilson")
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert wilson(0, 0) is None


def test_a_report_goes_to_json_html_and_the_gate() -> None:
    wicked = Invariance(
        name="wicked", perturbation=Casing(how="upper"), texts=("<script>great</script> | *x*", "great & fine")
    )
    tests = (wicked, Direction(name="none", texts=("x",), add=("y",), label="fresh", must_not="fall"))
    answer = by_rule(lambda text: 0.9 if "great" in text else 0.1)
    report = run_tests(BehaviourConfig(tests=tests), TASK, SIDE, answer, seed=0)
    assert BehaviourReport.model_validate_json(report.model_dump_json()) == report
    assert report.flat() == {"behaviour.wicked": 0.0, "behaviour.none": 1.0}
    assert "<script>" not in report.html()
    assert "<SCRIPT>" not in report.html()
    assert "&lt;SCRIPT&gt;" in report.html()
    assert "\\<SCRIPT\\>" in report.markdown()
    assert report == run_tests(BehaviourConfig(tests=tests), TASK, SIDE, answer, seed=0)
    alone = run_tests(BehaviourConfig(tests=tests[:1]), TASK, SIDE, answer, seed=0)
    assert alone.tests[0] == report.tests[0]


def test_tests_that_a_task_cannot_have_and_answers_that_do_not_fit() -> None:
    invariance = Invariance(name="i", perturbation=Casing())
    praise = Direction(name="d", add=("x",), label="nope", must_not="fall")
    for test, task, answer, fault in (
        (invariance, ChoiceTask(), by_rule(honest), "not for choice"),
        (praise, TASK, by_rule(honest), "label 'nope' is not one of"),
        (praise.model_copy(update={"label": "fresh"}), SequenceTask(), by_rule(honest), "task.labels is empty"),
        (MinimumFunctionality(name="m", templates=("x",), expected="nope"), TASK, by_rule(honest), "'nope'"),
        (
            MinimumFunctionality(name="m", templates=("x",), expected="fresh"),
            PairTask(labels=TASK.labels),
            by_rule(honest),
            "templates_b",
        ),
        (invariance, TASK, lambda table: by_rule(honest)(table).slice(1), "not answered"),
        (invariance, TASK, lambda table: by_rule(honest)(table).drop_columns(["label"]), "lack columns"),
        (invariance, TASK, lambda table: pa.concat_tables([by_rule(honest)(table)] * 2), "twice"),
        (Invariance(name="e", perturbation=EntityNames()), TASK, by_rule(honest), "token tasks"),
    ):
        with pytest.raises(BehaviourError, match=fault):
            run(test, answer, task, SIDE.append_column("text_b", SIDE["text"]))


# ----------------------------------------------------------------------------------------------------------------- bias


def people(size: int = 200) -> pa.Table:
    """Reviews by him and by her, half of them good, some by both or by nobody."""
    who = ["He says", "She says", "He and she say", "They say"]
    rows = [
        {"id": f"p{i}", "text": f"{who[i % 4]}: a {'great' if (i // 4) % 2 else 'dull'} film", "label": None}
        for i in range(size)
    ]
    for row in rows:
        row["label"] = "fresh" if "great" in row["text"] else "rotten"
    return pa.Table.from_pylist(rows)


BIAS = BehaviourConfig(bias=BiasConfig(), bootstrap_samples=500)


def test_a_fair_model_changes_nothing_and_a_biased_one_is_measured() -> None:
    fair = measure_bias(BIAS, TASK, people(), by_rule(honest), seed=0)
    assert set(fair.flat().values()) == {0.0}
    (swap,) = fair.swaps
    assert (swap.groups, swap.examples) == (("male", "female"), 150)

    def biased(text: str) -> float:
        return honest(text) - (0.5 if text.startswith("She") else 0.0)

    found = measure_bias(BIAS, TASK, people(), by_rule(lambda text: max(0.1, biased(text))), seed=0)
    (swap,) = found.swaps
    assert swap.flips is not None
    # great: 0.9 for him, 0.4 for her; dull: 0.2 and 0.1; "He and she" becomes "She and he"
    assert swap.flips.estimate == pytest.approx(0.5)
    assert swap.favour["fresh"].estimate == pytest.approx(-0.3, abs=1e-6)
    assert swap.favour["fresh"].high < -0.25
    assert swap.favour["rotten"].estimate == pytest.approx(0.3, abs=1e-6)
    assert swap.change.estimate == pytest.approx(0.3, abs=1e-6)
    assert swap.changed[0].said_before != swap.changed[0].said_after
    gap = {(g.measure, g.label): g.difference for g in found.gaps}
    assert gap["accuracy", ""].estimate == pytest.approx(-25 / 100 + 0 / 100, abs=0.01)
    assert gap["false_negative_rate", "fresh"].low > 0.3
    assert gap["false_positive_rate", "fresh"].estimate == 0.0
    assert found.flat()["bias.gender.flip_rate"] == pytest.approx(0.5)
    assert BiasReport.model_validate_json(found.model_dump_json()) == found
    assert "<section>" in found.html()
    assert "male / female" in found.markdown()


def test_errors_of_each_group_are_counted_as_by_hand() -> None:
    """A model that always says fresh is wrong on the dull ones, and on nothing else."""
    report = measure_bias(BIAS, TASK, people(), by_rule(lambda text: 0.8), seed=0)
    scores = {(s.group, s.measure, s.label): s for s in report.scores}
    for group in ("male", "female"):
        assert scores[group, "accuracy", ""].examples == 100
        assert scores[group, "accuracy", ""].value.estimate == 0.5
        assert scores[group, "false_positive_rate", "fresh"].value.estimate == 1.0
        assert scores[group, "false_negative_rate", "fresh"].value.estimate == 0.0
        assert scores[group, "false_negative_rate", "rotten"].examples == 50
    interval = scores["male", "accuracy", ""].value
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 0.5 / 10, rel=0.15), "as the normal one, n = 100"


def test_bias_of_numbers_of_pairs_and_of_nobody() -> None:
    side = people().set_column(2, "label", pa.array([0.5] * 200))

    def values(table: pa.Table) -> pa.Table:
        return pa.table(
            {"id": table["id"], "value": [0.3 if t.startswith("She") else 0.5 for t in table["text"].to_pylist()]}
        )

    report = measure_bias(BIAS, SequenceTask(kind="regression"), side, values, seed=0)
    assert report.swaps[0].flips is None
    assert report.swaps[0].favour["value"].estimate == pytest.approx(-0.2)
    assert report.flat()["bias.gender.error_gap"] == pytest.approx(0.1)
    pairs = people().append_column("text_b", pa.array(["He knows"] * 200))
    both = measure_bias(BIAS, PairTask(labels=TASK.labels), pairs, by_rule(honest), seed=0)
    assert both.swaps[0].examples == 200
    nobody = measure_bias(BIAS, TASK, SIDE.slice(3, 1), by_rule(honest), seed=0)
    assert (nobody.swaps, nobody.flat()) == ((), {})
    with pytest.raises(BehaviourError, match="not on token"):
        measure_bias(BIAS, TokenTask(), people(), by_rule(honest), seed=0)
    with pytest.raises(BehaviourError, match="no section bias"):
        measure_bias(BehaviourConfig(), TASK, people(), by_rule(honest), seed=0)


# ----------------------------------------------------------------------------------------------------------- robustness


def test_what_is_lost_to_upper_case() -> None:
    answer = by_rule(lambda text: 0.9 if "great" in text else 0.1)
    config = BehaviourConfig(robustness=RobustnessConfig(), bootstrap_samples=300)
    elsewhere = pa.table({"id": ["o1", "o2"], "text": ["fine", "great"], "label": ["fresh", "fresh"]})
    report = measure_robustness(config, TASK, SIDE, answer, right, seed=0, out_of_domain=elsewhere)
    assert report.clean.estimate == 1.0
    found = {one.name: one for one in report.results}
    assert found["upper"].difference.estimate == -0.5
    assert found["upper"].difference == paired_bootstrap([0.0] * 4 + [1.0] * 4, [1.0] * 8, samples=300, seed=0)
    assert found["lower"].score.estimate == 1.0
    assert found["expanded"].changed == 0
    assert found["out_of_domain"].score.estimate == 0.5
    assert report.not_for_task == ("synonyms",)
    assert report.flat()["robustness.upper.drop"] == 0.5
    assert report.flat()["robustness.out_of_domain"] == 0.5
    assert RobustnessReport.model_validate_json(report.model_dump_json()) == report
    assert "out of domain" in report.html()
    assert "Not for this task: synonyms" in report.markdown()


def test_robustness_of_tags_and_questions(tmp_path: Path) -> None:
    side = pa.table({"id": ["a"], "tokens": [["Visit", "Rome", "."]], "tags": [["O", "B-LOC", "O"]]})
    seen: list[list[str]] = []

    def answer(table: pa.Table) -> pa.Table:
        seen.extend(table["tokens"].to_pylist())
        return table

    config = BehaviourConfig(robustness=RobustnessConfig(), bootstrap_samples=100)
    report = measure_robustness(config, TokenTask(), side, answer, lambda gold, said: [1.0], seed=0)
    assert [one.name for one in report.results] == ["typos", "lower", "upper", "swapped_case"]
    assert all(len(tokens) == 3 for tokens in seen)
    assert ["VISIT", "ROME", "."] in seen
    (tmp_path / "words").write_text("program, programme", "utf-8")
    span = pa.table(
        {"id": ["q"], "question": ["Who wrote the program and isn't known?"], "context": ["Ada"], "answers": [[]]}
    )
    only = RobustnessConfig(perturbations={"s": SynonymWords(), "c": Contractions(), "w": Words(shipped=("names",))})
    asked: list[str] = []

    def ask(table: pa.Table) -> pa.Table:
        asked.extend(table["question"].to_pylist())
        return table

    found = measure_robustness(
        BehaviourConfig(robustness=only), SpanTask(), span, ask, lambda gold, said: [1.0], seed=0,
        thesaurus=FileThesaurus(tmp_path / "words"),
    )  # fmt: skip
    assert found.not_for_task == ("w",)
    assert asked[1:] == ["Who wrote the programme and isn't known?", "Who wrote the program and is not known?"]


def test_scores_that_are_not_one_for_each_example() -> None:
    config = BehaviourConfig(robustness=RobustnessConfig())
    with pytest.raises(BehaviourError, match="scores have shape"):
        measure_robustness(config, TASK, SIDE, by_rule(honest), lambda gold, said: [1.0], seed=0)
    with pytest.raises(BehaviourError, match="empty"):
        measure_robustness(config, TASK, SIDE.slice(0, 0), by_rule(honest), right, seed=0)
    with pytest.raises(BehaviourError, match="no section robustness"):
        measure_robustness(BehaviourConfig(), TASK, SIDE, by_rule(honest), right, seed=0)


# ----------------------------------------------------------------------------------------------------------- a real one


def test_a_real_model_of_real_reviews(data_folder: Path) -> None:
    reviews = film_reviews(data_folder, every=5)
    train, test = reviews.slice(0, 1800), reviews.slice(1800)
    answer = classifier(train)
    config = BehaviourConfig(
        tests=(
            MinimumFunctionality(name="simple", templates=("A great film.", "Wonderful and moving."), expected="fresh"),
            Invariance(name="typos", perturbation=Typos(rate=0.3)),
            Invariance(name="upper", perturbation=Casing(how="upper")),
            Direction(name="blame", add=("Dull, boring and bad.",), label="fresh", must_not="rise", tolerance=0.05),
        ),
        bias=BiasConfig(),
        robustness=RobustnessConfig(),
        bootstrap_samples=300,
    )
    rates = run_tests(config, TASK, test, answer, seed=0).flat()
    assert rates["behaviour.blame"] == 1.0
    assert rates["behaviour.upper"] < rates["behaviour.typos"] < 1.0
    robust = measure_robustness(config, TASK, test, answer, right, seed=0)
    found = {one.name: one for one in robust.results}
    assert robust.clean.estimate > 0.6
    assert found["upper"].difference.high < 0, "a model that tells case apart knows no capitals"
    assert found["whitespace"].difference.estimate == 0.0
    bias = measure_bias(config, TASK, test, answer, seed=0)
    assert bias.swaps[0].examples > 30
    assert 0 <= bias.flat()["bias.gender.flip_rate"] < 0.4
    assert np.isfinite(list(bias.flat().values())).all()
