"""One entry to all rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from tasks.config.quality import QualityConfig

# The modules of the rules are imported in the order in which they are asked.
from tasks.text.quality import basic, c4, fineweb, gopher, repetition
from tasks.text.quality.measured import Measured
from tasks.text.quality.rules import RULES

_Asked = tuple[str, Callable[[Measured], bool]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say of a text."""

    text: str
    """Without the lines that rules on lines dropped; as it was where `reason` came before them."""
    levels: Sequence[int]
    reason: str
    """Of the first rule that objects; "" = the text is kept."""
    removed: Counter[str]
    """Lines that went, by the rule on lines."""


class Judge:
    """The rules of a recipe, ready to be asked for many texts.

    As in FineWeb's pipeline (arXiv 2406.17557, section 3.6), the text as it comes answers for length, letters and
    Gopher's rules; then C4's rules edit it; then what is left answers for C4's rules on texts and FineWeb's. Rules that
    cost the most come last.
    """

    def __init__(self, config: QualityConfig, folder: Path = Path()) -> None:
        """`folder` is what the paths of word lists are relative to: the home folder."""
        self._config = config.resolved()
        self._before = self._asked(basic, gopher, repetition)
        self._after = self._asked(c4, fineweb)
        self._of_records = [each for each in self._before if each[0] != "no sentences"]
        self._shortest = self._config.min_characters or 1
        self._bad_words = {each.language: folder / each.path for each in self._config.c4_bad_words}

    def judge(self, text: str, levels: Sequence[int], language: str, *, is_main_text: bool = True) -> Verdict:
        """The verdict on a text of non-empty lines, `levels` with one entry for each of them, or empty.

        A text that is not a page's main text (a record, a line of a file) is not edited, nor asked for sentences.
        """
        removed: Counter[str] = Counter()
        if not text:
            return Verdict(text, levels, "empty text", removed)
        measured = Measured(text, language)
        if reason := _first(self._before if is_main_text else self._of_records, measured):
            return Verdict(text, levels, reason, removed)
        if is_main_text:
            text, levels, removed = c4.edited(text, levels, self._config, language)
        if removed and len(text) < self._shortest:
            return Verdict(text, levels, "c4: no line left" if not text else "too short", removed)
        if text != measured.text:
            measured = Measured(text, language)
        reason = _first(self._after, measured)
        if not reason and (path := self._bad_words.get(language)) and c4.c4_bad_words(measured, path):
            reason = "c4: bad word"
        return Verdict(text, levels, reason, removed)

    def _asked(self, *modules: ModuleType) -> list[_Asked]:
        names = {module.__name__ for module in modules}
        found: list[_Asked] = []
        for rule in RULES.values():
            threshold = getattr(self._config, rule.name)
            if rule.objects.__module__ in names and threshold is not None and threshold is not False:
                found.append((rule.reason, _with(rule.objects, threshold)))
        return found


def judge(text: str, levels: Sequence[int], config: QualityConfig, language: str) -> Verdict:
    """`Judge(config).judge(...)` for a page's main text, the judge being kept for the next text."""
    return _judge(config).judge(text, levels, language)


@lru_cache(maxsize=8)
def _judge(config: QualityConfig) -> Judge:
    return Judge(config)


def _first(asked: Sequence[_Asked], text: Measured) -> str:
    return next((reason for reason, objects in asked if objects(text)), "")


def _with(objects: Callable[[Measured, object], bool], threshold: object) -> Callable[[Measured], bool]:
    return lambda text: objects(text, threshold)
