"""Ten thousand texts of every kind of damage go through `clean`: none crashes or hangs, and each is accounted for."""

from __future__ import annotations

import itertools
import json
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from tasks.artifacts import ArtifactRef, Draft
from tasks.config import CleanConfig, QualityConfig
from tasks.config.privacy import PrivacyConfig
from tasks.config.quality import NormaliseConfig
from tasks.text.clean import clean
from tasks.text.documents import (
    DOCUMENTS,
    EXTRACTED_SCHEMA,
    REJECTS,
    document_id,
    iter_documents,
    rows_table,
    write_table,
)
from tasks.text.parts import Part, Serial, part_files
from tasks.text.quality.boilerplate import LineCounter
from tasks.text.reading import LINES
from tests.tasks.corpora import publish

PER_CONFIG = 2_500
PER_PART = 50
CAP_S = 30.0
"""For a part of 50 texts, of which some have 100,000 characters: ten times what the slowest takes."""
LANGUAGES = ("ar", "de", "en", "hi", "it", "ja", "ru", "zh")  # spaCy takes 0.1 s to 5 s to make each of its seventy
CONFIGS = (
    CleanConfig(),
    CleanConfig(
        languages=LANGUAGES,
        min_language_score=0,
        quality=QualityConfig(presets=("gopher", "c4", "fineweb"), off=("gopher_max_top_ngrams", "gopher_min_words")),
        normalise=NormaliseConfig(remnants=True, emoji="drop", box_drawing="space", symbols="space"),
    ),
    CleanConfig(
        languages=LANGUAGES,
        min_language_score=0,
        boilerplate_pages=2,
        quality=QualityConfig(min_characters=None, min_letter_share=None, min_sentenced_share=None),
        normalise=NormaliseConfig(form="NFKC", control_characters="space", private_use="keep"),
        privacy=PrivacyConfig(replacement=""),
    ),
    CleanConfig(
        languages=LANGUAGES,
        min_language_score=0,
        labels=("fresh", "rotten"),
        quality=QualityConfig(min_characters=1, max_characters=None, min_letter_share=0, min_sentenced_share=0),
        normalise=NormaliseConfig(repair_mojibake=False, control_characters="keep", private_use="space"),
    ),
)
SENTENCES = (
    "The painter falls in love in Mexico, loses everything, and paints on.",
    "Le film est très beau, et les acteurs sont excellents. Où est-il né ?",
    "这个酒店的服务非常好，下次还会来。房间很大！",
    "Это очень хороший фильм, который стоит посмотреть.",
    "هذا الفيلم جميل جدا، ويستحق المشاهدة.",
    "यह फ़िल्म बहुत अच्छी है।",
    "Write to jane.doe+news@mail.example.co.uk or call +44 20 7946 0958; the card is 4111 1111 1111 1111.",
    "DE89 3704 0044 0532 0130 00, from 2001:4860:4860::8888 and 8.8.8.8, SSN 078-05-1120, 536-90-4399",
    "if (x < y && y > z) { return &amp;amp;nbsp; } // javascript lorem ipsum [citation needed] <br><p>x</p>",
    "Ã©tÃ© dÃ©jÃ\xa0 vu â€œquotedâ€\x9d schÃ¶n",
)
SECRET = re.compile("(?:^|[ ,])(?:jane.doe[^ ]*uk|4111 1111 1111 1111|DE89 3704 0044 0532 0130 00)(?:$|[ ,])")
INVISIBLE = "\x00\x07\x85\xad\xa0\u0301\u200b\u200d\u202e\u2028\u2066\u3000\ufeff\ufffd\ufffe\ue000\U0010fffd"
VISIBLE = "👨\u200d👩\u200d👧 🇫🇷 ☂️ ﷽ ﬁ Ⅷ ½ ｆｕｌｌ ｶﾞ \u212a A\u030a\u0323 █▓░ ┌─┐ → ∑ \x1b[31m"
HANGUL, ZALGO = "\u1100\u1161\u11a8", "Z\u0351\u036b\u0343\u0327\u0319"
CODE = (
    "@ a@ @b.c a@b 1.1.1.1 :: 999.999.999.999 0 00000000000000000000 ++++ ---- ( ) &#x26; &lt; &#0; <!-- --> <![CDATA["
)
MARKS = ". ! ? ?! … 。 ؟ । ¿ ... # * - • { } ' \" `"
PIECES = [*INVISIBLE, *f"{VISIBLE} {HANGUL} {ZALGO} {CODE} {MARKS}".split(" ")]


FEW = (PER_CONFIG // 10, 1, PER_CONFIG // 4, PER_CONFIG // 4)
"""More texts than these are kept; the published rules leave few of a line or two."""


def damaged(random: Random) -> str:
    """Sentences of several languages, cut and mixed, with what breaks patterns among them, sometimes very long."""
    parts = random.choices(random.choice([SENTENCES, SENTENCES[:1], SENTENCES[:1]]), k=random.randint(0, 12))
    for _ in range(random.choice([0, 0, 1, 2, 6])):
        at = random.randint(0, len(parts))
        parts.insert(at, random.choice(CHANGES)(random))
    return random.choice([" ", "\n", "", "\n\n", "\r\n", "\t"]).join(parts)


def repeated(random: Random) -> str:
    return (random.choice(PIECES) + random.choice(["", " "])) * random.choice([1, 1, 2, 7, 60])


def very_long(random: Random) -> str:
    """What makes a pattern that tries again and again take minutes."""
    unit = random.choice([*PIECES, *SENTENCES, "a", "1", "1 ", "a@", "a.", "1.", "1:", "<", "&", " ", "ab12", "-1"])
    return unit * (random.choice([1_000, 20_000]) // len(unit)) if random.random() < 0.2 else unit * 20


def garbled(random: Random) -> str:
    top = random.choice([0x80, 0x3000, 0xD800, 0x10FFFF])
    return "".join(char for char in map(chr, random.choices(range(top), k=30)) if not "\ud800" <= char <= "\udfff")


def cut(random: Random) -> str:
    text = random.choice(SENTENCES)
    at, to = sorted((random.randint(0, len(text)), random.randint(0, len(text))))
    return text[at:to]


CHANGES = (repeated, repeated, very_long, garbled, cut)


def candidates(random: Random, count: int) -> list[tuple[object, ...]]:
    rows = []
    for number in range(count):
        url = f"https://site{number % 3}.example.org/{number // 2}"  # two of each page
        text = damaged(random)
        is_main = random.random() < 0.7
        levels = [random.randint(0, 6) for _ in text.split("\n")] if is_main and random.random() < 0.7 else []
        label = random.choice([None, None, None, "fresh", "", "other"])
        where = (url, "site", "2026-11-22T00:00:00Z", "", random.choice(["", "en", "zh", "xx"]), "A title")
        rows.append((*where, text, levels, "page", label, url, url, is_main, "{}"))
    return rows


def extracted(name: str, rows: Sequence[tuple[object, ...]]) -> ArtifactRef:
    def fill(out: Draft) -> None:
        for number, start in enumerate(range(0, len(rows), PER_PART)):
            part, lines = rows[start : start + PER_PART], LineCounter()
            for row in part:
                lines.add_page(str(row[0]).split("/")[2], str(row[6]).split("\n"))
            write_table(Part(out.path, number).file(DOCUMENTS), rows_table(part, EXTRACTED_SCHEMA))
            lines.save(Part(out.path, number).file(LINES))

    return publish("extract", name, fill)


@pytest.mark.parametrize("number", range(len(CONFIGS)))
def test_cleaning_thousands_of_damaged_texts(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERT_FOUNDRY_STORE", str(tmp_path / "store"))
    config = CONFIGS[number]
    raw = extracted(str(number + 1), candidates(Random(number), PER_CONFIG))
    moments = [time.monotonic()]

    def progress(done: int, total: int) -> None:
        moments.append(time.monotonic())

    ref = publish("clean", str(number + 1), lambda out: clean(config, raw, None, out, Serial(), progress))
    assert len(moments) > PER_CONFIG // PER_PART
    assert max(after - before for before, after in itertools.pairwise(moments)) < CAP_S
    kept = list(iter_documents(part_files(ref / DOCUMENTS)))
    dropped = Counter(row["reason"] for row in iter_documents(part_files(ref / REJECTS)))
    manifest = ref.manifest
    assert manifest["rows"]["seen"] == PER_CONFIG == len(kept) + dropped.total()
    assert (manifest["rows"]["kept"], manifest["dropped"]) == (len(kept), dict(dropped))
    assert len(kept) > FEW[number]  # the texts are not so broken that nothing is tested
    assert len(dropped) > 2
    assert len({row["id"] for row in kept}) == len(kept)
    for row in kept:
        check(row, config)


def check(row: dict[str, object], config: CleanConfig) -> None:
    """A kept document is what the next stages rely on."""
    text, levels, sentences = row["text"], row["levels"], row["sentences"]
    assert isinstance(text, str)
    assert isinstance(levels, list)
    assert isinstance(sentences, list)
    lines = text.split("\n")
    assert all(line and line == line.strip(" ") for line in lines)
    assert len(levels) in (0, len(lines))
    assert sentences[0] == 0
    assert sentences == sorted(set(sentences))
    assert sentences[-1] < len(text)
    assert row["id"] == document_id(str(row["kind"]), str(row["group"]), text)
    assert unicodedata.is_normalized(config.normalise.form, text)
    if config.normalise.control_characters != "keep":
        assert not any(unicodedata.category(char) == "Cc" for char in text if char != "\n")
    assert not SECRET.search(text)
    json.loads(str(row["meta"]))
