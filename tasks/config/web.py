"""What a crawl of a web site may be told."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from bert_core.config import Config
from tasks.config.source import SourceConfig

TRACKING = (
    "utm_*",
    "pk_*",
    "mtm_*",
    "hsa_*",
    "_hsenc",
    "_hsmi",
    "__hssc",
    "__hstc",
    "_ga",
    "_gl",
    "fbclid",
    "gclid",
    "gclsrc",
    "dclid",
    "gbraid",
    "wbraid",
    "msclkid",
    "yclid",
    "ttclid",
    "twclid",
    "li_fat_id",
    "igshid",
    "mc_cid",
    "mc_eid",
    "mkt_tok",
    "vero_id",
    "wickedid",
    "oly_anon_id",
    "oly_enc_id",
)
"""Query parameters that say where a visitor came from and change nothing of the page."""


class TrapLimits(Config):
    """From where on addresses of a site count as a trap. What is refused is counted as `trap: ...`."""

    path_segments: int = Field(20, ge=1, description="more segments in a path than this: `trap: deep path`")
    repeated_segments: int = Field(
        3, ge=2, description="a run of segments this many times in a row, such as /a/b/a/b/a/b: `trap: repeating path`"
    )
    parameters: int = Field(20, ge=1, description="more query parameters than this: `trap: many parameters`")
    queries_per_path: int = Field(
        10_000, ge=1, description="more different queries on one path than this: `trap: endless parameters`"
    )
    dates_per_pattern: int = Field(
        1_000, ge=1, description="more addresses that differ in nothing but a date than this: `trap: calendar`"
    )
    same_body: int = Field(
        20, ge=1, description="addresses with byte for byte the same body; those over it are `trap: same body`"
    )
    origins: int = Field(16, ge=1, description="schemes, hosts and ports; pages of further ones: `trap: many ports`")


class WebSource(SourceConfig):
    """A web site to crawl, from its pages, its sitemaps or its feeds; at least one of the three."""

    type: Literal["web"] = "web"
    seeds: tuple[str, ...] = Field((), description="addresses of pages to start from")
    sitemap_urls: tuple[str, ...] = Field((), description="addresses of sitemaps (XML or text, also .gz) to start from")
    feeds: tuple[str, ...] = Field(
        (), description="addresses of RSS or Atom feeds to start from; what they showed on earlier nights stays found"
    )
    sitemaps: bool = Field(True, description="also start from the sitemaps that robots.txt names")
    hosts: tuple[str, ...] = Field(
        (), description="further hosts whose pages belong to the crawl; those of the addresses above always do"
    )
    include: tuple[str, ...] = Field((), description="regular expressions; a URL must match one (empty: all)")
    exclude: tuple[str, ...] = Field((), description="regular expressions; a URL that matches one is skipped")
    tracking_parameters: tuple[str, ...] = Field(
        TRACKING, description="query parameters that are taken out of every URL; `*` at the end: any ending"
    )
    traps: TrapLimits = TrapLimits()
    allow_private_hosts: tuple[str, ...] = Field((), description="host:port that may resolve to non-public addresses")
    max_pages: int = Field(100_000, ge=1)
    max_depth: int = Field(50, ge=0, description="links from a seed, or from what a sitemap or feed names")
    max_body_bytes: int = Field(10_000_000, ge=1_000, description="as sent, and after decompression")
    requests_per_second: float = Field(2.0, gt=0, le=1_000, description="to each host")
    concurrency: int = Field(4, ge=1, le=64, description="requests under way to each host")
    timeout_s: float = Field(20.0, gt=0, description="from the request to the last byte of the answer")
    retries: int = Field(3, ge=0, le=10, description="of 5xx, 429 and network errors, with exponential backoff")
    give_up_after: int = Field(
        50,
        ge=1,
        description="addresses in a row that a host left without an answer (or with 5xx, 429), after all retries",
    )
    warc_bytes: int = Field(1_000_000_000, ge=1_000, description="a WARC file that is longer is followed by a new one")
    user_agent: str = Field("bert-foundry/0.1", min_length=1)

    @field_validator("include", "exclude")
    @classmethod
    def _compile(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r}: not a regular expression ({error})") from None
        return patterns

    @model_validator(mode="after")
    def _has_a_start(self) -> WebSource:
        if not (self.seeds or self.sitemap_urls or self.feeds):
            raise ValueError("a web source needs an address to start from, in `seeds`, `sitemap_urls` or `feeds`")
        return self
