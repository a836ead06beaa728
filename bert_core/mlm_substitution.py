"""Words replaced by what a masked language model would say in their place (Kobayashi, 2018, arXiv:1805.06201).

Shapes: B texts in a batch, T tokens of the longest of them, P masked words, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bert_core import hf
from bert_core.attention import documents_of_rows
from bert_core.casing import match_case
from bert_core.heads import PretrainingModel
from bert_core.tokenizer import Encoding
from bert_core.tokenizer import load as load_tokenizer

TOKENS_IN_BATCH = 4_096
_WORD_MARKS = {"bpe": "Ġ", "unigram": "▁"}
"""What a token that begins a word after a blank begins with; in WordPiece, all do that lack ##."""


@dataclass(frozen=True)
class _Word:
    """A whole word of one text: tokens [start, end), characters [first, last)."""

    text: str
    start: int
    end: int
    first: int
    last: int


@dataclass(frozen=True)
class _Masked:
    """One text a row: what `PretrainingModel` reads of a batch."""

    input_ids: Tensor
    token_type_ids: Tensor
    position_ids: Tensor
    document_ids: Tensor
    cu_seqlens: Tensor
    max_seqlen: int
    cls_positions: Tensor
    predict_positions: Tensor


class MlmSubstitution:
    """Replaces a share of the whole words of a text, all else untouched to the character; case is kept.

    Each chosen word, whatever its number of pieces, becomes one mask; its substitute is drawn among the model's `top_k`
    whole words other than itself, by their probability. Words are of letters only. A word in lower case gets one that
    the vocabulary has in lower case. Of a text longer than the model's positions only the beginning is changed.

    Args:
        folder: config.json, model.safetensors with a masked-word head, tokenizer files.
        rate: share of the words, one at least.
        keep: words in lower case that stay, such as negations, without which a label would be wrong.

    Raises:
        ValueError, OSError: no such model, a causal one, or one without a masked-word head.
    """

    def __init__(self, folder: str | Path, *, rate: float = 0.15, top_k: int = 10, keep: Collection[str] = ()) -> None:
        if not 0 < rate <= 1 or top_k < 1:
            raise ValueError(f"rate = {rate}, top_k = {top_k}: rate is in (0, 1], top_k at least 1")
        config = hf.load_config(folder)
        if config.causal or config.family == "xlnet":
            raise ValueError(f"{folder}: {config.family} predicts from what is before; a masked-word model is needed")
        self._tokenizer = load_tokenizer(folder)
        if self._tokenizer.vocab_size > config.vocab_size:
            raise ValueError(f"{folder}: {self._tokenizer.vocab_size:,} tokens, but {config.vocab_size:,} embeddings")
        self._model = PretrainingModel(config, pairs=False)
        report = hf.load_pretraining(folder, self._model)
        if lost := [name for name in report.missing if name.startswith("mlm_head.")]:
            raise ValueError(f"{folder}: no masked-word head: its weights lack {', '.join(lost)}")
        self._model.eval()
        self._max_tokens = config.max_positions - 2
        self._rate, self._top_k = rate, top_k
        self._keep = frozenset(word.lower() for word in keep)
        self._words, self._is_word, self._is_lower = self._vocabulary(config.vocab_size)

    def __call__(self, texts: Sequence[str], rng: np.random.Generator) -> list[str]:
        """The texts, in order; one in which nothing can be replaced comes back as it is."""
        encodings = self._tokenizer.encode_batch(texts)
        chosen = [self._chosen(text, encoding, rng) for text, encoding in zip(texts, encodings, strict=True)]
        result = list(texts)
        rows = [row for row, words in enumerate(chosen) if words]
        for batch in _batches(rows, [min(len(encoding.ids), self._max_tokens) + 2 for encoding in encodings]):
            ids = [_masked(encodings[row].ids, chosen[row], self._tokenizer.mask_id) for row in batch]
            logits = self._logits([each[: self._max_tokens] for each in ids])  # (P, V)
            words = [(row, word) for row in batch for word in chosen[row]]
            # from the last word to the first, so that the places of the others stay
            for (row, word), scores in reversed(list(zip(words, logits, strict=True))):
                new = match_case(self._drawn(scores, word.text, rng), word.text)
                result[row] = result[row][: word.first] + new + result[row][word.last :]
        return result

    def _chosen(self, text: str, encoding: Encoding, rng: np.random.Generator) -> list[_Word]:
        """Words to be masked, in order, all of them within the model's positions once they are."""
        words = [word for word in _whole_words(text, encoding) if self._may_go(text, word)]
        if not words:
            return []
        count = max(1, round(self._rate * len(words)))
        chosen: list[_Word] = []
        saved = 0  # tokens, as a mask takes the place of all pieces of a word
        for place in np.sort(rng.choice(len(words), count, replace=False)).tolist():
            if words[place].start - saved < self._max_tokens:
                chosen.append(words[place])
                saved += words[place].end - words[place].start - 1
        return chosen

    def _may_go(self, text: str, word: _Word) -> bool:
        """Only letters, and no part of "don't" or "3D", which tokenizers cut into words."""
        around = text[max(0, word.first - 1) : word.first] + text[word.last : word.last + 1]
        is_part = any(character in "'’" or character.isdigit() for character in around)
        return word.text.isalpha() and not is_part and word.text.lower() not in self._keep

    def _drawn(self, scores: NDArray[np.float64], old: str, rng: np.random.Generator) -> str:
        allowed = self._is_word & (self._is_lower if old.islower() else True)
        scores = np.where(allowed, scores, -np.inf)
        for id in self._same(old):
            scores[id] = -np.inf
        best = np.argsort(-scores, kind="stable")[: self._top_k]
        best = best[np.isfinite(scores[best])]
        if not len(best):
            return old
        shares = np.exp(scores[best] - scores[best].max())
        return self._words[int(rng.choice(best, p=shares / shares.sum()))]

    def _same(self, old: str) -> list[int]:
        return self._ids_of.get(old.lower(), [])

    def _vocabulary(self, vocab_size: int) -> tuple[list[str], NDArray[np.bool_], NDArray[np.bool_]]:
        """Of each id its word, and whether it is a whole one of letters, and in lower case."""
        mark = _WORD_MARKS.get(self._tokenizer.type)
        words, is_word = [""] * vocab_size, np.zeros(vocab_size, bool)
        self._ids_of: dict[str, list[int]] = {}
        for id, token in enumerate(self._tokenizer.tokens):
            starts = not token.startswith("##") if mark is None else token.startswith(mark)
            words[id] = token.removeprefix(mark or "")
            if mark == "Ġ" and not words[id].isascii():
                words[id] = self._tokenizer.backend.decode([id]).strip()  # byte-level tokens spell other letters oddly
            is_word[id] = starts and words[id].isalpha() and not self._tokenizer.is_special[id]
            self._ids_of.setdefault(words[id].lower(), []).append(id)
        return words, is_word, np.array([word == word.lower() for word in words])

    @torch.inference_mode()
    def _logits(self, ids: Sequence[NDArray[np.int32]]) -> NDArray[np.float64]:
        """(P, V): of every mask, text by text."""
        lengths = np.array([len(each) + 2 for each in ids])
        B, T = len(ids), int(lengths.max())
        tokens = np.full((B, T), self._tokenizer.pad_id, dtype=np.int64)
        for row, each in enumerate(ids):
            tokens[row, : len(each) + 2] = [self._tokenizer.cls_id, *each, self._tokenizer.sep_id]
        positions = np.arange(T)
        real = positions < lengths[:, None]  # (B, T)
        batch = _Masked(
            input_ids=torch.from_numpy(tokens),
            token_type_ids=torch.zeros((B, T), dtype=torch.int64),
            position_ids=torch.from_numpy(np.where(real, positions, 0)),
            document_ids=torch.from_numpy(real.astype(np.int64)),
            cu_seqlens=documents_of_rows(torch.from_numpy(lengths), T),
            max_seqlen=T,
            cls_positions=torch.from_numpy(np.arange(B) * T),
            predict_positions=torch.from_numpy(np.flatnonzero(tokens.ravel() == self._tokenizer.mask_id)),
        )
        return self._model(batch).mlm_logits.double().numpy()


def _whole_words(text: str, encoding: Encoding) -> Iterator[_Word]:
    starts = np.flatnonzero(encoding.word_starts).tolist()
    for start, end in zip(starts, [*starts[1:], len(encoding.ids)], strict=False):
        last = int(encoding.offsets[end - 1, 1])
        word = text[int(encoding.offsets[start, 0]) : last].lstrip()  # some tokenizers count the blank before it
        yield _Word(word, start, end, last - len(word), last)


def _masked(ids: NDArray[np.int32], words: Sequence[_Word], mask: int) -> NDArray[np.int32]:
    """`ids` with one mask in place of each word's pieces."""
    result, end = [], 0
    for word in words:
        result += [*ids[end : word.start], mask]
        end = word.end
    return np.array([*result, *ids[end:]], dtype=np.int32)


def _batches(rows: Sequence[int], lengths: Sequence[int]) -> Iterator[list[int]]:
    """Texts of similar length together, `TOKENS_IN_BATCH` at most, padding included."""
    order = sorted(rows, key=lambda row: lengths[row], reverse=True)
    while order:
        size = max(1, TOKENS_IN_BATCH // lengths[order[0]])
        yield order[:size]
        order = order[size:]
