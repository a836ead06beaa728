"""Synonyms from WordNet's database files (Miller, 1995; format: the manual page wndb(5WN)), inflected like the word."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tasks.augment.inflection import forms_of, inflected

_FILES = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
_PARTS = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}
"""ss_type numbers of sense keys; 5 is an adjective's satellite."""


class WordNetDatabase:
    """The synsets of a folder of `data.*`, `index.*`, `*.exc` and, if there, `cntlist.rev`: 1.5 s, 100 MB.

    As the part of speech is not known, a word counts as the one as which it is most often tagged in WordNet's
    concordance; of that, the first `senses` meanings.

    Raises:
        OSError: a file is missing.
    """

    def __init__(self, folder: Path, senses: int = 1) -> None:
        self._senses = senses
        self._synsets: dict[tuple[str, str], list[str]] = {}
        self._index: dict[tuple[str, str], list[str]] = {}
        self._bases: dict[str, dict[str, list[str]]] = {}
        self._irregular: dict[str, set[str]] = {}
        for part, name in _FILES.items():
            self._synsets |= {(part, offset): words for offset, words in _synsets(folder / f"data.{name}")}
            self._index |= {(part, lemma): offsets for lemma, offsets in _index(folder / f"index.{name}")}
            lines = (line.split() for line in (folder / f"{name}.exc").read_text("ascii").splitlines())
            self._bases[part] = {form: bases for form, *bases in lines}
            self._irregular[part] = {base for bases in self._bases[part].values() for base in bases}
        self._counts = _counts(folder / "cntlist.rev")

    def synonyms(self, word: str) -> tuple[str, ...]:
        """Single words that mean the same as `word` (lower case) in its most frequent meanings, in the same form.

        "films" has "movies". A word whose form, or a synonym whose form, is irregular has none: to guess gives "goed".
        """
        readings = [(part, base, form) for part in _FILES for base, form in self._readings(word, part)]
        if ("a", word, "") in readings and word.endswith(("ing", "ed")):
            readings = [("a", word, "")]  # "boring" is rarely what a drill does
        if not readings:
            return ()
        tagged = [self._counts.get((base, part), 0) for part, base, _ in readings]
        part, base, form = readings[tagged.index(max(tagged))]
        if len(readings) > 1 and sorted(tagged)[-1] < 2 * sorted(tagged)[-2]:
            return ()  # about as often another part of speech
        found: dict[str, None] = {}
        for offset in self._index[part, base][: self._senses]:
            for other in self._synsets[part, offset]:
                if self._is_common(other, part, offset) and other != base:
                    changed = inflected(other, form, other in self._irregular[part])
                    if changed is not None and changed != word:
                        found[changed] = None
        return tuple(found)

    def _readings(self, word: str, part: str) -> Iterator[tuple[str, str]]:
        """(base, form) for which WordNet has the word as this part of speech."""
        if (part, word) in self._index:
            yield word, ""
        elif word not in self._bases[part]:
            yield from ((base, form) for base, form in forms_of(word, part) if (part, base) in self._index)

    def _is_common(self, word: str, part: str, offset: str) -> bool:
        """Whether people use the word, and mostly in this sense: "ikon" is none, and "picture" is first an image."""
        is_used = self._counts.get((word, part), 0) > 0 or not self._counts
        return word.isalpha() and word.islower() and is_used and offset in self._index[part, word][: self._senses]


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="ascii") as file:
        yield from (line for line in file if not line.startswith("  "))  # two blanks: the licence


def _synsets(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Offset and words; in data.adj a word may end in its syntactic marker, as in galore(ip)."""
    for line in _lines(path):
        fields = line.split(" ", 4 + 2 * int(line[14:16], 16))
        words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
        yield fields[0], [word.partition("(")[0] for word in words]


def _index(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Lemma and the offsets of its synsets, the most frequent meaning first."""
    for line in _lines(path):
        fields = line.split()
        yield fields[0], fields[-int(fields[2]) :]


def _counts(path: Path) -> dict[tuple[str, str], int]:
    """How often (lemma, part of speech) is tagged, over all meanings; others, and all without the file, are missing."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    if path.exists():
        for line in _lines(path):
            key, _, count = line.split()
            lemma, _, sense = key.partition("%")
            counts[lemma, _PARTS[sense[0]]] += int(count)
    return counts
