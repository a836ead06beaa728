"""Every rule by its name, with a text that it drops and one that it just keeps."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.config.quality import PUBLISHED, BadWords, QualityConfig
from tasks.text.quality import Judge, judge

DEFAULTS = dict.fromkeys(("min_characters", "max_characters", "min_letter_share", "min_sentenced_share")) | {
    "gopher_max_duplicate_lines": None
}
ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def only(**rules: Any) -> QualityConfig:
    return QualityConfig(**DEFAULTS | rules)


def distinct(count: int, start: int = 0) -> str:
    """So many different words of three letters."""
    numbers = range(start, start + count)
    return " ".join(ALPHABET[n // 676 % 26] + ALPHABET[n // 26 % 26] + ALPHABET[n % 26] for n in numbers)


CASES: list[tuple[str, Any, str, str, str]] = [
    ("min_characters", 10, "123456789", "1234567890", "too short"),
    ("max_characters", 10, "12345678901", "1234567890", "too long"),
    ("min_letter_share", 0.5, "abc 1234", "abcd 1234", "few letters"),
    ("min_sentenced_share", 0.5, "A heading here\nText.", "A head\nA text.", "no sentences"),
    ("gopher_min_words", 3, "one two - …", "one two - three", "gopher: too few words"),
    ("gopher_max_words", 3, "one two three four", "one two three -", "gopher: too many words"),
    ("gopher_mean_word_length", (3, 10), "it is so", "the cat sat", "gopher: mean word length"),
    ("gopher_mean_word_length", (3, 10), "x" * 11, "x" * 10, "gopher: mean word length"),
    ("gopher_max_symbol_ratio", 0.1, "# # " + distinct(10), "# " + distinct(10), "gopher: too many symbols"),
    ("gopher_max_symbol_ratio", 0.1, "a... b… " + distinct(10), "a... " + distinct(10), "gopher: too many symbols"),
    ("gopher_max_bullet_lines", 0.5, "- a\n• b\nc", "- a\n• b\nc\nd", "gopher: too many bullets"),
    ("gopher_max_ellipsis_lines", 0.5, "a...\nb…\nc", "a...\nb…\nc\nd", "gopher: too many ellipses"),
    ("gopher_min_alpha_words", 0.8, "a b c 4 5", "a b c d 5", "gopher: too few words of letters"),
    ("gopher_min_stop_words", 2, "the end the", "the end OF it", "gopher: too few stop words"),
    ("gopher_max_duplicate_lines", 0.3, "a\na\nb", "a\na\nb\nc", "gopher: repeated lines"),
    (
        "gopher_max_duplicate_paragraphs",
        0.3,
        f"{'p' * 100}\n{'p' * 100}\n{'q' * 100}",
        f"{'p' * 100}\n{'p' * 100}\n{'q' * 100}\n{'r' * 100}",
        "gopher: repeated paragraphs",
    ),
    (
        "gopher_max_duplicate_line_characters",
        0.2,
        f"{'a' * 30}\n{'a' * 30}\n{'b' * 87}",
        f"{'a' * 30}\n{'a' * 30}\n{'b' * 88}",
        "gopher: characters in repeated lines",
    ),
    (
        "gopher_max_duplicate_paragraph_characters",
        0.2,
        f"{'a' * 100}\n{'a' * 100}\n{'b' * 297}",
        f"{'a' * 100}\n{'a' * 100}\n{'b' * 298}",
        "gopher: characters in repeated paragraphs",
    ),
    (
        "gopher_max_top_ngrams",
        (0.2, 1, 1),
        f"xyy zyy {distinct(5)} xyy zyy {distinct(8, 99)}",  # 2 times 7 characters of 67
        f"xyy zyy {distinct(5)} xyy zyy {distinct(9, 99)}",  # of 71
        "gopher: one phrase again and again",
    ),
    (
        "gopher_max_duplicate_ngrams",
        (0.15, 1, 1, 1, 1, 1),
        f"{distinct(5)} {distinct(14, 99)} {distinct(5)}",  # 15 characters of 95
        f"{distinct(5)} {distinct(16, 99)} {distinct(5)}",  # of 103
        "gopher: repeated phrases",
    ),
    (
        "gopher_max_duplicate_ngrams",
        (1, 1, 1, 1, 1, 0.10),
        f"{distinct(10)} {distinct(50, 99)} {distinct(10)}",  # 30 characters of 279
        f"{distinct(10)} {distinct(60, 99)} {distinct(10)}",  # of 319
        "gopher: repeated phrases",
    ),
    ("c4_min_sentences", 3, "One. Two.", "One. Two! Three?", "c4: too few sentences"),
    ("c4_curly_brackets", True, "if (x) { y(); }", "if (x) y();", "c4: curly bracket"),
    ("c4_lorem_ipsum", True, "Lorem Ipsum dolor.", "Lorem dolor ipsum.", "c4: lorem ipsum"),
    (
        "fineweb_min_punctuated_lines",
        0.12,
        "a\n" * 8 + "b.",
        "a\n" * 7 + "b.",
        "fineweb: too few lines end in punctuation",
    ),
    (
        "fineweb_max_short_lines",
        0.5,
        f"{'a' * 30}\n{'b' * 30}\n{'c' * 31}",
        f"{'a' * 30}\n{'b' * 31}",
        "fineweb: too many short lines",
    ),
    (
        "fineweb_max_duplicate_characters",
        0.01,
        f"aa\naa\n{'b' * 195}",
        f"aa\naa\n{'b' * 196}",
        "fineweb: characters in repeated lines",
    ),
    (
        "fineweb_max_newlines_per_word",
        0.3,
        "a b c\nd e f\ng h\nj",
        "a b c\nd e f\ng h i\nj",
        "fineweb: too many lines for the words",
    ),
]


@pytest.mark.parametrize(("rule", "threshold", "dropped", "kept", "reason"), CASES)
def test_a_rule(rule: str, threshold: Any, dropped: str, kept: str, reason: str) -> None:
    config = only(**{rule: threshold})
    assert judge(dropped, (), config, "en").reason == reason
    assert judge(kept, (), config, "en").reason == ""
    assert judge(dropped, (), only(), "en").reason == ""


LINE_CASES: list[tuple[str, Any, str, str, str]] = [
    ("c4_terminal_punctuation", True, "A line without", "A line with one.", "c4: no terminal punctuation"),
    ("c4_terminal_punctuation", True, "And so on...", "And so on!", "c4: no terminal punctuation"),
    ("c4_min_words_per_line", 3, "Two words.", "Now three words.", "c4: too few words"),
    ("c4_max_word_length", 10, "an abcdefghijk", "an abcdefghij", "c4: too long a word"),
    ("c4_javascript_lines", True, "Enable JavaScript now.", "Enable Java, Script.", "c4: javascript"),
    ("c4_policy_lines", True, "Read our Privacy Policy.", "Privacy is no policy.", "c4: policy"),
]


@pytest.mark.parametrize(("rule", "threshold", "dropped", "kept", "reason"), LINE_CASES)
def test_a_rule_on_lines(rule: str, threshold: Any, dropped: str, kept: str, reason: str) -> None:
    found = judge(f"{dropped}\n{kept}", [1, 0], only(**{rule: threshold}), "en")
    assert (found.text, list(found.levels), found.reason, found.removed) == (kept, [0], "", Counter([reason]))


def test_every_rule_has_a_case() -> None:
    rules = set(QualityConfig.model_fields) - {"presets", "off", "c4_citations", "c4_bad_words"}  # tested below
    assert rules == {case[0] for case in CASES} | {case[0] for case in LINE_CASES}


def test_citations_go_before_the_line_is_judged() -> None:
    found = judge("As is known.[1]\nHistory[edit]", [0, 2], only(c4_citations=True, c4_terminal_punctuation=True), "en")
    assert (found.text, list(found.levels)) == ("As is known.", [0])


def test_a_record_is_not_edited() -> None:
    config = only(c4_terminal_punctuation=True, min_sentenced_share=0.5)
    found = Judge(config).judge("no full stop", (), "en", is_main_text=False)
    assert (found.text, found.reason) == ("no full stop", "")
    assert judge("no full stop", (), config, "en").reason == "no sentences"


def test_bad_words_are_a_list_of_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "en.txt").write_text("drat\nbother it\n", "utf-8")
    checks = Judge(only(c4_bad_words=(BadWords(language="en", path="en.txt"),)), tmp_path)
    assert checks.judge("Oh, DRAT!", (), "en").reason == "c4: bad word"
    assert checks.judge("The drats of old.", (), "en").reason == ""
    assert checks.judge("Oh, drat!", (), "de").reason == ""


def test_presets_fill_in_what_the_recipe_leaves_open() -> None:
    config = QualityConfig(presets=("gopher", "c4"), gopher_min_words=7, off=("c4_curly_brackets",)).resolved()
    assert (config.gopher_min_words, config.gopher_max_words, config.c4_min_sentences) == (7, 100_000, 5)
    assert config.c4_curly_brackets is None
    assert config.fineweb_max_short_lines is None
    assert {name for preset in PUBLISHED.values() for name in preset} <= set(QualityConfig.model_fields)
    with pytest.raises(ValidationError, match="off names no rule"):
        QualityConfig(off=("gopher_min_word",))


def test_the_defaults_are_the_rules_of_the_first_pipeline() -> None:
    def reason(text: str) -> str:
        return judge(text, (), QualityConfig(max_characters=200), "en").reason

    assert reason("") == "empty text"
    assert reason("Crummy.") == "too short"
    assert reason("word " * 50) == "too long"
    assert reason("12.50 | 13.70 | 99 (a)") == "few letters"
    assert reason("हिन्दी में एक वाक्य।") == ""  # its vowels are marks
    assert reason("one line.\none line.\nanother line.") == "gopher: repeated lines"
    assert reason("Films: A\n- Abandon 12 reviews\n- About a Boy 30 reviews") == "no sentences"
    assert reason("About us\nWe collect what critics write about films.”") == ""


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("我们收集影评人写的文字，已经很多年了。每一篇都经过编辑的检查，读者可以放心。" * 3, "zh"),
        ("私たちは映画の批評を長年にわたって集めてきました。すべて編集者が確認しています。" * 3, "ja"),
        ("เรารวบรวมบทวิจารณ์ภาพยนตร์มานานหลายปีแล้วและบรรณาธิการตรวจทุกบทความ" * 3, "th"),
    ],
)
def test_languages_without_blanks(text: str, language: str) -> None:
    config = QualityConfig(presets=("gopher", "c4", "fineweb"), off=("c4_min_sentences", "gopher_max_top_ngrams",
                           "gopher_max_duplicate_ngrams"))  # fmt: skip
    assert judge(text, (), config, language).reason in ("", "gopher: too few words")
    assert judge(text, (), only(gopher_min_words=30), language).reason == ""
    assert judge(text[:40], (), only(gopher_min_words=30), language).reason == "gopher: too few words"
    assert judge(text, (), only(gopher_max_duplicate_ngrams=(0.15,) * 6), language).reason == "gopher: repeated phrases"


def test_stop_words_are_of_the_language() -> None:
    config = only(gopher_min_stop_words=2)
    assert judge("Die Malerin verliebt sich in das Meer.", (), config, "de").reason == ""
    assert judge("Die Malerin verliebt sich in das Meer.", (), config, "en").reason == "gopher: too few stop words"
    assert judge("nobody knows these", (), config, "zu").reason == ""  # spaCy has no list


@pytest.mark.parametrize("text", [" ", "\u0301", "{", "# # #", "-", "a", "0", "。", "\U0001f600" * 50])
def test_no_text_is_too_odd(text: str) -> None:
    config = QualityConfig(presets=("gopher", "c4", "fineweb"), min_characters=1)
    for language in ("en", "zh", "th", "", "xx"):
        assert judge(text, (0,), config, language).reason


def naive_repeats(words: list[str], size: int) -> int:
    """As the paper's measure is implemented in datatrove: for each n-gram, seen before or not."""
    seen, characters, at = set(), 0, 0
    while at <= len(words) - size:
        ngram = tuple(words[at : at + size])
        if ngram in seen:
            characters, at = characters + len("".join(ngram)), at + size
        else:
            seen.add(ngram)
            at += 1
    return characters


@pytest.mark.parametrize("seed", range(20))
def test_repeated_phrases_against_the_naive_way(seed: int) -> None:
    import random

    from tasks.text.quality.measured import Measured
    from tasks.text.quality.repetition import _ngrams, _repeated_characters, _top_ngram

    words = random.Random(seed).choices(["a", "bb", "ccc", "dddd"], k=60)
    text = Measured(" ".join(words), "en")
    for size in range(2, 11):
        assert _repeated_characters(_ngrams(text, size), text.word_ends, size) == naive_repeats(words, size)
        counts = Counter(" ".join(words[at : at + size]) for at in range(len(words) - size + 1))
        top, count = counts.most_common(1)[0]
        assert _top_ngram(text, size) == (len(top) * count if count > 1 else 0)
