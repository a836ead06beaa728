"""Read a tokenizer from a folder, written by `Tokenizer.save`, by `transformers`, or published with weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers

from bert_core.tokenizer.base import SPECIAL_TOKENS, Tokenizer, TokenizerError
from bert_core.tokenizer.files import CONFIG, SPECIAL_TOKENS_MAP, TOKENIZER, VOCABULARY, read_json, read_vocabulary
from bert_core.tokenizer.wordpiece import bert_backend

SUBSTITUTES = {"cls_token": "bos_token", "sep_token": "eos_token"}  # what decoders call the first and the last token
USUAL_NAMES: tuple[Mapping[str, str], ...] = (
    SPECIAL_TOKENS,
    {
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "cls_token": "<s>",
        "sep_token": "</s>",
        "mask_token": "<mask>",
    },
    {**SPECIAL_TOKENS, "pad_token": "<pad>", "unk_token": "<unk>"},
    {**SPECIAL_TOKENS, "pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<cls>", "sep_token": "<sep>"}
    | {"mask_token": "<mask>"},
)
"""Of BERT, RoBERTa, ALBERT and XLNet: for folders whose configuration does not say."""


def load(folder: str | Path) -> Tokenizer:
    """The tokenizer in `folder`: its tokenizer.json, else its vocab.txt with tokenizer_config.json's options.

    Raises:
        TokenizerError: neither file is there, it is of another type, it lacks a special token, or tokenizer.json and
            vocab.txt differ in length.
    """
    folder = Path(folder)
    config = read_json(folder / CONFIG)
    vocabulary = read_vocabulary(folder / VOCABULARY)
    backend = _backend(folder, config, vocabulary)
    specials = _special_tokens(backend, read_json(folder / SPECIAL_TOKENS_MAP) | config)
    try:
        tokenizer = Tokenizer(backend, min(int(config.get("model_max_length") or 512), 1_000_000), specials)
    except TokenizerError as error:
        raise TokenizerError(f"{folder}: {error}") from None
    if vocabulary and len(vocabulary) != tokenizer.vocab_size:
        raise TokenizerError(
            f"{folder}: vocab.txt has {len(vocabulary)} tokens and tokenizer.json {tokenizer.vocab_size}"
        )
    return tokenizer


def _backend(folder: Path, config: Mapping[str, Any], vocabulary: list[str]) -> tokenizers.Tokenizer:
    if (folder / TOKENIZER).exists():
        try:
            return tokenizers.Tokenizer.from_file(str(folder / TOKENIZER))
        except Exception as error:  # the library raises bare Exception, without the file's name
            raise TokenizerError(f"{folder / TOKENIZER}: not a tokenizer ({error})") from None
    if not vocabulary:
        raise TokenizerError(f"{folder}: neither tokenizer.json nor vocab.txt")
    return bert_backend(
        vocabulary,
        lowercase=config.get("do_lower_case", True),
        strip_accents=config.get("strip_accents"),
        chinese=config.get("tokenize_chinese_chars", True),
    )


def _special_tokens(backend: tokenizers.Tokenizer, config: Mapping[str, Any]) -> dict[str, str]:
    """Role -> token: as the configuration says, else the usual names of which the vocabulary has most."""
    usual = max(USUAL_NAMES, key=lambda names: sum(backend.token_to_id(name) is not None for name in names.values()))
    found = {}
    for role in SPECIAL_TOKENS:
        stated = config.get(role) or config.get(SUBSTITUTES.get(role, role)) or usual[role]
        found[role] = str(stated["content"] if isinstance(stated, dict) else stated)
    return found
