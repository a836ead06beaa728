from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from crawls import bodies_of, outcomes_of, page, rows_of, run, source
from pydantic import ValidationError
from sites import answer, bad_site

from tasks.config.web import WebSource
from tasks.text.web.crawl import CrawlError
from tasks.text.web.listings import ListingError, parse_feed, parse_sitemap

URL = "http://x/feed/index.xml"
RSS = """<?xml version="1.0"?><rss version="2.0" xmlns:f="http://rssnamespace.org/feedburner/ext/1.0"
 xmlns:atom="http://www.w3.org/2005/Atom"><channel><link>http://x/</link><atom:link rel="self" href="http://x/feed"/>
<item><title>1</title><link> /one?a=1&amp;b=2 </link><guid>77</guid></item>
<item><atom:link rel="self" href="/self"/><link>http://feedburner.example/2</link><f:origLink>http://x/two</f:origLink></item>
<item><guid isPermaLink="true">http://x/three</guid></item><item><title>none</title></item>
<item><link>http://x/one?a=1&amp;b=2</link></item></channel></rss>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom" xml:base="/blog/"><link href="/"/>
<entry><link rel="edit" href="/edit"/>
<link rel="alternate" type="application/pdf" href="a.pdf"/><link type="text/html" href="a"/></entry>
<entry xml:base="old/"><link href="b"/></entry><entry><link href="http://["/></entry></feed>"""
RDF = """<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/">
<channel><link>http://x/</link></channel><item rdf:about="http://x/r"><link>http://x/r</link></item></rdf:RDF>"""
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
BOMB = f'<!DOCTYPE rss [<!ENTITY l0 "http://x/ha">{LAUGHS}<!ENTITY secret SYSTEM "file:///etc/passwd">]>'


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (RSS, ["http://x/one?a=1&b=2", "http://x/two", "http://x/three"]),
        (ATOM, ["http://x/blog/a", "http://x/blog/old/b"]),
        (RDF, ["http://x/r"]),
        ("<rss><channel><item><link>http://x/&nbsp;cut</link></item><item><link>/q", ["http://x/", "http://x/q"]),
        ("<rss/>", []),
    ],
)
def test_entries_of_every_kind_of_feed(body: str, expected: list[str]) -> None:
    assert parse_feed(body.encode(), URL, 10**6) == expected


def test_entities_of_feeds_and_sitemaps_are_not_expanded() -> None:
    """What comes after one is lost: libxml2 takes it for an attack and stops."""
    items = "<item><link>/ok</link></item><item><link>&secret;</link></item><item><link>&l9;</link></item>"
    assert parse_feed(f"{BOMB}<rss>{items}</rss>".encode(), URL, 10**6) == ["http://x/ok"]
    locs = "<url><loc>http://x/ok</loc></url><url><loc>&secret;</loc></url><url><loc>&l9;</loc></url>"
    assert parse_sitemap(f"{BOMB}<urlset>{locs}</urlset>".encode(), 10**6) == ("urlset", ["http://x/ok"])


@pytest.mark.parametrize(
    "body", [b"", b"\x00\x01", b"<html><item><link>/a</link></item></html>", b"just text", b"\x1f\x8b\x08"]
)
def test_what_is_no_listing_says_so(body: bytes) -> None:
    with pytest.raises(ListingError):
        parse_feed(body, URL, 10**6)
    with pytest.raises(ListingError):
        parse_sitemap(body, 10**6)


def test_sitemaps_of_lines() -> None:
    assert parse_sitemap(b"\xef\xbb\xbfhttp://x/a\r\n\r\nhttp://x/b\n", 10**6) == (
        "urlset",
        ["http://x/a", "http://x/b"],
    )


def test_a_source_needs_an_address_and_regular_expressions() -> None:
    with pytest.raises(ValidationError, match="needs an address to start from"):
        WebSource()
    with pytest.raises(ValidationError, match=r"not a regular expression"):
        WebSource(seeds=("http://x/",), exclude=("(",))


class News:
    """A site whose feed shows the latest two stories only."""

    def __init__(self) -> None:
        self.night = 1
        self.gone: set[str] = set()
        self.feed_status = 200
        self.asked: list[tuple[str, str | None]] = []

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        path, tag = handler.path, handler.headers["if-none-match"]
        self.asked.append((path, tag))
        base = f"http://{handler.headers['host']}"
        if path == "/feed":
            etag = f'"feed {self.night // 2}"'  # of nights 2 and 3 the same
            stories = [self.night // 2 + n for n in (1, 2)]
            body = "<rss><channel>" + "".join(
                f"<item><link>{base}/story/{n}?utm_source=rss</link></item>" for n in stories
            )
            if self.feed_status != 200 or tag == etag:
                answer(handler, 304 if tag == etag and self.feed_status == 200 else self.feed_status, etag=etag)
            else:
                answer(
                    handler, 200, (body + "</channel></rss>").encode(), content_type="application/rss+xml", etag=etag
                )
        elif path == "/list.txt":
            answer(handler, 200, f"{base}/listed\n".encode(), content_type="text/plain")
        elif path in self.gone or path == "/robots.txt":
            answer(handler, 410)
        elif path == "/story/1":
            answer(handler, 200, page("/linked", head='<link rel="canonical" href="/story/one?fbclid=3">', text=path))
        elif path == "/story/2":
            answer(handler, 200, page(text=path), link='</story/two>; rel="canonical"')
        elif path == "/story/3":
            answer(handler, 200, page(head='<link rel=canonical href="http://elsewhere.example/">', text=path))
        elif path == "/story/one":
            answer(handler, 200, page(head='<link rel=canonical href="/story/one">', text=path))
        else:
            answer(handler, 200, page(text=path))


def test_feeds_and_sitemaps_without_seeds_night_after_night() -> None:
    news = News()
    with bad_site(news) as base:
        web = source(feeds=(f"{base}/feed",), sitemap_urls=(f"{base}/list.txt",))
        nights = [run(web, "1")]
        news.night = 2
        nights.append(run(web, "2", nights[-1]))
        news.night, news.gone = 3, {"/story/1"}
        news.asked.clear()
        nights.append(run(web, "3", nights[-1]))
        assert ("/feed", '"feed 1"') in news.asked
        news.night, news.feed_status = 9, 503
        nights.append(run(web, "4", nights[-1]))
    feed, listed = f"{base}/feed", f"{base}/list.txt"
    facts = [night.manifest["facts"] for night in nights]
    assert [fact["feeds"][feed] for fact in facts] == [
        "2 addresses",
        "2 addresses, 2 addresses of earlier nights",
        "unchanged, 3 addresses of earlier nights",
        "http 503, 2 addresses of earlier nights",
    ]
    assert all(fact["sitemaps"] == {listed: "1 addresses"} for fact in facts)
    first = {"/listed", "/linked", "/story/1", "/story/2", "/story/one", "/story/two"}
    assert bodies_of(nights[0]).keys() == first
    assert bodies_of(nights[1]).keys() == first | {"/story/3"}
    assert outcomes_of(nights[2])["/story/1"] == "failed http 410"
    assert bodies_of(nights[3]).keys() == {"/listed", "/story/2", "/story/two", "/story/3"}

    canonical = {path: row.canonical and row.canonical.removeprefix(base) for path, row in rows_of(nights[1]).items()}
    assert {path: stated for path, stated in canonical.items() if stated} == {
        "/story/1": "/story/one",
        "/story/2": "/story/two",
    }
    assert bodies_of(nights[1])["/story/1"].canonical == f"{base}/story/one"
    assert pq.read_table(nights[0] / "content.parquet")["canonical"].null_count == 4


def test_a_crawl_whose_feed_is_none_says_so() -> None:
    with (
        bad_site(lambda handler: answer(handler, 404 if handler.path == "/robots.txt" else 200, page())) as base,
        pytest.raises(CrawlError, match=r"/feed: not a feed: its root is another element"),
    ):
        run(source(feeds=(f"{base}/feed",)))
