"""Train Unigram vocabularies (Kudo, 2018, arXiv:1804.10959), as ALBERT's and XLNet's.

Trained here and not by the library, whose sums run in the order of randomly seeded hash maps: two runs over one text
gave probabilities that differ, so another fingerprint, and ids in another order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from bert_core.tokenizer.base import Tokenizer, TokenizerError
from bert_core.tokenizer.runs import without_long_runs
from bert_core.tokenizer.unigram_em import Lattice, Pieces, estimate, prune, seeds

UNIGRAM_SPECIAL_TOKENS = {
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
"""ALBERT's, in the order of their ids."""
WORD = "▁"
MAX_CHARACTERS = 4_000_000
"""Of distinct words, the most frequent first: about 1 GB of memory. More changes few pieces and no frequent one."""
SUB_ITERATIONS = 2
SHRINK = 0.75
"""The share of pieces that a round keeps; both as in SentencePiece."""


def train_unigram(texts: Iterable[str], vocab_size: int, min_frequency: int, lowercase: bool) -> Tokenizer:
    """A Unigram tokenizer of at most `vocab_size` tokens: the same texts give the same ids, in every process.

    Words are what stands between blanks; each begins with ▁. Characters are in compatibility form (NFKC).

    Args:
        min_frequency: a rarer character is unknown, and a rarer piece is never tried.

    Raises:
        TokenizerError: the texts hold no character that is frequent enough.
    """
    backend = _backend([], lowercase)
    words = _words(backend, texts)
    limit = vocab_size - len(UNIGRAM_SPECIAL_TOKENS)
    alphabet = _alphabet(words, min_frequency, limit)
    if not alphabet:
        raise TokenizerError(f"no character occurs {min_frequency} times or more in the texts")
    lattice = Lattice(*_training_words(words, alphabet))
    pieces = _fit(lattice, seeds(lattice, max(2, min_frequency), 10 * vocab_size), limit)
    named = [(text, round(score, 6)) for text, score in pieces.named(lattice)]  # so that files keep them exactly
    best = sorted(named, key=lambda piece: (len(piece[0]) > 1, -piece[1], piece[0]))[:limit]
    return Tokenizer(
        _backend(sorted(best, key=lambda piece: (-piece[1], piece[0])), lowercase),
        special_tokens=UNIGRAM_SPECIAL_TOKENS,
    )


def _fit(lattice: Lattice, pieces: Pieces, size: int) -> Pieces:
    """Estimate and prune in turns, down to a tenth more than is wanted; then estimate once more."""
    while True:
        for _ in range(SUB_ITERATIONS):
            pieces = estimate(lattice, pieces)
        if len(pieces) <= size * 11 // 10:
            return pieces
        pieces = prune(lattice, pieces, max(size * 11 // 10, int(SHRINK * len(pieces))))


def _words(backend: tokenizers.Tokenizer, texts: Iterable[str]) -> Counter[str]:
    words: Counter[str] = Counter()
    for text in without_long_runs(texts):
        words.update(WORD + chunk for chunk in backend.normalizer.normalize_str(text).split())
    return words


def _alphabet(words: Counter[str], min_frequency: int, limit: int) -> list[str]:
    """The most frequent characters, at most `limit`, in the order of their code points."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return sorted(character for character, count in ranked[:limit] if count >= min_frequency)


def _training_words(words: Counter[str], alphabet: list[str]) -> tuple[list[str], list[int]]:
    """Words without rare characters (what is between them), the most frequent ones, and their counts."""
    known = set(alphabet)
    parts: Counter[str] = Counter()
    for word, count in words.items():
        if known.issuperset(word):
            parts[word] += count
        else:
            for part in "".join(each if each in known else "\n" for each in word).split("\n"):
                parts[part] += count
    del parts[""]
    ranked = sorted(parts.items(), key=lambda item: (-item[1], item[0]))
    left = MAX_CHARACTERS
    for index, (word, _) in enumerate(ranked):
        left -= len(word)
        if left < 0:
            ranked = ranked[: max(1, index)]
            break
    chosen, counts = zip(*ranked, strict=True)
    return list(chosen), list(counts)


def _backend(pieces: list[tuple[str, float]], lowercase: bool) -> tokenizers.Tokenizer:
    specials = list(UNIGRAM_SPECIAL_TOKENS.values())
    vocabulary = [*((token, 0.0) for token in specials), *pieces]
    backend = tokenizers.Tokenizer(models.Unigram(vocabulary, specials.index("<unk>"), False))
    steps = [normalizers.NFKC(), *([normalizers.Lowercase()] if lowercase else [])]
    backend.normalizer = normalizers.Sequence(steps)
    metaspace = pre_tokenizers.Metaspace(replacement=WORD, prepend_scheme="always")
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace])
    backend.decoder = decoders.Metaspace(replacement=WORD, prepend_scheme="always")
    backend.add_special_tokens(specials)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, specials.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    return backend
