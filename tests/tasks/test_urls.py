import ipaddress

import pytest

from tasks.text.web.urls import UrlPolicy, is_public, normalise_url, page_links, site_of

PRIVATE = ["127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255"]
PRIVATE += ["::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"]


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
    policy = UrlPolicy(["https://www.example.com/"], (), ("/x",))
    assert policy.is_on_site("http://example.com:8080/")
    assert not policy.is_on_site("http://example.org/")
    assert not policy.is_on_site("http://evil-example.com/")
    assert site_of("https://www.example.com/") == "example.com"
    assert (policy.refusal("http://example.com/x"), policy.refusal("http://example.com/y")) == ("excluded", "")


def test_links_are_absolute_against_the_base_and_broken_ones_are_left_out() -> None:
    text = '<base href="/b/"><a href="c?x=1#f">1</a><a href=" //other/d ">2</a><a href="http://[">3</a><area href="/e">'
    assert list(page_links(text, "http://x/a")) == ["http://x/b/c?x=1#f", "http://other/d", "http://x/e"]
    assert list(page_links("  ", "http://x/")) == []
    assert list(page_links("<!-- only this -->", "http://x/")) == []
