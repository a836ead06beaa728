"""Cloze questions: a text within a pattern with a blank, and a class for each word that may fill it (PET, Schick and
Schütze, 2021, arXiv:2001.07676, section 3.1).

Shapes: B rows, T tokens in a row, N sequences, E embedding size, K classes.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from bert_core.config import ClozeConfig, ConfigError, MethodConfig, ModelConfig, SequenceTask, Task
from bert_core.data import Batch
from bert_core.dropout import Dropout
from bert_core.features import Features, FeaturesError, encode
from bert_core.features.texts import MIN_TOKENS
from bert_core.heads import MlmHead
from bert_core.hf.loading import load_pretraining
from bert_core.model import Encoder
from bert_core.task_models import ClassModel
from bert_core.tokenizer import Tokenizer

Parts = list[NDArray[np.int32] | str]
"""Of a pattern: tokens, or the name of a field."""


def encode_for(method: MethodConfig, task: Task, table: pa.Table, tokenizer: Tokenizer, max_tokens: int) -> Features:
    """What a model trained by `method` reads of a canonical table: `bert_core.features.encode`, within its pattern.

    Raises:
        FeaturesError: see there; or the pattern leaves no room for a text, or does not fit the task.
    """
    if method.cloze is None:
        return encode(task, table, tokenizer, max_tokens)
    parts = _parts(method.cloze, tokenizer)
    if _has(parts, "text_b") != (task.type == "pair"):
        raise FeaturesError(f"pattern {method.cloze.pattern!r}: {{text_b}} is for pairs, this task is {task.type}")
    added = 1 + sum(len(part) for part in parts if not isinstance(part, str))
    if max_tokens - added < MIN_TOKENS:
        raise FeaturesError(
            f"pattern {method.cloze.pattern!r}: {added} of {max_tokens} tokens leave no room for a text"
        )
    features = encode(task, table, tokenizer, max_tokens - added)
    return _asked(features, parts, tokenizer, {"cloze": method.cloze.model_dump(mode="json")})


def verbalizer_ids(cloze: ClozeConfig, task: SequenceTask, tokenizer: Tokenizer) -> tuple[int, ...]:
    """The token that stands for each label, in the order of the labels.

    Raises:
        ConfigError: a label without a word, or a word that is not one token of the vocabulary.
    """
    is_apart = cloze.pattern.split("{mask}")[0].endswith(" ")
    found = []
    for label in task.labels:
        word = cloze.verbalizer.get(label)
        if word is None:
            raise ConfigError(
                f"method.cloze.verbalizer has no word for label {label!r}, only for {[*cloze.verbalizer]}"
            )
        ids = tokenizer.encode_batch([f" {word}" if is_apart else word])[0].ids.tolist()
        if len(ids) != 1 or ids[0] == tokenizer.unk_id:
            pieces = [tokenizer.backend.id_to_token(each) for each in ids]
            raise ConfigError(
                f"method.cloze.verbalizer: {label} = {word!r} is {pieces} to this tokenizer: choose a word that is one "
                "token of the vocabulary"
            )
        found.append(ids[0])
    if len(set(found)) < len(found):
        raise ConfigError(f"method.cloze.verbalizer {cloze.verbalizer}: to this tokenizer two of these are one token")
    return tuple(found)


class ClozeModel(ClassModel):
    """An encoder with its masked-word head, asked for the words of the labels alone."""

    def __init__(
        self, config: ModelConfig, task: SequenceTask, word_ids: tuple[int, ...], statistics: Mapping[str, Any]
    ) -> None:
        if config.causal:
            raise ConfigError(f"method.cloze: a {config.family} reads from left to right and has no masked words")
        nn.Module.__init__(self)
        self.config, self.task, self.statistics = config, task, dict(statistics)
        self.word_ids = word_ids
        self.encoder = Encoder(config)
        self.mlm_head = MlmHead(config)
        self.dropout = Dropout(0.0)

    def output(self, batch: Batch, words: Tensor | None = None) -> Tensor:
        """(N, K)"""
        ids = torch.tensor(self.word_ids, device=batch.input_ids.device)
        states = self.mlm_head(self.encoder(batch, batch.predict_positions, words))  # (N, E)
        decoder = F.embedding(ids, self.encoder.embeddings.word.weight)  # (K, E)
        bias = None if self.mlm_head.bias is None else self.mlm_head.bias[ids]
        return F.linear(states, decoder, bias).float()


def load_cloze(folder: str | Path, model: ClozeModel) -> None:
    """Read encoder and masked-word head of a pretraining folder.

    Raises:
        WeightsError: see `bert_core.hf.load_pretraining`.
        ConfigError: the folder has no such head.
    """
    report = load_pretraining(folder, model)  # type: ignore[arg-type]  # it names what it reads: encoder, mlm_head
    if lost := [name for name in report.missing if name.startswith("mlm_head.")]:
        raise ConfigError(
            f"{folder}: method.cloze asks the masked-word head, and its weights lack {lost[0]}: take a pretrained "
            "folder, such as of BertForPreTraining or BertForMaskedLM"
        )


def check_cloze_features(features: Features, cloze: ClozeConfig, folder: str | Path) -> Features:
    """`features`, if they were made within this pattern.

    Raises:
        ConfigError: they were not.
    """
    made = features.origin.get("cloze")
    if made != cloze.model_dump(mode="json"):
        raise ConfigError(
            f"{folder}: features of {made or 'plain texts'}, asked for {cloze}: encode the examples again"
        )
    return features


def _parts(cloze: ClozeConfig, tokenizer: Tokenizer) -> Parts:
    parts: Parts = []
    for literal, name, _, _ in string.Formatter().parse(cloze.pattern):
        # A blank before the mask is the mask's own where blanks are parts of words.
        text = literal.rstrip() if name == "mask" else literal
        if text:
            parts.append(tokenizer.encode_batch([text])[0].ids)
        if name is not None:
            parts.append(name)
    return parts


def _has(parts: Parts, name: str) -> bool:
    return any(isinstance(part, str) and part == name for part in parts)


def _asked(features: Features, parts: Parts, tokenizer: Tokenizer, origin: Mapping[str, Any]) -> Features:
    """The sequences of `features` within a pattern; the mask is their one position that is asked for."""
    sequences, blanks = [], []
    is_pair = _has(parts, "text_b")
    blank = next(number for number, part in enumerate(parts) if isinstance(part, str) and part == "mask")
    for number, b_start in enumerate(features.b_starts.tolist()):
        ids = features.tokens[features.offsets[number] : features.offsets[number + 1]][1:-1]
        b = ids[b_start - 1 :]
        a = ids[: b_start - 1] if is_pair else ids
        given = {"text": a[a != tokenizer.sep_id], "text_b": b, "mask": np.array([tokenizer.mask_id])}
        pieces = [given[part] if isinstance(part, str) else part for part in parts]
        blanks.append(1 + sum(len(piece) for piece in pieces[:blank]))
        sequences.append(np.concatenate([[tokenizer.cls_id], *pieces, [tokenizer.sep_id]]).astype(np.int32))
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int32)
    count = len(sequences)
    return replace(
        features,
        tokens=np.concatenate(sequences),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        b_starts=lengths,
        positions=np.array(blanks, dtype=np.int32),
        position_labels=np.full(count, -1, dtype=np.int32),
        position_offsets=np.arange(count + 1, dtype=np.int32),
        origin={**features.origin, **origin},
    )
