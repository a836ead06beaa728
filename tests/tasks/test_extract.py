from __future__ import annotations

import pytest

from tasks.config import ExtractConfig, RecordSelector
from tasks.text.charset import decode
from tasks.text.documents import CorpusError
from tasks.text.extraction import Extracted, Record, Refused, check_selectors, extract
from tasks.text.extraction.markup import parse
from tasks.text.extraction.records import records

FRENCH = "Le rêve naïf d'un garçon de café: où est l'été?"
PAGE = """<!DOCTYPE html><html><head><title>Frida | The Film Desk</title><style>p {}</style></head><body>
<nav><a href="/">Home</a></nav><h1>Frida</h1><div class="plot">A painter\n   lives.<br>And <b>loves</b>.</div>
<article class="review"><span class="badge fresh"> Fresh </span>
<p class="review-text">A neat trick &amp; more.</p></article>
<article class="review"><p class="review-text">No badge<script>alert(1)</script> here.</p></article></body></html>"""
SELECTORS = (
    RecordSelector(kind="review", item="article.review", text=".review-text", label=".badge"),
    RecordSelector(kind="plot", item=".plot", text=""),
)


def html(charset: str) -> str:
    return f'<html><head><meta charset="{charset}"></head><body><p>{FRENCH}</p></body></html>'


@pytest.mark.parametrize(
    ("body", "header", "encoding"),
    [
        (html("utf-8").encode(), "text/html; charset=iso-8859-1", "utf-8"),  # the header lies
        (html("iso-8859-1").encode(), "text/html; charset=utf-8", "utf-8"),  # the page lies
        (html("iso-8859-1").encode(), None, "utf-8"),
        (html("utf-8").encode("latin-1"), "text/html; charset=iso-8859-1", "cp1252"),  # the page lies
        (html("iso-8859-1").encode("latin-1"), "text/html; charset=utf-8", "cp1252"),  # the header lies
        (html("windows-1252").encode("cp1252"), "text/html", "cp1252"),
        (b"\xef\xbb\xbf" + html("latin-1").encode(), "text/html; charset=latin-1", "utf-8"),  # the mark decides
        (b"\xff\xfe" + FRENCH.encode("utf-16-le"), None, "utf-16-le"),
    ],
)
def test_decode_believes_bytes_rather_than_declarations(body: bytes, header: str | None, encoding: str) -> None:
    text, found = decode(body, header)
    assert FRENCH in text
    assert found == encoding


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("这个酒店的服务非常好，下次还会来。" * 3, "gb18030"),
        ("とても良い映画でした。" * 3, "iso2022_jp"),
        (FRENCH * 4, "utf-16-le"),
    ],
)
def test_decode_uses_the_declared_encoding_where_it_fits(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding), f"text/html; charset={encoding}")[0] == text


@pytest.mark.parametrize("header", [None, "text/html; charset=utf-8", "text/html; charset=windows-1251"])
@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Это очень хороший фильм, который стоит посмотреть всей семьёй.", "cp1251"),
        ("Não encanta, mas ao menos não cansa. A atuação é péssima e a direção também.", "cp1252"),
        ("Zażółć gęślą jaźń. To był bardzo dobry film, który warto obejrzeć z całą rodziną.", "cp1250"),
        ("Πολύ καλή ταινία, την συνιστώ σε όλους.", "cp1253"),
    ],
)
def test_decode_without_a_right_declaration(text: str, encoding: str, header: str | None) -> None:
    assert decode(f"<html><p>{text}</p>".encode(encoding), header)[0] == f"<html><p>{text}</p>"


def test_decode_never_fails() -> None:
    assert decode(b"", None)[0] == ""
    assert decode(bytes(range(256)), "text/html; charset=nonsense")[0]


def test_records_by_selectors() -> None:
    page = parse(PAGE)
    assert page is not None
    assert list(records(page, SELECTORS)) == [
        Record("review", "A neat trick & more.", "fresh"),
        Record("review", "No badge here.", ""),
        Record("plot", "A painter    lives.\n\nAnd loves.", None),
    ]


def test_title_is_the_heading_and_else_the_head_s() -> None:
    page = extract(PAGE, config=ExtractConfig(records=SELECTORS))
    bare = extract("<title> Only &amp; this </title><h1> </h1><p>A painter lives, and loves, and paints.</p>")
    assert isinstance(page, Extracted)
    assert isinstance(bare, Extracted)
    assert (page.title, bare.title) == ("Frida", "Only & this")


def test_a_selector_that_is_not_css_is_named() -> None:
    wrong = RecordSelector(kind="review", item="article..review", text="")
    with pytest.raises(CorpusError, match=r"'review': item = 'article\.\.review' is not a CSS selector"):
        check_selectors([wrong])


def test_main_text_leaves_navigation_out() -> None:
    prose = "".join(
        f"<p>Paragraph {number} tells at some length what happened in the film, and why.</p>" for number in "123"
    )
    page = extract(f"<html><body><nav><a href='/a'>All films</a></nav><article>{prose}</article></body></html>")
    assert isinstance(page, Extracted)
    assert "All films" not in page.text
    assert len(page.text.split("\n")) == len(page.levels) == 3


@pytest.mark.parametrize(
    "markup",
    ["", "   ", "<!-- -->", "\x00", "plain <b>text", "<html></html>", "<?xml version='1.0' encoding='x'?><p>é"],
)
def test_extraction_never_fails(markup: str) -> None:
    assert isinstance(extract(markup), Extracted | Refused)
