"""Folders of every family: there and back bit for bit and by AutoModel…, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_bert import (
    FAMILIES,
    SHAPE,
    documents,
    encode,
    initialised,
    our_classifier,
    packed,
    padded,
    their_classifier,
    their_config,
    their_encoder,
    their_pretraining,
)
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForSequenceClassification,
)

from bert_core import hf
from bert_core.config import ModelConfig
from bert_core.heads import PretrainingModel
from bert_core.hf.families import NAMES
from bert_core.hf.weights import Kind
from bert_core.model import Encoder
from bert_core.xlnet import XlnetPretrainingModel

TOLERANCE = {"atol": 1e-4, "rtol": 0}
XLNET = ModelConfig(family="xlnet", **SHAPE)
family = pytest.mark.parametrize("config", FAMILIES.values(), ids=FAMILIES)
every_family = pytest.mark.parametrize("config", [*FAMILIES.values(), XLNET], ids=[*FAMILIES, "xlnet"])
INFO = ("missing_keys", "unexpected_keys", "mismatched_keys")


def equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    left, right = dict(a.named_parameters()), dict(b.named_parameters())
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def with_pairs(config: ModelConfig) -> Any:
    """The pretraining model with all heads that the family has."""
    return initialised(PretrainingModel(config, pairs=config.pooler), config)


def words_class(config: ModelConfig) -> Any:
    return AutoModelForCausalLM if config.causal else AutoModelForMaskedLM


# ------------------------------------------------------------------------------------------------------ round trips


@family
def test_pretraining_round_trip_through_transformers(config: ModelConfig, tmp_path: Path) -> None:
    ours = with_pairs(config)
    hf.export_pretraining(ours, config, tmp_path / "a")
    kind = AutoModelForPreTraining if config.pooler else words_class(config)
    theirs, info = kind.from_pretrained(tmp_path / "a", output_loading_info=True)
    assert type(theirs) is type(their_pretraining(config))
    assert json.loads((tmp_path / "a" / "config.json").read_text())["architectures"] == [type(theirs).__name__]
    assert not any(info[key] for key in INFO)
    theirs.save_pretrained(tmp_path / "b")
    for folder in ("a", "b"):
        back = PretrainingModel(config, pairs=config.pooler)
        everything = tuple(name for name, _ in back.named_parameters())
        assert hf.load_pretraining(tmp_path / folder, back) == hf.LoadReport(everything, missing=(), unused=())
        assert equal(ours, back)
        assert hf.load_config(tmp_path / folder) == config
    docs = documents(12, 5, config=config)
    with torch.no_grad():
        found = theirs.eval()(**docs.theirs)
        expected = found.prediction_logits if config.pooler else found.logits
        torch.testing.assert_close(ours(packed(docs)).mlm_logits, expected[docs.real], **TOLERANCE)


@family
def test_encoder_and_words_alone_load_without_a_gap(config: ModelConfig, tmp_path: Path) -> None:
    model = initialised(PretrainingModel(config, pairs=False), config)
    hf.export_pretraining(model, config, tmp_path)
    _, info = words_class(config).from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    theirs, info = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    # transformers gives RoBERTa a pooler where none was trained
    assert {key for key in info["missing_keys"] if not key.startswith("pooler.")} == set()
    assert not info["missing_keys"] or config.family == "roberta"
    docs = documents(12, 5, 9, config=config)
    with torch.no_grad():
        expected = theirs.eval()(**docs.theirs).last_hidden_state
        found = encode(model.encoder, padded(docs))
    torch.testing.assert_close(found[docs.real], expected[docs.real], **TOLERANCE)


@family
def test_bare_encoder_of_transformers_loads(config: ModelConfig, tmp_path: Path) -> None:
    """As AutoModel saves it: without the names of a model around it."""
    theirs = their_encoder(config)
    theirs.save_pretrained(tmp_path)
    ours = Encoder(config).eval()
    assert hf.load_encoder(tmp_path, ours).missing == ()
    docs = documents(12, 5, 9, config=config)
    with torch.no_grad():
        expected = theirs(**docs.theirs).last_hidden_state
        torch.testing.assert_close(encode(ours, padded(docs))[docs.real], expected[docs.real], **TOLERANCE)


@family
def test_classifier_round_trip_through_transformers(config: ModelConfig, tmp_path: Path) -> None:
    labels = ("fresh", "rotten", "élan")
    ours = initialised(our_classifier(config, *labels), config)
    hf.export_task_model(ours, config, 24, tmp_path / "a")
    theirs, info = AutoModelForSequenceClassification.from_pretrained(tmp_path / "a", output_loading_info=True)
    assert type(theirs) is type(their_classifier(config, 3))
    assert not any(info[key] for key in INFO)
    assert theirs.config.id2label == dict(enumerate(labels))
    assert theirs.config.label2id == {label: i for i, label in enumerate(labels)}
    theirs.save_pretrained(tmp_path / "b")
    for folder in ("a", "b"):
        back = our_classifier(config, *labels)
        report = hf.load_task_model(tmp_path / folder, back)
        assert report.missing == report.unused == ()
        assert equal(ours, back)
        assert hf.load_labels(tmp_path / folder) == labels
    docs = documents(7, 12, config=config)
    with torch.no_grad():
        torch.testing.assert_close(ours.output(packed(docs)), theirs.eval()(**docs.theirs).logits, **TOLERANCE)


@family
def test_a_classifier_starts_from_pretraining(config: ModelConfig, tmp_path: Path) -> None:
    """As in transformers: ModernBERT's dense layer is its pretraining head's, the others' comes from no one else."""
    model = with_pairs(config)
    hf.export_pretraining(model, config, tmp_path)
    classifier = our_classifier(config, "a", "b", "c")
    missing = hf.load_task_model(tmp_path, classifier, head=True).missing
    theirs, info = AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=3, output_loading_info=True)
    assert len(info["missing_keys"]) == len(missing)
    assert equal(model.encoder, classifier.encoder)
    if config.family == "modernbert":
        assert torch.equal(classifier.pooler.dense.weight, model.mlm_head.dense.weight)
    del theirs


@every_family
def test_names_are_their_own_inverse(config: ModelConfig) -> None:
    models: dict[Kind, torch.nn.Module] = (
        {"pretraining": XlnetPretrainingModel(config)}
        if config == XLNET
        else {"pretraining": with_pairs(config), "classifier": our_classifier(config, "a", "b", "c")}
    )
    for kind, model in models.items():
        state = {name: p.detach() for name, p in model.named_parameters()}
        theirs = hf.to_transformers(state, config.family, kind)
        back = hf.from_transformers(theirs, config.family, kind)
        assert back.keys() == state.keys()
        assert all(torch.equal(back[name], state[name]) for name in state)


def test_old_gpt2_files_load(tmp_path: Path) -> None:
    """The release's: no `transformer.`, causal masks stored as buffers, a stored copy of the tied decoder."""
    config = FAMILIES["gpt2"]
    expected = with_pairs(config)
    hf.export_pretraining(expected, config, tmp_path)
    path = tmp_path / hf.WEIGHTS_FILE
    state = {name.removeprefix("transformer."): tensor for name, tensor in load_file(path).items()}
    masks = {f"h.{i}.attn.bias": torch.ones(1, 1, 24, 24).tril() for i in range(2)}
    save_file({**state, **masks, "lm_head.weight": state["wte.weight"].clone()}, path, metadata={"format": "pt"})
    back = PretrainingModel(config, pairs=False)
    report = hf.load_pretraining(tmp_path, back)
    assert report.missing == report.unused == ()
    assert equal(back, expected)


# ---------------------------------------------------------------------------------------------------------- configs


@every_family
def test_config_round_trip_through_transformers(config: ModelConfig, tmp_path: Path) -> None:
    for each in (config, ModelConfig(family=config.family, size="base")):
        their_config(each).save_pretrained(tmp_path)
        assert hf.load_config(tmp_path) == each


MOVED: dict[str, Any] = {
    "vocab_size": 61, "hidden_size": 64, "num_layers": 7, "num_heads": 2, "intermediate_size": 40, "max_positions": 31,
    "type_vocab_size": 3, "embedding_size": 24, "share_layers": True, "norm_first": True, "embedding_norm": False,
    "positions": "rope", "position_offset": 1, "rope_theta": 77.0, "local_rope_theta": 78.0, "activation": "gelu",
    "bias": False, "causal": True, "local_window": 12, "global_every": 2, "pooler": True, "hidden_dropout": 0.3,
    "attention_dropout": 0.4, "layer_norm_eps": 1e-6, "initializer_range": 0.3, "pad_token_id": 4,
}  # fmt: skip
WITHOUT_EFFECT = {"rope_theta": "positions", "local_rope_theta": "positions", "global_every": "local_window"}


@every_family
@pytest.mark.parametrize("key", [*MOVED])
def test_every_coordinate_is_in_the_folder_or_refused(config: ModelConfig, key: str, tmp_path: Path) -> None:
    """Nothing that a recipe may move is lost on the way."""
    assert set(MOVED) == set(ModelConfig.model_fields) - {"family"}
    value = MOVED[key]
    moved = config.model_copy(update={key: (not value) if value == getattr(config, key) is not None else value})
    if moved == config:
        moved = config.model_copy(update={"activation": "gelu_tanh"})
    if faults := hf.exportable(moved):
        assert any(f"model.{name} = " in faults[0] for name in (key, "position_offset", "attention_dropout"))
        assert "can express" in faults[0]
        return
    their_config(moved).save_pretrained(tmp_path)
    found = hf.load_config(tmp_path)
    if key in WITHOUT_EFFECT and config.family != "modernbert":
        moved = config
    assert found == moved


def test_what_a_family_cannot_express_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    config = FAMILIES["bert"].model_copy(update={"positions": "rope", "embedding_size": 16})
    model = PretrainingModel(config, pairs=False)
    said = (
        r"model.embedding_size = 16: files of family 'bert' can express None; "
        r"model.positions = 'rope': files of family 'bert' can express 'learned'"
    )
    with pytest.raises(ValueError, match=said):
        hf.export_pretraining(model, config, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert hf.exportable(FAMILIES["roberta"].model_copy(update={"position_offset": 0})) == [
        "model.position_offset = 0: files of family 'roberta' can express pad_token_id + 1, which is 2"
    ]


@pytest.mark.parametrize(
    ("name", "key", "value", "legal"),
    [
        ("roberta", "hidden_act", "gelu_new", "'gelu'"),
        ("roberta", "is_decoder", True, "False"),
        ("albert", "inner_group_num", 2, "1"),
        ("albert", "num_hidden_groups", 3, r"1, 2 \(one for each layer\)"),
        ("distilbert", "activation", "relu", "'gelu', 'gelu_new'"),
        ("gpt2", "activation_function", "relu", "'gelu_new', 'gelu'"),
        ("gpt2", "scale_attn_by_inverse_layer_idx", True, "False"),
        ("gpt2", "embd_pdrop", 0.7, r"resid_pdrop, 0\.0"),
        ("modernbert", "hidden_activation", "silu", "'gelu'"),
        ("modernbert", "decoder_bias", False, "True"),
        ("modernbert", "mlp_bias", True, "attention_bias, False"),
        ("modernbert", "layer_types", ["sliding_attention"] * 5, "every n-th of 5, from the first"),
        ("xlnet", "attn_type", "uni", "'bi'"),
        ("xlnet", "clamp_len", 10, "-1"),
    ],
)
def test_values_that_cannot_run_are_refused(name: str, key: str, value: Any, legal: str, tmp_path: Path) -> None:
    config = XLNET if name == "xlnet" else FAMILIES[name]
    said = {**hf.their_config(config), key: value}
    (tmp_path / "config.json").write_text(json.dumps(said))
    with pytest.raises(hf.WeightsError, match=rf"config\.json: {key} = .*: legal here: {legal}"):
        hf.load_config(tmp_path)


def test_a_classifier_over_the_mean_is_refused_and_its_encoder_is_not(tmp_path: Path) -> None:
    """ModernBERT's release says `mean`, and has no classifier."""
    theirs = their_classifier(FAMILIES["modernbert"], 2)
    theirs.config.classifier_pooling = "mean"
    theirs.save_pretrained(tmp_path)
    with pytest.raises(hf.WeightsError, match="classifier_pooling = 'mean': legal here: 'cls'"):
        hf.load_task_model(tmp_path, our_classifier(FAMILIES["modernbert"], "a", "b"))
    theirs.config.architectures = ["ModernBertForMaskedLM"]
    theirs.config.save_pretrained(tmp_path)
    assert hf.load_config(tmp_path) == FAMILIES["modernbert"]


# ---------------------------------------------------------------------------------------------------- broken folders


@family
def test_broken_folders_are_refused(config: ModelConfig, tmp_path: Path) -> None:
    """Another family, a larger model, an untied decoder, torn and pickled files: named, and nothing is written."""
    model = with_pairs(config)
    hf.export_pretraining(model, config, tmp_path)
    path = tmp_path / hf.WEIGHTS_FILE
    other = FAMILIES["albert" if config.family == "bert" else "bert"]
    with pytest.raises(hf.WeightsError, match=f"model_type = '{config.family}': legal here: '{other.family}'"):
        hf.load_encoder(tmp_path, Encoder(other))
    larger = config.model_copy(update={"vocab_size": 61})
    with pytest.raises(hf.WeightsError, match=r"word.weight is of shape \(60, \d+\) in the file, \(61, \d+\)"):
        hf.load_pretraining(tmp_path, PretrainingModel(larger, pairs=False))
    if not config.share_layers:
        deeper = config.model_copy(update={"num_layers": config.num_layers + 1})
        with pytest.raises(
            hf.WeightsError, match=rf"of the encoder, the first being encoder.layers.{config.num_layers}"
        ):
            hf.load_pretraining(tmp_path, PretrainingModel(deeper, pairs=False))
    state = load_file(path)
    decoder = next(name for name in NAMES[config.family].tied if name.endswith("weight"))
    save_file({**state, decoder: torch.zeros(60, 32)}, path)
    target = with_pairs(config.model_copy(update={"vocab_size": 60}))
    before = {name: p.detach().clone() for name, p in target.named_parameters()}
    with pytest.raises(hf.WeightsError, match=f"{decoder} differs from"):
        hf.load_pretraining(tmp_path, target)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(hf.WeightsError, match="not a whole safetensors file"):
        hf.load_pretraining(tmp_path, target)
    shutil.move(path, tmp_path / "pytorch_model.bin")
    with pytest.raises(hf.WeightsError, match="is pickled, and is not read"):
        hf.load_pretraining(tmp_path, target)
    assert all(torch.equal(p, before[name]) for name, p in target.named_parameters())
