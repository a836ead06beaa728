from __future__ import annotations

import pytest

from tasks.text.language import identify, identify_all, identify_in
from tasks.text.normalise import canonical, normalise
from tasks.text.sentences import sentence_starts

ENGLISH_PAGE = ["A painter falls in love and loses everything.", "One of the best films of the year.", "Obvious."]


def split_at(text: str, starts: list[int]) -> list[str]:
    return [text[start:end].strip() for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


@pytest.mark.parametrize(
    ("text", "language", "sentences"),
    [
        ("Mr. Deeds goes to town. It works!", "en", ["Mr. Deeds goes to town.", "It works!"]),
        ('He left. "Why?" He knew.', "en", ["He left.", '"Why?"', "He knew."]),
        ("He left. (So did we.) The end", "en", ["He left.", "(So did we.)", "The end"]),
        ("A heading\nA sentence. Another.", "en", ["A heading", "A sentence.", "Another."]),
        ("价格3.5元，很好！《骆驼祥子》值得看。真的？", "zh", ["价格3.5元，很好！", "《骆驼祥子》值得看。", "真的？"]),
        ("他说：“走吧。”她走了。", "zh", ["他说：“走吧。”", "她走了。"]),
        ("Unknown to spaCy. Two.", "zz", ["Unknown to spaCy.", "Two."]),
        ("...", "en", ["..."]),
    ],
)
def test_sentence_starts(text: str, language: str, sentences: list[str]) -> None:
    (starts,) = sentence_starts([text], language)
    assert starts[0] == 0
    assert split_at(text, starts) == sentences


def test_a_short_text_is_judged_by_its_page() -> None:
    assert identify("A tasty masala.")[0] != "en"  # why this is needed
    page = identify_all(ENGLISH_PAGE)
    assert page[0] == "en"
    assert identify_in("A tasty masala.", page) == page


def test_a_long_text_in_another_language_speaks_for_itself() -> None:
    page = identify_all(ENGLISH_PAGE)
    spanish = "Una película oscura, precisa, por momentos grandiosa y casi siempre conmovedora."
    assert identify_in(spanish, page)[0] == "es"


@pytest.mark.parametrize("text", ["小巧", "还不错", "5千元的配置，3千元的价格，工薪爱美族，舍它其谁？"])
def test_chinese_is_known_by_its_script(text: str) -> None:
    assert identify(text)[0] == "zh"


def test_japanese_is_not_taken_for_chinese() -> None:
    assert identify("東京都知事選挙の開票結果について")[0] == "ja"


def test_no_letters_no_language() -> None:
    assert identify("123 !!") == ("", 0.0)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("naÃ¯ve cafÃ©", "naïve café"),
        ("e\u0301te\u0301", "été"),
        (" a\u00a0 b\t c \r\n\r\n d\u2028e ", "a b c\nd\ne"),
        ("soft\u00adhyphen zero\u200bwidth \ufeffmark\x07", "softhyphen zerowidth mark"),
        ("“quotes” stay, １２３。", "“quotes” stay, １２３。"),
        ("R&amp;B", "R&B"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        ("", ""),
    ],
)
def test_normalise(before: str, after: str) -> None:
    assert normalise(before) == after
    assert normalise(after) == after


def test_canonical_ignores_case_blanks_and_width() -> None:
    assert canonical("１．Very\n GOOD") == canonical("1.very good")  # NFKC keeps no blank that was not there
