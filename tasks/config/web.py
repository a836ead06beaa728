"""What a crawl of a web site may be told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bert_core.config import Config


class WebSource(Config):
    """A web site to crawl."""

    type: Literal["web"] = "web"
    seeds: tuple[str, ...] = Field(min_length=1, description="addresses to start from")
    sitemaps: bool = Field(True, description="also start from the sitemaps that robots.txt names")
    include: tuple[str, ...] = Field((), description="regular expressions; a URL must match one (empty: all)")
    exclude: tuple[str, ...] = Field((), description="regular expressions; a URL that matches one is skipped")
    allow_private_hosts: tuple[str, ...] = Field((), description="host:port that may resolve to non-public addresses")
    max_pages: int = Field(100_000, ge=1)
    max_depth: int = Field(50, ge=0)
    max_body_bytes: int = Field(10_000_000, ge=1_000)
    requests_per_second: float = Field(2.0, gt=0, le=1_000, description="to each host")
    concurrency: int = Field(4, ge=1, le=64, description="requests under way to each host")
    timeout_s: float = Field(20.0, gt=0)
    retries: int = Field(3, ge=0, le=10, description="of 5xx, 429 and network errors, with exponential backoff")
    user_agent: str = Field("bert-foundry/0.1", min_length=1)
