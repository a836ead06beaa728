from __future__ import annotations

import random

import ftfy
import pytest

from tasks.config.quality import NormaliseConfig
from tasks.text.normalise import normalise, normalise_lines


@pytest.mark.parametrize(
    ("setting", "before", "after"),
    [
        ({"form": "NFKC"}, "ﬁne １２３ x²", "fine 123 x2"),
        ({"form": "NFC"}, "１２３ x²", "１２３ x²"),
        ({"repair_mojibake": False}, "naÃ¯ve", "naÃ¯ve"),
        ({"control_characters": "space"}, "a\x07b\u200bc", "a b c"),
        ({"control_characters": "keep"}, "a\u200bc", "a\u200bc"),
        ({"remnants": True}, "a&amp;amp;nbsp;b<br>c <b>d</b> <!-- e -->f ]]>", "a b\nc d f"),
        ({"remnants": True}, "#include <stdio.h> and List<T>, 1 < 2", "#include <stdio.h> and List<T>, 1 < 2"),
        ({"remnants": False}, "use <br> here", "use <br> here"),
        ({"emoji": "drop"}, "so 😀👨\u200d👩\u200d👧👍🏽 good ❤\ufe0f", "so good"),
        ({"emoji": "space"}, "a😀b", "a b"),
        ({}, "a😀b", "a😀b"),
        ({}, "a\ue000b", "ab"),
        ({"private_use": "space"}, "a\ue000b", "a b"),
        ({"private_use": "keep"}, "a\ue000b", "a\ue000b"),
        ({"box_drawing": "drop"}, "│a│b ░", "ab"),
        ({"symbols": "space"}, "a→b ✓ 3", "a b 3"),
    ],
)
def test_a_policy(setting: dict[str, object], before: str, after: str) -> None:
    assert normalise(before, NormaliseConfig(**setting)) == after


def test_levels_keep_step_with_lines() -> None:
    text = " Title \n\n\u200b\nA\u2028B  b\nlast &amp;\n&#10;x"
    assert normalise_lines(text, [1, 0, 2, 3, 4, 5]) == ("Title\nA\nB b\nlast &\nx", [1, 3, 3, 4, 5])
    assert normalise_lines(text, ()) == ("Title\nA\nB b\nlast &\nx", ())
    assert normalise_lines("plain\ntext", [1, 0]) == ("plain\ntext", [1, 0])
    assert normalise_lines(" \n ", [1, 0]) == ("", [])
    with pytest.raises(ValueError, match="1 levels for 2 lines"):
        normalise_lines("a\nb", [1])


def test_the_fast_way_gives_what_ftfy_gives() -> None:
    """ftfy is asked only for lines that it would change; here it is asked for all."""
    pieces = ["naÃ¯ve", "café", "e\u0301", "â€œ", "ﬁ", "&amp;", "<b>", "\x07", "\xa0", "“x”", "。", "１", "plain words",
              "\u00ad", "Ĳ", "\x85", "☃", "Ã\xa0", "\x9d", "한국", "\ud800", "\ufeff"]  # fmt: skip
    rng = random.Random(7)
    fixes = ftfy.TextFixerConfig(uncurl_quotes=False, fix_character_width=False, normalization="NFC")
    for _ in range(2_000):
        line = " ".join(rng.choices(pieces, k=rng.randint(1, 5)))
        assert normalise(line) == normalise(ftfy.fix_text(line.replace("\x85", "\n"), fixes)), line
