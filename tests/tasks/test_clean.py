"""From crawled pages through `extract` to `clean`: what becomes a document, and why something does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.artifacts import ArtifactRef, Draft
from tasks.config import CleanConfig, ExtractConfig, QualityConfig, RecordSelector, WebSource
from tasks.config.privacy import PrivacyConfig
from tasks.text.clean import clean
from tasks.text.documents import REJECTS, CorpusError, check_balance
from tasks.text.parts import Serial
from tasks.text.reading import extract
from tasks.text.takedown import append
from tasks.text.web.pages import Page
from tests.tasks.corpora import crawl, ignore, publish, reasons, rows

SITE = "http://127.0.0.1:1"
SOURCE = WebSource(name="site", seeds=(f"{SITE}/",))
MENU = "<nav><a href='/'>Home</a> · <a href='/films'>All films of the desk</a></nav>"
FOOTER = "<footer><p>Subscribe to our newsletter and never miss a premiere.</p></footer>"
EXTRACT = ExtractConfig(
    records=(
        RecordSelector(kind="review", item="article.review", text=".review-text", label=".badge"),
        RecordSelector(kind="plot", item=".plot", text=""),
    ),
)
CONFIG = CleanConfig(labels=("fresh", "rotten"), boilerplate_pages=3)
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


def extracted(*pages: Page, night: str = "1", config: ExtractConfig = EXTRACT) -> ArtifactRef:
    site = crawl(night, pages)

    def fill(out: Draft) -> None:
        extract((SOURCE,), (site,), config, None, out, Serial(), ignore)

    return publish("extract", night, fill)


def cleaned(*pages: Page, config: CleanConfig = CONFIG, night: str = "1", takedown: Path | None = None) -> ArtifactRef:
    raw = extracted(*pages, night=night)
    return publish("clean", night, lambda out: clean(config, raw, takedown, out, Serial(), ignore))


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
    assert (first["source"], first["language"], first["fetched_at"]) == ("site", "en", "2026-11-22T00:00:00Z")
    assert json.loads(first["meta"])["charset"] == "utf-8"
    assert ref.manifest["rows"] == {"seen": 3, "kept": 3, "kept plot": 1, "kept review": 2}


def test_every_drop_has_its_reason() -> None:
    pages = (
        film("a", ("Fresh", GOOD), ("Rotten", GOOD), ("Fresh", "Crummy"), ("So-so", BAD), ("", BAD), ("Fresh", "")),
        film("b", ("Fresh", "Una película oscura, precisa, por momentos grandiosa y casi siempre conmovedora.")),
        page("/logo.svg", "", "image/svg+xml"),
        Page(f"{SITE}/empty", "text/html", "", b""),
    )
    raw = extracted(*pages)
    assert raw.manifest["dropped"] == {"content type image/svg+xml": 1, "empty page": 1}
    assert {row["url"] for row in rows(raw, REJECTS)} == {f"{SITE}/logo.svg", f"{SITE}/empty"}
    ref = cleaned(*pages, night="2")
    assert ref.manifest["dropped"] == {
        "empty text": 1,
        "no label": 1,
        "repeated on its page, other label": 1,
        "too short": 1,
        "unknown label": 1,
        "wrong language": 1,
    }
    assert len(reasons(ref)) == 6
    manifest_rows = ref.manifest["rows"]
    assert manifest_rows["kept"] + 6 == manifest_rows["seen"] == raw.manifest["rows"]["kept"]


def test_main_text_loses_what_many_pages_share() -> None:
    prose = "<p>We collect what film critics write, one sentence at a time, and we have done so for many years.</p>"
    beside = f"<p>{MENU}</p>{prose}"  # where no element says that it is a menu
    ref = cleaned(page("/about", beside), page("/terms", ""), film("a", ("Fresh", GOOD)), film("b", ("Fresh", BAD)))
    texts = [row["text"] for row in rows(ref) if row["kind"] == "page"]
    assert texts == ["We collect what film critics write, one sentence at a time, and we have done so for many years."]


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
        CorpusError, match=r"all 2 candidates were dropped \(2 wrong language\); check clean\.languages = \['zh'\]"
    ):
        cleaned(film("a", ("Fresh", GOOD)), config=CONFIG.model_copy(update={"languages": ("zh",)}))
    with pytest.raises(CorpusError, match="the corpus is empty: the sources gave no page"):
        cleaned(night="2")


def test_an_imbalance_is_not_passed_on(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"kept 1 \+ dropped 1 is not seen 3"):
        check_balance(Draft(tmp_path, rows={"seen": 3, "kept": 1}, dropped={"too short": 1}))


def test_headings_stay_in_step_with_their_lines() -> None:
    body = "<h1>How films are made</h1><p>" + f"{PLOT} " * 3 + "</p><h2>Cameras</h2><p>" + f"{BAD} " * 3 + "</p>"
    (found,) = rows(cleaned(page("/making", body), config=CleanConfig()))
    lines = found["text"].split("\n")
    assert dict(zip(lines, found["levels"], strict=True))["Cameras"] == 2
    assert found["title"] == "How films are made"


def test_personal_data_is_replaced_and_counted() -> None:
    ref = cleaned(film("a", ("Fresh", f"{GOOD} Write to jane.doe@example.com or call +1 212-736-5000.")))
    review = next(row for row in rows(ref) if row["kind"] == "review")
    assert "jane" not in review["text"]
    assert "[EMAIL]" in review["text"]
    assert json.loads(review["meta"])["redacted"] == {"email": 1, "phone": 1}
    assert ref.manifest["facts"]["redacted"] == {"email": 1, "phone": 1}


def test_personal_data_that_is_taken_out_leaves_no_hole() -> None:
    quality = QualityConfig(min_letter_share=None, min_sentenced_share=None)
    config = CONFIG.model_copy(update={"quality": quality, "privacy": PrivacyConfig(replacement="")})
    own = "<main><h2>Who wrote it</h2><p>jane.doe@example.com</p><p>She answers within a day, mostly.</p></main>"
    pages = (page("/a", own), film("b", ("Fresh", "jane.doe@example.com"), ("Fresh", GOOD)))
    ref = cleaned(*pages, config=config)
    document = next(row for row in rows(ref) if row["url"].endswith("/a"))
    assert document["text"] == "Who wrote it\nShe answers within a day, mostly."
    assert (document["levels"], document["sentences"]) == ([2, 0], [0, 13])
    assert ref.manifest["dropped"]["nothing but personal data"] == 1


def test_what_is_on_the_takedown_list_goes(tmp_path: Path) -> None:
    pages = (film("a", ("Fresh", GOOD)), film("b", ("Rotten", BAD)))
    plot = next(row for row in rows(cleaned(*pages)) if row["url"].endswith("/b") and row["kind"] == "plot")
    append(tmp_path / "list.jsonl", {"url": f"{SITE}/film/a", "why": "asked"})
    append(tmp_path / "list.jsonl", {"id": plot["id"], "why": "asked"})
    ref = cleaned(*pages, night="2", takedown=tmp_path / "list.jsonl")
    assert [row["text"] for row in rows(ref)] == [BAD]
    assert ref.manifest["dropped"] == {"takedown: id": 1, "takedown: url": 2}


def test_published_rules_are_asked_with_the_language_of_the_text() -> None:
    config = CONFIG.model_copy(update={"quality": QualityConfig(presets=("gopher",))})
    with pytest.raises(CorpusError, match="gopher: too few words"):
        cleaned(film("a", ("Fresh", GOOD)), config=config)


def test_a_selector_that_is_not_css_is_named() -> None:
    wrong = EXTRACT.model_copy(update={"records": (RecordSelector(kind="review", item="article[", text=""),)})
    with pytest.raises(CorpusError, match=r"review.*article\["):
        extracted(film("a", ("Fresh", GOOD)), config=wrong)
