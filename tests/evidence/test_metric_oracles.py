"""Every metric against the field's own implementation of it."""

import math
import string
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
import sacrebleu
import seqeval.metrics as seq
from metric_tables import CHINESE, LABELS, SENTENCES, class_tables, names, text_tables, token_tables
from rouge_score import rouge_scorer
from scipy import stats
from sklearn import metrics as sk

from bert_core.config import (
    CausalTask,
    ChoiceTask,
    EmbeddingTask,
    Seq2SeqTask,
    SequenceTask,
    SpanTask,
    TokenTask,
)
from bert_core.metrics import aligned, score
from bert_core.metrics.entities import entities


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("labels", [LABELS, LABELS[:2]])
def test_classification_equals_scikit_learn(seed: int, labels: tuple[str, ...]) -> None:
    gold, answers = class_tables(labels=labels, seed=seed)
    found = score(SequenceTask(labels=labels), gold, answers).values()
    true, answers = gold["label"].to_pylist(), aligned(gold, answers)
    said = answers["label"].to_pylist()
    probabilities = np.array(answers["probabilities"].to_pylist())
    expected = {
        "accuracy": sk.accuracy_score(true, said),
        "macro_f1": sk.f1_score(true, said, average="macro"),
        "balanced_accuracy": sk.balanced_accuracy_score(true, said),
        "mcc": sk.matthews_corrcoef(true, said),
    }
    each = sk.precision_recall_fscore_support(true, said, labels=labels, zero_division=0)
    for i, label in enumerate(labels):
        expected |= {f"precision/{label}": each[0][i], f"recall/{label}": each[1][i], f"f1/{label}": each[2][i]}
    order = np.argsort(labels)  # scikit-learn wants probabilities in the order of sorted labels
    whole = probabilities / probabilities.sum(axis=1, keepdims=True)
    expected["log_loss"] = sk.log_loss(true, whole[:, order], labels=sorted(labels))
    if len(labels) == 2:
        positive = np.array(true) == labels[1]
        expected["auroc"] = sk.roc_auc_score(positive, probabilities[:, 1])
        expected["brier"] = sk.brier_score_loss(positive, probabilities[:, 1])
    else:
        expected["brier"] = sk.brier_score_loss(true, whole[:, order], labels=sorted(labels))
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_class_that_no_example_has_counts_as_scikit_learn_counts_it() -> None:
    gold, answers = class_tables(labels=LABELS[:2])
    padded = pa.array([[*row, 0.0] for row in answers["probabilities"].to_pylist()], pa.list_(pa.float32()))
    answers = answers.set_column(2, "probabilities", padded)
    found = score(SequenceTask(labels=LABELS), gold, answers).values()
    true, said = gold["label"].to_pylist(), aligned(gold, answers)["label"].to_pylist()
    assert found["macro_f1"] == pytest.approx(sk.f1_score(true, said, average="macro"))
    assert found["f1/mixed"] == 0


def test_rank_metrics_of_a_resample_equal_those_of_the_repeated_examples() -> None:
    """Ties included: weights mean repetition."""
    rng = np.random.default_rng(0)
    size = 200
    positive = rng.random(size) < 0.4
    said = np.round(rng.random(size) * 0.5 + positive * 0.2, 1)
    labels = np.where(positive, "fresh", "rotten")
    gold = pa.table({"id": names(size), "text": [""] * size, "label": labels.tolist()})
    answers = pa.table(
        {
            "id": names(size),
            "label": np.where(said > 0.5, "fresh", "rotten").tolist(),
            "probabilities": np.stack([1 - said, said], axis=1).tolist(),
        }
    )
    scores = score(SequenceTask(labels=("rotten", "fresh")), gold, answers)
    rows = rng.integers(0, size, size)
    weights = np.bincount(rows, minlength=size).astype(float)[None]
    assert scores.resampled(weights)["auroc"][0] == pytest.approx(sk.roc_auc_score(positive[rows], said[rows]))

    numbers = pa.table({"id": names(size), "text": [""] * size, "label": np.round(rng.normal(size=size), 1)})
    values = np.round(numbers["label"].to_numpy() + rng.normal(size=size), 1)
    scores = score(SequenceTask(kind="regression"), numbers, pa.table({"id": names(size), "value": values}))
    label = numbers["label"].to_numpy()
    found = scores.resampled(weights)
    assert found["spearman"][0] == pytest.approx(stats.spearmanr(values[rows], label[rows]).statistic)
    assert found["pearson"][0] == pytest.approx(stats.pearsonr(values[rows], label[rows]).statistic)
    assert found["r2"][0] == pytest.approx(sk.r2_score(label[rows], values[rows]))


def test_multi_label_equals_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    size, k = 200, 4
    labels = tuple("abcd")
    true = rng.random((size, k)) < 0.3
    probabilities = np.clip(np.round(0.6 * true + rng.random((size, k)) * 0.5, 2), 0, 1)
    said = probabilities > 0.5

    def sets(matrix: np.ndarray) -> list[list[str]]:
        return [[labels[i] for i in np.flatnonzero(row)] for row in matrix]

    gold = pa.table({"id": names(size), "text": [""] * size, "label": sets(true)})
    answers = pa.table({"id": names(size), "labels": sets(said), "probabilities": probabilities.tolist()})
    found = score(SequenceTask(kind="multi", labels=labels), gold, answers).values()
    assert found["micro_f1"] == pytest.approx(sk.f1_score(true, said, average="micro"))
    assert found["macro_f1"] == pytest.approx(sk.f1_score(true, said, average="macro"))
    assert found["subset_accuracy"] == pytest.approx(sk.accuracy_score(true, said))
    assert found["label_accuracy"] == pytest.approx(1 - sk.hamming_loss(true, said))
    assert found["mean_average_precision"] == pytest.approx(
        sk.average_precision_score(true, probabilities, average="macro"), abs=1e-6
    )
    for i, label in enumerate(labels):
        assert found[f"f1/{label}"] == pytest.approx(sk.f1_score(true[:, i], said[:, i]))
    rows = rng.integers(0, size, size)
    weights = np.bincount(rows, minlength=size).astype(float)[None]
    resampled = score(SequenceTask(kind="multi", labels=labels), gold, answers).resampled(weights)
    assert resampled["mean_average_precision"][0] == pytest.approx(
        sk.average_precision_score(true[rows], probabilities[rows], average="macro"), abs=1e-6
    )


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_regression_equals_scikit_learn_and_scipy(offset: float) -> None:
    rng = np.random.default_rng(2)
    true = np.round(rng.normal(size=300), 1) + offset
    said = true + rng.normal(size=300)
    gold = pa.table({"id": names(300), "text": [""] * 300, "label": true})
    found = score(SequenceTask(kind="regression"), gold, pa.table({"id": names(300), "value": said})).values()
    expected = {
        "pearson": stats.pearsonr(said, true).statistic,
        "spearman": stats.spearmanr(said, true).statistic,
        "mae": sk.mean_absolute_error(true, said),
        "rmse": math.sqrt(sk.mean_squared_error(true, said)),
        "r2": sk.r2_score(true, said),
    }
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_entities_equal_seqeval(seed: int) -> None:
    gold, answers = token_tables(seed=seed)
    labels = ("O", *(f"{prefix}-{kind}" for kind in ("PER", "LOC", "ORG") for prefix in "BI"))
    found = score(TokenTask(labels=labels), gold, answers).values()
    true, said = gold["tags"].to_pylist(), answers["tags"].to_pylist()
    assert found["entity_f1"] == pytest.approx(seq.f1_score(true, said))
    assert found["entity_precision"] == pytest.approx(seq.precision_score(true, said))
    assert found["entity_recall"] == pytest.approx(seq.recall_score(true, said))
    assert found["macro_f1"] == pytest.approx(seq.f1_score(true, said, average="macro"))
    assert found["token_accuracy"] == pytest.approx(seq.accuracy_score(true, said))
    report = seq.classification_report(true, said, output_dict=True)
    for kind in ("PER", "LOC", "ORG"):
        each = [found[f"{name}/{kind}"] for name in ("precision", "recall", "f1")]
        assert each == pytest.approx([report[kind][name] for name in ("precision", "recall", "f1-score")])


def test_an_entity_that_begins_with_i_is_repaired() -> None:
    assert entities(["I-PER", "I-PER", "O", "B-PER", "B-PER", "I-LOC", "I-PER"]) == [
        ("PER", 0, 1),
        ("PER", 3, 3),
        ("PER", 4, 4),
        ("LOC", 5, 5),
        ("PER", 6, 6),
    ]


def test_tags_of_no_scheme_equal_scikit_learn() -> None:
    gold, answers = token_tables(seed=7)
    labels = tuple(sorted({tag for tags in gold["tags"].to_pylist() for tag in tags}))
    found = score(TokenTask(labels=labels, scheme="plain"), gold, answers).values()
    true = [tag for tags in gold["tags"].to_pylist() for tag in tags]
    said = [tag for tags in answers["tags"].to_pylist() for tag in tags]
    assert found["token_accuracy"] == pytest.approx(sk.accuracy_score(true, said))
    assert found["macro_f1"] == pytest.approx(sk.f1_score(true, said, average="macro"))


def squad_words(text: str) -> list[str]:
    """The definition of the SQuAD scripts: lower case, no punctuation, no articles, words by white space."""
    bare = "".join(char for char in text.lower() if char not in string.punctuation)
    return [word for word in bare.split() if word not in ("a", "an", "the")]


def squad(answer: str, accepted: list[str]) -> tuple[float, float]:
    accepted = [one for one in accepted if squad_words(one)] or [""]
    exact, best = 0.0, 0.0
    for one in accepted:
        said, true = squad_words(answer), squad_words(one)
        exact = max(exact, float(said == true))
        if not said or not true:
            best = max(best, float(said == true))
            continue
        common = sum(min(count, Counter(true)[word]) for word, count in Counter(said).items())
        precision, recall = common / len(said), common / len(true)
        best = max(best, 2 * precision * recall / (precision + recall) if common else 0.0)
    return exact, best


def test_spans_equal_the_definition_of_squad() -> None:
    rng = np.random.default_rng(3)
    words = ["The", "the", "a", "An", "cat", "cat,", "dog's", "1,000", "—", "U.S.", "Paris.", "(Rome)", "is"]

    def text(low: int) -> str:
        return " ".join(str(word) for word in rng.choice(words, int(rng.integers(low, 5))))

    accepted = [[text(1) for _ in range(int(rng.integers(0, 4)))] for _ in range(300)]
    said = [str(rng.choice(one)) if one and rng.random() < 0.4 else text(0) for one in accepted]
    held = [[{"text": one, "start": 0} for one in each] for each in accepted]
    gold = pa.table({"id": names(300), "question": [""] * 300, "context": [""] * 300, "answers": held})
    answers = pa.table({"id": names(300), "answer": said, "score": [0.0] * 300})
    found = score(SpanTask(), gold, answers).values()
    expected = np.array([squad(one, each) for one, each in zip(said, accepted, strict=True)])
    has = np.array([any(squad_words(one) for one in each) for each in accepted])
    assert found["exact"] == pytest.approx(expected[:, 0].mean())
    assert found["f1"] == pytest.approx(expected[:, 1].mean())
    assert found["has_answer_f1"] == pytest.approx(expected[has, 1].mean())
    assert found["has_answer_exact"] == pytest.approx(expected[has, 0].mean())
    assert found["no_answer_accuracy"] == pytest.approx(expected[~has, 0].mean())


def test_chinese_answers_are_compared_by_character() -> None:
    held = [[{"text": "北京大学", "start": 0}], [{"text": "一九九八年", "start": 0}]]
    gold = pa.table({"id": ["1", "2"], "question": ["", ""], "context": ["", ""], "answers": held})
    found = score(SpanTask(), gold, pa.table({"id": ["1", "2"], "answer": ["北京", "一九九八年。"]})).values()
    assert found["f1"] == pytest.approx((2 * 2 / 6 + 1) / 2)
    assert found["exact"] == 0.5


@pytest.mark.parametrize(("sentences", "tokenize"), [(SENTENCES, "13a"), (CHINESE, "zh")])
def test_bleu_and_chrf_equal_sacrebleu_on_the_whole_and_on_any_resample(sentences: list[str], tokenize: str) -> None:
    outputs, targets = text_tables(sentences)
    size = len(outputs)
    gold = pa.table({"id": names(size), "text": ["x"] * size, "target": targets})
    scores = score(Seq2SeqTask(), gold, pa.table({"id": names(size), "output": outputs}))
    found = scores.values()
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(outputs, [targets], tokenize=tokenize).score, rel=1e-12)
    assert found["chrf"] == pytest.approx(sacrebleu.corpus_chrf(outputs, [targets]).score, rel=1e-12)
    for seed, draw in enumerate((size, 10, 2, 1, 1, 1)):
        rows = np.random.default_rng(seed).integers(0, size, draw)
        weights = np.bincount(rows, minlength=size).astype(float)[None]
        some, of = [outputs[i] for i in rows], [targets[i] for i in rows]
        value = scores.resampled(weights)
        expected = sacrebleu.corpus_bleu(some, [of], tokenize=tokenize).score
        assert value["bleu"][0] == pytest.approx(expected, rel=1e-12)
        assert value["chrf"][0] == pytest.approx(sacrebleu.corpus_chrf(some, [of]).score, rel=1e-12)


def test_rouge_equals_rouge_score() -> None:
    outputs, targets = text_tables(SENTENCES)
    size = len(outputs)
    gold = pa.table({"id": names(size), "text": ["x"] * size, "target": targets})
    found = score(Seq2SeqTask(), gold, pa.table({"id": names(size), "output": outputs})).values()
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
    each = [scorer.score(target, output) for output, target in zip(outputs, targets, strict=True)]
    for ours, theirs in (("rouge_1", "rouge1"), ("rouge_2", "rouge2"), ("rouge_l", "rougeL")):
        assert found[ours] == pytest.approx(float(np.mean([one[theirs].fmeasure for one in each])))


def test_rouge_of_chinese_is_not_nothing() -> None:
    gold = pa.table({"id": ["1"], "text": ["x"], "target": ["这部电影很好看"]})
    found = score(Seq2SeqTask(), gold, pa.table({"id": ["1"], "output": ["这部电影不好看"]})).values()
    assert found["rouge_1"] == pytest.approx(6 / 7)


def test_perplexity_and_bits_follow_their_definitions() -> None:
    gold = pa.table({"id": ["1", "2"], "text": ["", "Q:"], "target": ["abcd", "ef"]})
    answers = pa.table({"id": ["1", "2"], "output": ["zz", "ef"], "log_likelihood": [-6.0, -2.0], "num_tokens": [3, 1]})
    found = score(CausalTask(), gold, answers).values()
    assert found["perplexity"] == pytest.approx(math.exp(8 / 4))
    assert found["bits_per_character"] == pytest.approx(8 / 6 / math.log(2))
    assert found["rouge_1"] == 1, "the example without a prompt has nothing to be compared with"
    assert found["chrf"] == pytest.approx(100)


def test_choices_and_embeddings_follow_their_definitions() -> None:
    gold = pa.table({"id": ["1", "2"], "text": ["", ""], "choices": [["a", "b"], ["a", "b", "c"]], "label": [0, 2]})
    answers = pa.table({"id": ["2", "1"], "choice": [2, 1], "probabilities": [[0.1, 0.1, 0.8], [0.4, 0.6]]})
    found = score(ChoiceTask(), gold, answers).values()
    assert found["accuracy"] == 0.5
    assert found["log_loss"] == pytest.approx(-(math.log(0.8) + math.log(0.4)) / 2)

    label = [None, None, 0.1, 0.4, 0.9]
    gold = pa.table({"id": names(5), "text": [""] * 5, "text_b": [""] * 5, "label": label})
    answers = pa.table(
        {"id": names(5), "similarity": [0.9, 0.8, 0.2, 0.1, 0.7], "rank": pa.array([0, 5, None, None, 9])}
    )
    found = score(EmbeddingTask(), gold, answers).values()
    assert found["spearman"] == pytest.approx(stats.spearmanr([0.2, 0.1, 0.7], [0.1, 0.4, 0.9]).statistic)
    assert found["recall_at_1"] == pytest.approx(1 / 3)
    assert found["recall_at_5"] == pytest.approx(1 / 3)
    assert found["recall_at_10"] == 1
    assert found["mrr"] == pytest.approx((1 + 1 / 6 + 1 / 10) / 3)
