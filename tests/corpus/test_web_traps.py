import random
import time
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from crawls import outcomes_of, page, rows_of, run, source
from sites import answer, bad_site

from tasks.config.web import TrapLimits
from tasks.text.web.traps import Traps, date_pattern, is_repeating

LIMITS = TrapLimits(
    path_segments=8, repeated_segments=3, parameters=4, queries_per_path=5, dates_per_pattern=6, same_body=4, origins=2
)


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(tmp_path / "home"))


def trapped(handler: BaseHTTPRequestHandler, pause_s: float) -> None:
    """Pages without end; answers come in another order each time."""
    time.sleep(random.random() * pause_s)
    parts = urlsplit(handler.path)
    path, arguments, port = parts.path, parse_qs(parts.query), handler.server.server_address[1]
    unique = f"<p>{handler.path}"
    if path == "/robots.txt":
        answer(handler, 404)
    elif path == "/":
        other = [f"http://127.0.0.1:{number}/" for number in (1, 2, 3) if number != port]
        deep = ["/1/2/3/4/5/6/7/8", "/1/2/3/4/5/6/7/8/9"]
        starts = [
            "/day/2026-11-22",
            "/month?y=1&month=11&year=2026",
            "/grow/a/b",
            "/facets?p0=0",
            "/next?n=0",
            "/soft/",
        ]
        answer(handler, 200, page(*starts, *deep, *other))
    elif path.startswith("/day/"):
        day = date.fromisoformat(path[5:])
        answer(handler, 200, page(*(f"/day/{day + timedelta(n)}" for n in (-1, 1)), text=unique))
    elif path == "/month":
        month = int(arguments["year"][0]) * 12 + int(arguments["month"][0])
        links = [f"/month?y=1&month={(month + n) % 12}&year={(month + n) // 12}" for n in (-1, 1)]
        answer(handler, 200, page(*links, text=unique))
    elif path.startswith("/grow/"):
        answer(handler, 200, page(f"{path}/a/b", text=unique))
    elif path == "/facets":
        count = len(arguments)
        answer(handler, 200, page(f"{handler.path}&p{count}={count}", text=unique))
    elif path == "/next":
        number = int(arguments["n"][0])
        answer(handler, 200, page(*(f"/next?n={3 * number + n}" for n in (1, 2, 3)), text=unique))
    elif path.startswith("/soft/"):  # every address is the same page, whose links lead to further ones
        answer(handler, 200, page("a/", "b/"))
    else:
        answer(handler, 200, page(text=unique))


def test_every_trap_ends_by_name_and_whatever_comes_first_the_pages_are_the_same() -> None:
    found = []
    for concurrency, pause_s in ((1, 0.0), (32, 0.05)):
        with bad_site(partial(trapped, pause_s=pause_s)) as base:
            web = source(f"{base}/", traps=LIMITS, max_depth=30, concurrency=concurrency)
            ref = run(web)
        outcomes = outcomes_of(ref)
        found.append({path: outcome for path, outcome in outcomes.items() if path != "/"})
        dropped = ref.manifest["dropped"]
    assert found[0] == found[1]
    fetched = [path for path, outcome in found[0].items() if outcome == "fetched"]
    assert len([path for path in fetched if path.startswith("/day/")]) == 6
    assert found[0]["/day/2026-11-25"] == "skipped trap: calendar"
    assert len([path for path in fetched if path.startswith("/month")]) == 5  # also endless parameters: the smaller one
    assert found[0]["/grow/a/b/a/b"] == "fetched"
    assert found[0]["/grow/a/b/a/b/a/b"] == "skipped trap: repeating path"
    assert found[0]["/facets?p0=0&p1=1&p2=2&p3=3"] == "fetched"
    assert found[0]["/facets?p0=0&p1=1&p2=2&p3=3&p4=4"] == "skipped trap: many parameters"
    assert len([path for path in fetched if path.startswith("/next")]) == 5
    assert found[0]["/1/2/3/4/5/6/7/8"] == "fetched"
    assert found[0]["/1/2/3/4/5/6/7/8/9"] == "skipped trap: deep path"
    assert len([path for path in fetched if path.startswith("/soft")]) == 4
    assert len([path for path in found[0] if path.startswith("/soft")]) == 15  # those of depth 4 lead nowhere
    assert {reason for reason in dropped if reason.startswith("trap")} == {
        "trap: calendar",
        "trap: repeating path",
        "trap: many parameters",
        "trap: endless parameters",
        "trap: deep path",
        "trap: same body",
        "trap: many ports",
    }


def test_sessions_and_tracking_name_one_page() -> None:
    asked: list[str] = []

    def routes(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        visits = [f"/page;jsessionid={n}?utm_source={n}&sid=0123456789abcdef{n:08}&id=1" for n in range(20)]
        answer(handler, 404 if handler.path == "/robots.txt" else 200, page(*visits))

    with bad_site(routes) as base:
        ref = run(source(f"{base}/"))
    assert sorted(asked) == ["/", "/page?id=1", "/robots.txt"]
    assert rows_of(ref).keys() == {"/", "/page?id=1"}


def refusals(urls: list[str], limits: TrapLimits) -> list[str]:
    traps = Traps(limits)
    return [reason for url in urls if (reason := traps.refusal(url))]


DAYS = [date(2005, 1, 1) + timedelta(n) for n in range(7_000)]
HONEST: dict[str, Callable[[], list[str]]] = {
    "forum": lambda: [f"http://x/viewtopic.php?f={n % 9}&t={n}" for n in range(9_000)],
    "topics of pages": lambda: [f"http://x/topic/{1900 + n}/{m}" for n in range(300) for m in range(1, 13)],
    "news": lambda: [f"http://x/{day:%Y/%m/%d}/story-{day.toordinal()}" for day in DAYS],
    "numbers": lambda: [f"http://x/article/{n}" for n in range(20_040_000, 20_060_000)],
    "years": lambda: [f"http://x/archive/{year}" for year in range(1900, 2027)],
    "months": lambda: [f"http://x/archive/{y}/{m:02}" for y in range(1990, 2027) for m in range(1, 13)],
    "man pages": lambda: [f"http://x/usr/share/doc/a/html/{n}/index.html" for n in range(1_000)],
    "versions": lambda: [f"http://x/v{a}.{b}/api/v{a}/v{a}" for a in range(30) for b in range(30)],
}


@pytest.mark.parametrize("name", HONEST)
def test_the_defaults_let_large_honest_sites_through(name: str) -> None:
    assert refusals(HONEST[name](), TrapLimits()) == []


def test_the_defaults_end_an_endless_calendar() -> None:
    days = [date(2026, 1, 1) + timedelta(n) for n in range(2_000)]
    for form in (
        "http://x/cal/%Y-%m-%d",
        "http://x/?day=%Y%m%d&view=1",
        "http://x/calendar.php?y=%Y&d=%j",
        "http://x/%Y/%m/%d/",
    ):
        assert refusals([day.strftime(form) for day in days], TrapLimits()) == ["trap: calendar"] * 1_000


def test_patterns_of_dates() -> None:
    assert date_pattern("http://x/2024/05/01/") == date_pattern("http://x/2023/12/31/") != ""
    assert date_pattern("http://x/a?from=2024-05") == date_pattern("http://x/a?from=1999-01") != ""
    assert date_pattern("http://x/2024-W07") == date_pattern("http://x/2023-W52") != ""
    assert date_pattern("http://x/2024/05/01/a") != date_pattern("http://x/2024/05/01/b")
    for url in (
        "http://x/a?id=7",
        "http://x/a?x",
        "http://x/20240501.html",
        "http://x/topic/2005/1",
        "http://x/?update=5",
    ):
        assert date_pattern(url) == "", url


def test_runs_of_segments() -> None:
    assert is_repeating(list("abababc"), 3)
    assert is_repeating(list("xaaa"), 3)
    assert not is_repeating(list("abab"), 3)
    assert not is_repeating(list("abcabd"), 2)
    assert is_repeating(list("abcabc"), 2)
    assert not is_repeating([], 2)
