"""Classify texts with a model folder: the one engine behind the command line, the server and the evaluation.

Shapes: B texts in a batch, T tokens of the longest of them, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bert_core import hf
from bert_core.attention import documents_of_rows
from bert_core.heads import SequenceClassifier
from bert_core.tokenizer import load as load_tokenizer

MAX_CHARACTERS = 100_000  # what follows could not fit into the model, and tokenizing it would only cost time
TOKENS_IN_BATCH = 4_096


class InputError(ValueError):
    """A text that cannot be classified; the message says which, and shows it."""


@dataclass(frozen=True)
class Prediction:
    label: str
    score: float
    """Probability of `label`."""
    probabilities: dict[str, float]
    """Of each label, in the order of their ids; they sum to 1."""
    note: str = ""
    """What the reader should know: that only the text's beginning was read. Empty for most texts."""


@dataclass(frozen=True)
class _Padded:
    """One text a row: what `SequenceClassifier` reads of a batch."""

    input_ids: Tensor
    token_type_ids: Tensor
    position_ids: Tensor
    document_ids: Tensor
    cu_seqlens: Tensor
    max_seqlen: int
    cls_positions: Tensor


class Predictor:
    """The model of a transformers folder (config.json, model.safetensors, tokenizer files), ready to answer.

    A text's prediction does not depend on the others of its call, to float tolerance.

    Raises:
        ValueError, OSError: the folder is not a classifier, or its tokenizer does not fit.
    """

    def __init__(self, folder: str | Path, *, max_tokens: int | None = None) -> None:
        self._tokenizer = load_tokenizer(folder)
        config = hf.load_config(folder)
        if self._tokenizer.vocab_size > config.vocab_size:
            raise ValueError(
                f"{folder}: the tokenizer has {self._tokenizer.vocab_size:,} tokens and the model embeds "
                f"{config.vocab_size:,}: they are not of one model"
            )
        self.labels = hf.load_labels(folder)
        self._model = SequenceClassifier(config, len(self.labels))
        report = hf.load_classifier(folder, self._model)
        if report.missing:
            raise ValueError(f"{folder}: not a classifier: its weights lack {', '.join(report.missing)}")
        self._model.eval()
        self.max_tokens = min(config.max_positions, max_tokens or config.max_positions)
        """Special tokens included; a longer text is cut, and its note says so."""

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """One prediction for each text, in order.

        Raises:
            InputError: a text is not a string, or there is nothing in it to read.
        """
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise InputError(f"text {row} is {text!r}: expected a string")
        encodings = self._tokenizer.encode_batch([text[:MAX_CHARACTERS] for text in texts])
        for row, encoding in enumerate(encodings):
            if not len(encoding.ids):
                raise InputError(f"text {row} is {texts[row][:40]!r}: there is nothing in it to read")
        ids = [encoding.ids[: self.max_tokens - 2] for encoding in encodings]
        probabilities = self._probabilities(ids)
        return [
            self._prediction(row, _note(text, len(kept), len(encoding.ids)))
            for row, text, kept, encoding in zip(probabilities, texts, ids, encodings, strict=True)
        ]

    @torch.inference_mode()
    def _probabilities(self, ids: list[np.ndarray]) -> np.ndarray:
        """(N, K), batched by length so that little is padding."""
        result = np.empty((len(ids), len(self.labels)))
        order = sorted(range(len(ids)), key=lambda row: len(ids[row]), reverse=True)
        while order:
            size = max(1, TOKENS_IN_BATCH // (len(ids[order[0]]) + 2))
            rows, order = order[:size], order[size:]
            logits = self._model(self._padded([ids[row] for row in rows]))
            result[rows] = torch.softmax(logits.double(), dim=-1).numpy()
        return result

    def _padded(self, ids: list[np.ndarray]) -> _Padded:
        lengths = np.array([len(each) + 2 for each in ids])
        B, T = len(ids), int(lengths.max())
        tokens = np.full((B, T), self._tokenizer.pad_id, dtype=np.int64)
        for row, each in enumerate(ids):
            tokens[row, : len(each) + 2] = [self._tokenizer.cls_id, *each, self._tokenizer.sep_id]
        positions = np.arange(T)
        real = positions < lengths[:, None]  # (B, T)
        return _Padded(
            input_ids=torch.from_numpy(tokens),
            token_type_ids=torch.zeros((B, T), dtype=torch.int64),
            position_ids=torch.from_numpy(np.where(real, positions, 0)),
            document_ids=torch.from_numpy(real.astype(np.int64)),
            cu_seqlens=documents_of_rows(torch.from_numpy(lengths), T),
            max_seqlen=T,
            cls_positions=torch.from_numpy(np.arange(B) * T + (lengths - 1 if self._model.config.causal else 0)),
        )

    def _prediction(self, probabilities: np.ndarray, note: str) -> Prediction:
        if not np.isfinite(probabilities).all():
            raise ValueError(f"the model answers {probabilities.tolist()}: its weights are damaged")
        best = int(probabilities.argmax())
        by_label = dict(zip(self.labels, probabilities.tolist(), strict=True))
        return Prediction(self.labels[best], float(probabilities[best]), by_label, note)


def _note(text: str, kept: int, tokens: int) -> str:
    if len(text) > MAX_CHARACTERS:
        return f"only the first {kept:,} tokens of {len(text):,} characters were read"
    return f"only the first {kept:,} of {tokens:,} tokens were read" if kept < tokens else ""
