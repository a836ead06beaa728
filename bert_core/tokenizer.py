"""WordPiece tokenizers (Devlin et al., 2019, arXiv:1810.04805): train, load, save, fingerprint.

Text is untrusted: the string "[SEP]" inside a document becomes ordinary pieces, never the special token.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


class TokenizerError(ValueError):
    """A folder that holds no usable tokenizer; the message names the file and what is missing."""


@dataclass(frozen=True)
class Encoding:
    """One text as N tokens, without special tokens, never truncated or padded."""

    ids: NDArray[np.int32]
    """(N,)"""
    word_starts: NDArray[np.bool_]
    """(N,): whether a word (a Chinese character, a punctuation mark) starts at this token."""
    offsets: NDArray[np.int32]
    """(N, 2): first character and the one after the last, in the text as it was given."""


class Tokenizer:
    """A WordPiece tokenizer with BERT's five special tokens. Pickles."""

    def __init__(self, backend: tokenizers.Tokenizer, model_max_length: int = 512) -> None:
        if not isinstance(backend.model, models.WordPiece):
            raise TokenizerError(f"a {type(backend.model).__name__} tokenizer; only WordPiece is supported")
        missing = [token for token in SPECIAL_TOKENS.values() if backend.token_to_id(token) is None]
        if missing:
            raise TokenizerError(f"the vocabulary lacks the special tokens {missing}")
        backend.no_truncation()  # published tokenizer.json files often carry both, as all-MiniLM-L6-v2's does
        backend.no_padding()
        backend.encode_special_tokens = True
        self._backend = backend
        self._model_max_length = model_max_length
        self._check_contiguous()
        ids: dict[str, int] = backend.get_vocab()
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = map(ids.__getitem__, SPECIAL_TOKENS.values())

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[tokenizers.Tokenizer, int]]:
        return Tokenizer, (self._backend, self._model_max_length)  # the backend's own pickle loses options set above

    @property
    def vocab_size(self) -> int:
        return int(self._backend.get_vocab_size())

    @cached_property
    def is_special(self) -> NDArray[np.bool_]:
        """(vocab_size,): True for the ids of the five special tokens."""
        special = np.zeros(self.vocab_size, dtype=bool)
        special[[self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id]] = True
        return special

    @property
    def tokens(self) -> list[str]:
        """The vocabulary in the order of ids."""
        vocabulary = self._backend.get_vocab()
        return sorted(vocabulary, key=vocabulary.__getitem__)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over all that decides ids: vocabulary, model options, normaliser and pre-tokeniser."""
        config = json.loads(self._backend.to_str())
        del config["model"]["vocab"]
        identity = [config["model"], config["normalizer"], config["pre_tokenizer"], self.tokens]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    def encode_batch(self, texts: Sequence[str]) -> list[Encoding]:
        """Each text as its tokens, without special tokens, truncation or padding; an empty text has none."""
        return [_encoding(each) for each in self._backend.encode_batch(list(texts), add_special_tokens=False)]

    def save(self, folder: str | Path) -> None:
        """Write the files from which `transformers.AutoTokenizer` and `load` make a tokenizer with the same ids."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._backend.save(str(folder / "tokenizer.json"))
        (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in self.tokens), "utf-8")
        normalizer = json.loads(self._backend.to_str())["normalizer"]
        _dump(folder / "special_tokens_map.json", SPECIAL_TOKENS)
        _dump(
            folder / "tokenizer_config.json",
            {
                "tokenizer_class": "BertTokenizer",
                "model_max_length": self._model_max_length,
                "do_lower_case": normalizer["lowercase"],
                "strip_accents": normalizer["strip_accents"],
                "tokenize_chinese_chars": normalizer["handle_chinese_chars"],
                **SPECIAL_TOKENS,
            },
        )

    def _check_contiguous(self) -> None:
        ids = self._backend.get_vocab().values()
        if sorted(ids) != list(range(len(ids))):
            raise TokenizerError(f"the ids of the {len(ids)} tokens are not 0 to {len(ids) - 1}")


def load(folder: str | Path) -> Tokenizer:
    """The tokenizer in `folder`: its tokenizer.json, else its vocab.txt with tokenizer_config.json's options.

    Raises:
        TokenizerError: neither file is there, it is not WordPiece, or tokenizer.json and vocab.txt differ in length.
    """
    folder = Path(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text("utf-8")) if _has(folder, "_config") else {}
    vocabulary = _read_vocabulary(folder / "vocab.txt")
    if (folder / "tokenizer.json").exists():
        backend = _read_backend(folder / "tokenizer.json")
    elif vocabulary:
        backend = _bert_backend(
            vocabulary,
            lowercase=config.get("do_lower_case", True),
            strip_accents=config.get("strip_accents"),
            chinese=config.get("tokenize_chinese_chars", True),
        )
    else:
        raise TokenizerError(f"{folder}: neither tokenizer.json nor vocab.txt")
    try:
        tokenizer = Tokenizer(backend, model_max_length=min(int(config.get("model_max_length", 512)), 1_000_000))
    except TokenizerError as error:
        raise TokenizerError(f"{folder}: {error}") from None
    if vocabulary and len(vocabulary) != tokenizer.vocab_size:
        raise TokenizerError(
            f"{folder}: vocab.txt has {len(vocabulary)} tokens and tokenizer.json {tokenizer.vocab_size}"
        )
    return tokenizer


def train_wordpiece(texts: Iterator[str], vocab_size: int, min_frequency: int, lowercase: bool) -> Tokenizer:
    """A WordPiece tokenizer of at most `vocab_size` tokens: the same texts give the same ids, in every process.

    Args:
        min_frequency: a character or a merge that is rarer is left out.

    Raises:
        TokenizerError: the texts hold no character that is frequent enough.
    """
    corpus = list(texts)
    backend = _bert_backend(list(SPECIAL_TOKENS.values()), lowercase=lowercase, strip_accents=None, chinese=True)
    characters, continuations = _alphabet(backend, corpus, min_frequency, vocab_size - len(SPECIAL_TOKENS))
    if not characters:
        raise TokenizerError(f"no character occurs {min_frequency} times or more in {len(corpus)} texts")
    # Left alone, the trainer numbers continuation characters in the order of a randomly seeded hash map, and ties
    # between merges are broken by those numbers. As "special tokens" they get their numbers from us.
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=[*SPECIAL_TOKENS.values(), *continuations],
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        show_progress=False,
    )
    backend.train_from_iterator(corpus, trainer)
    vocabulary = backend.get_vocab()
    ordered = sorted(vocabulary, key=vocabulary.__getitem__)
    return Tokenizer(_bert_backend(ordered, lowercase=lowercase, strip_accents=None, chinese=True))


def _alphabet(
    backend: tokenizers.Tokenizer, corpus: Sequence[str], min_frequency: int, limit: int
) -> tuple[list[str], list[str]]:
    """The most frequent characters, and those of them (as `##c`) that continue words: together at most `limit`."""
    chunks: Counter[str] = Counter()  # pre-tokenising distinct ones alone saves most of the time
    for text in corpus:
        chunks.update(backend.normalizer.normalize_str(text).split())
    counts: Counter[str] = Counter()
    inside: set[str] = set()
    for chunk, count in chunks.items():
        for word, _ in backend.pre_tokenizer.pre_tokenize_str(chunk):
            inside.update(word[1:])
            for character in word:
                counts[character] += count
    kept: list[str] = []
    for character, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        limit -= 2 if character in inside else 1
        if count < min_frequency or limit < 0:
            break
        kept.append(character)
    return sorted(kept), [f"##{character}" for character in sorted(kept) if character in inside]


def _bert_backend(
    vocabulary: Sequence[str], *, lowercase: bool, strip_accents: bool | None, chinese: bool
) -> tokenizers.Tokenizer:
    ids = {token: index for index, token in enumerate(vocabulary)}
    backend = tokenizers.Tokenizer(models.WordPiece(ids, unk_token=SPECIAL_TOKENS["unk_token"]))
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=chinese, strip_accents=strip_accents, lowercase=lowercase
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    present = [token for token in SPECIAL_TOKENS.values() if token in ids]
    backend.add_special_tokens(present)
    if len(present) == len(SPECIAL_TOKENS):
        backend.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
        )
    return backend


def _encoding(encoded: tokenizers.Encoding) -> Encoding:
    words = np.array(encoded.word_ids, dtype=np.int32)
    return Encoding(
        ids=np.array(encoded.ids, dtype=np.int32),
        word_starts=np.diff(words, prepend=-1) != 0,
        offsets=np.array(encoded.offsets, dtype=np.int32).reshape(-1, 2),
    )


def _has(folder: Path, suffix: str) -> bool:
    return (folder / f"tokenizer{suffix}.json").exists()


def _read_backend(path: Path) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception, without the file's name
        raise TokenizerError(f"{path}: not a tokenizer ({error})") from None


def _read_vocabulary(path: Path) -> list[str]:
    return path.read_text("utf-8").removesuffix("\n").split("\n") if path.exists() else []


def _dump(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", "utf-8")
