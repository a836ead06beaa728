"""Cloze questions: what is asked, transformers' masked-word head as the oracle, and folders that answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForMaskedLM

from bert_core import hf
from bert_core.build import build_data, build_model
from bert_core.config import ClozeConfig, ConfigError, MethodConfig, PairTask, SequenceTask, TrainConfig
from bert_core.features import FeaturesError, encode, write_features
from bert_core.methods.cloze import ClozeModel, encode_for, verbalizer_ids
from bert_core.predict import Predictor
from tests.bert_core.method_runs import (
    ROW_LENGTH,
    TASK,
    config,
    corpus,
    examples,
    files,
    make_corpus,
    run,
    run_cut,
    shape,
    tokenizer_of,
)
from tests.bert_core.tiny_bert import initialised, our_classifier

__all__ = ["corpus"]
CLOZE: dict[str, Any] = {"pattern": "{text} it was {mask} film", "verbalizer": {"bad": "lon", "good": "tet"}}
METHOD = MethodConfig(cloze=ClozeConfig.model_validate(CLOZE))


def cloze_config(corpus: Path, folder: Path, **changes: Any) -> TrainConfig:
    tokenizer = tokenizer_of(corpus / "tokenizer")
    for side, count, seed in (("train", 96, 0), ("validation", 32, 1)):
        write_features(encode_for(METHOD, TASK, examples(count, seed), tokenizer, ROW_LENGTH), folder / side)
    sides = {"train_data": str(folder / "train"), "eval_data": str(folder / "validation")}
    return config(corpus, **{**sides, "method": {"cloze": CLOZE}, **changes})


def test_a_text_stands_in_its_pattern_and_only_the_text_is_cut(corpus: Path) -> None:
    tokenizer = tokenizer_of(corpus / "tokenizer")
    table = pa.table({"id": ["a", "b"], "text": ["kosh milla", " ".join(["ban"] * 40)], "label": ["bad", "good"]})
    features = encode_for(METHOD, TASK, table, tokenizer, 16)
    said = [
        tokenizer.backend.decode(features.tokens[a:b].tolist(), skip_special_tokens=False)
        for a, b in zip(features.offsets[:-1], features.offsets[1:], strict=True)
    ]
    assert said[0] == "[CLS] kosh milla it was [MASK] film [SEP]"
    assert said[1] == f"[CLS] {' '.join(['ban'] * 10)} it was [MASK] film [SEP]"
    assert features.lost == {1: 30}
    masks = features.tokens[features.offsets[:-1] + features.positions]
    assert masks.tolist() == [tokenizer.mask_id] * 2
    assert features.targets[:, 0].tolist() == [0, 1]
    assert (
        encode_for(MethodConfig(), TASK, table, tokenizer, 16).tokens.tolist()
        == encode(TASK, table, tokenizer, 16).tokens.tolist()
    )


def test_a_pair_stands_on_both_sides_of_the_blank(corpus: Path) -> None:
    tokenizer = tokenizer_of(corpus / "tokenizer")
    method = MethodConfig(cloze=ClozeConfig(pattern="{text} {mask} {text_b}", verbalizer=CLOZE["verbalizer"]))
    table = pa.table({"id": ["a"], "text": ["kosh ban"], "text_b": ["milla"], "label": ["bad"]})
    features = encode_for(method, PairTask(labels=("bad", "good")), table, tokenizer, 16)
    assert tokenizer.backend.decode(features.tokens.tolist(), skip_special_tokens=False) == (
        "[CLS] kosh ban [MASK] milla [SEP]"
    )
    with pytest.raises(FeaturesError, match="is for pairs, this task is pair"):
        encode_for(METHOD, PairTask(labels=("bad", "good")), table, tokenizer, 16)


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert"])
def test_scores_are_those_of_transformers_masked_word_head(tmp_path: Path, family: str) -> None:
    corpus = make_corpus(tmp_path / "corpus", family=family)
    asked = cloze_config(corpus, tmp_path)
    data = build_data(asked, asked.train_data)
    model = build_model(asked, data)
    assert isinstance(model, ClozeModel)
    model.eval()
    theirs = AutoModelForMaskedLM.from_pretrained(corpus / "init").eval()
    batch = data.batch(0, 0, 1)
    assert batch.spans is not None
    scores = model.output(batch)
    tokenizer = tokenizer_of(corpus / "tokenizer")
    words = list(verbalizer_ids(METHOD.cloze or ClozeConfig.model_validate(CLOZE), TASK, tokenizer))
    for number, (start, end) in enumerate(batch.spans.tolist()):
        ids = batch.input_ids.flatten()[start:end]
        blank = int((ids == tokenizer.mask_id).nonzero())
        expected = theirs(input_ids=ids[None]).logits[0, blank, words]
        torch.testing.assert_close(scores[number], expected, rtol=1e-3, atol=1e-4)


def test_a_cloze_learns_continues_and_answers_from_its_folder(corpus: Path, tmp_path: Path) -> None:
    asked = cloze_config(corpus, tmp_path, steps=40, eval_every=10)
    summary = run(asked, tmp_path / "whole")
    assert summary["eval_after"]["loss"] < summary["eval_before"]["loss"] * 0.5
    run_cut(asked, tmp_path / "cut", 5)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    told = Predictor(tmp_path / "whole" / "model").answer(examples(32, 1))
    right = [a == b for a, b in zip(told["label"].to_pylist(), examples(32, 1)["label"].to_pylist(), strict=True)]
    assert np.mean(right) == pytest.approx(summary["eval_after"]["sequence_accuracy"])
    predictions = Predictor(tmp_path / "whole" / "model").predict(["kosh good milla"])
    assert predictions[0].label in TASK.labels


@pytest.mark.parametrize(
    ("verbalizer", "message"),
    [
        ({"bad": "lon", "good": "filmtet"}, r"good = 'filmtet' is \['film', .*choose a word that is one token"),
        ({"bad": "lon", "good": "LON"}, "two of these are one token"),
    ],
)
def test_words_that_cannot_stand_for_a_label_are_errors(corpus: Path, verbalizer: dict[str, str], message: str) -> None:
    cloze = ClozeConfig(pattern=CLOZE["pattern"], verbalizer=verbalizer)
    with pytest.raises(ConfigError, match=message):
        verbalizer_ids(cloze, TASK, tokenizer_of(corpus / "tokenizer"))


@pytest.mark.parametrize(
    "pattern", ["{text} it was good", "{text} {mask} {mask}", "{mask} {other} {text}", "{text} {mask"]
)
def test_a_pattern_without_its_fields_is_an_error(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        ClozeConfig(pattern=pattern, verbalizer=CLOZE["verbalizer"])


def test_labels_without_words_features_of_plain_texts_and_folders_without_a_head_are_errors(
    corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"labels \['bad', 'good', 'so'\] each need a word"):
        config(corpus, task=SequenceTask(labels=("bad", "good", "so")).model_dump(), method={"cloze": CLOZE})
    plain = config(corpus, method={"cloze": CLOZE})
    with pytest.raises(ConfigError, match="features of plain texts, asked for"):
        build_data(plain, plain.train_data)
    model_config = shape(tokenizer_of(corpus / "tokenizer"))
    classifier = initialised(our_classifier(model_config, "a", "b"), model_config)
    hf.export_task_model(classifier, model_config, ROW_LENGTH, tmp_path / "headless")
    asked = cloze_config(corpus, tmp_path, init=str(tmp_path / "headless"))
    with pytest.raises(ConfigError, match="asks the masked-word head"):
        build_model(asked, build_data(asked, asked.train_data))
    with pytest.raises(FeaturesError, match="leave no room for a text"):
        encode_for(METHOD, TASK, examples(2), tokenizer_of(corpus / "tokenizer"), 10)
