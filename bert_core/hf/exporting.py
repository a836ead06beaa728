"""Write a folder that transformers loads by `AutoModel…` and `AutoTokenizer`. Equal weights give equal bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tokenizers
from safetensors.torch import save_file
from tokenizers.processors import TemplateProcessing
from torch import Tensor

from bert_core.config import ModelConfig
from bert_core.files import write_json
from bert_core.heads import PretrainingModel
from bert_core.hf.config_tables import KEYS
from bert_core.hf.configs import exportable, their_config
from bert_core.hf.families import NAMES
from bert_core.hf.loading import CONFIG_FILE, WEIGHTS_FILE
from bert_core.hf.sentence_transformers import write_sentence_transformers
from bert_core.hf.tasks import FineTuned, kind_of, write_task
from bert_core.hf.weights import Kind, to_transformers
from bert_core.task_models import ClassModel, EmbeddingModel, TaskModel
from bert_core.tokenizer import Tokenizer

if TYPE_CHECKING:
    from bert_core.xlnet import XlnetPretrainingModel

TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
TOKENIZER_FILE = "tokenizer.json"


def export_pretraining(
    model: PretrainingModel | XlnetPretrainingModel, config: ModelConfig, folder: str | Path
) -> None:
    """Write `model` as a folder for the pretraining class of its family: BertForPreTraining, or BertForMaskedLM when it
    has no `pair_head`, GPT2LMHeadModel, and so on.

    The decoder is not stored: transformers ties it when it loads.

    Raises:
        ValueError: the family's files cannot express `config` (`exportable`).
    """
    heads = "words" if model.pair_head is None else "pairs"
    architecture = KEYS[config.family].architectures[heads]
    _write(dict(model.named_parameters()), config, architecture, {}, Path(folder), "pretraining")


def export_task_model(model: TaskModel, config: ModelConfig, max_tokens: int, folder: str | Path) -> None:
    """Write `model` as a folder for its family's class of the task, and task.json for `bert_core.predict`.

    A regression's head is written for numbers as they were given, not standardised ones. An embedding model is a bare
    encoder that sentence-transformers reads as well.

    Args:
        max_tokens: of the sequences it was trained on; longer texts are cut, or read in windows.

    Raises:
        ValueError: the family's files cannot express `config` (`exportable`).
    """
    folder, keys, task = Path(folder), KEYS[config.family], model.task
    kind = kind_of(task)
    base = keys.architectures["classifier"].removesuffix("ForSequenceClassification")
    suffix = {
        "classifier": "ForSequenceClassification",
        "token": "ForTokenClassification",
        "span": "ForQuestionAnswering",
        "choice": "ForMultipleChoice",
        "bare": "Model",
    }[kind]
    labels = getattr(task, "labels", ())
    more: dict[str, Any] = {}
    if labels:
        more |= {"id2label": {str(i): label for i, label in enumerate(labels)}}
        more |= {"label2id": {label: i for i, label in enumerate(labels)}}
    if isinstance(model, ClassModel):
        problems = {"single": "single_label_classification", "multi": "multi_label_classification"}
        more["problem_type"] = problems.get(model.task.kind, "regression")
        if model.task.kind == "regression":
            more |= {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    if kind != "bare":
        more |= {key: values[0] for key, values in keys.classifier_legal.items()}
        if keys.classifier_dropout is not None:
            more[keys.classifier_dropout] = config.hidden_dropout
    if kind == "choice" and config.family == "gpt2":  # transformers has no class for choices: this scores one at a time
        suffix, more = "ForSequenceClassification", more | {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    _write(answering_parameters(model), config, f"{base}{suffix}", more, folder, kind)
    write_task(FineTuned(task=task, max_tokens=max_tokens), folder)
    if isinstance(model, EmbeddingModel):
        write_sentence_transformers(model.task, config.hidden_size, max_tokens, folder)


def answering_parameters(model: TaskModel) -> dict[str, Tensor]:
    """The parameters of `model`; a regression's head gives numbers as they were given, not standardised ones."""
    state = {name: tensor.detach() for name, tensor in model.named_parameters()}
    if isinstance(model, ClassModel) and model.task.kind == "regression":
        center, spread = model.center_and_spread
        state["classifier.weight"] = state["classifier.weight"] * spread
        if "classifier.bias" in state:
            state["classifier.bias"] = state["classifier.bias"] * spread + center
    return state


def export_tokenizer(tokenizer: Tokenizer, config: ModelConfig, folder: str | Path) -> None:
    """Write `tokenizer`'s files beside an exported model, whose config.json is then told the special tokens' ids.

    AutoTokenizer gives token types only to models that tell them apart: to GPT-2 they would be words.
    """
    folder = Path(folder)
    tokenizer.save(folder)
    path = folder / TOKENIZER_CONFIG_FILE
    inputs = ["input_ids", *(["token_type_ids"] if config.type_vocab_size > 1 else []), "attention_mask"]
    _update(path, {"model_input_names": inputs, "model_max_length": config.max_positions})
    ids = {"bos_token_id": tokenizer.cls_id, "eos_token_id": tokenizer.sep_id}
    if config.family == "modernbert":
        ids |= {"cls_token_id": tokenizer.cls_id, "sep_token_id": tokenizer.sep_id}
    _update(folder / CONFIG_FILE, ids)
    if config.type_vocab_size > 1:
        _tell_second_texts_apart(tokenizer, folder / TOKENIZER_FILE)


def _tell_second_texts_apart(tokenizer: Tokenizer, path: Path) -> None:
    """RoBERTa's template gives both texts of a pair token type 0; a model with two types was trained on 0 and 1."""
    stored = json.loads(path.read_text("utf-8"))
    if (stored.get("post_processor") or {}).get("type") != "RobertaProcessing":
        return
    first, last = tokenizer.special_tokens["cls_token"], tokenizer.special_tokens["sep_token"]
    backend = tokenizers.Tokenizer.from_file(str(path))
    backend.post_processor = TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} {last} $B:1 {last}:1",
        special_tokens=[(first, tokenizer.cls_id), (last, tokenizer.sep_id)],
    )
    backend.save(str(path))


def _write(
    parameters: Mapping[str, Tensor],
    config: ModelConfig,
    architecture: str,
    more: Mapping[str, Any],
    folder: Path,
    kind: Kind,
) -> None:
    if faults := exportable(config):
        raise ValueError("; ".join(faults))
    state = to_transformers({name: p.detach().cpu() for name, p in parameters.items()}, config.family, kind)
    prefix = NAMES[config.family].prefix if kind == "bare" else ""
    state = {name.removeprefix(prefix): tensor.contiguous() for name, tensor in state.items()}
    dtype = str(next(iter(state.values())).dtype).removeprefix("torch.")
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    # Ids of a first and a last token that the released vocabularies have, ours need not: `export_tokenizer` knows them.
    unknown = {"bos_token_id": None, "eos_token_id": None}
    write_json(
        folder / CONFIG_FILE,
        {**unknown, **their_config(config), **more, "architectures": [architecture], "dtype": dtype},
    )


def _update(path: Path, values: Mapping[str, Any]) -> None:
    write_json(path, {**json.loads(path.read_text("utf-8")), **values})
