"""One tokenizer: ids, word starts and offsets of a text, special-token ids, fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import decoders, models

from bert_core.tokenizer.files import write_files

SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
"""Role -> token, as BERT names them; other tokenizers may name them otherwise."""
MODELS = (models.WordPiece, models.BPE, models.Unigram)


class TokenizerError(ValueError):
    """A folder that holds no usable tokenizer; the message names the file and what is missing."""


@dataclass(frozen=True)
class Encoding:
    """One text as N tokens, without special tokens, never truncated or padded."""

    ids: NDArray[np.int32]
    """(N,)"""
    word_starts: NDArray[np.bool_]
    """(N,): whether a word starts at this token: what the pre-tokeniser cuts out, before any piece is looked up.

    WordPiece: a word, a Chinese character, a punctuation mark. Byte-level BPE: a run of letters, of digits or of
    others. Unigram: what stands between blanks.
    """
    offsets: NDArray[np.int32]
    """(N, 2): first character and the one after the last, in the text as it was given."""


class Tokenizer:
    """A WordPiece, BPE or Unigram tokenizer with the five special tokens of an encoder. Pickles."""

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        model_max_length: int = 512,
        special_tokens: Mapping[str, str] = SPECIAL_TOKENS,
    ) -> None:
        self.special_tokens = dict(special_tokens)
        self._ids: dict[str, int] = backend.get_vocab()
        _check(backend, self._ids, self.special_tokens)
        backend.no_truncation()  # published tokenizer.json files often carry both, as all-MiniLM-L6-v2's does
        backend.no_padding()
        backend.encode_special_tokens = True
        self._backend = backend
        self._model_max_length = model_max_length
        roles = (self.special_tokens[role] for role in SPECIAL_TOKENS)
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = map(self._ids.__getitem__, roles)

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[tokenizers.Tokenizer, int, dict[str, str]]]:
        # the backend's own pickle loses options set above
        return Tokenizer, (self._backend, self._model_max_length, self.special_tokens)

    @property
    def backend(self) -> tokenizers.Tokenizer:
        """For reading; whoever changes it changes what every encoding is."""
        return self._backend

    @property
    def type(self) -> str:
        """wordpiece, bpe or unigram."""
        return type(self._backend.model).__name__.lower()

    @property
    def vocab_size(self) -> int:
        return len(self._ids)

    @cached_property
    def is_special(self) -> NDArray[np.bool_]:
        """(vocab_size,): True for the ids of the five special tokens."""
        special = np.zeros(self.vocab_size, dtype=bool)
        special[[self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id]] = True
        return special

    @property
    def tokens(self) -> list[str]:
        """The vocabulary in the order of ids."""
        return sorted(self._ids, key=self._ids.__getitem__)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over all that decides ids: vocabulary, scores, merges, model options, normaliser, pre-tokeniser."""
        config = json.loads(self._backend.to_str())
        vocabulary = config["model"].pop("vocab")
        if self.type == "unigram":
            # to 6 digits: reading a saved file gives other last bits
            config["model"]["scores"] = [round(score, 6) for _, score in vocabulary]
        identity = [config["model"], config["normalizer"], config["pre_tokenizer"], self.tokens]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    def encode_batch(self, texts: Sequence[str]) -> list[Encoding]:
        """Each text as its tokens, without special tokens, truncation or padding; an empty text has none.

        For a few texts; `BulkEncoder` gives the same for millions in a fraction of the time.
        """
        return [_encoding(each) for each in self._backend.encode_batch(list(texts), add_special_tokens=False)]

    def text(self, ids: Sequence[int]) -> str:
        """What tokens say, without the special ones; of a lower-casing tokenizer in lower case."""
        if self._backend.decoder is None and self.type == "wordpiece":
            special = set(self.special_tokens.values())
            tokens = (str(self._backend.id_to_token(int(each))) for each in ids)
            said: str = decoders.WordPiece().decode([token for token in tokens if token not in special])
            return said
        written: str = self._backend.decode([int(each) for each in ids], skip_special_tokens=True)
        return written

    def save(self, folder: str | Path) -> None:
        """Write the files from which `transformers.AutoTokenizer` and `load` make a tokenizer with the same ids."""
        write_files(Path(folder), self._backend, self.tokens, self.special_tokens, self._model_max_length)


def _check(backend: tokenizers.Tokenizer, ids: Mapping[str, int], special_tokens: Mapping[str, str]) -> None:
    if not isinstance(backend.model, MODELS):
        raise TokenizerError(f"a {type(backend.model).__name__} tokenizer; legal: WordPiece, BPE, Unigram")
    if isinstance(backend.model, models.BPE) and backend.model.dropout:
        raise TokenizerError(f"merges are dropped at random (dropout {backend.model.dropout}): ids must not vary")
    missing = [token for token in special_tokens.values() if token not in ids]
    if missing:
        raise TokenizerError(f"the vocabulary lacks the special tokens {missing}")
    if sorted(ids.values()) != list(range(len(ids))):
        raise TokenizerError(f"the ids of the {len(ids)} tokens are not 0 to {len(ids) - 1}")


def _encoding(encoded: Any) -> Encoding:
    words = np.array(encoded.word_ids, dtype=np.int32)
    return Encoding(
        ids=np.array(encoded.ids, dtype=np.int32),
        word_starts=np.diff(words, prepend=-1) != 0,
        offsets=np.array(encoded.offsets, dtype=np.int32).reshape(-1, 2),
    )
