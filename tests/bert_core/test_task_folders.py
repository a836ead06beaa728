"""Fine-tuned folders there and back: transformers' classes answer as ours do, whoever wrote the folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny_tasks import CAUSAL, TASKS, bpe, random_model, shape, table, wordpiece
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from bert_core import hf
from bert_core.answers import outputs, softmax
from bert_core.config import ConfigError, ModelConfig, PairTask, SequenceTask, SpanTask, TokenTask
from bert_core.features import encode
from bert_core.hf.tasks import read_task
from bert_core.predict import Predictor
from bert_core.task_models import TaskModel, task_model
from bert_core.tokenizer import Tokenizer

FAMILIES = ("bert", "roberta", "albert", "distilbert", "gpt2", "modernbert")
AUTO = {
    "single": AutoModelForSequenceClassification,
    "multi": AutoModelForSequenceClassification,
    "regression": AutoModelForSequenceClassification,
    "pair": AutoModelForSequenceClassification,
    "token": AutoModelForTokenClassification,
    "span": AutoModelForQuestionAnswering,
    "choice": AutoModelForMultipleChoice,
    "in_batch": AutoModel,
    "cosine": AutoModel,
}
PAIRS = [
    (family, name)
    for family in FAMILIES
    for name in TASKS
    if family != "gpt2" or (name in CAUSAL and name != "choice")  # transformers has no GPT2ForMultipleChoice
]
both = pytest.mark.parametrize(("family", "name"), PAIRS)
STATISTICS = {"mean": 100.0, "deviation": 40.0}


def tokenizer_of(family: str) -> Tokenizer:
    return bpe() if family in ("roberta", "gpt2") else wordpiece()


def exported(family: str, name: str, folder: Path) -> tuple[TaskModel, Tokenizer]:
    tokenizer = tokenizer_of(family)
    config = shape(family, tokenizer)
    model = random_model(config, TASKS[name], STATISTICS if name == "regression" else {})
    hf.export_task_model(model, config, 48, folder)
    hf.export_tokenizer(tokenizer, config, folder)
    return model, tokenizer


@torch.no_grad()
def their_scores(folder: Path, name: str, asked: pa.Table, theirs: Any = None) -> list[np.ndarray]:
    """Of each example, by transformers alone: its tokenizer and its model."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = (theirs or AUTO[name].from_pretrained(folder)).eval()

    def ask(*texts: Any, **more: Any) -> Any:
        return tokenizer(*texts, return_tensors="pt", truncation=True, max_length=48, **more)

    found = []
    for row in asked.to_pylist():
        if name in ("single", "multi", "regression"):
            scores = model(**ask(row["text"])).logits[0]
        elif name == "pair":
            scores = model(**ask(row["text"], row["text_b"])).logits[0]
        elif name == "token":
            words = [f" {word}" for word in row["tokens"]] if tokenizer.pad_token == "<pad>" else row["tokens"]
            asked_words = ask(words, is_split_into_words=True)
            owners = asked_words.word_ids()
            scores = model(**asked_words).logits[0, [owners.index(i) for i in range(len(words))]]
        elif name == "span":
            output = model(**ask(row["question"], row["context"]))
            scores = torch.stack([output.start_logits[0], output.end_logits[0]], 1)
        elif name == "choice":
            count = len(row["choices"])
            pairs = ask([row["text"]] * count, row["choices"], padding=True)
            scores = model(**{key: value[None] for key, value in pairs.items()}).logits[0][:, None]
        else:
            vectors = []
            for column in ("text", "text_b", *(["negative"] if "negative" in row else [])):
                states = model(**ask(row[column])).last_hidden_state[0]
                vectors.append(states.mean(0) if name == "in_batch" else states[0])
            scores = torch.nn.functional.normalize(torch.stack(vectors), dim=-1)
        found.append(scores.numpy().reshape(-1 if scores.ndim == 1 else len(scores), *scores.shape[1:]))
    return found


def our_scores(model: TaskModel, name: str, asked: pa.Table, tokenizer: Tokenizer) -> np.ndarray:
    held = encode(model.task, asked, tokenizer, 48)
    said = outputs(model, held, 48, tokenizer.pad_id)
    return said.flatten() if name in ("single", "multi", "regression", "pair") else said


def questions(name: str) -> pa.Table:
    """Without targets, and short enough that transformers reads them in one window."""
    rows = [
        {k: v for k, v in row.items() if k not in ("label", "tags", "answers")} for row in table(name, 6).to_pylist()
    ]
    for row in rows:
        if name == "span":
            row["context"] = " ".join(row["context"].split()[:9])
    return pa.Table.from_pylist(rows)


@both
def test_our_folder_answers_the_same_in_transformers(family: str, name: str, tmp_path: Path) -> None:
    model, tokenizer = exported(family, name, tmp_path)
    theirs, info = AUTO[name].from_pretrained(tmp_path, output_loading_info=True)
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    assert all("pooler" in key for key in info["missing_keys"])  # of a bare encoder: it was not trained
    assert not info["missing_keys"] or name in ("in_batch", "cosine")
    asked = questions(name)
    expected = np.concatenate(their_scores(tmp_path, name, asked))
    found = our_scores(model, name, asked, tokenizer)
    if name == "regression":  # ours are standardised
        center, spread = model.center_and_spread  # type: ignore[operator, misc]
        found = found * spread + center
        assert spread > 30
    np.testing.assert_allclose(found, expected.reshape(found.shape), atol=1e-4 if name != "regression" else 5e-3)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [type(theirs).__name__]


@both
def test_our_folder_answers_the_same_in_ours(family: str, name: str, tmp_path: Path) -> None:
    model, tokenizer = exported(family, name, tmp_path)
    predictor = Predictor(tmp_path)
    assert predictor.task == TASKS[name]
    assert predictor.max_tokens == 48
    asked = questions(name)
    found = our_scores(predictor.model, name, asked, tokenizer)
    expected = our_scores(model, name, asked, tokenizer)
    if name == "regression":
        center, spread = model.center_and_spread  # type: ignore[operator, misc]
        expected = expected * spread + center
        np.testing.assert_allclose(predictor.answer(asked)["value"].to_numpy(), expected, atol=5e-3)
    np.testing.assert_allclose(found, expected, atol=1e-5 if name != "regression" else 5e-3)


THEIRS = [(family, name) for family, name in PAIRS if name not in ("in_batch", "cosine")]


@pytest.mark.parametrize(("family", "name"), THEIRS)
def test_a_folder_of_transformers_answers_the_same_in_ours(family: str, name: str, tmp_path: Path) -> None:
    tokenizer = tokenizer_of(family)
    theirs = saved(shape(family, tokenizer), name, tmp_path)
    tokenizer.save(tmp_path)
    predictor = Predictor(tmp_path)
    expected_task = {"span": SpanTask, "token": TokenTask, "choice": type(TASKS["choice"])}.get(name, SequenceTask)
    assert type(predictor.task) is expected_task
    asked = questions(name)
    if name == "pair":
        predictor.model.task = PairTask(labels=predictor.labels)  # transformers does not say whether texts or pairs
    expected = np.concatenate(their_scores(tmp_path, name, asked, theirs))
    found = our_scores(predictor.model, name, asked, tokenizer)
    np.testing.assert_allclose(found, expected.reshape(found.shape), atol=1e-4)


def saved(config: ModelConfig, name: str, folder: Path) -> Any:
    """A model of transformers' own class with random weights, saved by it."""
    labels = {"single": 3, "multi": 3, "regression": 1, "pair": 2, "token": 5}.get(name)
    problem = {"multi": "multi_label_classification", "regression": "regression"}.get(name)
    stated = hf.their_config(config)
    more: dict[str, Any] = {"bos_token_id": 2, "eos_token_id": 3} | ({"num_labels": labels} if labels else {})
    if config.family == "modernbert":
        more |= {"cls_token_id": 2, "sep_token_id": 3}
    their_config = AutoConfig.for_model(stated.pop("model_type"), **stated, **more, problem_type=problem)
    torch.manual_seed(1)
    theirs = AUTO[name].from_config(their_config)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=0.1)
    theirs.save_pretrained(folder)
    return theirs


def test_what_transformers_config_says_is_the_task(tmp_path: Path) -> None:
    def said(**config: Any) -> Any:
        base = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**base, **config}))
        found = read_task(tmp_path)
        return None if found is None else found.task

    exported("bert", "single", tmp_path)
    (tmp_path / "task.json").unlink()
    assert said() == SequenceTask(labels=("a", "b", "c"))
    assert said(problem_type=None, id2label=None) == SequenceTask(labels=("LABEL_0", "LABEL_1"))
    assert said(problem_type=None, id2label={"0": "LABEL_0"}) == SequenceTask(kind="regression")
    tags = {"0": "O", "2": "I-X", "1": "B-X"}
    assert said(architectures=["BertForTokenClassification"], id2label=tags) == TokenTask(labels=("O", "B-X", "I-X"))
    assert said(id2label={"0": "NOUN", "1": "VERB"}).scheme == "plain"
    assert said(architectures=["BertForQuestionAnswering"]) == SpanTask(no_answer="yes")
    with pytest.raises(hf.WeightsError, match=r"config\.json: id2label = .*: expected a name for each of the ids 0, 1"):
        said(id2label={"0": "a", "2": "b"})
    with pytest.raises(hf.WeightsError, match=r"config\.json: model_type = 'electra': legal here"):
        said(id2label=None, model_type="electra")
    assert said(architectures=["BertForMaskedLM"]) is None
    (tmp_path / "task.json").write_text("{")
    with pytest.raises(ConfigError, match=r"task\.json: not JSON"):
        read_task(tmp_path)


# ------------------------------------------------------------------------------------------------------ refusals


def test_a_model_without_the_asked_head_is_refused(tmp_path: Path) -> None:
    exported("bert", "in_batch", tmp_path)
    (tmp_path / "task.json").write_text(json.dumps({"task": TASKS["single"].model_dump(), "max_tokens": 48}))
    with pytest.raises(ValueError, match=r"not a fine-tuned model: its weights lack pooler\.dense\.weight"):
        Predictor(tmp_path)


def test_another_architecture_and_another_tokenizer_are_refused(tmp_path: Path) -> None:
    exported("bert", "token", tmp_path)
    model = task_model(shape("distilbert", wordpiece()), TASKS["token"])
    with pytest.raises(hf.WeightsError, match="model_type = 'bert': legal here: 'distilbert'"):
        hf.load_task_model(tmp_path, model)
    (tmp_path / "vocab.txt").unlink()
    bpe().save(tmp_path)
    with pytest.raises(ValueError, match=r"the tokenizer has \d+ tokens and the model embeds \d+"):
        Predictor(tmp_path)


def test_a_head_with_other_labels_is_not_taken_for_ours(tmp_path: Path) -> None:
    exported("bert", "token", tmp_path)
    other = TASKS["token"].model_copy(update={"labels": ("B-X", "O", "I-X", "B-Y", "I-Y")})
    model = task_model(shape("bert", wordpiece()), other)
    report = hf.load_task_model(tmp_path, model)
    assert report.missing == ()
    assert "classifier.weight" in report.unused
    same = task_model(shape("bert", wordpiece()), TASKS["token"])
    assert "classifier.weight" in hf.load_task_model(tmp_path, same).loaded


def test_choices_of_gpt2_have_a_folder_of_our_own(tmp_path: Path) -> None:
    model, tokenizer = exported("gpt2", "choice", tmp_path)
    asked = questions("choice")
    expected = our_scores(model, "choice", asked, tokenizer)
    found = Predictor(tmp_path).answer(asked)["probabilities"].to_pylist()
    at = 0
    for row in found:
        np.testing.assert_allclose(row, softmax(expected[None, at : at + len(row), 0])[0], atol=1e-5)
        at += len(row)


def test_sentence_transformers_reads_how_vectors_are_made(tmp_path: Path) -> None:
    for name, mode in (("in_batch", "pooling_mode_mean_tokens"), ("cosine", "pooling_mode_cls_token")):
        exported("bert", name, tmp_path / name)
        parts = [part["path"] for part in json.loads((tmp_path / name / "modules.json").read_text())]
        assert parts == ["", "1_Pooling", "2_Normalize"]
        assert all((tmp_path / name / part).is_dir() for part in parts)
        pooling = json.loads((tmp_path / name / "1_Pooling" / "config.json").read_text())
        assert [key for key, value in pooling.items() if value is True] == [mode]
        assert pooling["word_embedding_dimension"] == 32
