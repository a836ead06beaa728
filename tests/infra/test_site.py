import subprocess
import sys
from pathlib import Path

import pytest
from sites import RunningSite, free_port, get, review_site

from infra.site_pages import Film, Site, build_site, read_films, shown

TABLE = "film-reviews/rotten_tomatoes_corpus_full.csv.bz2"
SEED = 2024


@pytest.fixture(scope="module")
def films(data_folder: Path) -> list[Film]:
    return read_films(data_folder / TABLE)


@pytest.fixture(scope="module")
def days(films: list[Film]) -> tuple[Site, Site]:
    return build_site(films, 1, SEED, "http://site"), build_site(films, 2, SEED, "http://site")


@pytest.fixture(scope="module")
def site(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> object:
    log = tmp_path_factory.mktemp("site") / "log"
    with review_site(1, free_port(), data_folder, log, films=40) as running:
        yield running


def test_day_one_shows_most_and_day_two_all(films: list[Film], days: tuple[Site, Site]) -> None:
    first, second = shown(films, 1, SEED), shown(films, 2, SEED)
    assert second == sorted(second, key=lambda film: film.slug)
    assert sum(len(film.reviews) for film in second) == 12_808
    assert 0.55 < len(first) / len(second) < 0.65
    slugs = {film.slug for film in first}
    of_these = sum(len(film.reviews) for film in second if film.slug in slugs)
    assert 0.85 < sum(len(film.reviews) for film in first) / of_these < 0.95


def test_an_unchanged_film_page_keeps_bytes_etag_and_date(days: tuple[Site, Site]) -> None:
    before = {path: page for path, page in days[0].pages.items() if path.startswith("/film/")}
    same = [path for path, page in before.items() if days[1].pages[path].body == page.body]
    assert len(same) > 0.85 * len(before)
    for path, page in before.items():
        after = days[1].pages[path]
        assert (after.etag == page.etag) == (after.date == page.date) == (path in same)


def test_pages_link_to_pages_that_exist(days: tuple[Site, Site]) -> None:
    from tasks.text.web.links import page_links
    from tasks.text.web.urls import normalise_url

    known = {normalise_url(f"http://site{path}") for path in days[0].pages}
    missing = {
        url
        for path, page in list(days[0].pages.items())[::9]
        if page.status == 200 and page.content_type.startswith("text/html")
        for link in page_links(page.body, page.content_type, f"http://site{path}").links
        if (url := normalise_url(link)) and url.startswith("http://site/") and url not in known
    }
    assert {url for url in missing if "/letter/" not in url} == {"http://site/press"}  # the 404 of the footer


def test_conditional_requests(site: RunningSite) -> None:
    status, headers, body = get(f"{site.base}/about")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    etag, date = headers["etag"], headers["last-modified"]
    for conditions in ({"If_None_Match": etag}, {"If_None_Match": f'"x", W/{etag}'}, {"If_Modified_Since": date}):
        status, headers, empty = get(f"{site.base}/about", **conditions)
        assert (status, empty, headers["etag"]) == (304, b"", etag)
    assert get(f"{site.base}/about", If_None_Match='"other"', If_Modified_Since=date)[0] == 200
    assert get(f"{site.base}/about", If_Modified_Since="Mon, 01 Jan 2001 00:00:00 GMT")[2] == body
    assert get(f"{site.base}/about", If_Modified_Since="yesterday")[0] == 200


def test_troubles_are_served(site: RunningSite) -> None:
    assert get(f"{site.base}/press")[0] == 404
    assert get(f"{site.base}/archive")[0] == 410
    status, headers, _ = get(f"{site.base}/today")
    assert (status, headers["location"]) == (302, "/tonight")
    assert b"Disallow: /private/" in get(f"{site.base}/robots.txt")[2]
    assert f"{site.base}/film/".encode() in get(f"{site.base}/sitemap.xml")[2]


def test_missing_data_says_what_to_do(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "infra.site", "--data", str(tmp_path / "none.bz2")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert "make data" in result.stderr
