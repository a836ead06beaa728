"""Where UTF-8 text may be cut so that its pieces, tokenized one by one, give the tokens of the whole.

A text of millions of characters is made of thousands of pieces: whoever cuts it exactly tokenizes each of them once.
Each function here is a statement about one family of tokenizers, and holds for any text; a place that is not surely
safe is no cut. Only bytes are looked at. C in the shapes below is the number of bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bert_core.tokenizer.base import Tokenizer

Classes = NDArray[np.uint8]
"""(C,): `CLASSES` of each byte of a text that starts at a cut."""
Cuts = Callable[[Classes], NDArray[np.bool_]]
"""-> (C,): whether the text may be cut before this byte."""

BLANK, ALONE, QUOTE, LETTER, HAN = 1, 2, 4, 8, 16


def _classes() -> Classes:
    """(256,): what a byte is; 0 = nothing that these functions rely on, as all of other scripts."""
    table = np.zeros(256, dtype=np.uint8)
    table[list(b" \t\n\r")] = BLANK
    for byte in range(33, 127):
        table[byte] = LETTER if chr(byte).isalnum() else ALONE
    table[ord("'")] = QUOTE
    table[0xE5:0xEA] = HAN  # first of three bytes of U+5000 to U+9FFF, Chinese characters all
    return table


CLASSES = _classes()
BERT = ["BertNormalizer", "BertPreTokenizer"]


def cuts_of(tokenizer: Tokenizer) -> Cuts:
    """The rule of this tokenizer's family; one that is not known is never cut."""
    config = json.loads(tokenizer.backend.to_str())
    normalizer, before = config["normalizer"] or {}, config["pre_tokenizer"] or {}
    if any(not added["special"] for added in config["added_tokens"]):  # they may span anything, blanks too
        return never
    if tokenizer.type == "wordpiece" and [normalizer.get("type"), before.get("type")] == BERT:
        chinese = normalizer["clean_text"] and normalizer["handle_chinese_chars"]
        return at_bert_words if chinese else at_blanks_and_marks
    if tokenizer.type == "bpe" and not normalizer and _is_byte_level(before):
        return at_byte_level_words
    if tokenizer.type == "unigram" and _is_whitespace_metaspace(before) and _is_local(normalizer):
        return at_blanks
    return never


def never(classes: Classes) -> NDArray[np.bool_]:
    """Every text is one piece."""
    return np.zeros(len(classes), dtype=bool)


def at_blanks(classes: Classes) -> NDArray[np.bool_]:
    """Where blanks split words first of all, as `WhitespaceSplit` does: before each run of blanks."""
    return _after_no_blank(classes == BLANK, classes)


def at_blanks_and_marks(classes: Classes) -> NDArray[np.bool_]:
    """BertPreTokenizer: a blank ends a word, and an ASCII punctuation mark is one.

    Normalisers before it work character by character; composed characters fall apart and never join, so no mark that
    follows a cut can change what precedes it.
    """
    return _after_no_blank(_marks(classes), classes)


def at_bert_words(classes: Classes) -> NDArray[np.bool_]:
    """As `at_blanks_and_marks`, and each Chinese character is a word too: the normaliser puts blanks around it."""
    cuts = _marks(classes)
    cuts |= classes == HAN
    cuts[3:] |= classes[:-3] == HAN
    return _after_no_blank(cuts, classes)


def at_byte_level_words(classes: Classes) -> NDArray[np.bool_]:
    """GPT-2's pattern: `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+`.

    Blanks start a match and never end one before others, so between an ASCII character and a blank one match ends. So
    does it between letter and mark. Between mark and letter too, unless the mark is the apostrophe.
    """
    before, here = classes[:-1], classes[1:]
    cuts = np.zeros(len(classes), dtype=bool)
    cuts[1:] = (before > BLANK) & (before < HAN) & (here == BLANK)
    cuts[1:] |= (before == LETTER) & ((here == ALONE) | (here == QUOTE))
    cuts[1:] |= (before == ALONE) & (here == LETTER)
    return cuts


AT_BLANKS: tuple[Cuts, ...] = (at_blanks, at_blanks_and_marks, at_bert_words)
"""Rules of tokenizers for which a blank, or a line break, ends a word and leaves no trace among the tokens."""


def _marks(classes: Classes) -> NDArray[np.bool_]:
    """Before each blank, and before and after each ASCII punctuation mark."""
    mark = (classes & (ALONE | QUOTE)) != 0
    cuts = mark | (classes == BLANK)
    cuts[1:] |= mark[:-1]
    return cuts


def _after_no_blank(cuts: NDArray[np.bool_], classes: Classes) -> NDArray[np.bool_]:
    """Blanks stay with what follows them: half as many pieces."""
    cuts[1:] &= classes[:-1] != BLANK
    return cuts


def _is_byte_level(before: dict[str, Any]) -> bool:
    return before.get("type") == "ByteLevel" and before["use_regex"] and not before["add_prefix_space"]


def _is_whitespace_metaspace(before: dict[str, Any]) -> bool:
    steps = before.get("pretokenizers", [])
    return [step["type"] for step in steps] == ["WhitespaceSplit", "Metaspace"] and steps[1][
        "prepend_scheme"
    ] == "always"


def _is_local(normalizer: dict[str, Any]) -> bool:
    """Whether what it makes of a text never depends on what stands on the other side of a blank."""
    steps = normalizer["normalizers"] if normalizer.get("type") == "Sequence" else [normalizer] if normalizer else []
    return all(step["type"] in {"NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"} for step in steps)
