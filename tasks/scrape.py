"""Crawl of a web site into WARC, conditional on what the night before fetched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bert_core.config import Config
from tasks.artifacts import Draft
from tasks.config.web import WebSource
from tasks.stage import progress, stage
from tasks.text.web.crawl import crawl


class ScrapeSpec(Config):
    """A crawl is not a function of its recipe alone, so the night that it stands for is part of its identity."""

    source: WebSource
    as_of: str


@stage("scrape", code="tasks.text.web.crawl", resume=True)
def scrape(config: ScrapeSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Crawl the seeds: robots.txt obeyed, politely, only new and changed pages; raw responses to WARC."""
    (previous,) = inputs
    crawl(config.source, previous, config.as_of, out, progress("scrape pages"))
