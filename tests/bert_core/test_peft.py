"""LoRA against peft on the transformers model; prompts and prefixes against a naive reading of single sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import peft
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel, AutoModelForSequenceClassification

from bert_core.build import build_data, build_model
from bert_core.config import ConfigError, EmbeddingTask, LoraConfig, SpanTask
from bert_core.features import encode, write_features
from bert_core.hf import WeightsError
from bert_core.methods.lora import adapters, merged
from bert_core.methods.virtual import insert_places, real_tokens
from bert_core.predict import Predictor
from bert_core.task_models import TaskModel
from tests.bert_core.method_runs import (
    ROW_LENGTH,
    TASK,
    checkpoint_tensors,
    config,
    corpus,
    examples,
    files,
    make_corpus,
    run,
    run_cut,
    tokenizer_of,
)

__all__ = ["corpus"]
LORA: dict[str, Any] = {"rank": 4, "alpha": 8, "targets": ["attention.qkv", "attention_output", "up", "down"]}


def model_of(corpus: Path, method: dict[str, Any], **changes: Any) -> TaskModel:
    asked = config(corpus, method=method, **changes)
    model = build_model(asked, build_data(asked, asked.train_data))
    assert isinstance(model, TaskModel)
    return model.eval()


def random_b(model: TaskModel) -> None:
    """Adapters that do something."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(0, 0.2, generator=generator)


def test_at_first_lora_changes_nothing_and_only_adapters_and_head_learn(corpus: Path) -> None:
    plain, adapted = model_of(corpus, {}), model_of(corpus, {"lora": LORA})
    asked = config(corpus)
    batch = build_data(asked, asked.train_data).batch(0, 0, 1)
    assert torch.equal(plain.output(batch), adapted.output(batch))
    learning = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert {name for name in learning if ".lora_" not in name} == {
        "pooler.dense.weight", "pooler.dense.bias", "classifier.weight", "classifier.bias",
    }  # fmt: skip
    layers, width, inner = 3, 32, 48
    sides = [(width, 3 * width), (width, width), (width, inner), (inner, width)]
    assert sum(p.numel() for n, p in adapted.named_parameters() if ".lora_" in n) == layers * sum(
        4 * (a + b) for a, b in sides
    )


def test_the_same_seed_draws_the_same_adapters_whatever_was_drawn_before(corpus: Path) -> None:
    first = model_of(corpus, {"lora": LORA})
    torch.manual_seed(99)
    second = model_of(corpus, {"lora": LORA})
    assert torch.initial_seed() == 99
    for (name, a), (_, b) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def test_merged_weights_compute_what_the_adapters_do_and_are_pefts(corpus: Path) -> None:
    adapted, plain = model_of(corpus, {"lora": LORA}), model_of(corpus, {})
    random_b(adapted)
    asked = config(corpus)
    batch = build_data(asked, asked.train_data).batch(0, 0, 1)
    before = adapted.output(batch)
    plain.load_state_dict(merged(adapted.state_dict(), LoraConfig.model_validate(LORA)))
    torch.testing.assert_close(plain.output(batch), before, rtol=1e-4, atol=1e-5)
    up: Any = adapted.encoder.layers[1].up
    up.merge()
    torch.testing.assert_close(up.get_base_layer().weight, plain.encoder.layers[1].up.weight)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "gpt2"])
def test_an_exported_folder_is_merged_and_its_adapter_is_pefts_on_the_model_it_started_from(
    tmp_path: Path, family: str
) -> None:
    corpus = make_corpus(tmp_path / "corpus", family=family, num_layers=2)
    asked = config(corpus, method={"lora": {**LORA, "targets": ["attention.qkv", "down"]}}, steps=8)
    summary = run(asked, tmp_path / "run")
    assert summary["trained_parameters"] < summary["parameters"] / 2
    folder = tmp_path / "run" / "model"
    texts = examples(12, 2)
    answers = Predictor(folder).answer(texts)
    whole = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    base = AutoModelForSequenceClassification.from_pretrained(corpus / "init", num_labels=2)
    adapted = peft.PeftModel.from_pretrained(base, str(folder / "adapter")).eval()
    tokenizer = tokenizer_of(corpus / "tokenizer")
    for row, text in enumerate(texts["text"].to_pylist()[:6]):
        ids = encode(TASK, texts.slice(row, 1), tokenizer, ROW_LENGTH).tokens
        given = {"input_ids": torch.tensor(ids.astype("int64"))[None]}
        for model in (whole, adapted):
            model.config.pad_token_id = tokenizer.pad_id
            shares = model(**given).logits.softmax(-1)[0]
            expected = torch.tensor(answers["probabilities"].to_pylist()[row])
            torch.testing.assert_close(shares.detach(), expected, rtol=1e-3, atol=1e-4, msg=text)


def test_an_embedding_models_adapter_is_of_the_bare_encoder(corpus: Path, tmp_path: Path) -> None:
    task = EmbeddingTask()
    texts = examples(40)["text"].to_pylist()
    pairs = pa.table({"id": [str(i) for i in range(40)], "text": texts, "text_b": texts[::-1]})
    tokenizer = tokenizer_of(corpus / "tokenizer")
    write_features(encode(task, pairs, tokenizer, ROW_LENGTH), tmp_path / "train")
    asked = config(
        corpus,
        task=task.model_dump(),
        train_data=str(tmp_path / "train"),
        eval_data=None,
        method={"lora": LORA},
        steps=3,
    )
    run(asked, tmp_path / "run")
    folder = tmp_path / "run" / "model"
    base = AutoModel.from_pretrained(corpus / "init", add_pooling_layer=False)
    adapted = peft.PeftModel.from_pretrained(base, str(folder / "adapter")).eval()
    whole = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    ids = torch.tensor([[2, 7, 8, 9, 3]])
    torch.testing.assert_close(adapted(ids).last_hidden_state, whole(ids).last_hidden_state, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_lora_continues_bit_for_bit_and_its_checkpoints_hold_what_learns(
    corpus: Path, tmp_path: Path, precision: str
) -> None:
    asked = config(
        corpus,
        method={"lora": {**LORA, "dropout": 0.1}},
        precision=precision,
        optimizer={"lr": 3e-3, "ema_decay": 0.9},
        steps=7,
        keep="best",
        eval_every=3,
    )
    run(asked, tmp_path / "whole")
    run_cut(asked, tmp_path / "cut", 5)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    assert "model/adapter/adapter_model.safetensors" in files(tmp_path / "whole")
    held = checkpoint_tensors(tmp_path / "whole", 7)
    assert all(".lora_" in name or not name.startswith("encoder.") for name in held)
    assert len(list(adapters(held))) == 12
    assert checkpoint_tensors(tmp_path / "whole", 7, "average").keys() == held.keys()


def test_lora_learns_and_the_encoder_stays(corpus: Path, tmp_path: Path) -> None:
    asked = config(corpus, method={"lora": {**LORA, "rank": 8}}, steps=80, optimizer={"lr": 1e-2})
    summary = run(asked, tmp_path)
    assert summary["eval_after"]["loss"] < summary["eval_before"]["loss"] * 0.7
    old, new = load_file(corpus / "init" / "model.safetensors"), load_file(tmp_path / "model" / "model.safetensors")
    word = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(old[word], new[word])
    query = "bert.encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(old[query], new[query])


def test_a_prompt_in_packed_rows_is_transformers_reading_of_its_embeddings(corpus: Path) -> None:
    asked = config(corpus, method={"prompt": {"tokens": 5}})
    model, data = model_of(corpus, {"prompt": {"tokens": 5}}), build_data(asked, asked.train_data)
    theirs = AutoModel.from_pretrained(corpus / "init", add_pooling_layer=False).eval()
    prompt = dict(model.named_parameters())["encoder.embeddings.word.virtual_prompt"]
    vocabulary = model.config.vocab_size
    batch = data.batch(0, 0, 1)
    assert batch.spans is not None
    states = model.encoder(batch, batch.cls_positions)
    for number, (start, end) in enumerate(batch.spans.tolist()):
        ids = batch.input_ids.flatten()[start:end]
        assert ids[1:6].tolist() == list(range(vocabulary, vocabulary + 5))
        words = theirs.get_input_embeddings()(torch.cat([ids[:1], ids[6:]]))
        embedded = torch.cat([words[:1], prompt, words[1:]])
        expected = theirs(inputs_embeds=embedded[None]).last_hidden_state[0, 0]
        torch.testing.assert_close(states[number], expected, rtol=1e-4, atol=1e-5)


def test_a_prefix_in_packed_rows_is_the_naive_one_of_keys_and_values(corpus: Path) -> None:
    asked = config(corpus, method={"prefix": {"tokens": 5}})
    model, data = model_of(corpus, {"prefix": {"tokens": 5}}), build_data(asked, asked.train_data)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".virtual_" in name:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))))
    batch = data.batch(0, 0, 1)
    assert batch.spans is not None
    states = model.encoder(batch, batch.cls_positions)
    for number, (start, end) in enumerate(batch.spans.tolist()):
        ids = batch.input_ids.flatten()[start:end]
        expected = naive_prefix(model, torch.cat([ids[:1], ids[6:]]), 5)
        torch.testing.assert_close(states[number], expected, rtol=1e-4, atol=1e-5)


def naive_prefix(model: TaskModel, ids: Tensor, places: int) -> Tensor:
    """A BERT that reads one sequence, each layer's keys and values longer by what was learned: the state of [CLS]."""
    weights = {name: p.detach() for name, p in model.encoder.named_parameters()}
    positions = torch.cat([torch.zeros(1, dtype=torch.int64), torch.arange(places + 1, places + len(ids))])

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-12)

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    x = weights["embeddings.word.base.weight"][ids] + weights["embeddings.position.weight"][positions]
    x = norm(x + weights["embeddings.token_type.weight"][0], "embeddings.norm")
    heads, C = model.config.num_heads, model.config.hidden_size
    for layer in range(model.config.num_layers):
        at = f"layers.{layer}"
        q, k, v = linear(x, f"{at}.attention.qkv.base").split(C, dim=-1)
        learned = weights[f"{at}.attention.qkv.virtual_keys_values"].split(C, dim=-1)
        k, v = (torch.cat([more, own]) for more, own in zip(learned, (k, v), strict=True))
        q, k, v = (each.view(-1, heads, C // heads).transpose(0, 1) for each in (q, k, v))
        context = (q @ k.mT * (C // heads) ** -0.5).softmax(-1) @ v
        x = norm(x + linear(context.transpose(0, 1).flatten(1), f"{at}.attention_output"), f"{at}.attention_norm")
        x = norm(x + linear(F.gelu(linear(x, f"{at}.up")), f"{at}.down"), f"{at}.norm")
    return x[0]


@pytest.mark.parametrize("method", [{"prompt": {"tokens": 4}}, {"prefix": {"tokens": 4}}])
def test_virtual_tokens_learn_continue_and_answer_from_their_folder(
    corpus: Path, tmp_path: Path, method: dict[str, Any]
) -> None:
    asked = config(corpus, method=method, steps=7, optimizer={"lr": 1e-2, "ema_decay": 0.9})
    summary = run(asked, tmp_path / "whole")
    assert summary["trained_parameters"] == 32 * 32 + 32 + 2 * 32 + 2 + 4 * 32 * (1 if "prompt" in method else 2 * 3)
    run_cut(asked, tmp_path / "cut", 4)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    assert set(checkpoint_tensors(tmp_path / "whole", 7)) == {
        name for name, p in model_of(corpus, method).named_parameters() if p.requires_grad
    }
    folder = tmp_path / "whole" / "model"
    old, new = load_file(corpus / "init" / "model.safetensors"), load_file(folder / "weights.safetensors")
    assert torch.equal(old["bert.embeddings.word_embeddings.weight"], new["encoder.embeddings.word.base.weight"])
    before = next(t for n, t in model_of(corpus, method).state_dict().items() if ".virtual_" in n)
    after = next(t for n, t in new.items() if ".virtual_" in n)
    assert not torch.equal(before, after)
    with pytest.raises(OSError, match=r"model\.safetensors"):
        AutoModel.from_pretrained(folder)
    predictor = Predictor(folder)
    told = predictor.answer(examples(32, 1))
    right = [a == b for a, b in zip(told["label"].to_pylist(), examples(32, 1)["label"].to_pylist(), strict=True)]
    assert np.mean(right) == pytest.approx(summary["eval_after"]["sequence_accuracy"])
    whole = predictor.answer(examples(32, 1))["probabilities"].to_pylist()
    single = [predictor.answer(examples(32, 1).slice(row, 1))["probabilities"].to_pylist()[0] for row in range(5)]
    np.testing.assert_allclose(single, whole[:5], rtol=1e-4)


@pytest.mark.parametrize("method", [{"prompt": {"tokens": 4}}, {"prefix": {"tokens": 4}}])
def test_a_prompted_model_learns(corpus: Path, tmp_path: Path, method: dict[str, Any]) -> None:
    summary = run(config(corpus, method=method, steps=100, optimizer={"lr": 3e-2}), tmp_path)
    assert summary["eval_after"]["loss"] < summary["eval_before"]["loss"] * 0.9


def test_places_move_all_that_counts_tokens(corpus: Path) -> None:
    tokenizer = tokenizer_of(corpus / "tokenizer")
    table = pa.table(
        {
            "id": ["a", "b"],
            "question": ["film two", "one"],
            "context": ["ban kosh milla good", "lon tet"],
            "answers": [[{"text": "milla", "start": 9}], []],
        }
    )
    features = encode(SpanTask(stride=2), table, tokenizer, 16)
    moved = insert_places(features, 3, 1000, targets_are_places=True)
    for sequence in range(features.num_sequences):
        old = features.tokens[features.offsets[sequence] : features.offsets[sequence + 1]].tolist()
        new = moved.tokens[moved.offsets[sequence] : moved.offsets[sequence + 1]].tolist()
        assert new == [old[0], 1000, 1001, 1002, *old[1:]]
        assert new[moved.b_starts[sequence]] == old[features.b_starts[sequence]]
        for before, after in zip(features.targets[sequence], moved.targets[sequence], strict=True):
            assert new[int(after)] == old[int(before)]
            assert (before == 0) == (after == 0)
    assert moved.tokens[real_tokens(features, 3)].tolist() == features.tokens.tolist()


def test_a_prompt_for_answers_in_a_context_reads_the_contexts_own_tokens(corpus: Path, tmp_path: Path) -> None:
    tokenizer = tokenizer_of(corpus / "tokenizer")
    contexts = examples(40)["text"].to_pylist()
    answers = [[{"text": w, "start": c.index(w)}] for c in contexts for w in ("good", "bad") if w in c]
    columns = {"id": [str(i) for i in range(40)], "question": ["film"] * 40, "context": contexts, "answers": answers}
    table, task = pa.table(columns), SpanTask(stride=2)
    write_features(encode(task, table, tokenizer, ROW_LENGTH), tmp_path / "train")
    asked = config(
        corpus,
        task=task.model_dump(),
        train_data=str(tmp_path / "train"),
        eval_data=None,
        steps=2,
        method={"prompt": {"tokens": 6}},
    )
    run(asked, tmp_path / "run")
    told = Predictor(tmp_path / "run" / "model").answer(table)
    assert all(answer in context for answer, context in zip(told["answer"].to_pylist(), contexts, strict=True))


def test_virtual_tokens_that_leave_no_room_are_an_error(corpus: Path) -> None:
    with pytest.raises(ConfigError, match=r"row_length 32 \+ 40 virtual tokens: the model reads at most 64"):
        model_of(corpus, {"prompt": {"tokens": 40}})


def test_a_damaged_folder_of_our_own_is_refused(corpus: Path, tmp_path: Path) -> None:
    run(config(corpus, method={"prompt": {"tokens": 4}}, steps=1), tmp_path)
    path = tmp_path / "model" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="cannot be read"):
        Predictor(tmp_path / "model")
    path.unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        Predictor(tmp_path / "model")
