"""The files of a tokenizer's folder, as `transformers` reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import models, normalizers

TOKENIZER = "tokenizer.json"
VOCABULARY = "vocab.txt"
CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS_MAP = "special_tokens_map.json"


def write_files(
    folder: Path, backend: tokenizers.Tokenizer, tokens: Sequence[str], special_tokens: Mapping[str, str], length: int
) -> None:
    """Write tokenizer.json and its configuration; for WordPiece, also vocab.txt.

    Args:
        tokens: the vocabulary in the order of ids.
        length: of the model's longest row, in tokens.
    """
    folder.mkdir(parents=True, exist_ok=True)
    backend.save(str(folder / TOKENIZER))
    if isinstance(backend.model, models.WordPiece):
        (folder / VOCABULARY).write_text("".join(f"{token}\n" for token in tokens), "utf-8")
    _dump(folder / SPECIAL_TOKENS_MAP, special_tokens)
    _dump(folder / CONFIG, {**_class_options(backend), "model_max_length": length, **special_tokens})


def read_json(path: Path) -> dict[str, Any]:
    """The object in `path`, or an empty one where there is no such file."""
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found


def read_vocabulary(path: Path) -> list[str]:
    """A token a line; empty where there is no such file."""
    return path.read_text("utf-8").removesuffix("\n").split("\n") if path.exists() else []


def _class_options(backend: tokenizers.Tokenizer) -> dict[str, Any]:
    """`transformers` rebuilds its BertTokenizer from these options; the general class takes tokenizer.json as it is."""
    if not isinstance(backend.model, models.WordPiece) or not isinstance(
        backend.normalizer, normalizers.BertNormalizer
    ):
        return {"tokenizer_class": "PreTrainedTokenizerFast"}
    normalizer = json.loads(backend.to_str())["normalizer"]
    return {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": normalizer["lowercase"],
        "strip_accents": normalizer["strip_accents"],
        "tokenize_chinese_chars": normalizer["handle_chinese_chars"],
    }


def _dump(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", "utf-8")
