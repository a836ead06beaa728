"""C4's rules (Raffel et al., arXiv 1910.10683, section 2.2), which edit a text by its lines before they judge it.

The paper gives them in words; the order, the citations, the longest word and the lines on policy are from its code in
TensorFlow Datasets (`tensorflow_datasets/text/c4_utils.py`): a text goes for "{" or "lorem ipsum" only when one of the
lines that stay has it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tasks.config.quality import QualityConfig
from tasks.text.quality.measured import CHARACTERS_PER_WORD, UNSPACED, Measured
from tasks.text.quality.rules import rule

_TERMINAL = tuple(".?!\"'”’。！？」』؟।॥။።։۔…")
_ELLIPSES = ("...", "…")
_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
_POLICY = re.compile("terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies")
_SENTENCE_END = re.compile(r"[.!?]+[\"'”’)\]]*(?=\s|$)|[。！？؟।॥။።։۔]+")
_NO_MARKS = frozenset({"th", "lo"})
"""Languages whose sentences end in a blank, if in anything."""


def c4_terminal_punctuation(line: str, wanted: bool, language: str) -> bool:
    """The paper: "We only retained lines that ended in a terminal punctuation mark"; not in an ellipsis (the code).

    To the paper's . ! ? " are added ', as in the code, and the marks of other scripts. Not asked in Thai and Lao.
    """
    return language not in _NO_MARKS and (not line.endswith(_TERMINAL) or line.endswith(_ELLIPSES))


def c4_min_words_per_line(line: str, least: int, language: str) -> bool:
    """The paper: "... and only retained lines that contained at least 3 words" (in the paper's first version 5)."""
    if language in UNSPACED:
        return len(line) < least * CHARACTERS_PER_WORD
    return len(line) < 2 * least - 1 or line.count(" ") + 1 < least


def c4_max_word_length(line: str, most: int, language: str) -> bool:
    """Lines with a word of more than 1,000 characters (the code). Not asked without blanks."""
    return len(line) > most and language not in UNSPACED and max(map(len, line.split())) > most


def c4_javascript_lines(line: str, wanted: bool, language: str) -> bool:
    """The paper: "We removed any line with the word Javascript"."""
    return "javascript" in line.lower()


def c4_policy_lines(line: str, wanted: bool, language: str) -> bool:
    """Lines on "terms of use", "privacy policy", "cookie policy", "use cookies" and the like (the code). English."""
    return _POLICY.search(line.lower()) is not None


_LINE_RULES = {
    c4_max_word_length: "c4: too long a word",
    c4_terminal_punctuation: "c4: no terminal punctuation",
    c4_min_words_per_line: "c4: too few words",
    c4_javascript_lines: "c4: javascript",
    c4_policy_lines: "c4: policy",
}


@rule("c4: too few sentences")
def c4_min_sentences(text: Measured, least: int) -> bool:
    """The paper: "We discarded any page with fewer than 5 sentences".

    Sentences are counted by their marks, and a line without one is a sentence; datatrove asks a tokenizer, which knows
    that "Dr." ends none. Thai and Lao: lines.
    """
    count = 0
    for line in text.lines:
        count += len(_SENTENCE_END.findall(line)) or 1
        if count >= least:
            return False
    return True


@rule("c4: curly bracket")
def c4_curly_brackets(text: Measured, wanted: bool) -> bool:
    """The paper: "Some pages inadvertently contained code ... we removed any pages that contained a curly bracket"."""
    return "{" in text.text


@rule("c4: lorem ipsum")
def c4_lorem_ipsum(text: Measured, wanted: bool) -> bool:
    """The paper: "We removed any page where the phrase 'lorem ipsum' appeared"."""
    return "lorem ipsum" in text.lower


def c4_bad_words(text: Measured, path: Path) -> bool:
    """The paper: "We removed any page that contained any word on the 'List of Dirty, Naughty, Obscene or Otherwise Bad
    Words'": here on the recipe's list. Whole words, except where words have no blanks between them."""
    return _bad_words(path, text.is_spaced).search(text.lower) is not None


def edited(
    text: str, levels: Sequence[int], config: QualityConfig, language: str
) -> tuple[str, Sequence[int], Counter[str]]:
    """The text and levels without the lines that C4's rules on lines drop, and how many each has dropped."""
    checks = [(check, getattr(config, check.__name__), reason) for check, reason in _LINE_RULES.items()]
    checks = [each for each in checks if each[1]]
    removed: Counter[str] = Counter()
    if not checks and not config.c4_citations:
        return text, levels, removed
    lower = text.lower()
    if "javascript" not in lower:  # most texts: no line need be asked
        checks = [each for each in checks if each[0] is not c4_javascript_lines]
    if not _POLICY.search(lower):
        checks = [each for each in checks if each[0] is not c4_policy_lines]
    cites = bool(config.c4_citations) and _CITATION.search(text) is not None
    lines, kept = [], []
    for number, line in enumerate(text.split("\n")):
        # Citations go first: "as is well known.[1]" ends in a full stop.
        line = _CITATION.sub("", line).strip() if cites else line
        reason = next((name for check, threshold, name in checks if check(line, threshold, language)), "")
        if reason or not line:
            removed[reason or "c4: citation"] += 1
        else:
            lines.append(line)
            kept.append(number)
    if not removed and not cites:
        return text, levels, removed
    return "\n".join(lines), [levels[number] for number in kept] if levels else levels, removed


@cache
def _bad_words(path: Path, whole: bool) -> re.Pattern[str]:
    words = sorted({line.strip().lower() for line in path.read_text("utf-8").splitlines()} - {""})
    if not words:
        raise ValueError(f"{path}: the list of bad words is empty; one word a line")
    either = "|".join(map(re.escape, words))
    return re.compile(rf"(?<!\w)(?:{either})(?!\w)" if whole else either)
