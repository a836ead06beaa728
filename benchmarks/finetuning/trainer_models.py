"""What Trainer trains for each type of task: transformers' class, and the loss that transformers has not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from finetuning.sets import Prepared
from finetuning.trainer_rows import Row
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    AutoModel,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    EncoderDecoderModel,
    GPT2Config,
    GPT2LMHeadModel,
    Trainer,
    set_seed,
)

from bert_core.config import ModelConfig

PROBLEMS = {"single": "single_label_classification", "multi": "multi_label_classification", "regression": "regression"}


def first_weights(prepared: Prepared, seed: int, folder: Path) -> Path:
    """What Trainer starts from with this seed, written to `folder`: for our side, where the set has no weights.

    Two random beginnings differ by more than two ways to train: on state-of-the-union 1.889 to 1.904 bits a character
    with seeds 13 to 16.
    """
    build_model(prepared, seed).save_pretrained(folder)
    return folder


def build_model(prepared: Prepared, seed: int) -> Any:
    """The class of the task, from the set's weights, its head at random; a causal one at random as a whole.

    All that is drawn after it follows from `seed`, too.
    """
    set_seed(seed)
    task, weights = prepared.task, str(prepared.weights)
    labels = getattr(task, "labels", ())
    names = {"id2label": dict(enumerate(labels)), "label2id": {label: number for number, label in enumerate(labels)}}
    match task.type:
        case "sequence" | "pair":
            more = names if labels else {"num_labels": 1}
            return AutoModelForSequenceClassification.from_pretrained(weights, problem_type=PROBLEMS[task.kind], **more)
        case "token":
            return AutoModelForTokenClassification.from_pretrained(weights, **names)
        case "span":
            return AutoModelForQuestionAnswering.from_pretrained(weights)
        case "choice":
            return AutoModelForMultipleChoice.from_pretrained(weights)
        case "embedding":
            return AutoModel.from_pretrained(weights)
        case "seq2seq":
            tokenizer = AutoTokenizer.from_pretrained(prepared.tokenizer)
            model = EncoderDecoderModel.from_encoder_decoder_pretrained(weights, weights)
            model.config.decoder_start_token_id = tokenizer.cls_token_id
            model.config.eos_token_id = tokenizer.sep_token_id
            model.config.pad_token_id = tokenizer.pad_token_id
            return model
    assert prepared.model is not None
    return _gpt2(prepared.model)


def _gpt2(shape: ModelConfig) -> GPT2LMHeadModel:
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=shape.vocab_size,
            n_positions=shape.max_positions,
            n_embd=shape.hidden_size,
            n_layer=shape.num_layers,
            n_head=shape.num_heads,
            n_inner=shape.intermediate_size,
            resid_pdrop=shape.hidden_dropout,
            embd_pdrop=shape.hidden_dropout,
            attn_pdrop=shape.attention_dropout,
            pad_token_id=shape.pad_token_id,
        )
    )


class EmbeddingTrainer(Trainer):
    """Texts that belong together, each side read by a forward pass of its own."""

    task: Any

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        del num_items_in_batch
        scores = inputs.pop("score")
        vectors = {name: self._embed(model, **side) for name, side in inputs.items()}
        first = vectors.pop("a")
        if self.task.loss == "cosine":
            loss = F.mse_loss((first * vectors["b"]).sum(-1), scores)
        else:
            with torch.autocast("cpu", enabled=False):
                similarity = self.task.scale * first @ torch.cat(list(vectors.values())).t()
                loss = F.cross_entropy(similarity, torch.arange(len(first)))
        return (loss, vectors) if return_outputs else loss

    def _embed(self, model: Any, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state.float()
        if self.task.pooling == "cls":
            return F.normalize(states[:, 0], dim=-1)
        mask = attention_mask[..., None].float()
        return F.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)


class SidesCollator:
    """a, b and, where there are any, negatives: each padded for itself."""

    def __init__(self, tokenizer: Any) -> None:
        self._pad = DataCollatorWithPadding(tokenizer)

    def __call__(self, rows: Sequence[Row]) -> dict[str, Any]:
        names = {"a": "input_ids", "b": "b_input_ids", "negative": "negative_input_ids"}
        found = {
            side: self._pad([{"input_ids": row[name]} for row in rows])
            for side, name in names.items()
            if name in rows[0]
        }
        return {**found, "score": torch.tensor([row["score"] for row in rows])}
