"""Weights and configuration there and back again, and the folders that are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_bert import TINY, documents, initialised, our_classifier, packed, random_weights, their_config
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    BertForMaskedLM,
    BertForPreTraining,
    BertModel,
)

from bert_core import hf
from bert_core.heads import Pooler, PretrainingModel
from bert_core.hf.weights import Kind
from bert_core.model import Encoder

State = dict[str, torch.Tensor]


def equal_states(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def rewrite(folder: Path, change: Callable[[State], State]) -> None:
    """Replace the folder's weights by what `change` makes of them."""
    state = load_file(folder / hf.WEIGHTS_FILE)
    save_file(change(state), folder / hf.WEIGHTS_FILE, metadata={"format": "pt"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A BertForPreTraining saved by transformers."""
    theirs = BertForPreTraining(their_config())
    random_weights(theirs)
    theirs.save_pretrained(tmp_path / "theirs")
    return tmp_path / "theirs"


# ------------------------------------------------------------------------------------------------------ round trips


@pytest.mark.parametrize(
    ("model", "kind"),
    [(PretrainingModel(TINY, pairs=True), "pretraining"), (our_classifier(TINY, "a", "b", "c"), "classifier")],
)
def test_name_map_is_its_own_inverse(model: torch.nn.Module, kind: Kind) -> None:
    state = model.state_dict()
    theirs = hf.to_transformers(state, kind=kind)
    back = hf.from_transformers(theirs, kind=kind)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    again = hf.to_transformers(back, kind=kind)
    assert again.keys() == theirs.keys()
    assert all(torch.equal(again[name], theirs[name]) for name in theirs)


def test_pretraining_round_trip_through_transformers(tmp_path: Path) -> None:
    ours = initialised(PretrainingModel(TINY, pairs=True))
    hf.export_pretraining(ours, TINY, tmp_path / "a")
    theirs, info = AutoModelForPreTraining.from_pretrained(tmp_path / "a", output_loading_info=True)
    assert isinstance(theirs, BertForPreTraining)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    theirs.save_pretrained(tmp_path / "b")
    back = PretrainingModel(TINY, pairs=True)
    everything = tuple(name for name, _ in back.named_parameters())
    assert hf.load_pretraining(tmp_path / "b", back) == hf.LoadReport(everything, missing=(), unused=())
    assert equal_states(ours, back)
    assert hf.load_config(tmp_path / "b") == TINY

    docs = documents(12, 5)
    real = docs.attention_mask.bool()
    with torch.no_grad():
        expected = theirs.eval()(**docs.theirs)
        output = ours(packed(docs))
    torch.testing.assert_close(output.mlm_logits, expected.prediction_logits[real], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(output.pair_logits, expected.seq_relationship_logits, atol=1e-4, rtol=1e-4)


def test_pretraining_without_nsp_is_a_masked_language_model(tmp_path: Path) -> None:
    ours = initialised(PretrainingModel(TINY, pairs=False))
    hf.export_pretraining(ours, TINY, tmp_path)
    masked, info = AutoModelForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert isinstance(masked, BertForMaskedLM)
    assert not info["missing_keys"]
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["BertForMaskedLM"]
    encoder, info = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert torch.equal(encoder.pooler.dense.weight, ours.pooler.dense.weight)
    back = PretrainingModel(TINY, pairs=False)
    assert hf.load_pretraining(tmp_path, back).missing == ()
    assert equal_states(ours, back)


def test_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        hf.export_pretraining(initialised(PretrainingModel(TINY, pairs=True)), TINY, tmp_path / name)
    for file in (hf.WEIGHTS_FILE, hf.CONFIG_FILE):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_real_weights_survive_the_round_trip(minilm: Path, tmp_path: Path) -> None:
    config = hf.load_config(minilm)
    model = initialised(our_classifier(config, "no", "yes"), config)
    report = hf.load_task_model(minilm, model, head=True)
    assert report.missing == ("classifier.weight", "classifier.bias")
    hf.export_task_model(model, config, 128, tmp_path)
    theirs, original = AutoModel.from_pretrained(tmp_path), AutoModel.from_pretrained(minilm)
    assert equal_states(theirs, original)


# ---------------------------------------------------------------------------------------------------- kinds of files


def test_bare_encoder_with_old_names_loads(folder: Path) -> None:
    """No `bert.` prefix, gamma and beta, the position buffer, and a stored copy of the tied decoder."""
    expected = PretrainingModel(TINY, pairs=True)
    hf.load_pretraining(folder, expected)
    rewrite(
        folder,
        lambda state: (
            {
                name.removeprefix("bert.")
                .replace("Norm.weight", "Norm.gamma")
                .replace("Norm.bias", "Norm.beta"): tensor
                for name, tensor in state.items()
            }
            | {
                "embeddings.position_ids": torch.arange(24)[None],
                "cls.predictions.decoder.weight": state["bert.embeddings.word_embeddings.weight"].clone(),
            }
        ),
    )
    old = PretrainingModel(TINY, pairs=True)
    assert hf.load_pretraining(folder, old).unused == ()
    assert equal_states(old, expected)


def test_absent_heads_keep_their_values_and_are_reported(tmp_path: Path) -> None:
    BertModel(their_config()).save_pretrained(tmp_path)
    model = initialised(PretrainingModel(TINY, pairs=True))
    before = model.mlm_head.dense.weight.clone()
    report = hf.load_pretraining(tmp_path, model)
    assert set(report.missing) == {n for n, _ in model.named_parameters() if n.startswith(("mlm_head", "pair_head"))}
    assert torch.equal(model.mlm_head.dense.weight, before)
    assert len(report.loaded) + len(report.missing) == len(list(model.parameters()))


def test_heads_of_another_task_are_reported_unused(folder: Path) -> None:
    encoder, pooler = Encoder(TINY), Pooler(TINY)
    report = hf.load_encoder(folder, encoder, pooler)
    assert report.missing == ()
    assert set(report.unused) == {name for name in load_file(folder / hf.WEIGHTS_FILE) if name.startswith("cls.")}
    assert "bert.pooler.dense.weight" in hf.load_encoder(folder, encoder).unused


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("key", "value", "legal"),
    [
        ("model_type", "electra", "'bert'"),
        ("model_type", None, "'bert'"),
        ("hidden_act", "relu", "'gelu'"),
        ("position_embedding_type", "relative_key", "'absolute'"),
        ("is_decoder", True, "False"),
    ],
)
def test_another_architecture_is_refused(folder: Path, key: str, value: object, legal: str) -> None:
    path = folder / hf.CONFIG_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(hf.WeightsError, match=f"config.json: {key} = {value!r}: legal here: {legal}"):
        hf.load_config(folder)
    with pytest.raises(hf.WeightsError, match=key):
        hf.load_encoder(folder, Encoder(TINY))


def test_incomplete_config_is_refused(folder: Path) -> None:
    (folder / hf.CONFIG_FILE).write_text('{"model_type": "bert", "vocab_size": 60, "hidden_size": 32}')
    with pytest.raises(hf.WeightsError, match="lacks num_hidden_layers, num_attention_heads, intermediate_size"):
        hf.load_config(folder)


def test_truncated_weights_are_refused(folder: Path) -> None:
    weights = folder / hf.WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(hf.WeightsError, match=r"model.safetensors: \d+ bytes that are not a whole safetensors file"):
        hf.load_encoder(folder, Encoder(TINY))
    weights.write_bytes(b"")
    with pytest.raises(hf.WeightsError, match=r"model\.safetensors: 0 bytes"):
        hf.load_encoder(folder, Encoder(TINY))


def test_pickled_weights_are_refused(folder: Path) -> None:
    shutil.move(folder / hf.WEIGHTS_FILE, folder / "pytorch_model.bin")
    with pytest.raises(hf.WeightsError, match=r"pytorch_model.bin is pickled, and is not read"):
        hf.load_encoder(folder, Encoder(TINY))


def test_other_shapes_are_refused_with_both_and_nothing_is_written(folder: Path) -> None:
    model = initialised(PretrainingModel(TINY.model_copy(update={"vocab_size": 61}), pairs=True))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    said = r"encoder.embeddings.word.weight is of shape \(60, 32\) in the file, \(61, 32\) in the model"
    with pytest.raises(hf.WeightsError, match=said):
        hf.load_pretraining(folder, model)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_fewer_layers_are_refused(folder: Path) -> None:
    with pytest.raises(hf.WeightsError, match=r"lacks 12 weights of the encoder, the first being encoder\.layers\.2\."):
        hf.load_encoder(folder, Encoder(TINY.model_copy(update={"num_layers": 3})))


def test_half_of_a_fused_weight_is_refused(folder: Path) -> None:
    lost = "bert.encoder.layer.1.attention.self.key.bias"
    rewrite(folder, lambda state: {name: tensor for name, tensor in state.items() if name != lost})
    with pytest.raises(hf.WeightsError, match=f"lacks {lost}"):
        hf.load_encoder(folder, Encoder(TINY))


def test_untied_decoder_is_refused(folder: Path) -> None:
    rewrite(folder, lambda state: state | {"cls.predictions.decoder.weight": torch.zeros(60, 32)})
    with pytest.raises(hf.WeightsError, match=r"decoder.weight differs from bert.embeddings.word_embeddings.weight"):
        hf.load_pretraining(folder, PretrainingModel(TINY, pairs=True))
