"""A sequence-to-sequence model as a folder of transformers' EncoderDecoderModel, and its start from an encoder's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bert_core.config import ModelConfig, validate
from bert_core.config.task import Generation
from bert_core.files import write_json
from bert_core.heads import PretrainingModel
from bert_core.hf.configs import WeightsError, exportable, our_values, their_config
from bert_core.hf.exporting import export_tokenizer
from bert_core.hf.families import NAMES, Modules
from bert_core.hf.loading import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    LoadReport,
    load_config,
    load_encoder,
    load_pretraining,
    read_json,
    read_safetensors,
)
from bert_core.hf.weights import parts_of
from bert_core.seq2seq import FAMILIES, Seq2SeqModel
from bert_core.tokenizer import Tokenizer

GENERATION_FILE = "generation_config.json"
MODEL_TYPE = "encoder-decoder"
_DECODES = {"is_decoder": True, "add_cross_attention": True}


# --------------------------------------------------------------------------------------------------------- warm start


def warm_start(model: Seq2SeqModel, folder: str | Path, decoder_folder: str | Path | None = None) -> LoadReport:
    """Start encoder and decoder from an encoder's weights, the decoder from its lowest layers (Rothe et al., 2020).

    Cross-attention, which no encoder has, keeps the values it has, and so does the head where the folder has none. A
    pooler is not read, and not reported.

    Args:
        decoder_folder: of another model for the decoder, of its family and sizes; None: `folder`.

    Raises:
        WeightsError: as `bert_core.hf.load_pretraining`; or a shape other than the model's. `model` is then unchanged.
    """
    folder, decoder_folder = Path(folder), Path(decoder_folder or folder)
    shape, decoder_shape = load_config(folder), load_config(decoder_folder)
    _require_shape(folder, shape, model.config)
    wanted = model.decoder_config
    if decoder_shape.num_layers < wanted.num_layers:
        raise WeightsError(
            f"{decoder_folder / CONFIG_FILE}: {decoder_shape.num_layers} layers: the decoder needs {wanted.num_layers}"
        )
    _require_shape(decoder_folder, decoder_shape.model_copy(update={"num_layers": wanted.num_layers}), wanted)
    pretrained = PretrainingModel(decoder_shape, pairs=False)
    found = load_pretraining(decoder_folder, pretrained)
    report = load_encoder(folder, model.encoder)
    values = dict(pretrained.named_parameters())
    loaded, missing = [*report.loaded], [*report.missing]
    with torch.no_grad():
        for name, parameter in (*_named("decoder", model.decoder), *_named("mlm_head", model.mlm_head)):
            source = name.replace("decoder.", "encoder.", 1) if name.startswith("decoder.") else name
            if source in found.loaded:
                parameter.copy_(values[source])
            (loaded if source in found.loaded else missing).append(name)
    unused = set(found.unused) if folder == decoder_folder else {*found.unused, *report.unused}
    return LoadReport(tuple(loaded), tuple(missing), tuple(sorted(unused)))


def _named(prefix: str, module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return list(module.named_parameters(prefix))


def _require_shape(folder: Path, found: ModelConfig, wanted: ModelConfig) -> None:
    free = {"hidden_dropout", "attention_dropout", "initializer_range", "pooler"}  # of no weight
    for name in sorted(set(ModelConfig.model_fields) - free):
        if getattr(found, name) != getattr(wanted, name):
            raise WeightsError(
                f"{folder / CONFIG_FILE}: {name} = {getattr(found, name)!r}: legal here: {getattr(wanted, name)!r}, "
                "the model's"
            )


# ------------------------------------------------------------------------------------------------------------- folders


def export_seq2seq(
    model: Seq2SeqModel, tokenizer: Tokenizer, folder: str | Path, generation: Generation | None = None
) -> None:
    """Write a folder that EncoderDecoderModel and AutoTokenizer load, and whose `generate` does as `generation` says.

    transformers then makes a pooler for the encoder, which this model has not and its own does not read.

    Raises:
        ValueError: a family's files cannot express a shape (`exportable`), or the tokenizer has more tokens than the
            model.
    """
    folder, config, decoder = Path(folder), model.config, model.decoder_config
    sides = (("encoder", config), ("decoder", decoder))
    faults = [f"{side}: {fault}" for side, each in sides for fault in exportable(each, tokenizer)]
    if tokenizer.vocab_size > min(config.vocab_size, decoder.vocab_size):
        faults.append(f"the tokenizer has {tokenizer.vocab_size:,} tokens, more than {config.vocab_size:,} embeddings")
    if faults:
        raise ValueError("; ".join(faults))
    modules = modules_of(model)
    state: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        theirs = their_names(name, modules)
        pieces = parameter.detach().cpu().chunk(len(theirs))
        state |= {part: piece.contiguous() for part, piece in zip(theirs, pieces, strict=True)}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    ids = {
        "decoder_start_token_id": tokenizer.cls_id,
        "bos_token_id": tokenizer.cls_id,
        "eos_token_id": tokenizer.sep_id,
        "pad_token_id": tokenizer.pad_id,
    }
    theirs_of_decoder = {**their_config(decoder), **_DECODES}
    write_json(
        folder / CONFIG_FILE,
        {
            "architectures": ["EncoderDecoderModel"],
            "model_type": MODEL_TYPE,
            "is_encoder_decoder": True,
            "dtype": str(next(iter(state.values())).dtype).removeprefix("torch."),
            "encoder": their_config(config),
            "decoder": theirs_of_decoder,
            **ids,
        },
    )
    write_json(folder / GENERATION_FILE, {**ids, **_generation_keys(generation or Generation())})
    export_tokenizer(tokenizer, config, folder)


def load_seq2seq_configs(folder: str | Path) -> tuple[ModelConfig, ModelConfig]:
    """The shapes of the encoder and of the decoder in `folder`.

    Raises:
        WeightsError: no config.json, not JSON, or not an encoder and a decoder that this project can run.
        ConfigError: a value out of bounds.
    """
    path = Path(folder) / CONFIG_FILE
    config = read_json(path)
    if config.get("model_type") != MODEL_TYPE:
        raise WeightsError(f"{path}: model_type = {config.get('model_type')!r}: legal here: {MODEL_TYPE!r}")
    shapes = []
    for side, needed in (("encoder", dict.fromkeys(_DECODES, False)), ("decoder", _DECODES)):
        theirs = config.get(side)
        if not isinstance(theirs, dict):
            raise WeightsError(f"{path}: {side} = {theirs!r}: expected the configuration of a model")
        for key, value in needed.items():
            if theirs.get(key, False) != value:
                raise WeightsError(f"{path}: {side}.{key} = {theirs.get(key, False)!r}: legal here: {value}")
        try:
            values = our_values({**theirs, **dict.fromkeys(_DECODES, False)})
        except ValueError as error:
            raise WeightsError(f"{path}: {side}: {error}") from None
        if values["family"] not in FAMILIES:
            legal = ", ".join(map(repr, FAMILIES))
            raise WeightsError(f"{path}: {side}.model_type = {values['family']!r}: legal here: {legal}")
        shapes.append(validate(ModelConfig, values, source=f"{path}: {side}"))
    return shapes[0], shapes[1]


def load_seq2seq(folder: str | Path, model: Seq2SeqModel) -> LoadReport:
    """Read the weights of an EncoderDecoderModel in `folder`, all of them, into `model`.

    Raises:
        WeightsError: other shapes, no safetensors file or a broken one, a weight is missing, or the decoder's head is
            not tied to its word embeddings. `model` is then unchanged.
    """
    folder = Path(folder)
    path, modules, found = folder / WEIGHTS_FILE, modules_of(model), {}
    for ours, theirs in zip((model.config, model.decoder_config), load_seq2seq_configs(folder), strict=True):
        _require_shape(folder, theirs, ours)
    state = read_safetensors(path)
    for copy, original in _tied(model).items():
        if copy in state and not torch.equal(state.pop(copy), state.get(original, torch.empty(0))):
            raise WeightsError(f"{path}: {copy} differs from {original}; only models that tie the two can be loaded")
    for name, parameter in model.named_parameters():
        parts = their_names(name, modules)
        if lost := [part for part in parts if part not in state]:
            raise WeightsError(f"{path}: lacks {lost[0]}")
        found[name] = torch.cat([state.pop(part) for part in parts])
        if found[name].shape != parameter.shape:
            shapes = f"{tuple(found[name].shape)} in the file, {tuple(parameter.shape)} in the model"
            raise WeightsError(f"{path}: {name} is of shape {shapes}")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(found[name])
    return LoadReport(tuple(found), (), tuple(sorted(state)))


# --------------------------------------------------------------------------------------------------------------- names


def modules_of(model: Seq2SeqModel) -> Modules:
    """Our modules -> theirs, several of theirs being stacked, in this order, into one of ours."""
    of_encoder, of_decoder = NAMES[model.config.family], NAMES[model.decoder_config.family]
    layer = f"decoder.{of_decoder.prefix}encoder.layer.*.crossattention"
    return {
        **{
            ours: tuple(f"encoder.{part.removeprefix(of_encoder.prefix)}" for part in parts)
            for ours, parts in of_encoder.encoder.items()
        },
        **{
            ours.replace("encoder.", "decoder.", 1): tuple(f"decoder.{part}" for part in parts)
            for ours, parts in (*of_decoder.encoder.items(), *of_decoder.pretraining.items())
        },
        "decoder.layers.*.cross_attention.q": (f"{layer}.self.query",),
        "decoder.layers.*.cross_attention.kv": (f"{layer}.self.key", f"{layer}.self.value"),
        "decoder.layers.*.cross_output": (f"{layer}.output.dense",),
        "decoder.layers.*.cross_norm": (f"{layer}.output.LayerNorm",),
    }


def _tied(model: Seq2SeqModel) -> Mapping[str, str]:
    tied = NAMES[model.decoder_config.family].tied
    return {f"decoder.{copy}": f"decoder.{original}" for copy, original in tied.items()}


def their_names(name: str, modules: Modules) -> list[str]:
    module, number, parameter = parts_of(name)
    return [f"{part}.{parameter}".replace("*", number) for part in modules[module]]


def _generation_keys(generation: Generation) -> dict[str, Any]:
    keys: dict[str, Any] = {
        "max_new_tokens": generation.max_new_tokens,
        "min_new_tokens": generation.min_new_tokens or None,
        "num_beams": generation.beams,
        "do_sample": generation.temperature > 0,
    }
    if generation.beams > 1:
        keys["length_penalty"] = generation.length_penalty
    if generation.temperature:
        keys |= {"temperature": generation.temperature, "top_k": generation.top_k, "top_p": generation.top_p}
    return {key: value for key, value in keys.items() if value is not None}
