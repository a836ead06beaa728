"""A small BERT twice, ours and transformers', and the batches that both read."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertConfig

from bert_core.config import ModelConfig
from bert_core.hf import CONFIG_KEYS, from_transformers
from bert_core.model import init_weights

TINY = ModelConfig(
    vocab_size=60,
    hidden_size=32,
    num_layers=2,
    num_heads=4,
    intermediate_size=48,
    max_positions=24,
    hidden_dropout=0.0,
    attention_dropout=0.0,
    initializer_range=0.2,  # ten times the usual: differences show
)


def their_config(config: ModelConfig = TINY, **more: Any) -> BertConfig:
    return BertConfig(**{theirs: getattr(config, ours) for ours, theirs in CONFIG_KEYS.items()}, **more)


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


def copy_weights(theirs: nn.Module, ours: nn.Module) -> None:
    """transformers' weights into our model, through the map alone."""
    names = {name for name, _ in theirs.named_parameters()}
    state = {name: tensor for name, tensor in theirs.state_dict().items() if name in names}
    ours.load_state_dict(from_transformers(state), strict=True)


@dataclass(frozen=True)
class Documents:
    """Token ids of several documents, padded to a row each, as transformers takes them."""

    input_ids: Tensor
    token_type_ids: Tensor
    attention_mask: Tensor

    @property
    def theirs(self) -> dict[str, Tensor]:
        return vars(self)


def documents(*lengths: int, vocab_size: int = TINY.vocab_size, seed: int = 0) -> Documents:
    generator = torch.Generator().manual_seed(seed)
    T = max(lengths)
    mask = (torch.arange(T) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(1, vocab_size, (len(lengths), T), generator=generator) * mask
    types = (torch.arange(T) >= torch.tensor(lengths)[:, None] // 2).long() * mask
    return Documents(ids, types, mask)


def padded(docs: Documents, predict: Tensor | None = None) -> SimpleNamespace:
    """One document a row."""
    B, T = docs.input_ids.shape
    return SimpleNamespace(
        input_ids=docs.input_ids,
        token_type_ids=docs.token_type_ids,
        position_ids=torch.arange(T).expand(B, T),
        document_ids=docs.attention_mask,
        cls_positions=torch.arange(B) * T,
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
        cls_positions=lengths.cumsum(0) - lengths,
        predict_positions=torch.arange(len(positions)),
    )


def encode(encoder: nn.Module, batch: SimpleNamespace, positions: Tensor | None = None) -> Tensor:
    return encoder(batch.input_ids, batch.token_type_ids, batch.position_ids, batch.document_ids, positions)
