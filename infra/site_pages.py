"""What the review site shows: films out of the package's table, and every page as finished bytes.

A page is a pure function of (data, day, seed, films), so two processes that serve the same day serve the same bytes,
and a film page that did not change between the days has the same ETag on both.
"""

from __future__ import annotations

import bz2
import csv
import hashlib
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote

NEW_FILM_SHARE = 0.4  # films that only day 2 shows
GROWING_SHARE = 0.25  # of day 1's films: those that get further reviews on day 2 ...
GROWING_SHOWN = 0.6  # ... and the share of their reviews that day 1 shows: 0.75 + 0.25 * 0.6 = 0.9 of all
DATES = {0: "2024-01-15", 1: "2024-03-01", 2: "2024-03-02"}  # 0: what has not changed since long before
PER_PAGE = 60
RELATED = 4
OLD_LINK_SHARE = 0.05  # of the film pages: those with a link in the site's former form, which redirects


@dataclass(frozen=True)
class Review:
    text: str
    badge: Literal["Fresh", "Rotten"]


@dataclass(frozen=True)
class Film:
    title: str
    slug: str  # may hold letters outside ASCII; `path` is the quoted form
    plots: tuple[str, ...]
    reviews: tuple[Review, ...]
    changed: int = 0  # the day on which what is shown last changed; 0: before day 1

    @property
    def path(self) -> str:
        return f"/film/{quote(self.slug)}"

    @property
    def fresh(self) -> int:
        return sum(review.badge == "Fresh" for review in self.reviews)


@dataclass(frozen=True)
class Page:
    """A response, finished but for the conditional part."""

    body: bytes = b""
    content_type: str = "text/html; charset=utf-8"
    status: int = 200
    date: str = DATES[0]
    location: str | None = None
    delay_s: float = 0.0
    failures: int = 0  # answers of 500 before the first good one, in each server process
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "etag", f'"{hashlib.sha256(self.body).hexdigest()[:20]}"')


@dataclass(frozen=True)
class Site:
    pages: dict[str, Page]  # by path and query, percent-encoded
    films: int
    reviews: int


def read_films(path: Path, limit: int | None = None) -> list[Film]:
    """All films with at least one text, sorted by slug; rows with empty text are skipped.

    Args:
        limit: keep that many, spread over the alphabet and preferring films with reviews.
    """
    names: dict[str, tuple[list[str], list[Review]]] = {}
    table = io.StringIO(bz2.decompress(path.read_bytes()).decode("utf-8"))
    for row in csv.DictReader(table):
        text = row["text"].strip()
        if not text:
            continue
        plots, reviews = names.setdefault(row["movie_name"], ([], []))
        if row["category"] == "plot":
            plots.append(text)
        else:
            reviews.append(Review(text, "Fresh" if row["category"] == "fresh" else "Rotten"))
    films = [_film(name, plots, reviews) for name, (plots, reviews) in names.items()]
    if limit is not None:
        films = sorted(films, key=lambda film: (not film.reviews, _share("limit", film.slug)))[:limit]
    return sorted(films, key=lambda film: film.slug)


def _film(name: str, plots: Sequence[str], reviews: Sequence[Review]) -> Film:
    words = unquote(name, encoding="latin-1").split("_")  # the table percent-encodes latin-1: ast%e9rix
    title = " ".join(word[:1].upper() + word[1:] for word in words)
    return Film(title, "-".join(words), tuple(plots), tuple(reviews))


def shown(films: Iterable[Film], day: int, seed: int) -> list[Film]:
    """The films of a day, each with the reviews that the site has by then."""
    return [film for film in (_shown(film, day, seed) for film in films) if film is not None]


def _shown(film: Film, day: int, seed: int) -> Film | None:
    if _share(seed, "film", film.slug) < NEW_FILM_SHARE:
        return None if day == 1 else Film(film.title, film.slug, film.plots, film.reviews, changed=2)
    if len(film.reviews) < 2 or _share(seed, "growing", film.slug) >= GROWING_SHARE:
        return film
    ranked = sorted(film.reviews, key=lambda review: _share(seed, film.slug, review.text))
    first_day = set(ranked[: math.ceil(GROWING_SHOWN * len(ranked))])
    if first_day == set(film.reviews):  # too few of them to keep one back
        return film
    reviews = film.reviews if day == 2 else tuple(review for review in film.reviews if review in first_day)
    return Film(film.title, film.slug, film.plots, reviews, changed=day)


def _share(*key: object) -> float:
    """A number in [0, 1) that depends on the key alone."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:7], "big") / 2**56


def build_site(films: Sequence[Film], day: int, seed: int, base: str) -> Site:
    """Every page of the site on that day.

    Args:
        base: scheme and authority for the addresses in robots.txt and sitemap.xml, which must be absolute.
    """
    today = shown(films, day, seed)
    later = set(shown(films, 2, seed))
    settled = [film for film in shown(films, 1, seed) if film in later]  # those with the same bytes on both days
    pages = {film.path: Page(_film_page(film, settled, seed), date=DATES[film.changed]) for film in today}
    pages |= _listings(today, day)
    pages |= _fixed_pages(today, day)
    pages |= _trouble(pages, settled, seed)
    pages |= {f"/movie/{quote(film.slug)}": Page(status=301, location=film.path) for film in today}
    pages["/robots.txt"] = Page(_robots(base).encode(), "text/plain; charset=utf-8")
    pages["/sitemap.xml"] = Page(_sitemap(base, today, day).encode(), "application/xml", date=DATES[day])
    return Site(pages, films=len(today), reviews=sum(len(film.reviews) for film in today))


def _trouble(pages: dict[str, Page], settled: Sequence[Film], seed: int) -> dict[str, Page]:
    """What real servers do now and then: fail and recover, loop, name the wrong charset."""
    order = sorted((film for film in settled if film.reviews), key=lambda film: _share(seed, "trouble", film.slug))
    accents = max(settled, key=lambda film: sum(ord(c) > 127 for c in _all_text(film)), default=None)
    trouble = {
        film.path: Page(pages[film.path].body, date=pages[film.path].date, failures=failures)
        for film, failures in zip(order, (1, 1, 2), strict=False)
        if film is not accents
    }
    if accents is not None:  # the body is UTF-8 and its meta says so; the header is wrong
        page = pages[accents.path]
        trouble[accents.path] = Page(page.body, "text/html; charset=iso-8859-1", date=page.date)
    trouble["/tonight"] = Page(status=302, location="/today")
    trouble["/today"] = Page(status=302, location="/tonight")
    return trouble


def _all_text(film: Film) -> str:
    return " ".join((film.title, *film.plots, *(review.text for review in film.reviews)))


def _film_page(film: Film, settled: Sequence[Film], seed: int) -> bytes:
    # Nothing here may depend on the other films of the day, or an unchanged film would change its bytes.
    parts = [f'<p class="crumbs"><a href="/">Home</a> › <a href="/films">Films</a> › {_letter_link(film)}</p>']
    parts.append(f'<h1 class="title">{escape(film.title)}</h1>{_score(film)}')
    for plot in film.plots:
        parts.append(f'<h2>The story</h2><div class="plot">{escape(plot, quote=False)}</div>')
    if film.reviews:
        parts.append(f'<h2 id="reviews">What the critics say</h2>{"".join(map(_review, film.reviews))}')
    parts.append(f'<aside class="related"><h2>You may also like</h2><ul>{_related(film, settled, seed)}</ul></aside>')
    return _document(film.title, "".join(parts))


def _letter_link(film: Film) -> str:
    letter = film.slug[0]
    return f'<a href="/letter/{quote(letter)}">{escape(letter.upper())}</a>'


def _score(film: Film) -> str:
    if not film.reviews:
        return '<p class="score">No reviews yet. Be the first to write one.</p>'
    share = round(100 * film.fresh / len(film.reviews))
    return f'<p class="score"><b>{share}%</b> of {len(film.reviews)} critics call it fresh</p>'


def _review(review: Review) -> str:
    name = hashlib.sha256(review.text.encode()).hexdigest()[:8]
    return (
        f'<article class="review" id="r-{name}"><span class="badge {review.badge.lower()}">{review.badge}</span>'
        f'<p class="review-text">{escape(review.text, quote=False)}</p>'
        f'<p class="tools">Was this review helpful? <a href="#r-{name}">Yes</a> · <a href="#r-{name}">No</a> · '
        f'<a href="mailto:desk@films.example">Report</a></p></article>'
    )


def _related(film: Film, settled: Sequence[Film], seed: int) -> str:
    others = [other for other in settled if other.slug != film.slug]
    start = int(_share(seed, "related", film.slug) * len(others))
    chosen = [others[(start + 7 * i) % len(others)] for i in range(min(RELATED, len(others)))]
    links = [f"{other.path}#reviews" for other in chosen]
    if links and _share(seed, "old link", film.slug) < OLD_LINK_SHARE:
        links[0] = f"/movie/{quote(chosen[0].slug)}"
    return "".join(
        f'<li><a href="{link}">{escape(other.title)}</a></li>' for link, other in zip(links, chosen, strict=True)
    )


def _listings(films: Sequence[Film], day: int) -> dict[str, Page]:
    """Index, letters and lists, in pages of `PER_PAGE` films; they change with the day."""
    lists: dict[str, tuple[str, list[Film]]] = {"/films": ("All films", list(films))}
    for letter in sorted({film.slug[0] for film in films}):
        lists[f"/letter/{quote(letter)}"] = (
            f"Films: {letter.upper()}",
            [film for film in films if film.slug[0] == letter],
        )
    for path, (title, rule) in THEMES.items():
        lists[path] = (title, rule(films))
    return {
        address: Page(body, date=DATES[day])
        for path, (title, chosen) in lists.items()
        for address, body in _paginated(path, title, chosen)
    }


def _reviewed(films: Sequence[Film]) -> list[Film]:
    return [film for film in films if film.reviews]


THEMES: dict[str, tuple[str, Callable[[Sequence[Film]], list[Film]]]] = {
    "/lists/most-reviewed": (
        "Most reviewed",
        lambda films: sorted(_reviewed(films), key=lambda film: -len(film.reviews))[:120],
    ),
    "/lists/all-fresh": (
        "Not one bad word",
        lambda films: [film for film in _reviewed(films) if film.fresh == len(film.reviews)],
    ),
    "/lists/all-rotten": ("Not one good word", lambda films: [film for film in _reviewed(films) if film.fresh == 0]),
    "/lists/divided": (
        "Critics divided",
        lambda films: [film for film in _reviewed(films) if 0.4 <= film.fresh / len(film.reviews) <= 0.6],
    ),
    "/lists/unreviewed": ("Waiting for a review", lambda films: [film for film in films if not film.reviews]),
}


def _paginated(path: str, title: str, films: Sequence[Film]) -> Iterable[tuple[str, bytes]]:
    count = max(1, math.ceil(len(films) / PER_PAGE))
    addresses = [path if i == 0 else f"{path}?page={i + 1}" for i in range(count)]
    for i, address in enumerate(addresses):
        items = "".join(
            f'<li><a href="{film.path}">{escape(film.title)}</a> <small>{len(film.reviews)} reviews</small></li>'
            for film in films[i * PER_PAGE : (i + 1) * PER_PAGE]
        )
        pager = "".join(
            f'<a href="{link}">{j + 1}</a>' if j != i else f"<b>{j + 1}</b>" for j, link in enumerate(addresses)
        )
        body = f'<h1>{escape(title)}</h1><ul class="films">{items}</ul><nav class="pager">{pager}</nav>'
        yield address, _document(f"{title}, page {i + 1}", body)


def _fixed_pages(films: Sequence[Film], day: int) -> dict[str, Page]:
    reviews = sum(len(film.reviews) for film in films)
    top = "".join(
        f'<li><a href="/movie/{quote(film.slug)}">{escape(film.title)}</a></li>'
        for film in THEMES["/lists/most-reviewed"][1](films)[:10]
    )
    home = (
        f"<h1>What the critics say</h1><p>{len(films):,} films and {reviews:,} reviews as of {DATES[day]}.</p>"
        f'<h2>Most talked about</h2><ul class="films">{top}</ul><p><a href="/films">All films</a></p>'
    )
    about = "<h1>About</h1><p>We collect what film critics write, one sentence at a time, fresh or rotten.</p>"
    statistics = f"<h1>Statistics</h1><p>{len(films)} films, {reviews} reviews, counted anew for every visitor.</p>"
    return {
        "/": Page(_document("Home", home), date=DATES[day]),
        "/about": Page(_document("About", about)),
        "/statistics": Page(_document("Statistics", statistics), date=DATES[day], delay_s=2.0),
        "/private/": Page(_document("Editors only", "<h1>Editors only</h1><p>Drafts that nobody should read.</p>")),
        "/private/drafts": Page(_document("Drafts", "<h1>Drafts</h1><p>Do not crawl this.</p>")),
        "/archive": Page(_document("Gone", "<h1>The archive was closed</h1>"), status=410),
        "/logo.svg": Page(b'<svg xmlns="http://www.w3.org/2000/svg"><circle r="9"/></svg>', "image/svg+xml"),
    }


def _robots(base: str) -> str:
    return f"User-agent: *\nDisallow: /private/\n\nSitemap: {base}/sitemap.xml\n"


def _sitemap(base: str, films: Sequence[Film], day: int) -> str:
    entries = [("/", DATES[day]), ("/films", DATES[day])] + [(film.path, DATES[film.changed]) for film in films]
    urls = "".join(f"<url><loc>{base}{path}</loc><lastmod>{date}</lastmod></url>" for path, date in entries)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{urls}</urlset>'
    )


STYLE = """
body{margin:0;font:16px/1.5 Georgia,serif;color:#222;background:#faf8f4}
header{background:#7b1e22;color:#fff;padding:14px 32px;display:flex;gap:28px;align-items:baseline}
header a{color:#fff;text-decoration:none}header .brand{font-size:24px;font-weight:bold}
.cookies{background:#fdf0c4;padding:6px 32px;font:14px sans-serif}
.frame{display:flex;gap:40px;max-width:1080px;margin:24px auto;padding:0 24px}main{flex:1}
.sidebar{width:220px;font:14px/1.7 sans-serif}.sidebar a{color:#7b1e22}
.score b{font-size:28px;color:#7b1e22}.plot{background:#fff;border-left:4px solid #d8c9a8;padding:12px 18px}
.review{background:#fff;border:1px solid #e6dfd0;border-radius:6px;padding:10px 16px;margin:12px 0}
.review-text{margin:6px 0}.badge{font:bold 12px sans-serif;padding:2px 9px;border-radius:9px;color:#fff}
.fresh{background:#3a8a3f}.rotten{background:#8a6d3a}.tools,.crumbs{font:12px sans-serif;color:#888}
.pager a,.pager b{padding:3px 8px}.films small{color:#888}
footer{background:#eee8dc;padding:18px 32px;font:13px sans-serif;color:#666}
"""

HEADER = (
    '<div class="cookies" role="dialog">We use cookies to improve your experience on this site. '
    '<button>Accept all</button> <a href="/about#cookies">Learn more</a></div>'
    '<header><a class="brand" href="/">The Film Desk</a><nav><a href="/films">Films</a> · '
    '<a href="/lists/most-reviewed">Most reviewed</a> · <a href="/lists/divided">Divided</a> · '
    '<a href="/today">Film of the day</a> · <a href="/about">About</a></nav></header>'
)

SIDEBAR = (
    '<div class="sidebar"><h3>Browse</h3><p>'
    + " ".join(f'<a href="/letter/{letter}">{letter.upper()}</a>' for letter in "abcdefghijklmnopqrstuvwxyz")
    + "</p><h3>Lists</h3><ul>"
    + "".join(f'<li><a href="{path}">{title}</a></li>' for path, (title, _) in THEMES.items())
    + '</ul><h3>Editors</h3><p><a href="/private/">Sign in</a> · <a href="/private/drafts">Drafts</a></p>'
    "<h3>Newsletter</h3><p>Subscribe to our newsletter and never miss a premiere.</p></div>"
)

FOOTER = (
    '<footer><p><a href="/about">About</a> · <a href="/statistics">Statistics</a> · <a href="/archive">Archive</a> · '
    '<a href="/press">Press</a> · <a href="/logo.svg">Logo</a> · '
    '<a href="https://films.example/partners">Partners</a></p>'
    "<p>All reviews remain the property of their authors. The Film Desk is a demonstration site.</p></footer>"
)


def _document(title: str, body: str) -> bytes:
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)} | The Film Desk</title><style>{STYLE}</style></head><body>{HEADER}"
        f'<div class="frame"><main>{body}</main>{SIDEBAR}</div>{FOOTER}</body></html>'
    ).encode()
