"""The process that crawls: `python -m tasks.text.web.crawl_worker spec.json`, started by `tasks.text.web.crawl`.

A process of its own, since Twisted's reactor runs once in a process. It prints a JSON line of progress twice a second,
which is also how it notices that its parent is gone, and ends with a line that holds the counts, or the error.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import warnings
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import scrapy
from scrapy.crawler import AsyncCrawlerProcess

from tasks.config.web import WebSource
from tasks.text.web.crawling import Crawl, Place
from tasks.text.web.download import Fetcher, scrapy_settings
from tasks.text.web.journal import JournalError

STATUS_EVERY_S = 0.5


class CrawlSpider(scrapy.Spider):
    """Scrapy's hook for the crawl: it opens the engine and keeps it open."""

    name = "crawl"
    crawl: Crawl
    is_finished = False
    trouble = ""

    async def start(self) -> AsyncIterator[Any]:
        status = asyncio.create_task(self._report())
        kind = type(self)  # Scrapy makes the instance; the class is what `main` knows
        try:
            await self.crawl.run(Fetcher(self.crawler, self.crawl.source))
            kind.is_finished = True
        except* (OSError, JournalError) as errors:
            kind.trouble = "; ".join(dict.fromkeys(map(str, leaves(errors))))
        finally:
            status.cancel()
        for nothing in list[Any]():  # Scrapy asks for a generator, and the requests went another way
            yield nothing

    async def _report(self) -> None:
        while True:
            say(self.crawl.progress())
            await asyncio.sleep(STATUS_EVERY_S)


def leaves(error: BaseException) -> list[BaseException]:
    """The errors in a group of errors."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


def say(message: dict[str, Any]) -> None:
    """A line to the parent; without a parent there is nobody to crawl for."""
    try:
        print(json.dumps(message), flush=True)
    except BrokenPipeError:
        os._exit(1)


def main(arguments: Iterable[str]) -> int:
    (path,) = arguments
    spec = json.loads(Path(path).read_text("utf-8"))
    source = WebSource.model_validate(spec["source"])
    previous = Path(spec["previous"]) if spec["previous"] else None
    warnings.simplefilter("ignore")
    crawl = Crawl(source, Place(Path(spec["folder"]), spec["published"], previous))
    spider: type[CrawlSpider] = type("BoundSpider", (CrawlSpider,), {"crawl": crawl})
    process = AsyncCrawlerProcess(scrapy_settings(source))
    process.crawl(spider)
    process.start()
    if spider.trouble:
        say({"error": spider.trouble})
    if not spider.is_finished:  # Scrapy logged why, and went on to close the engine
        return 1
    say(crawl.summary())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
