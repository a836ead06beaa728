"""The sequence-to-sequence model against transformers' EncoderDecoderModel, packing, and folders there and back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_bert import FAMILIES, TINY, initialised, our_classifier, random_weights, their_config
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoTokenizer, EncoderDecoderConfig, EncoderDecoderModel

from bert_core import hf
from bert_core.config import ModelConfig
from bert_core.config.task import Generation
from bert_core.data import DataError
from bert_core.heads import PretrainingModel
from bert_core.hf.encoder_decoder import export_seq2seq, load_seq2seq, load_seq2seq_configs, warm_start
from bert_core.seq2seq import Seq2SeqModel, decoder_config
from bert_core.seq2seq_batch import Seq2SeqBatch, packed_rows, seq2seq_batch
from bert_core.tokenizer import Tokenizer, train_wordpiece

TOKENS = SimpleNamespace(pad_id=0, cls_id=2, sep_id=3)
OF_ROBERTA = SimpleNamespace(pad_id=1, cls_id=2, sep_id=3)
TOLERANCE = {"atol": 1e-4, "rtol": 0}
IGNORE = -100
family = pytest.mark.parametrize("name", ["bert", "roberta"])


def pairs(*lengths: tuple[int, int], seed: int = 0) -> tuple[list[list[int]], list[list[int]]]:
    """Sources and targets of these lengths."""
    generator = torch.Generator().manual_seed(seed)

    def ids(length: int) -> list[int]:
        return torch.randint(5, 60, (length,), generator=generator).tolist()

    return [ids(s) for s, _ in lengths], [ids(t) for _, t in lengths]


SOURCES, TARGETS = pairs((7, 9), (14, 3), (2, 0), (9, 12), (1, 5))
BATCH = seq2seq_batch(SOURCES, TARGETS, TOKENS, row_length=24)


def seq2seq(config: ModelConfig = TINY, layers: int | None = None, **more: Any) -> Any:
    return initialised(Seq2SeqModel(config, decoder_config(config, layers), **more), config)


def their_model(config: ModelConfig = TINY) -> Any:
    theirs = EncoderDecoderConfig.from_encoder_decoder_configs(their_config(config), their_config(config))
    model = EncoderDecoderModel(theirs)
    random_weights(model)
    return model.eval()


def their_inputs(
    sources: list[list[int]], targets: list[list[int]], tokens: Any = TOKENS
) -> tuple[dict[str, Tensor], Tensor]:
    """What they read, padded, and the labels, `IGNORE` where there are none."""

    def padded(rows: list[list[int]], fill: int) -> Tensor:
        return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], True, fill)

    source = padded([[tokens.cls_id, *ids, tokens.sep_id] for ids in sources], tokens.pad_id)
    target = padded([[tokens.cls_id, *ids] for ids in targets], tokens.pad_id)
    labels = padded([[*ids, tokens.sep_id] for ids in targets], IGNORE)
    inputs = {"input_ids": source, "attention_mask": (source != tokens.pad_id).long()}
    return {**inputs, "decoder_input_ids": target, "decoder_attention_mask": (labels != IGNORE).long()}, labels


def loaded(theirs: Any, config: ModelConfig, folder: Path) -> Seq2SeqModel:
    theirs.save_pretrained(folder)
    ours = Seq2SeqModel(*load_seq2seq_configs(folder))
    assert load_seq2seq(folder, ours).missing == ()
    assert ours.config == config
    return ours.eval()


# --------------------------------------------------------------------------------------------------------- the model


@family
def test_scores_and_gradients_equal_transformers(name: str, tmp_path: Path) -> None:
    config, tokens = FAMILIES[name], TOKENS if name == "bert" else OF_ROBERTA
    theirs = their_model(config)
    ours = loaded(theirs, config, tmp_path)
    batch = seq2seq_batch(SOURCES, TARGETS, tokens, row_length=20)
    inputs, labels = their_inputs(SOURCES, TARGETS, tokens)
    logits = theirs(**inputs).logits
    torch.testing.assert_close(ours(batch).logits, logits[labels != IGNORE], **TOLERANCE)
    F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE, reduction="sum").backward()
    total, correct = ours.losses(batch)["target"]
    assert int(correct) == int((logits.argmax(-1) == labels).sum())
    total.backward()
    # Gradients under our names: what a folder with them as weights is read as.
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    expected = dict(loaded(theirs, config, tmp_path).named_parameters())
    for key, parameter in ours.named_parameters():
        assert parameter.grad is not None, key
        torch.testing.assert_close(
            parameter.grad, expected[key], atol=1e-4, rtol=1e-4, msg=lambda m, k=key: f"{k}: {m}"
        )


def test_packed_pairs_equal_single_ones() -> None:
    model = seq2seq()
    single = [model(seq2seq_batch([s], [t], TOKENS, 24)).logits for s, t in zip(SOURCES, TARGETS, strict=True)]
    torch.testing.assert_close(model(BATCH).logits, torch.cat(single), atol=1e-5, rtol=1e-5)


def test_many_pairs_of_any_lengths_equal_single_ones() -> None:
    """More groups than one, and full ones."""
    config = TINY.model_copy(update={"max_positions": 128})
    model = seq2seq(config)
    lengths = [(1 + 17 * i % 90, 7 * i % 60) for i in range(33)]
    sources, targets = pairs(*lengths)
    batch = seq2seq_batch(sources, targets, TOKENS, 128)
    assert len(batch.pairs.groups) > 1
    single = [model(seq2seq_batch([s], [t], TOKENS, 128)).logits for s, t in zip(sources, targets, strict=True)]
    torch.testing.assert_close(model(batch).logits, torch.cat(single), **TOLERANCE)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_no_pair_sees_another(dropout: float) -> None:
    """Not a bit of a pair's states or gradients moves when its neighbours, or the padding, do."""
    model = seq2seq(TINY.model_copy(update={"hidden_dropout": dropout, "attention_dropout": dropout})).train()
    before = of_pair(model, BATCH, 3)
    source, target = BATCH.source.input_ids.clone(), BATCH.target.input_ids.clone()
    for rows, ids in ((BATCH.source, source), (BATCH.target, target)):
        start, length = int(rows.starts[3]), int(rows.lengths[3])
        own = (torch.arange(ids.numel()) >= start) & (torch.arange(ids.numel()) < start + length)
        ids.flatten()[~own] = 59 - ids.flatten()[~own]
    after = of_pair(model, with_ids(BATCH, source, target), 3)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    source.flatten()[BATCH.source.starts[3] + 1] += 1
    assert not torch.equal(of_pair(model, with_ids(BATCH, source, target), 3)[0], after[0])


def with_ids(batch: Seq2SeqBatch, source: Tensor, target: Tensor) -> Seq2SeqBatch:
    return replace(
        batch, source=replace(batch.source, input_ids=source), target=replace(batch.target, input_ids=target)
    )


def of_pair(model: Seq2SeqModel, batch: Seq2SeqBatch, pair: int) -> tuple[Tensor, Tensor]:
    """The states of a pair's predictions, and their gradient of the encoder's first weights."""
    torch.manual_seed(3)
    model.zero_grad()
    states = model(batch).states.split(batch.target.lengths.tolist())[pair]
    states.square().sum().backward()
    weight = model.encoder.layers[0].attention.qkv.weight
    assert weight.grad is not None
    return states, weight.grad.clone()


def test_a_target_does_not_see_what_follows() -> None:
    model = seq2seq()
    ids = BATCH.target.input_ids.clone()
    ids.flatten()[BATCH.target.starts + BATCH.target.lengths - 1] = 7
    last = BATCH.target.lengths.cumsum(0) - 1
    before, after = model(BATCH).states, model(with_ids(BATCH, BATCH.source.input_ids, ids)).states
    same = torch.ones(len(before), dtype=torch.bool).index_fill(0, last, False)
    assert torch.equal(before[same], after[same])
    assert not torch.equal(before, after)


def test_smoothed_loss_equals_torchs() -> None:
    model = seq2seq(label_smoothing=0.1)
    plain = F.cross_entropy(model(BATCH).logits, BATCH.predict_labels, reduction="sum")
    torch.testing.assert_close(model.losses(BATCH)["target"][0], plain)  # evaluation: not smoothed
    model.train()
    expected = F.cross_entropy(model(BATCH).logits, BATCH.predict_labels, reduction="sum", label_smoothing=0.1)
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    total, _ = model.losses(BATCH)["target"]
    torch.testing.assert_close(total, expected)
    total.backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], atol=1e-4, rtol=1e-4, msg=name)


def test_dropout_attention_has_the_mean_of_attention_without() -> None:
    config = TINY.model_copy(update={"attention_dropout": 0.3})
    attention = seq2seq(config).decoder.layers[0].cross_attention
    hidden, states = (torch.randn(*rows.input_ids.shape, 32) for rows in (BATCH.target, BATCH.source))
    expected = attention.eval()(hidden, states, BATCH.pairs)
    torch.manual_seed(0)
    attention.train()
    mean = torch.stack([attention(hidden, states, BATCH.pairs) for _ in range(3000)]).mean(0)
    torch.testing.assert_close(mean, expected, atol=0.15, rtol=0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"family": "albert"}, "decoder of family 'albert': legal here: 'bert', 'roberta'"),
        ({"norm_first": True}, "decoder: norm_first = True: legal here: False"),
        ({"causal": True}, "decoder: causal = True: legal here: False"),
        ({"hidden_size": 16}, "hidden_size 32 of the encoder, 16 of the decoder"),
    ],
)
def test_shapes_that_cannot_run_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Seq2SeqModel(TINY, TINY.model_copy(update=change))


# --------------------------------------------------------------------------------------------------------- the batch


def test_a_batch_holds_every_token_once() -> None:
    assert BATCH.num_samples == 5
    assert BATCH.num_predictions == sum(map(len, TARGETS)) + 5
    assert BATCH.num_tokens == sum(map(len, SOURCES)) + sum(map(len, TARGETS)) + 15
    for rows, texts in (
        (BATCH.source, [[2, *ids, 3] for ids in SOURCES]),
        (BATCH.target, [[2, *ids] for ids in TARGETS]),
    ):
        flat = rows.input_ids.flatten()
        for start, length, text in zip(rows.starts.tolist(), rows.lengths.tolist(), texts, strict=True):
            assert flat[start : start + length].tolist() == text
            assert rows.position_ids.flatten()[start : start + length].tolist() == list(range(length))
            assert len(set(rows.document_ids.flatten()[start : start + length].tolist())) == 1
        assert int((rows.document_ids > 0).sum()) == sum(map(len, texts))
        assert set(rows.starts.tolist()) <= set(rows.cu_seqlens.tolist())
        assert int(rows.cu_seqlens[-1]) == rows.input_ids.numel()
    labels = BATCH.predict_labels.split(BATCH.target.lengths.tolist())
    assert [part.tolist() for part in labels] == [[*ids, 3] for ids in TARGETS]
    assert BATCH.to("cpu").predict_labels.equal(BATCH.predict_labels)


def test_rows_are_as_short_as_padding_is_least() -> None:
    rows = packed_rows([[7] * 20, [8] * 20, [9] * 9], 0, 128)
    assert rows.input_ids.shape == (1, 56)
    assert rows.cu_seqlens.tolist() == [0, 20, 40, 49, 56]


@pytest.mark.parametrize(
    ("sources", "targets", "said"),
    [
        ([], [], "0 sources and 0 targets"),
        ([[5]], [[5], [6]], "1 sources and 2 targets"),
        ([[5], [5] * 23], [[5], [6]], "sequence 1 of 2 has 25 tokens, special ones included: rows take 24"),
    ],
)
def test_what_is_no_batch_is_said(sources: Any, targets: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        seq2seq_batch(sources, targets, TOKENS, 24)


# ----------------------------------------------------------------------------------------------------------- folders


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_wordpiece(["the cat sat on the mat", "a dog ran"], vocab_size=60, min_frequency=1, lowercase=True)


@family
def test_round_trip_through_transformers(name: str, tmp_path: Path, tokenizer: Tokenizer) -> None:
    config = FAMILIES[name].for_tokenizer(vocab_size=60, pad_token_id=tokenizer.pad_id)
    ours = seq2seq(config, layers=1)
    export_seq2seq(ours, tokenizer, tmp_path / "a", Generation(beams=3, max_new_tokens=7, length_penalty=0.5))
    theirs, info = EncoderDecoderModel.from_pretrained(tmp_path / "a", output_loading_info=True)
    # transformers gives every BERT a pooler; EncoderDecoderModel does not read it
    assert {key for key in info["missing_keys"] if not key.startswith("encoder.pooler.")} == set()
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    their_tokenizer = AutoTokenizer.from_pretrained(tmp_path / "a")
    assert their_tokenizer("the cat")["input_ids"][0] == theirs.config.decoder_start_token_id == tokenizer.cls_id
    settings = theirs.generation_config
    assert (settings.num_beams, settings.max_new_tokens, settings.length_penalty) == (3, 7, 0.5)
    assert (settings.eos_token_id, settings.decoder_start_token_id) == (tokenizer.sep_id, tokenizer.cls_id)
    batch = seq2seq_batch(SOURCES, TARGETS, tokenizer, 24)
    inputs, labels = their_inputs(SOURCES, TARGETS, tokenizer)
    with torch.no_grad():
        expected = theirs.eval()(**inputs).logits[labels != IGNORE]
        torch.testing.assert_close(ours(batch).logits, expected, **TOLERANCE)
    theirs.save_pretrained(tmp_path / "b")
    for folder in ("a", "b"):
        back = Seq2SeqModel(*load_seq2seq_configs(tmp_path / folder))
        report = load_seq2seq(tmp_path / folder, back)
        assert set(report.unused) <= {"encoder.pooler.dense.weight", "encoder.pooler.dense.bias"}
        left, right = dict(ours.named_parameters()), dict(back.named_parameters())
        assert all(torch.equal(left[key], right[key]) for key in left | right)


@family
def test_warm_start_is_exact(name: str, tmp_path: Path) -> None:
    """As transformers': but for cross-attention, everything comes from the encoder, the decoder's lowest layers too."""
    config = FAMILIES[name]
    source = initialised(PretrainingModel(config, pairs=False), config)
    hf.export_pretraining(source, config, tmp_path)
    model = initialised(Seq2SeqModel(config, decoder_config(config, 1)), config, seed=9)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    report = warm_start(model, tmp_path)
    assert report.unused == ()
    assert all(".cross_" in key for key in report.missing)
    assert {*report.loaded, *report.missing} == before.keys()
    for key, parameter in model.named_parameters():
        origin = key.replace("decoder.", "encoder.", 1) if key.startswith("decoder.") else key
        expected = before[key] if ".cross_" in key else source.get_parameter(origin)
        assert torch.equal(parameter, expected), key
    theirs = EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path, tmp_path, decoder_num_hidden_layers=1)
    again = loaded(theirs, config, tmp_path / "theirs")
    for key in report.loaded:
        assert torch.equal(again.get_parameter(key), model.get_parameter(key)), key


def test_a_head_that_the_folder_lacks_keeps_its_values(tmp_path: Path) -> None:
    hf.export_task_model(initialised(our_classifier(TINY, "a", "b")), TINY, 24, tmp_path)
    model = seq2seq()
    missing = warm_start(model, tmp_path).missing
    assert {key for key in missing if ".cross_" not in key} == {
        f"mlm_head.{key}" for key, _ in model.mlm_head.named_parameters()
    }


def test_a_warm_start_from_another_shape_is_refused(tmp_path: Path) -> None:
    hf.export_pretraining(initialised(PretrainingModel(TINY, pairs=False)), TINY, tmp_path)
    for change, said in (
        ({"num_layers": 3}, "num_layers = 2: legal here: 3, the model's"),
        ({"vocab_size": 61}, "vocab_size = 60: legal here: 61"),
        ({"layer_norm_eps": 1e-6}, "layer_norm_eps = 1e-12: legal here: 1e-06"),
    ):
        config = TINY.model_copy(update=change)
        model = Seq2SeqModel(config, decoder_config(config))
        with pytest.raises(hf.WeightsError, match=said):
            warm_start(model, tmp_path)
    deeper = Seq2SeqModel(TINY, TINY.model_copy(update={"num_layers": 3}))
    with pytest.raises(hf.WeightsError, match="2 layers: the decoder needs 3"):
        warm_start(deeper, tmp_path)
    with pytest.raises(ValueError, match="decoder_layers = 3: the encoder has 2 to start from"):
        decoder_config(TINY, 3)


def test_broken_folders_are_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    config = TINY.for_tokenizer(vocab_size=60, pad_token_id=tokenizer.pad_id)
    model = seq2seq(config)
    export_seq2seq(model, tokenizer, tmp_path)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    whole, path = json.loads((tmp_path / "config.json").read_text()), tmp_path / "model.safetensors"

    def refused(change: dict[str, Any], said: str) -> None:
        (tmp_path / "config.json").write_text(json.dumps({**whole, **change}))
        with pytest.raises(hf.WeightsError, match=said):
            load_seq2seq(tmp_path, model)

    refused({"model_type": "bert"}, "model_type = 'bert': legal here: 'encoder-decoder'")
    refused({"decoder": None}, "decoder = None: expected the configuration of a model")
    refused({"decoder": whole["encoder"]}, "decoder.is_decoder = False: legal here: True")
    refused({"encoder": {**whole["encoder"], "model_type": "t5"}}, "encoder: model_type = 't5': legal here: 'bert'")
    refused({"encoder": {**whole["encoder"], "num_hidden_layers": 1}}, "num_layers = 1: legal here: 2")
    state = load_file(path)
    cross = "decoder.bert.encoder.layer.1.crossattention.self.key.bias"
    save_file({key: tensor for key, tensor in state.items() if key != cross}, path)
    refused({}, f"lacks {cross}")
    save_file({**state, "decoder.cls.predictions.decoder.weight": torch.zeros(60, 32)}, path)
    refused({}, "decoder.cls.predictions.decoder.weight differs from")
    save_file({**state, cross: torch.zeros(31)}, path)
    refused({}, r"layers.1.cross_attention.kv.bias is of shape \(63,\) in the file, \(64,\) in the model")
    path.write_bytes(path.read_bytes()[:-10])
    refused({}, "not a whole safetensors file")
    assert all(torch.equal(p, before[key]) for key, p in model.named_parameters())


def test_a_tokenizer_of_more_tokens_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    config = TINY.for_tokenizer(vocab_size=20, pad_token_id=tokenizer.pad_id)
    with pytest.raises(ValueError, match="more than 20 embeddings"):
        export_seq2seq(seq2seq(config), tokenizer, tmp_path / "a")
    assert not (tmp_path / "a").exists()
