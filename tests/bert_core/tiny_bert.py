"""A small model of every family twice, ours and transformers', and the batches that both read."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForSequenceClassification,
    PretrainedConfig,
)

from bert_core import hf
from bert_core.attention import documents_of_rows
from bert_core.config import ModelConfig, SequenceTask
from bert_core.heads import PretrainingModel
from bert_core.model import init_weights
from bert_core.task_models import ClassModel

SHAPE = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_layers": 2,
    "num_heads": 4,
    "intermediate_size": 48,
    "max_positions": 24,
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
    "initializer_range": 0.2,  # ten times the usual: differences show
}
TINY = ModelConfig(**SHAPE)
FAMILIES = {
    "bert": TINY,
    "roberta": ModelConfig(family="roberta", **SHAPE),
    "albert": ModelConfig(family="albert", embedding_size=16, **SHAPE),
    "distilbert": ModelConfig(family="distilbert", **SHAPE),
    "gpt2": ModelConfig(family="gpt2", **SHAPE),
    # Two of five layers see everything; in the first of these two a document is longer than a window of 8.
    "modernbert": ModelConfig(family="modernbert", **{**SHAPE, "num_layers": 5}, local_window=8),
    "modernbert-wide": ModelConfig(family="modernbert", **{**SHAPE, "num_layers": 5}, local_window=128),
}
"""All families that `PretrainingModel` runs."""


def their_config(config: ModelConfig = TINY, **more: Any) -> PretrainedConfig:
    theirs = hf.their_config(config)
    return AutoConfig.for_model(theirs.pop("model_type"), **theirs, **more)


def their_encoder(config: ModelConfig) -> Any:
    more = {"add_pooling_layer": False} if config.family in ("bert", "roberta", "albert") else {}
    return _random(AutoModel.from_config(their_config(config), **more))


def their_pretraining(config: ModelConfig) -> Any:
    """With the heads over pairs where the family has them."""
    kind = AutoModelForCausalLM if config.causal else AutoModelForPreTraining if config.pooler else AutoModelForMaskedLM
    return _random(kind.from_config(their_config(config)))


def their_classifier(config: ModelConfig, num_labels: int) -> Any:
    return _random(AutoModelForSequenceClassification.from_config(their_config(config, num_labels=num_labels)))


def our_classifier(config: ModelConfig, *labels: str) -> ClassModel:
    return ClassModel(config, SequenceTask(labels=labels), {})


def _random(model: nn.Module) -> nn.Module:
    random_weights(model)
    return model.eval()


def random_weights(model: nn.Module, seed: int = 1) -> None:
    """Every parameter at random, biases and norms too, so that none can be mapped to the wrong place unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)


def initialised(model: nn.Module, config: ModelConfig = TINY, seed: int = 1) -> Any:
    init_weights(model, config.initializer_range, torch.Generator().manual_seed(seed))
    random_weights(model, seed)
    return model.eval()


def our_names(theirs: nn.Module, tensors: dict[str, Tensor], config: ModelConfig, kind: str = "pretraining") -> Any:
    """`tensors` by transformers' names, under ours, through the map alone; a bare encoder's names get their prefix."""
    prefix = (
        "" if any(name.startswith(theirs.base_model_prefix + ".") for name in tensors) else theirs.base_model_prefix
    )
    return hf.from_transformers({f"{prefix}.{n}".lstrip("."): t for n, t in tensors.items()}, config.family, kind)


def copy_weights(theirs: nn.Module, ours: nn.Module) -> None:
    """transformers' weights into our model, through the map alone."""
    kind = "classifier" if isinstance(ours, ClassModel) else "pretraining"
    state = our_names(theirs, {name: p.detach() for name, p in theirs.named_parameters()}, ours.config, kind)
    if not isinstance(ours, PretrainingModel | ClassModel):
        state = {name.removeprefix("encoder."): tensor for name, tensor in state.items()}
    ours.load_state_dict(state, strict=True)


@dataclass(frozen=True)
class Documents:
    """Token ids of several documents, padded to a row each, as transformers takes them."""

    input_ids: Tensor
    token_type_ids: Tensor
    attention_mask: Tensor
    config: ModelConfig

    @property
    def theirs(self) -> dict[str, Tensor]:
        types = {"token_type_ids": self.token_type_ids} if self.config.type_vocab_size > 1 else {}
        return {"input_ids": self.input_ids, "attention_mask": self.attention_mask, **types}

    @property
    def real(self) -> Tensor:
        return self.attention_mask.bool()


def documents(*lengths: int, config: ModelConfig = TINY, vocab_size: int | None = None, seed: int = 0) -> Documents:
    generator = torch.Generator().manual_seed(seed)
    T, pad = max(lengths), config.pad_token_id
    mask = (torch.arange(T) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(pad + 1, vocab_size or config.vocab_size, (len(lengths), T), generator=generator)
    ids = torch.where(mask.bool(), ids, pad)
    types = (torch.arange(T) >= torch.tensor(lengths)[:, None] // 2).long() * mask
    return Documents(ids, types if config.type_vocab_size > 1 else torch.zeros_like(types), mask, config)


def padded(docs: Documents, predict: Tensor | None = None) -> SimpleNamespace:
    """One document a row."""
    B, T = docs.input_ids.shape
    last = docs.attention_mask.sum(1) - 1 if docs.config.causal else 0
    return SimpleNamespace(
        input_ids=docs.input_ids,
        token_type_ids=docs.token_type_ids,
        position_ids=torch.arange(T).expand(B, T),
        document_ids=docs.attention_mask,
        cu_seqlens=documents_of_rows(docs.attention_mask.sum(1), T),
        max_seqlen=T,
        cls_positions=torch.arange(B) * T + last,
        predict_positions=torch.arange(B * T) if predict is None else predict,
    )


def packed(docs: Documents, padding: int = 3) -> SimpleNamespace:
    """All documents in one row, then `padding`."""
    lengths = docs.attention_mask.sum(1)
    real = docs.attention_mask.bool()
    positions = torch.cat([torch.arange(int(n)) for n in lengths])
    numbers = torch.repeat_interleave(torch.arange(1, len(lengths) + 1), lengths)

    def row(values: Tensor) -> Tensor:
        return torch.cat([values, values.new_zeros(padding)])[None]

    return SimpleNamespace(
        input_ids=row(docs.input_ids[real]),
        token_type_ids=row(docs.token_type_ids[real]),
        position_ids=row(positions),
        document_ids=row(numbers),
        cu_seqlens=F.pad(torch.cat([lengths, torch.tensor([padding] if padding else [])]).cumsum(0), (1, 0)).int(),
        max_seqlen=max(int(lengths.max()), padding),
        cls_positions=lengths.cumsum(0) - (1 if docs.config.causal else lengths),
        predict_positions=torch.arange(len(positions)),
    )


def encode(encoder: nn.Module, batch: SimpleNamespace, positions: Tensor | None = None) -> Tensor:
    return encoder(batch, positions)
