"""Train WordPiece vocabularies (Devlin et al., 2019, arXiv:1810.04805)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

from bert_core.tokenizer.base import SPECIAL_TOKENS, Tokenizer, TokenizerError
from bert_core.tokenizer.runs import without_long_runs


def train_wordpiece(texts: Iterable[str], vocab_size: int, min_frequency: int, lowercase: bool) -> Tokenizer:
    """A WordPiece tokenizer of at most `vocab_size` tokens: the same texts give the same ids, in every process.

    Args:
        min_frequency: a character or a merge that is rarer is left out.

    Raises:
        TokenizerError: the texts hold no character that is frequent enough.
    """
    corpus = list(without_long_runs(texts))
    backend = bert_backend(list(SPECIAL_TOKENS.values()), lowercase=lowercase, strip_accents=None, chinese=True)
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
    return Tokenizer(bert_backend(ordered, lowercase=lowercase, strip_accents=None, chinese=True))


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


def bert_backend(
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
