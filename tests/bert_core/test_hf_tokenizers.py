"""An exported tokenizer beside an exported model: by transformers alone they say what ours say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_bert import FAMILIES, SHAPE, initialised, our_classifier
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from bert_core import hf
from bert_core.config import ModelConfig, SequenceTask
from bert_core.heads import PretrainingModel
from bert_core.predict import Predictor, open_model
from bert_core.tokenizer import Tokenizer, train_bpe, train_unigram, train_wordpiece

TOLERANCE = {"atol": 1e-4, "rtol": 0}
EVERY_FAMILY = {**FAMILIES, "xlnet": ModelConfig(family="xlnet", **SHAPE)}
TEXTS = [
    "The cat sat on the mat, and the dog sat on the log.",
    "It was a bright cold day in April; the clocks were striking.",
    "Films that are dull, films that are bright!",
]


def bpe() -> Tokenizer:
    return train_bpe(TEXTS, 320, 1)


def wordpiece() -> Tokenizer:
    return train_wordpiece(TEXTS, 120, 1, lowercase=True)


def unigram() -> Tokenizer:
    return train_unigram(TEXTS, 100, 1, lowercase=True)


@pytest.mark.parametrize(
    ("name", "train"),
    [
        ("bert", wordpiece),
        ("roberta", bpe),
        ("albert", unigram),
        ("distilbert", wordpiece),
        ("gpt2", bpe),
        ("gpt2", wordpiece),
        ("modernbert", bpe),
    ],
)
def test_exported_tokenizer_and_model_agree_with_ours(name: str, train: Any, tmp_path: Path) -> None:
    """Text in, probabilities out, by transformers alone and by our predictor; single and in one padded batch.

    Folders of classifiers that were registered before there was a task.json have none: they answer all the same.
    """
    tokenizer = train()
    update = {"vocab_size": tokenizer.vocab_size, "pad_token_id": tokenizer.pad_id, "max_positions": 64}
    update |= {"position_offset": tokenizer.pad_id + 1} if name == "roberta" else {}
    config = FAMILIES[name].model_copy(update=update)
    model = initialised(our_classifier(config, "no", "yes"), config)
    hf.export_task_model(model, config, 64, tmp_path)
    hf.export_tokenizer(tokenizer, config, tmp_path)
    (tmp_path / hf.TASK_FILE).unlink()
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    their_tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert len(their_tokenizer) == tokenizer.vocab_size
    assert their_tokenizer.model_max_length == 64
    encoded = their_tokenizer(TEXTS, return_tensors="pt", padding=True)
    first = encoded["input_ids"][0][encoded["attention_mask"][0].bool()].tolist()
    assert first == [tokenizer.cls_id, *tokenizer.encode_batch(TEXTS)[0].ids.tolist(), tokenizer.sep_id]
    assert ("token_type_ids" in encoded) == (config.type_vocab_size > 1)
    with torch.no_grad():
        batched = theirs(**encoded).logits.softmax(-1)
        single = torch.cat([theirs(**their_tokenizer(t, return_tensors="pt")).logits for t in TEXTS]).softmax(-1)
    predictor = open_model(tmp_path)
    assert isinstance(predictor, Predictor)
    assert (predictor.task, predictor.max_tokens) == (SequenceTask(labels=("no", "yes")), 64)
    ours = torch.tensor([list(each.probabilities.values()) for each in predictor.predict(TEXTS)])
    torch.testing.assert_close(batched, ours.float(), **TOLERANCE)
    torch.testing.assert_close(single, ours.float(), **TOLERANCE)


@pytest.mark.parametrize("config", EVERY_FAMILY.values(), ids=EVERY_FAMILY)
@pytest.mark.parametrize("train", [wordpiece, bpe, unigram])
def test_any_tokenizer_beside_any_family_keeps_its_ids(config: ModelConfig, train: Any, tmp_path: Path) -> None:
    """AutoTokenizer looks at config.json too, and has a class of its own for most families."""
    tokenizer = train()
    (tmp_path / "config.json").write_text(json.dumps(hf.their_config(config)))
    hf.export_tokenizer(tokenizer, config, tmp_path)
    found = AutoTokenizer.from_pretrained(tmp_path)(TEXTS)["input_ids"]
    expected = [encoding.ids.tolist() for encoding in tokenizer.encode_batch(TEXTS)]
    assert found == [[tokenizer.cls_id, *ids, tokenizer.sep_id] for ids in expected]


def test_a_tokenizer_that_pads_with_another_token_is_named_where_it_matters() -> None:
    """RoBERTa counts its positions, and GPT-2 finds the last token, by what is not padding."""
    for name, pad in (("gpt2", 0), ("roberta", 1)):
        tokenizer = bpe() if name == "gpt2" else wordpiece()
        said = [f"model.pad_token_id = {pad}: the tokenizer pads with {tokenizer.pad_id}"]
        assert hf.exportable(FAMILIES[name], tokenizer) == said
    assert hf.exportable(FAMILIES["roberta"], bpe()) == hf.exportable(FAMILIES["bert"], bpe()) == []


def test_an_exported_decoder_generates_up_to_its_end(tmp_path: Path) -> None:
    tokenizer = bpe()
    config = FAMILIES["gpt2"].model_copy(update={"vocab_size": tokenizer.vocab_size, "pad_token_id": tokenizer.pad_id})
    model = initialised(PretrainingModel(config, pairs=False), config)
    with torch.no_grad():  # every next token is the end
        model.encoder.final_norm.weight.zero_()
        model.encoder.final_norm.bias.copy_(model.encoder.embeddings.word.weight[tokenizer.sep_id] * 100)
    hf.export_pretraining(model, config, tmp_path)
    hf.export_tokenizer(tokenizer, config, tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    prompt = AutoTokenizer.from_pretrained(tmp_path)("The cat", return_tensors="pt", add_special_tokens=False)
    found = theirs.generate(**prompt, max_new_tokens=5, do_sample=False)[0].tolist()
    assert found == [*prompt["input_ids"][0].tolist(), tokenizer.sep_id]
