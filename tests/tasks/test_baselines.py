"""Baselines on texts small enough to see through, and the table of predictions that they fill."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tasks.config import BaselinesConfig
from tasks.text.analysis import MissingModel
from tasks.text.baselines import BaselinesError, fit_baselines
from tasks.text.predictions import (
    PredictionsError,
    correct,
    join_predictions,
    model_names,
    most_probable,
    predictions_table,
    probabilities,
    read_predictions,
    write_predictions,
)

CLASSES = ("rotten", "fresh")
WORDS = {
    "fresh": ["tempting", "witty", "moving", "tender", "superb", "luminous", "joyful", "sly"],
    "rotten": ["dull", "tedious", "clumsy", "shrill", "lifeless", "smug", "muddled", "stale"],
}
COMMON = ["film", "a", "the", "plot", "actor", "scene", "story", "director", "camera", "ending"]


def documents(size: int = 600, noise: float = 0.05, seed: int = 0) -> pa.Table:
    """Reviews of which one word gives the label away, but for a share that lies."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(size):
        label = CLASSES[int(rng.random() < 0.6)]
        side = CLASSES[1 - CLASSES.index(label)] if rng.random() < noise else label
        text = " ".join([*rng.choice(COMMON, 5), rng.choice(WORDS[side]), *rng.choice(COMMON, 3)])
        split = ("train", "train", "train", "validation", "test")[i % 5]
        rows.append({"id": f"{i:04}", "text": text, "label": label, "split": split})
    rows.append({"id": "plot", "text": "a plot has no label", "label": None, "split": "test"})
    return pa.Table.from_pylist(rows)


@pytest.mark.parametrize(
    "config",
    [
        BaselinesConfig(),
        BaselinesConfig(analyzer="char", naive_bayes_ngrams=(1, 2), logistic_ngrams=(1, 3)),
    ],
)
def test_baselines_learn_what_is_there_to_learn(config: BaselinesConfig) -> None:
    table = documents()
    fitted = fit_baselines(config, table, CLASSES, seed=1)
    truth = dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))
    assert list(fitted) == ["majority", "naive_bayes", "logistic_regression"]
    accuracy = {}
    for name, predictions in fitted.items():
        assert len(predictions.document_ids) == 120, "the labelled documents of the test side, and no others"
        accuracy[name] = np.mean(
            [truth[i] == c for i, c in zip(predictions.document_ids, predictions.labels, strict=True)]
        )
        assert np.allclose(predictions.probabilities.sum(axis=1), 1)
    assert set(fitted["majority"].labels) == {"fresh"}
    assert min(accuracy["naive_bayes"], accuracy["logistic_regression"]) > 0.8 > accuracy["majority"]


FORMS = {"fresh": ("moves", "moved", "moving"), "rotten": ("bores", "bored", "boring")}


def inflected() -> pa.Table:
    """Training knows one form of the verb that gives the label away, the other sides have the others."""
    rows = []
    for number in range(90):
        label = CLASSES[number % 2]
        split, form = ((("train", 0), ("validation", 1), ("test", 2)))[number // 2 % 3]
        text = f"The film {FORMS[label][0]} us." if form == 0 else f"It was {FORMS[label][form]} me, the plot {number}."
        rows.append({"id": f"{number:02}", "text": text, "label": label, "split": split})
    return pa.Table.from_pylist(rows)


def test_lemmas_bring_the_forms_of_a_word_together() -> None:
    table = inflected()
    truth = dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))

    def accuracy(config: BaselinesConfig) -> float:
        found = fit_baselines(config, table, CLASSES, seed=1)["naive_bayes"]
        return float(np.mean([truth[i] == c for i, c in zip(found.document_ids, found.labels, strict=True)]))

    plain = {"naive_bayes_ngrams": (1, 1), "logistic_ngrams": (1, 1)}
    assert accuracy(BaselinesConfig(**plain)) < 0.7
    assert accuracy(BaselinesConfig(lemmas="en_core_web_sm", **plain)) > 0.9
    verbs = fit_baselines(
        BaselinesConfig(lemmas="en_core_web_sm", parts_of_speech=("VERB", "ADJ"), **plain), table, CLASSES, seed=1
    )
    assert verbs["naive_bayes"].facts["features"] <= 3


def test_lemmas_need_a_pipeline_and_words() -> None:
    with pytest.raises(MissingModel, match="de_core_news_sm is not installed"):
        fit_baselines(BaselinesConfig(lemmas="de_core_news_sm"), documents(), CLASSES, seed=1)
    with pytest.raises(ValueError, match="name a pipeline in lemmas"):
        BaselinesConfig(parts_of_speech=("NOUN",))
    with pytest.raises(ValueError, match="analyzer is 'char'"):
        BaselinesConfig(lemmas="en_core_web_sm", analyzer="char")


def test_equal_inputs_give_equal_predictions() -> None:
    first, second = (fit_baselines(BaselinesConfig(), documents(), CLASSES, seed=1) for _ in range(2))
    for name in first:
        assert np.array_equal(first[name].probabilities, second[name].probabilities)
        assert first[name].facts == second[name].facts


def test_the_test_side_does_not_reach_the_fit() -> None:
    table = documents()
    spoiled = pa.Table.from_pylist(
        [row | {"text": "tempting"} if row["split"] == "test" else row for row in table.to_pylist()]
    )
    one = fit_baselines(BaselinesConfig(), table, CLASSES, seed=1)
    other = fit_baselines(BaselinesConfig(), spoiled, CLASSES, seed=1)
    assert all(one[name].facts == other[name].facts for name in one)


def test_three_classes_give_three_probabilities() -> None:
    rows = documents().to_pylist()
    for row in rows[::7]:
        row |= {"label": "mixed", "text": "so so " + row["text"]}
    fitted = fit_baselines(BaselinesConfig(), pa.Table.from_pylist(rows), (*CLASSES, "mixed"), seed=1)
    found = fitted["logistic_regression"]
    assert found.probabilities.shape == (len(found.document_ids), 3)
    assert "mixed" in found.labels


def test_a_side_without_a_label_or_with_an_unknown_one_is_an_error() -> None:
    rows = documents().to_pylist()
    lopsided = [row for row in rows if not (row["split"] == "validation" and row["label"] == "rotten")]
    with pytest.raises(BaselinesError, match=r"split 'validation': \d+ labelled documents, none of them .*'rotten'"):
        fit_baselines(BaselinesConfig(), pa.Table.from_pylist(lopsided), CLASSES, seed=1)
    with pytest.raises(BaselinesError, match=r"holds labels \['rotten'\]; legal are \['stale', 'fresh'\]"):
        fit_baselines(BaselinesConfig(), documents(), ("stale", "fresh"), seed=1)


def test_predictions_are_joined_by_document_whatever_their_order(tmp_path: Path) -> None:
    ids, labels = ["a", "b", "c"], ["fresh", "rotten", "fresh"]
    forward = most_probable(ids, np.array([[0.2, 0.8], [0.9, 0.1], [0.7, 0.3]]), CLASSES)
    backward = most_probable(ids[::-1], np.array([[0.4, 0.6], [0.9, 0.1], [0.1, 0.9]]), CLASSES)
    left = predictions_table(ids, labels, CLASSES, {"majority": forward})
    right = predictions_table(ids[::-1], labels[::-1], CLASSES, {"bert": backward})
    write_predictions(join_predictions(left, right), tmp_path / "predictions.parquet")
    table = read_predictions(tmp_path / "predictions.parquet")
    assert model_names(table) == ["majority", "bert"]
    assert correct(table, "majority").tolist() == [True, True, False]
    assert correct(table, "bert").tolist() == [True, True, True]
    assert probabilities(table, "bert", CLASSES)[:, 1] == pytest.approx([0.9, 0.1, 0.6])


def test_predictions_of_other_documents_or_that_are_not_probabilities_are_an_error() -> None:
    ids, labels = ["a", "b"], ["fresh", "rotten"]
    good = np.array([[0.2, 0.8], [0.9, 0.1]])
    with pytest.raises(PredictionsError, match=r"1 missing \['b'\], 1 unexpected \['z'\]"):
        predictions_table(ids, labels, CLASSES, {"bert": most_probable(["a", "z"], good, CLASSES)})
    with pytest.raises(PredictionsError, match="sum to 1"):
        predictions_table(ids, labels, CLASSES, {"bert": most_probable(ids, good * 2, CLASSES)})
    with pytest.raises(PredictionsError, match="finite"):
        predictions_table(ids, labels, CLASSES, {"bert": most_probable(ids, good * np.nan, CLASSES)})
    with pytest.raises(PredictionsError, match="'a/b'"):
        predictions_table(ids, labels, CLASSES, {"a/b": most_probable(ids, good, CLASSES)})
    with pytest.raises(PredictionsError, match="2 document ids"):
        predictions_table(["a", "a"], labels, CLASSES, {})
    table = predictions_table(ids, labels, CLASSES, {"bert": most_probable(ids, good, CLASSES)})
    with pytest.raises(PredictionsError, match="in both tables"):
        join_predictions(table, table)
    with pytest.raises(PredictionsError, match=r"no predictions of 'champion'; this table has \['bert'\]"):
        correct(table, "champion")
    other = predictions_table(ids, labels[::-1], CLASSES, {"champion": most_probable(ids, good, CLASSES)})
    with pytest.raises(PredictionsError, match="different test sets"):
        join_predictions(table, other)
