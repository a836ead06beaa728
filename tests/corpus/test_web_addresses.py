import socket
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from crawls import page, run, source
from sites import answer, bad_site

from tasks.config.web import TrapLimits
from tasks.text.web.pages import read_pages
from tasks.text.web.resolver import allowed_host
from tasks.text.web.urls import host_and_port, normalise_url

# Every way to write an address of this machine, of its network, or of a cloud's metadata service. {port}: where a
# server really listens, so that a connection that is not refused would be answered.
FORMS = (
    "http://localhost:{port}",
    "http://LOCALHOST.:{port}",
    "http://{hostname}:{port}",
    "http://127.1:{port}",
    "http://127.0.0.2:{port}",
    "http://2130706433:{port}",
    "http://0177.0.0.1:{port}",
    "http://0x7f000001:{port}",
    "http://0x7f.1:{port}",
    "http://0:{port}",
    "http://0.0.0.0:{port}",
    "http://[::1]:{port}",
    "http://[0:0:0:0:0:0:0:1]:{port}",
    "http://[::]:{port}",
    "http://[::ffff:127.0.0.1]:{port}",
    "http://[::ffff:7f00:1]:{port}",
    "http://[::127.0.0.1]:{port}",
    "http://[64:ff9b::7f00:1]:{port}",
    "http://[2002:7f00:1::]:{port}",
    "http://[fe80::1]:{port}",
    "http://[fd00:ec2::254]",
    "http://169.254.169.254",
    "http://2852039166",
    "http://[::ffff:a9fe:a9fe]",
    "http://100.100.100.200",
    "http://10.0.0.1",
    "http://172.16.0.1",
    "http://192.168.1.1",
    "http://224.0.0.1",
    "http://255.255.255.255",
)


# The same name hides behind another one, or an address is no address at all; what they are read as.
HIDDEN = {
    "http://127.0.0.1\\@example.com/": "http://127.0.0.1/@example.com/",
    "http://user@127.0.0.1/": None,
    "http://127.0.0.1#@example.com/": "http://127.0.0.1/",
    "http://①②⑦.⓪.⓪.①/": "http://127.0.0.1/",
    "http://127。0。0。1/": "http://127.0.0.1/",
    "http://%6cocalhost/": None,
    "http://[::1%25lo]/": None,
    "http://LOCALHOST./": "http://localhost/",
}


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(tmp_path / "home"))


def test_no_form_of_a_private_address_is_connected_to_by_link_redirect_or_listing() -> None:
    forms: list[str] = []
    hosts: set[str] = set()

    def routes(handler: BaseHTTPRequestHandler) -> None:
        hosts.add(handler.headers["host"])
        redirects = [f"/to/{number}" for number in range(len(forms))]
        if handler.path == "/":
            answer(handler, 200, page(*(f"{form}/link" for form in forms), *redirects))
        elif handler.path in redirects:
            location = f"{forms[int(handler.path[4:])]}/redirect"
            answer(handler, 302, location=location.encode().decode("latin-1"))
        elif handler.path.startswith("/listing"):
            answer(handler, 302, location=f"http://localhost:{handler.server.server_address[1]}/secret")
        else:
            answer(handler, 404)

    def robots_elsewhere(handler: BaseHTTPRequestHandler) -> None:
        hosts.add(handler.headers["host"])
        answer(handler, 302, location=f"http://127.1:{handler.server.server_address[1]}/secret")

    with bad_site(routes) as base, bad_site(robots_elsewhere) as other:
        forms += [form.format(port=base.rsplit(":", 1)[1], hostname=socket.gethostname()) for form in FORMS]
        urls = [str(normalise_url(form)) for form in forms]
        web = source(
            f"{base}/",
            sitemap_urls=(f"{base}/listing.xml",),
            feeds=(f"{base}/listing.rss", f"{other}/feed"),
            hosts=[host_and_port(url)[0] for url in urls],
            traps=TrapLimits(origins=1_000),
        )
        ref = run(web)
    assert hosts == {base[7:], other[7:]}
    rows = {row.url: row for row in read_pages(Path(ref.path))}
    fetched = {url for url, row in rows.items() if row.outcome == "fetched"}
    assert fetched == {f"{base}/"}
    for url in urls:
        for way in ("link", "redirect"):
            row = rows[f"{url}{way}"]
            assert (row.outcome, row.reason.split(" address ")[0]) == ("skipped", "private"), row
    facts = ref.manifest["facts"]
    assert facts["sitemaps"] == {f"{base}/listing.xml": "private address 127.0.0.1"}
    assert facts["feeds"] == {
        f"{base}/listing.rss": "private address 127.0.0.1",
        f"{other}/feed": "private address 127.0.0.1",
    }


@pytest.mark.parametrize(("url", "expected"), HIDDEN.items())
def test_an_address_is_read_as_the_client_reads_it(url: str, expected: str | None) -> None:
    assert normalise_url(url) == expected


def test_a_host_is_allowed_by_name_and_port() -> None:
    assert allowed_host("localhost:8400") == ("localhost", 8400)
    assert allowed_host("[::1]:80") == ("::1", 80)
    assert allowed_host("Wiki.Internal:443") == ("wiki.internal", 443)
    assert allowed_host("localhost")[1] == -1
