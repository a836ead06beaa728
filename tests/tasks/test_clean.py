from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tasks.artifacts import ArtifactRef, Draft
from tasks.config import CleanConfig, RecordSelector
from tasks.text.clean import clean, from_pages, write_clean
from tasks.text.documents import CorpusError, check_balance
from tasks.text.filters import LineCounts
from tasks.text.web.pages import BodyWriter, Page, PageRow, write_pages
from tests.tasks.corpora import ignore, publish, reasons, rows

SITE = "http://127.0.0.1:1"
MENU = "<nav><a href='/'>Home</a> · <a href='/films'>All films of the desk</a></nav>"
FOOTER = "<footer><p>Subscribe to our newsletter and never miss a premiere.</p></footer>"
CONFIG = CleanConfig(
    labels=("fresh", "rotten"),
    records=(
        RecordSelector(kind="review", item="article.review", text=".review-text", label=".badge"),
        RecordSelector(kind="plot", item=".plot", text=""),
    ),
    boilerplate_pages=3,
)
GOOD = "A neat trick, bundling perversity and romance into a tempting bouquet."
BAD = "It drowns in sap, and nobody in the audience will mind much."
PLOT = "A painter falls in love in Mexico. She loses everything, and paints on."


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERT_FOUNDRY_STORE", str(tmp_path / "store"))


def film(name: str, *reviews: tuple[str, str], plot: str = PLOT) -> Page:
    articles = "".join(
        f'<article class="review"><span class="badge">{badge}</span><p class="review-text">{text}</p></article>'
        for badge, text in reviews
    )
    return page(f"/film/{name}", f'<h1>{name}</h1><div class="plot">{plot}</div>{articles}')


def page(path: str, body: str, content_type: str = "text/html; charset=utf-8", charset: str = "utf-8") -> Page:
    html = f"<!DOCTYPE html><html><body>{MENU}<main>{body}</main>{FOOTER}</body></html>"
    return Page(SITE + path, content_type, "2026-11-22T00:00:00Z", html.encode(charset))


def cleaned(*pages: Page, config: CleanConfig = CONFIG, night: str = "1") -> ArtifactRef:
    def fill(out: Draft) -> None:
        lines = LineCounts()
        write_clean(config, from_pages(config, pages, lines, ignore), lines, out, ignore)

    return publish("clean", night, fill)


def test_records_become_documents() -> None:
    ref = cleaned(film("Frida", ("Fresh", GOOD), ("ROTTEN", BAD)))
    found = [(row["kind"], row["label"], row["text"], row["title"], row["sentences"]) for row in rows(ref)]
    assert found == [
        ("review", "fresh", GOOD, "Frida", [0]),
        ("review", "rotten", BAD, "Frida", [0]),
        ("plot", None, PLOT, "Frida", [0, 35]),
    ]
    first = rows(ref)[0]
    assert first["group"] == first["url"] == f"{SITE}/film/Frida"
    assert (first["source"], first["language"], first["fetched_at"]) == ("127.0.0.1:1", "en", "2026-11-22T00:00:00Z")
    assert json.loads(first["meta"]) == {"charset": "utf-8"}
    assert ref.manifest["rows"] == {"seen": 3, "kept": 3, "kept plot": 1, "kept review": 2}


def test_every_drop_has_its_reason() -> None:
    ref = cleaned(
        film("a", ("Fresh", GOOD), ("Rotten", GOOD), ("Fresh", "Crummy"), ("So-so", BAD), ("", BAD), ("Fresh", "")),
        film("b", ("Fresh", "Una película oscura, precisa, por momentos grandiosa y casi siempre conmovedora.")),
        page("/films", "<h1>Films: A</h1><ul><li><a href='/a'>Abandon</a><li>About a Boy, 2002, Hugh Grant</ul>"),
        page("/logo.svg", "", "image/svg+xml"),
        Page(f"{SITE}/empty", "text/html", "", b""),
    )
    assert ref.manifest["dropped"] == {
        "content type image/svg+xml": 1,
        "empty page": 1,
        "empty text": 1,
        "no label": 1,
        "no sentences": 1,
        "repeated on its page, other label": 1,
        "too short": 1,
        "unknown label": 1,
        "wrong language": 1,
    }
    assert len(reasons(ref)) == 9
    manifest_rows = ref.manifest["rows"]
    assert manifest_rows["kept"] + 9 == manifest_rows["seen"]


def test_main_text_loses_what_many_pages_share() -> None:
    prose = "<p>We collect what film critics write, one sentence at a time, and we have done so for many years.</p>"
    ref = cleaned(page("/about", prose), page("/terms", ""), film("a", ("Fresh", GOOD)), film("b", ("Fresh", BAD)))
    texts = [row["text"] for row in rows(ref) if row["kind"] == "page"]
    assert texts == ["We collect what film critics write, one sentence at a time, and we have done so for many years."]
    assert [reason for _, reason in reasons(ref)] in (["boilerplate"], ["no main text"])


def test_a_wrong_charset_header_does_no_harm() -> None:
    text = "Like a beautiful entrée that isn't heated — naïve, café-crème and a bit cold."
    lying = page("/film/a", f'<div class="plot">{text}</div>', "text/html; charset=iso-8859-1")
    other = page("/film/b", f'<div class="plot">{text}</div>', "text/html; charset=utf-8", charset="cp1252")
    assert [row["text"] for row in rows(cleaned(lying, other))] == [text, text]


def test_the_same_pages_give_the_same_bytes() -> None:
    pages = [film("a", ("Fresh", GOOD)), film("b", ("Rotten", BAD))]
    assert cleaned(*pages).content == cleaned(*pages, night="2").content


def test_a_page_with_one_more_review_keeps_the_ids_of_the_others() -> None:
    before = {row["id"] for row in rows(cleaned(film("a", ("Fresh", GOOD))))}
    after = {row["id"] for row in rows(cleaned(film("a", ("Rotten", BAD), ("Fresh", GOOD)), night="2"))}
    assert before < after


def test_nothing_kept_is_an_error_that_counts() -> None:
    with pytest.raises(
        CorpusError, match=r"all 2 candidates were dropped \(2 wrong language\); check clean\.language = 'zh'"
    ):
        cleaned(film("a", ("Fresh", GOOD)), config=CONFIG.model_copy(update={"language": "zh"}))
    with pytest.raises(CorpusError, match="the corpus is empty: the source gave no page"):
        cleaned()


def test_an_imbalance_is_not_passed_on(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"kept 1 \+ dropped 1 is not seen 3"):
        check_balance(Draft(tmp_path, rows={"seen": 3, "kept": 1}, dropped={"too short": 1}))


def test_a_scrape_artifact_is_read() -> None:
    found = film("Frida", ("Fresh", GOOD))

    def scrape(out: Draft) -> None:
        writer = BodyWriter(out.path / "crawl.warc.gz")
        offset = writer.write(found.url, 200, [("Content-Type", "text/html")], found.body, "2026-11-22T00:00:00Z")
        writer.close()
        out.rows["seen"] = 1
        warc = out.path.with_name(out.path.name.removesuffix(".partial")) / "crawl.warc.gz"
        row = PageRow(
            found.url,
            "fetched",
            status=200,
            fetched_at=found.fetched_at,
            content_type=found.content_type,
            body_sha256=hashlib.sha256(found.body).hexdigest(),
            warc=str(warc),
            warc_offset=offset,
        )
        write_pages(out.path, [row])

    scraped = publish("scrape", "1", scrape)
    ref = publish("clean", "1", lambda out: clean(CONFIG, scraped, out, ignore))
    assert [row["text"] for row in rows(ref)] == [GOOD, PLOT]
