import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tasks import artifacts
from tasks.artifacts import ArtifactError, ArtifactRef
from tasks.text.web.pages import BODIES, PAGES, Page, PageRow, iter_pages, write_pages
from tasks.text.web.units import page_units, read_pages_unit
from tasks.text.web.warc import WarcSeries


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERT_FOUNDRY_STORE", str(tmp_path))


def night(name: str, bodies: dict[str, bytes], **changes: str) -> ArtifactRef:
    """A published night with these pages by URL, and a dead link."""
    key = hashlib.sha256(name.encode()).hexdigest()
    with artifacts.build("scrape", name, key, config=None) as out:
        warcs, rows = WarcSeries(out.path, 10**6), [PageRow("http://x/dead", "failed", "http 404", 404)]
        published = out.path.name.removesuffix(".partial")
        for number, (url, body) in enumerate(bodies.items()):
            file, offset, _ = warcs.write(url, 200, [], body, "2026-11-22T00:00:00Z")
            row = PageRow(url, "fetched", status=200, fetched_at=f"{name} {number}", content_type="text/html")
            row.body_sha256, row.warc, row.warc_offset = (
                hashlib.sha256(body).hexdigest(),
                f"scrape/{published}/{file}",
                offset,
            )
            rows.append(replace(row, **changes))
        warcs.close()
        write_pages(out.path, rows)
        out.volatile |= {PAGES, BODIES, file}
    found = artifacts.find("scrape", name, key)
    assert found is not None
    return found


def pages(count: int) -> dict[str, bytes]:
    return {f"http://x/{number}": b"page %d" % number for number in range(count)}


def test_units_partition_the_pages_and_are_sorted_inside() -> None:
    ref = night("one", pages(100))
    units = page_units(ref, 10)
    assert len(units) == 16  # 100 / 10, up to a power of two
    assert units == page_units(ref, 10)
    assert [unit.start for unit in units] == sorted(unit.start for unit in units)
    read: list[Page] = []
    for unit in units:
        found = list(read_pages_unit(ref, unit))
        assert found == sorted(found, key=lambda page: page.url)
        read += found
    assert sorted(read, key=lambda page: page.url) == list(iter_pages(ref))
    assert len(read) == 100
    assert len(page_units(ref, 100)) == len(page_units(ref, 1_000)) == 1
    assert sum(len(list(read_pages_unit(ref, unit))) for unit in page_units(ref, 1)) == 100


def identities(ref: ArtifactRef) -> set[str]:
    return {unit.identity for unit in page_units(ref, 10)}


def test_only_units_whose_pages_changed_are_new_the_next_night() -> None:
    before = night("before", pages(100))
    same = night("same", dict(reversed(pages(100).items())))  # other times and places, one content
    assert identities(same) == identities(before)
    assert same.content == before.content
    more = night("more", pages(101))
    assert len(identities(more) - identities(before)) == len(identities(before) - identities(more)) == 1
    changed = night("changed", pages(100) | {"http://x/7": b"new"})
    assert len(identities(changed) - identities(before)) == 1
    assert len(identities(night("type", pages(100), content_type="text/plain")) & identities(before)) == 0
    assert len(identities(night("canonical", pages(100), canonical="http://x/1")) & identities(before)) == 0


def test_a_night_without_a_page_has_no_units() -> None:
    key = "0" * 64
    with artifacts.build("scrape", "empty", key, config=None) as out:
        write_pages(out.path, [PageRow("http://x/dead", "failed", "http 404", 404)])
    ref = artifacts.find("scrape", "empty", key)
    assert ref is not None
    assert page_units(ref, 10) == []
    assert list(iter_pages(ref)) == []


def test_a_body_that_is_gone_is_named() -> None:
    ref = night("gone", pages(3))
    for warc in Path(ref.path).glob("*.warc.gz"):
        warc.unlink()
    (unit,) = page_units(ref, 10)
    with pytest.raises(ArtifactError, match="WARC file of an earlier night is missing"):
        list(read_pages_unit(ref, unit))
    assert json.dumps(unit.content)
