"""The held-out measure of the speedrun: one fixed set of masked tokens, the same for every row of the table.

Up to 512 samples of the corpus's held-out side, each of at most 126 tokens between [CLS] and [SEP]; 15% of the tokens
are asked for, 80% of them shown as [MASK], 10% as a random token and 10% as they are. Which ones is drawn once from a
fixed seed and does not depend on the model, its masking rate, its rows or its batches; `HeldOut.sha256` names the set.
The loss is the mean cross-entropy over the tokens asked for, in nats, dropout off, each sample seen alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pretraining_texts import Corpus

MAX_TOKENS, MAX_SAMPLES, SEED, RATE = 126, 512, 20_261_122, 0.15
AT_ONCE = 64


@dataclass(frozen=True)
class Sample:
    shown: NDArray[np.int64]
    """(T,): with [CLS] and [SEP], masked."""
    labels: NDArray[np.int64]
    """(T,): what stood there, -100 where nothing is asked."""


@dataclass(frozen=True)
class Padded:
    """B samples of similar length, padded to the longest: (B, T) int64 each."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class HeldOut:
    samples: list[Sample]
    pad_id: int

    @property
    def asked(self) -> int:
        return int(sum((sample.labels >= 0).sum() for sample in self.samples))

    @property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        for sample in self.samples:
            digest.update(sample.shown.astype("<i8").tobytes() + sample.labels.astype("<i8").tobytes())
        return digest.hexdigest()

    def batches(self) -> Iterator[Padded]:
        ordered = sorted(self.samples, key=lambda sample: len(sample.shown))
        for first in range(0, len(ordered), AT_ONCE):
            part = ordered[first : first + AT_ONCE]
            T = max(len(sample.shown) for sample in part)
            yield Padded(
                self._stack([sample.shown for sample in part], T, self.pad_id),
                self._stack([np.ones_like(sample.shown) for sample in part], T, 0),
                self._stack([sample.labels for sample in part], T, -100),
            )

    @staticmethod
    def _stack(rows: list[NDArray[np.int64]], width: int, fill: int) -> torch.Tensor:
        return torch.from_numpy(np.stack([np.pad(row, (0, width - len(row)), constant_values=fill) for row in rows]))


def held_out(corpus: Corpus) -> HeldOut:
    tokenizer, rng = corpus.load_tokenizer(), np.random.default_rng(SEED)
    pieces = [piece for piece in corpus.samples("held_out", MAX_TOKENS) if len(piece) >= 8]
    chosen = np.sort(rng.permutation(len(pieces))[:MAX_SAMPLES])
    ordinary = np.flatnonzero(~tokenizer.is_special)
    samples = []
    for number in chosen.tolist():
        ids = np.concatenate([[tokenizer.cls_id], pieces[number], [tokenizer.sep_id]])
        asked = (rng.random(len(ids)) < RATE) & ~tokenizer.is_special[ids]
        fate, random_ids = rng.random(len(ids)), ordinary[rng.integers(0, len(ordinary), len(ids))]
        shown = np.where(asked & (fate < 0.8), tokenizer.mask_id, np.where(asked & (fate >= 0.9), random_ids, ids))
        samples.append(Sample(shown, np.where(asked, ids, -100)))
    return HeldOut(samples, tokenizer.pad_id)
