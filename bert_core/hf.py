"""Two-way map of weights and configuration between this project and a transformers BERT folder.

A folder holds `config.json` and `model.safetensors`. Pickled weights are refused: reading them runs whatever code
is in them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bert_core.config import ModelConfig, validate
from bert_core.heads import Pooler, PretrainingModel, SequenceClassifier
from bert_core.model import Encoder

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

# Our module -> theirs, `*` being the number of a block. Several of theirs are stacked, in this order, into one of ours.
# Under equal module names the parameters (weight, bias) have equal names.
MODULES: dict[str, tuple[str, ...]] = {
    "encoder.embeddings.word": ("bert.embeddings.word_embeddings",),
    "encoder.embeddings.position": ("bert.embeddings.position_embeddings",),
    "encoder.embeddings.token_type": ("bert.embeddings.token_type_embeddings",),
    "encoder.embeddings.norm": ("bert.embeddings.LayerNorm",),
    "encoder.layers.*.attention.qkv": (
        "bert.encoder.layer.*.attention.self.query",
        "bert.encoder.layer.*.attention.self.key",
        "bert.encoder.layer.*.attention.self.value",
    ),
    "encoder.layers.*.attention_output": ("bert.encoder.layer.*.attention.output.dense",),
    "encoder.layers.*.attention_norm": ("bert.encoder.layer.*.attention.output.LayerNorm",),
    "encoder.layers.*.up": ("bert.encoder.layer.*.intermediate.dense",),
    "encoder.layers.*.down": ("bert.encoder.layer.*.output.dense",),
    "encoder.layers.*.norm": ("bert.encoder.layer.*.output.LayerNorm",),
    "pooler.dense": ("bert.pooler.dense",),
    "mlm_head": ("cls.predictions",),
    "mlm_head.dense": ("cls.predictions.transform.dense",),
    "mlm_head.norm": ("cls.predictions.transform.LayerNorm",),
    "nsp_head": ("cls.seq_relationship",),
    "classifier": ("classifier",),
}
OURS = {theirs: ours for ours, parts in MODULES.items() for theirs in parts}

CONFIG_KEYS = {
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "intermediate_size": "intermediate_size",
    "max_positions": "max_position_embeddings",
    "type_vocab_size": "type_vocab_size",
    "hidden_dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "layer_norm_eps": "layer_norm_eps",
    "initializer_range": "initializer_range",
    "pad_token_id": "pad_token_id",
}
# A config.json may leave the other keys out: transformers' defaults for them are ours.
REQUIRED_KEYS = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
# What this project can run; the first is what a config.json means that says nothing, except for model_type.
LEGAL_VALUES: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("gelu",),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
}
# In old files: a buffer, and two copies of what is stored under another name.
POSITION_IDS = "bert.embeddings.position_ids"
TIED = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


class WeightsError(ValueError):
    """A folder that is not a BERT this project can load; the message names the file, what it has and what is legal."""


@dataclass(frozen=True)
class LoadReport:
    """What a load did; every parameter of the model is in `loaded` or in `missing`."""

    loaded: tuple[str, ...]
    """our names of the parameters that were read"""
    missing: tuple[str, ...]
    """our names of head parameters that the file lacks: they keep the values they had"""
    unused: tuple[str, ...]
    """names in the file for which the model has no place, such as the head of another task"""


# ---------------------------------------------------------------------------------------------------------- loading


def load_config(folder: str | Path) -> ModelConfig:
    """The shape of the BERT in `folder`.

    Raises:
        WeightsError: no config.json, not JSON, or an architecture other than BERT's.
        ConfigError: a value out of bounds.
    """
    path = Path(folder) / CONFIG_FILE
    theirs = _read_config(path)
    if missing := [key for key in REQUIRED_KEYS if key not in theirs]:
        raise WeightsError(f"{path}: lacks {', '.join(missing)}")
    values = {ours: theirs[key] for ours, key in CONFIG_KEYS.items() if theirs.get(key) is not None}
    return validate(ModelConfig, values, source=str(path))


def load_labels(folder: str | Path) -> tuple[str, ...]:
    """The label names of the classifier in `folder`, in the order of their ids."""
    path = Path(folder) / CONFIG_FILE
    names = _read_config(path).get("id2label") or {}
    if sorted(names) != sorted(str(i) for i in range(len(names))) or not names:
        raise WeightsError(f"{path}: id2label = {names!r}: expected a name for each of the ids 0, 1, ...")
    return tuple(names[str(i)] for i in range(len(names)))


def load_encoder(folder: str | Path, encoder: Encoder, pooler: Pooler | None = None) -> LoadReport:
    """Read the weights of any BERT in `folder` into `encoder`, and into `pooler` where the file has one.

    Raises:
        WeightsError: see `load_pretraining`.
    """
    parts: dict[str, nn.Module] = {"encoder": encoder}
    if pooler is not None:
        parts["pooler"] = pooler
    return _load(Path(folder), parts)


def load_pretraining(folder: str | Path, model: PretrainingModel) -> LoadReport:
    """Read the weights of any BERT in `folder` into `model`; heads that the file lacks keep theirs.

    Raises:
        WeightsError: no safetensors file or a broken one, an encoder weight is missing, a shape differs, or the decoder
            is not tied to the word embeddings. `model` is then unchanged.
    """
    return _load(Path(folder), dict(model.named_children()))


def load_classifier(folder: str | Path, model: SequenceClassifier) -> LoadReport:
    """Read the weights of any BERT in `folder` into `model`; see `load_pretraining`."""
    return _load(Path(folder), dict(model.named_children()))


# -------------------------------------------------------------------------------------------------------- exporting


def export_pretraining(model: PretrainingModel, config: ModelConfig, folder: str | Path) -> None:
    """Write `model` as a folder for transformers' BertForPreTraining, or BertForMaskedLM when it has no `nsp_head`.

    Equal weights and configs give equal bytes. The decoder is not stored: transformers ties it when it loads.
    """
    architecture = "BertForMaskedLM" if model.nsp_head is None else "BertForPreTraining"
    _export(model, _their_config(config, architecture), Path(folder))


def export_classifier(
    model: SequenceClassifier, config: ModelConfig, labels: Sequence[str], folder: str | Path
) -> None:
    """Write `model` as a folder for transformers' BertForSequenceClassification; `labels` in the order of their ids."""
    if len(labels) != model.classifier.out_features or len(set(labels)) != len(labels):
        raise ValueError(f"labels {list(labels)}: the classifier needs {model.classifier.out_features} different ones")
    named = {
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
        "classifier_dropout": config.hidden_dropout,
        "problem_type": "single_label_classification",
    }
    _export(model, _their_config(config, "BertForSequenceClassification") | named, Path(folder))


# --------------------------------------------------------------------------------------------------------- the map


def to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of `PretrainingModel` or `SequenceClassifier` under transformers' names, fused weights cut.

    Raises:
        KeyError: a name that the map lacks.
    """
    theirs: dict[str, Tensor] = {}
    for name, tensor in state.items():
        module, number, parameter = _parts(name)
        parts = MODULES[module]
        for part, piece in zip(parts, tensor.chunk(len(parts)), strict=True):
            theirs[f"{part}.{parameter}".replace("*", number)] = piece
    return theirs


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `to_transformers`: a state dict under current transformers names, under ours.

    Raises:
        KeyError: a name that the map lacks, or one of several weights that are fused here is absent.
    """
    ours: dict[str, Tensor] = {}
    for name in state:
        module, number, parameter = _parts(name)
        target = f"{OURS[module]}.{parameter}".replace("*", number)
        if target not in ours:
            pieces = [state[f"{part}.{parameter}".replace("*", number)] for part in MODULES[OURS[module]]]
            ours[target] = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
    return ours


def _parts(name: str) -> tuple[str, str, str]:
    """`encoder.layers.3.up.bias` -> `encoder.layers.*.up`, `3`, `bias`"""
    module, _, parameter = name.rpartition(".")
    number = re.search(r"(?<=\.)\d+(?=\.)", module)
    return re.sub(r"(?<=\.)\d+(?=\.)", "*", module), number[0] if number else "", parameter


def _current_name(name: str) -> str:
    """The name that today's transformers gives a weight of an older file, or of one saved without its heads."""
    name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
    name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
    return f"bert.{name}" if name.startswith(("embeddings.", "encoder.", "pooler.")) else name


# ----------------------------------------------------------------------------------------------------------- files


def _load(folder: Path, parts: Mapping[str, nn.Module]) -> LoadReport:
    _read_config(folder / CONFIG_FILE)  # refuses another architecture before its weights half fit
    found, unused = _read_weights(folder)
    wanted = {f"{part}.{name}": p for part, module in parts.items() for name, p in module.named_parameters()}
    loaded = [name for name in wanted if name in found]
    missing = [name for name in wanted if name not in found]
    _check(folder / WEIGHTS_FILE, wanted, found, missing)
    with torch.no_grad():
        for name in loaded:
            wanted[name].copy_(found[name])
    unused += list(to_transformers({name: tensor for name, tensor in found.items() if name not in wanted}))
    return LoadReport(tuple(loaded), tuple(missing), tuple(sorted(unused)))


def _check(path: Path, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], missing: Sequence[str]) -> None:
    if lost := [name for name in missing if name.startswith("encoder.")]:
        raise WeightsError(f"{path}: lacks {len(lost)} weights of the encoder, the first being {lost[0]}")
    for name, parameter in wanted.items():
        if name in found and found[name].shape != parameter.shape:
            shapes = f"{tuple(found[name].shape)} in the file, {tuple(parameter.shape)} in the model"
            raise WeightsError(f"{path}: {name} is of shape {shapes}")


def _read_weights(folder: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The file's weights under our names, and those of its names that the map lacks."""
    path = folder / WEIGHTS_FILE
    state = {_current_name(name): tensor for name, tensor in _read_safetensors(path).items()}
    state.pop(POSITION_IDS, None)
    for copy, original in TIED.items():
        if copy in state and not torch.equal(state.pop(copy), state.get(original, torch.empty(0))):
            raise WeightsError(f"{path}: {copy} differs from {original}; only models that tie the two can be loaded")
    known = {name: tensor for name, tensor in state.items() if _parts(name)[0] in OURS}
    try:
        return from_transformers(known), [name for name in state if name not in known]
    except KeyError as error:
        raise WeightsError(f"{path}: lacks {error.args[0]}") from None


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    if not path.exists():
        pickled = sorted(file.name for file in path.parent.glob("*.bin"))
        hint = f"; {', '.join(pickled)} is pickled, and is not read: save it as safetensors first" if pickled else ""
        raise WeightsError(f"{path}: no such file{hint}")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(
            f"{path}: {path.stat().st_size} bytes that are not a whole safetensors file: {error}"
        ) from None


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file") from None
    except ValueError as error:
        raise WeightsError(f"{path}: not JSON: {error}") from None
    legal = {"model_type": ("bert",)} | LEGAL_VALUES
    for key, values in legal.items():
        value = config.get(key) if key == "model_type" else config.get(key, values[0])
        if value not in values:
            raise WeightsError(f"{path}: {key} = {value!r}: legal here: {', '.join(map(repr, values))}")
    return config


def _their_config(config: ModelConfig, architecture: str) -> dict[str, Any]:
    return {
        "architectures": [architecture],
        "model_type": "bert",
        "tie_word_embeddings": True,
        **{key: values[0] for key, values in LEGAL_VALUES.items()},
        **{theirs: getattr(config, ours) for ours, theirs in CONFIG_KEYS.items()},
    }


def _export(model: nn.Module, config: Mapping[str, Any], folder: Path) -> None:
    state = to_transformers({name: p.detach().cpu() for name, p in model.named_parameters()})
    state = {name: tensor.contiguous() for name, tensor in state.items()}
    dtype = str(next(iter(state.values())).dtype).removeprefix("torch.")
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    text = json.dumps({**config, "dtype": dtype}, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / CONFIG_FILE).write_text(text + "\n", "utf-8")
