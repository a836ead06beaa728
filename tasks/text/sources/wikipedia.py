"""Source wikipedia: articles of a MediaWiki XML dump, without their markup."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tasks.config.sources import WikipediaSource
from tasks.text.documents import CorpusError
from tasks.text.sources import locations
from tasks.text.sources.compressed import BrokenStream, compression
from tasks.text.sources.dump import Page, SiteInfo, pages, site_info, stream_starts
from tasks.text.sources.piece import Record
from tasks.text.sources.raw import RawDocument, Unit, Unreadable
from tasks.text.sources.wikitext import MEDIA, wikitext_lines

_MEDIA_NUMBERS = ("-2", "6", "14")  # media, file, category
_REDIRECT = re.compile(r"\s*#redirect\b", re.IGNORECASE)


@dataclass(frozen=True)
class WikipediaReader:
    """Reads articles (namespace 0, no redirects). A dump of several bzip2 streams is cut between them."""

    source: WikipediaSource
    root: Path

    def units(self) -> list[Unit]:
        found = locations.find(self.source.paths, self.root)
        return [unit for path in found for unit in self._cut(path)]

    def read(self, unit: Unit) -> Iterator[Record]:
        site = self._site(unit.path)
        with locations.open_binary(unit.path, self.root) as file:
            try:
                for page in pages(file, self.source.max_article_bytes, unit.start, unit.stop):
                    yield self._document(page, site)
            except BrokenStream as error:
                yield Unreadable(unit.path, error.reason, error.detail)

    def _cut(self, path: str) -> Iterator[Unit]:
        self._site(path)
        content = locations.content(path, self.root)
        with locations.open_binary(path, self.root) as file:
            is_cut = compression(file.read(6)) == "bzip2" and not locations.is_remote(path)
            file.seek(0)
            starts: list[int | None] = [*stream_starts(file, self.source.unit_bytes)] if is_cut else [0]
        for start, stop in zip(starts, [*starts[1:], None], strict=True):
            yield Unit(path, content, start or 0, stop)

    def _site(self, path: str) -> SiteInfo:
        """
        Raises:
            CorpusError: not a MediaWiki dump, or one that does not say where its wiki is.
        """
        with locations.open_binary(path, self.root) as file:
            try:
                site = site_info(file)
            except BrokenStream as error:
                raise CorpusError(f"{path}: not a readable MediaWiki dump: {error.reason} {error.detail}") from None
        if site is None:
            raise CorpusError(f"{path}: not a MediaWiki XML dump: its root element is not <mediawiki>")
        if not site.base and self.source.base_url is None:
            raise CorpusError(
                f"{path}: the dump names no <base>; set base_url, for example https://en.wikipedia.org/wiki/"
            )
        return site

    def _document(self, page: Page, site: SiteInfo) -> Record:
        base = self.source.base_url or site.base.rpartition("/")[0] + "/"
        url = base + quote(page.title.replace(" ", "_"), safe="/:(),'!*@$~;")
        if page.namespace != "0":
            return Unreadable(url, "not an article", f"namespace {page.namespace}")
        if page.is_redirect or (page.text is not None and _REDIRECT.match(page.text)):
            return Unreadable(url, "redirect")
        if page.text is None:
            return Unreadable(url, "record too large", f"more than {self.source.max_article_bytes} characters")
        if page.model != "wikitext":
            return Unreadable(url, "not wikitext", page.model[:100])
        lines, levels = wikitext_lines(page.text, dropped_namespaces(site))
        if not lines:
            return Unreadable(url, "no text", page.text[:300])
        return RawDocument(
            url,
            text="\n".join(lines),
            levels=tuple(levels),
            title=page.title,
            date=page.timestamp,
            language=self.source.language or site.language,
            kind=self.source.kind,
            meta={"page": page.id, "revision": page.revision},
        )


def dropped_namespaces(site: SiteInfo) -> frozenset[str]:
    """Prefixes of links to files and categories: the English ones, which all wikis know, and the wiki's own."""
    return MEDIA | {site.namespaces[number].lower() for number in _MEDIA_NUMBERS if number in site.namespaces}
