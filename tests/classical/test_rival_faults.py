"""Data and settings that cannot be fitted, each with a message that says what to do; and budgets that run out."""

from __future__ import annotations

import pyarrow as pa
import pytest

from bert_core.config import ChoiceTask, ConfigError, SequenceTask, TokenTask, validate
from tasks.classical import ClassicalError, Unavailable, fit, legal
from tasks.classical.fitting import FITTERS
from tasks.config.classical import BASELINES, REGRESSION, ClassicalConfig
from tests.classical.toys import chinese_like, opinions, sides, small


def relabelled(table: pa.Table, labels: list[str | None]) -> pa.Table:
    return table.set_column(table.column_names.index("label"), "label", pa.array(labels, pa.string()))


def test_every_name_has_a_fitter() -> None:
    for names in (BASELINES, REGRESSION):
        for task_type, wanted in names.items():
            assert set(wanted) <= set(FITTERS[task_type])


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([], "at least one name"),
        (["majority", "majority"], "each once"),
        (["svm"], r"no baseline\(s\) \['svm'\]; legal are"),
    ],
)
def test_recipes_name_legal_baselines(models: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(ClassicalConfig, {"models": models})


def test_a_range_of_ngrams_ascends() -> None:
    with pytest.raises(ConfigError, match=r"n-grams \[3, 1\]"):
        validate(ClassicalConfig, {"word_ngrams": [3, 1]})


def test_a_baseline_of_another_type_is_refused() -> None:
    with pytest.raises(ClassicalError, match=r"\['crf'\] are not for a sequence single task; legal are \['majority'"):
        fit(ClassicalConfig(models=("crf",)), SequenceTask(), sides(opinions, 20, 5), seed=1)
    assert "ridge" in legal(SequenceTask(kind="regression"))
    assert "ridge" not in legal(SequenceTask())


def test_sides_are_whole() -> None:
    data = sides(opinions, 20, 5)
    config, task = ClassicalConfig(models=("majority",)), SequenceTask()
    with pytest.raises(ClassicalError, match=r"no side \['test'\]"):
        fit(config, task, {"train": data["train"], "validation": data["validation"]}, seed=1)
    with pytest.raises(ClassicalError, match=r"test: no examples"):
        fit(config, task, data | {"test": data["test"].slice(0, 0)}, seed=1)
    with pytest.raises(ClassicalError, match=r"validation: 5 of 5 examples have no label"):
        fit(config, task, data | {"validation": relabelled(data["validation"], [None] * 5)}, seed=1)
    with pytest.raises(ClassicalError, match=r"test: no column \['label'\]"):
        fit(config, task, data | {"test": data["test"].drop_columns("label")}, seed=1)
    with pytest.raises(ClassicalError, match=r"the only label is \['good'\]"):
        fit(config, task, data | {"train": relabelled(data["train"], ["good"] * 20)}, seed=1)
    with pytest.raises(ClassicalError, match=r"\['good'\] are not of the task; legal are \['bad', 'fresh'\]"):
        fit(config, SequenceTask(labels=("bad", "fresh")), data, seed=1)
    numbers = pa.table({"id": data["train"]["id"], "text": data["train"]["text"], "label": [float("nan")] * 20})
    with pytest.raises(ClassicalError, match=r"train: 20 of 20 examples have no label"):
        fit(ClassicalConfig(), SequenceTask(kind="regression"), data | {"train": numbers}, seed=1)


def test_texts_without_a_word_teach_nothing() -> None:
    data = sides(opinions, 20, 5)
    empty = data["train"].set_column(1, "text", pa.array(["", "...", " ", "!"] * 5))
    with pytest.raises(ClassicalError, match="none of 20 examples has a word"):
        fit(ClassicalConfig(), SequenceTask(), data | {"train": empty}, seed=1)


def test_empty_and_enormous_texts_are_answered() -> None:
    data = sides(opinions, 40, 6)
    texts = ["", "?!", "witty " * 3_000, "\U0001f600", "ünïcödé 漢字", "x" * 10_000]
    odd = data["test"].set_column(1, "text", pa.array(texts))
    rivals = fit(small(epochs=1, max_tokens=50), SequenceTask(), data | {"test": odd}, seed=1)
    assert all(len(rival.answers) == 6 for rival in rivals.values())
    assert any("longer than 50 tokens" in note for note in rivals["text_cnn"].notes)


def test_tags_and_tokens_of_different_length() -> None:
    rows = [{"id": str(i), "tokens": ["a", "b"], "tags": ["O", "B-X"][: 1 + i % 2]} for i in range(6)]
    table = pa.Table.from_pylist(rows)
    with pytest.raises(ClassicalError, match=r"3 examples differ in their number of tokens and tags \(0: 2 and 1\)"):
        fit(ClassicalConfig(), TokenTask(), dict.fromkeys(("train", "validation", "test"), table), seed=1)


def test_a_label_beyond_the_choices() -> None:
    table = pa.table({"id": ["q"], "text": ["which"], "choices": [["one", "two"]], "label": [2]})
    with pytest.raises(ClassicalError, match=r"no place among their choices \(q: 2 of 2\)"):
        fit(ClassicalConfig(), ChoiceTask(), dict.fromkeys(("train", "validation", "test"), table), seed=1)


def test_a_pipeline_that_is_not_there_is_skipped_unless_it_is_named() -> None:
    data = sides(opinions, 40, 6)
    config = small(spacy_pipeline="no_such_pipeline", epochs=1)
    rivals = fit(config, SequenceTask(), data, seed=1)
    assert "spacy_lemmas" not in rivals
    assert "no_such_pipeline is not installed" in rivals.skipped["spacy_lemmas"]
    with pytest.raises(Unavailable, match="no_such_pipeline is not installed"):
        fit(config.model_copy(update={"models": ("spacy_lemmas",)}), SequenceTask(), data, seed=1)


def test_a_pipeline_of_another_language_is_skipped() -> None:
    rivals = fit(small(epochs=1), SequenceTask(), sides(chinese_like, 40, 6), seed=1)
    assert "the texts are in 'zh'" in rivals.skipped["spacy_lemmas"]


def test_a_spent_budget_leaves_what_there_is_and_says_so() -> None:
    data = sides(opinions, 60, 10)
    rivals = fit(ClassicalConfig(budget_s=1e-6, epochs=3), SequenceTask(), data, seed=1)
    assert set(rivals) == set(legal(SequenceTask())) - {"spacy_lemmas"}
    assert "raise budget_s" in rivals.skipped["spacy_lemmas"]
    assert rivals["naive_bayes"].notes == ("1e-06 s are spent: 7 of 8 not tried",)
    assert "stopped in epoch 1 of 3" in " ".join(rivals["text_cnn"].notes)
    assert all(len(rival.answers) == 10 for rival in rivals.values())


def test_progress_names_each_baseline() -> None:
    seen: list[tuple[str, int, int]] = []
    config = ClassicalConfig(models=("majority", "naive_bayes"))
    fit(config, SequenceTask(), sides(opinions, 20, 5), seed=1, on_progress=lambda *step: seen.append(step))
    assert seen == [("majority", 0, 2), ("naive_bayes", 1, 2)]
