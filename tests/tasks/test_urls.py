import ipaddress

import pytest

from tasks.config.web import TRACKING, WebSource
from tasks.text.web.links import MAX_LINKS, header_canonical, page_links
from tasks.text.web.parameters import without_visits
from tasks.text.web.urls import UrlPolicy, is_public, normalise_url, site_of

PRIVATE = ["127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255"]
PRIVATE += [
    "::1",
    "::",
    "fe80::1",
    "fc00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "::127.0.0.1",
]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTP://Example.COM:80/a/../b?z=1&a=2#x", "http://example.com/b?a=2&z=1"),
        ("https://example.com:443", "https://example.com/"),
        ("http://[::1]:8080", "http://[::1]:8080/"),
        ("http://x/film/astérix", "http://x/film/ast%C3%A9rix"),
        ("http://x/%7Efoo/%e9", "http://x/~foo/%E9"),
        ("http://bücher.example./", "http://xn--bcher-kva.example/"),
        ("  http://x/a \n", "http://x/a"),
        ("mailto:a@b", None),
        ("javascript:void(0)", None),
        ("http://user:secret@x/", None),
        ("http://x:99999/", None),
        ("http://[", None),
        ("http://a b/", None),
        ("http://x/" + "y" * 3000, None),
        ("", None),
    ],
)
def test_an_address_has_one_form(url: str, expected: str | None) -> None:
    assert normalise_url(url) == expected
    if expected is not None:
        assert normalise_url(expected) == expected


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_the_internet_cannot_reach_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_the_site_is_the_host_of_a_seed_with_or_without_www() -> None:
    policy = UrlPolicy(WebSource(seeds=("https://www.example.com/",), exclude=("/x",)))
    assert policy.is_on_site("http://example.com:8080/")
    assert not policy.is_on_site("http://example.org/")
    assert not policy.is_on_site("http://evil-example.com/")
    assert site_of("https://www.example.com/") == "example.com"
    assert (policy.refusal("http://example.com/x"), policy.refusal("http://example.com/y")) == ("excluded", "")


def test_links_are_absolute_against_the_base_and_broken_ones_are_left_out() -> None:
    page = (
        b'<base href="/b/"><a href="c?x=1#f">1</a><a href=" //other/d ">2</a><a href="http://[">3</a><area href="/e">'
    )
    assert page_links(page, None, "http://x/a").links == ["http://x/b/c?x=1#f", "http://other/d", "http://x/e"]
    assert page_links(b"  ", None, "http://x/").links == ()
    assert page_links(b"<!-- only this -->", None, "http://x/").links == ()
    assert page_links(b"<a href=/x>\x00</a><a href='/y'>\x00", None, "http://x/").links == ["http://x/x", "http://x/y"]


def test_links_of_other_encodings() -> None:
    page = "<meta charset=iso-8859-2><p>Příliš žluťoučký kůň úpěl ďábelské ódy<a href='/kůň'>x</a>"
    for charset in ("utf-8", "iso-8859-2", "utf-16"):
        links = page_links(page.encode(charset), f"text/html; charset={charset}", "http://x/").links
        assert links == ["http://x/kůň"], charset


def test_a_page_has_so_many_links_and_no_more() -> None:
    many = b'<a href="/x">x</a>' * (MAX_LINKS + 1)
    assert len(page_links(many, None, "http://x/").links) == MAX_LINKS
    assert page_links(many, None, "http://x/").are_cut
    assert not page_links(many[18:], None, "http://x/").are_cut


def test_canonical_of_head_and_header() -> None:
    page = b'<link rel=stylesheet href=/s><link rel="Canonical nofollow" href="../b?x=1"><link rel=canonical href=/c>'
    assert page_links(page, None, "http://x/a/z").canonical == "http://x/b?x=1"
    assert page_links(b"<link rel=canonical href=' '>", None, "http://x/").canonical is None
    assert header_canonical(['</n>; rel=next, <http://y/a,b>; x=1; rel="canonical"'], "http://x/") == "http://y/a,b"
    assert header_canonical(["</n>; rel=next", "</q>; rel=canonical"], "http://x/p") == "http://x/q"
    assert header_canonical(["</n>; rel=canonicalx", "<http://[>; rel=canonical"], "http://x/") is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://x/a?id=7&utm_source=a&UTM_Medium=b&fbclid=1&gclid=", "http://x/a?id=7"),
        ("http://x/a;jsessionid=0F3?b=1", "http://x/a?b=1"),
        ("http://x/;JSESSIONID=3", "http://x/"),
        ("http://x/(S(lit3py55t21z5v55vlm25s55))/a.aspx", "http://x/a.aspx"),
        ("http://x/wiki/Wien_(S)", "http://x/wiki/Wien_(S)"),
        ("http://x/a?PHPSESSID=abc&ASPSESSIONIDQQGG=F", "http://x/a"),
        ("http://x/story?sid=12", "http://x/story?sid=12"),
        ("http://x/story?sid=0123456789abcdef0123", "http://x/story"),
        ("http://x/?s=internationalisierung", "http://x/?s=internationalisierung"),
        ("http://x/a?b=&b=2&c", "http://x/a?b=&b=2&c"),
    ],
)
def test_what_names_a_visit_is_no_part_of_an_address(url: str, expected: str) -> None:
    assert without_visits(url, TRACKING) == expected
    assert without_visits(expected, TRACKING) == expected
    policy = UrlPolicy(WebSource(seeds=("http://x/",), tracking_parameters=()))
    assert ("utm_source" in str(policy.form(url))) == ("utm_source" in url)
