"""What is found in a page, and each cap caused."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tasks.config.extract import ExtractConfig, RecordSelector
from tasks.text.charset import decode
from tasks.text.extraction import Extracted, Record, Refused, extract, guard, page

PROSE = "A sentence that tells at some length, with commas and a full stop, what the thing is about."
PAGE = f"""<!DOCTYPE html><html lang="de-DE"><head><title>Foxes | The Field</title>
<meta property="og:site_name" content="The Field"><style>p {{}}</style>
<meta property="article:published_time" content="2024-05-17T10:00:00+02:00"></head>
<body class="has-nav"><header class="site-header"><h1>The Field</h1></header>
<nav><ul><li><a href="/">Home</a></li><li><a href="/f">All foxes</a></li></ul></nav>
<main><article><h1>Foxes<a class="headerlink" href="#foxes">¶</a></h1><p class="byline">By <a href="/a">Ann</a></p>
<p>{PROSE} First.</p><h2>Habits</h2><p>They <b>run</b>
fast, and <i>far</i>.<br>{PROSE} Second.</p><ul><li>red</li><li>white, with {PROSE}</li></ul>
<h3>Sizes</h3><table><tr><th>Kind</th><th>cm</th></tr><tr><td><p>red</p></td><td>80</td></tr></table>
<pre>one  two
three</pre><aside class="sidebar"><h4>A box</h4><p>{PROSE} Boxed.</p></aside>
<p hidden>Not shown.</p><script>var a = "<p>no</p>";</script>
<h2>Related</h2><ul><li><a href="/1">Another page about foxes</a></li><li><a href="/2">And one more</a></li></ul>
</article><section id="comments"><article class="comment"><p>{PROSE} Comment.</p></article></section></main>
<footer><p>Copyright by the field, all rights reserved, for ever and ever.</p></footer></body></html>"""
TEXT = f"""Foxes
{PROSE} First.
Habits
They run fast, and far.
{PROSE} Second.
red
white, with {PROSE}
Sizes
Kind | cm
red | 80
one two
three
A box
{PROSE} Boxed."""
FAST = ExtractConfig(engine="fast")


def found(body: bytes | str, **options: object) -> Extracted:
    result = extract(body, **options)  # type: ignore[arg-type]
    assert isinstance(result, Extracted), result
    assert len(result.levels) == len(result.text.split("\n"))
    assert all(line == line.strip() and line for line in result.text.split("\n"))
    return result


def refused(body: bytes | str, **options: object) -> Refused:
    result = extract(body, **options)  # type: ignore[arg-type]
    assert isinstance(result, Refused), result
    return result


@pytest.fixture
def own_guard(monkeypatch: pytest.MonkeyPatch) -> Iterator[guard.Guard]:
    """A guard for one test, whose child ends with it."""
    own = guard.Guard()
    monkeypatch.setattr(page, "guard", lambda: own)
    yield own
    own.close()


def test_main_text_with_its_structure() -> None:
    result = found(PAGE.encode(), url="http://localhost/foxes", want_lines=True)
    assert result.text == TEXT
    assert result.levels == (1, 0, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 4, 0)
    assert (result.title, result.date, result.language, result.charset) == ("Foxes", "2024-05-17", "de", "utf-8")
    assert result.engine == "fast"
    assert set(result.text.split("\n")) < set(result.lines)
    assert "All foxes" in result.lines
    assert "Not shown." not in result.lines


def test_tables_only_where_asked() -> None:
    assert "red | 80" not in found(PAGE, config=ExtractConfig(keep_tables=False)).text


def test_a_layout_table_is_lines() -> None:
    body = f"<table><tr><td>Menu</td><td><h1>Foxes</h1><p>{PROSE}</p><p>{PROSE}</p></td></tr></table>"
    result = found(body, config=FAST)
    assert result.text.endswith(f"Foxes\n{PROSE}\n{PROSE}")
    assert "|" not in result.text


def test_a_book_s_sidebar_is_text_and_a_list_of_links_is_none() -> None:
    links = "".join(f'<li><a href="/{n}">A page with a long title, number {n}</a></li>' for n in range(9))
    box, menu = f'<div class="sidebar"><p>{PROSE}</p></div>', f'<div class="sidebar"><ul>{links}</ul></div>'
    assert PROSE + " Box." in found(f"<body><p>{PROSE}</p>{box.replace(PROSE, PROSE + ' Box.')}<p>{PROSE}</p>").text
    assert "number 3" not in found(f"<body><div><p>{PROSE}</p><p>{PROSE}</p></div>{menu}").text


def test_trafilatura_is_asked_where_much_prose_is_left_out(own_guard: guard.Guard) -> None:
    comments = f'<div id="comments"><p>{PROSE}</p></div>' * 9
    body = f"<html><body><article><h2>Foxes</h2>{f'<p>{PROSE}</p>' * 9}</article>{comments}</body></html>"
    result = found(body, config=ExtractConfig(engine="auto"))
    assert result.engine == "trafilatura"
    assert result.text.split("\n")[:2] == ["Foxes", PROSE]
    assert result.levels[:2] == (2, 0)
    assert found(body, config=FAST).engine == "fast"


@pytest.mark.parametrize(
    ("head", "body", "url", "date"),
    [
        ('<meta name="DC.date.issued" content="2021-02-03">', "", "", "2021-02-03"),
        ("", '<script type="application/ld+json">{"datePublished": "2020-01-02T03:04Z"}</script>', "", "2020-01-02"),
        ("", '<time datetime="2019-12-31 10:00">then</time>', "", "2019-12-31"),
        ("", "", "http://localhost/2018/7/04/foxes", "2018-07-04"),
        ('<meta name="date" content="2021-02-31">', "", "", ""),  # there is no such day
        ('<meta name="date" content="yesterday">', "", "", ""),
    ],
)
def test_dates(head: str, body: str, url: str, date: str) -> None:
    markup = f"<html><head>{head}</head><body>{body}<p>{PROSE}</p></body></html>"
    assert found(markup, url=url, config=FAST).date == date
    assert found(markup, url=url, config=ExtractConfig(engine="fast", dates="none")).date == ""


def test_a_date_is_searched_for_only_where_asked(own_guard: guard.Guard) -> None:
    body = f"<html><body><p>Published on 3 February 2021</p><p>{PROSE}</p></body></html>"
    assert found(body, config=FAST).date == ""
    assert found(body, config=ExtractConfig(dates="search")).date == "2021-02-03"


@pytest.mark.parametrize(
    ("head", "body", "title"),
    [
        ("<title>Foxes | Field</title>", "", "Foxes"),
        ("<title>Foxes - Red and white</title>", "", "Foxes - Red and white"),
        ('<title>x</title><meta property="og:title" content="Foxes">', "<header><h1>Field</h1></header>", "Foxes"),
        ("<title>x</title>", "<header><h1>Foxes</h1></header>", "Foxes"),
    ],
)
def test_titles(head: str, body: str, title: str) -> None:
    markup = f"<html><head>{head}</head><body>{body}<div><p>{PROSE}</p><p>{PROSE}</p></div></body></html>"
    assert found(markup, config=FAST).title == title


@pytest.mark.parametrize(("lang", "language"), [("en-US", "en"), ("ZH", "zh"), ("", ""), ("<b>", "")])
def test_languages(lang: str, language: str) -> None:
    assert found(f'<html lang="{lang}"><body><p>{PROSE}</p></body></html>', config=FAST).language == language


def test_records_take_the_place_of_the_text() -> None:
    config = ExtractConfig(records=(RecordSelector(kind="item", item="li", text=""),))
    result = extract(f"<html><body><p>{PROSE}</p><ul><li>one<li><b>two</b></ul></body></html>", config=config)
    assert isinstance(result, Extracted)
    assert (result.text, result.levels) == ("", ())
    assert result.records == (Record("item", "one", None), Record("item", "two", None))
    without = ExtractConfig(records=config.records, page_text=False)
    assert refused("<p>Nothing here.</p>", config=without).reason == "no records"


def test_plain_text_and_other_types() -> None:
    result = found(b"One line.\r\n\r\n  Two\tlines. \x00\n", content_type="text/plain; charset=utf-8")
    assert (result.text, result.engine) == ("One line.\nTwo lines.", "plain")
    assert refused(b"%PDF", content_type="application/pdf").reason == "content type application/pdf"


@pytest.mark.parametrize("body", [b"", b"  \n", b"<!-- -->", b"\x00\x00", b"<?xml version='1.0'?>"])
def test_empty_pages(body: bytes) -> None:
    assert refused(body).reason in ("empty page", "no main text")


def test_a_line_of_100_mb_is_too_large() -> None:
    body = b"<p>" + b"x" * 100_000_000
    assert refused(body).reason == "page too large"
    started = time.monotonic()
    decode(body, "text/html")
    assert time.monotonic() - started < 5


def test_one_line_of_megabytes_is_read(own_guard: guard.Guard) -> None:
    body = b"<p>" + b"many words in one line. " * 100_000 + b"</p>"
    assert len(found(body, config=ExtractConfig(timeout_s=60)).text) > 2_000_000


@pytest.mark.parametrize("tag", ["div", "b", "ul><li", "table><tr><td", "font"])
@pytest.mark.parametrize("max_depth", [250, 2_000])
def test_tags_10_000_deep(tag: str, max_depth: int) -> None:
    body = f"<{tag}>" * 10_000 + PROSE
    assert refused(body.encode(), config=ExtractConfig(max_depth=max_depth)).reason == "page too deep"
    assert PROSE in found(f"<{tag}>" * 50 + PROSE, config=FAST).text


def test_entities_of_an_xhtml_page_are_not_expanded() -> None:
    bomb = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    body = f"""<?xml version="1.0"?><!DOCTYPE html [<!ENTITY l0 "lol">{bomb}
      <!ENTITY file SYSTEM "file:///etc/passwd">]><html xmlns="http://www.w3.org/1999/xhtml"><body>
      <p>&l9; &file; {PROSE}</p></body></html>"""
    result = found(body.encode(), content_type="application/xhtml+xml", config=FAST)
    assert "&l9; &file; " + PROSE in result.text
    assert len(result.text) < 2_000
    assert "root:" not in result.text


@pytest.mark.parametrize(
    "body",
    [
        f"<p>{PROSE}<p>{PROSE}</b></div></html><p>{PROSE}",
        f"<body><table><p>{PROSE}</table></td></tr>",
        f"<p class='a\"b><i>{PROSE}</i>'>{PROSE}",
        f"<frameset><frame src=x></frameset><noframes><body><p>{PROSE}</body></noframes>",
        f"<p>{PROSE}<!-- never closed <p>not text",
        f"<a><a><a><li>{PROSE}</td><h7>",
    ],
)
def test_broken_markup(body: str) -> None:
    assert PROSE in found(body, config=FAST).text


@pytest.mark.parametrize("title", [b"f\xfcr", "für".encode()])
def test_pages_with_two_encodings_and_nuls(title: bytes) -> None:
    line = "<p>Überall sind schöne Füchse, für alle, die größer werden möchten. 狐</p>"
    body = b"<html><body><h1>" + title + b"</h1>" + line.encode() * 5 + b"\x00<p>\x00Ende</p></body></html>"
    result = found(body, content_type="text/html; charset=iso-8859-1", config=FAST)
    assert result.text.split("\n") == ["für", *[line[3:-4]] * 5, "Ende"]
    assert result.charset == "utf-8"
    cut = found(body[: body.rindex("狐".encode()) + 1] + b"</p>", config=FAST)
    assert cut.text.split("\n")[1].startswith("Überall sind schöne")


@pytest.mark.parametrize("charset", ["punycode", "unicode_escape", "zlib", "nonsense", "utf-7", "\xff"])
def test_charsets_that_are_none(charset: str) -> None:
    body = b"<p>" + "é".encode("latin-1") * 50_000 + b" " + PROSE.encode()
    started = time.monotonic()
    assert PROSE in found(body, content_type=f"text/html; charset={charset}", config=FAST).text
    assert time.monotonic() - started < 20


def test_a_long_page_in_another_charset_is_read_whole() -> None:
    body = ("<p>" + "这个酒店的服务非常好，下次还会来。" * 3_000 + "</p>").encode("gb18030")
    text, charset = decode(body, "text/html; charset=gbk")
    assert (len(text), charset) == (17 * 3_000 + 7, "gb18030")


COSTLY = b"<p " + b" ".join(b"a%d" % n for n in range(150_000)) + b">" + PROSE.encode()  # a minute in libxml2


def test_a_hang_of_the_parser_is_stopped_in_any_thread(own_guard: guard.Guard) -> None:
    results: list[tuple[Extracted | Refused, float]] = []

    def one(body: bytes) -> None:
        started = time.monotonic()
        results.append((extract(body, config=ExtractConfig(engine="fast", timeout_s=1.5)), time.monotonic() - started))

    one(b"<p " + b"x" * 70_000 + b">" + PROSE.encode())  # starts the child
    assert isinstance(results.pop()[0], Extracted)
    for body in (COSTLY, PROSE.encode() * 20_000):  # stopped, and then the next page has a child of its own
        thread = threading.Thread(target=one, args=(body,))
        thread.start()
        thread.join()
    (stopped, seconds), (after, _) = results
    assert isinstance(stopped, Refused)
    assert stopped.reason == "extraction over its time"
    assert seconds < 10
    assert isinstance(after, Extracted)


HANGING = """
import sys, time
sys.stdout.write("{}\\n"); sys.stdout.flush()
for line in sys.stdin.buffer:
    time.sleep(600)
"""
DYING = HANGING.replace("time.sleep(600)", "sys.exit(3)")


@pytest.mark.parametrize(("program", "error"), [(HANGING, guard.OverTime), (DYING, guard.Crashed)])
def test_a_hang_of_trafilatura_is_stopped(
    program: str, error: type[Exception], tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stuck.py").write_text(program)  # type: ignore[operator]
    monkeypatch.syspath_prepend(str(tmp_path))
    own = guard.Guard("stuck")
    monkeypatch.setattr(page, "guard", lambda: own)
    with pytest.raises(error):
        own.ask({}, b"x" * 1_000_000, timeout_s=0.5)  # more than a pipe holds
    reason = {guard.OverTime: "extraction over its time", guard.Crashed: "extraction crashed"}[error]
    assert refused(PAGE, config=ExtractConfig(engine="trafilatura", timeout_s=0.5)).reason == reason
    own.close()


def test_a_child_that_cannot_start_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="cannot start"):
        guard.Guard("no_such_module_anywhere").ask({}, b"", timeout_s=1)
