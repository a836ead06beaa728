"""What a reply makes of an address: its row. Pure, but for the clock."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from tasks.text.web.download import PAGE_TYPES, REDIRECTS, Reply
from tasks.text.web.links import header_canonical
from tasks.text.web.pages import PageRow
from tasks.text.web.urls import UrlPolicy

MAX_TYPES = 50
"""Content types that are counted one by one; a hostile server could name a new one with every answer."""
_MEDIA = re.compile(r"[a-z]{1,20}/[a-z0-9.+_-]{1,60}")
_TYPE_REASON = "content type "


def judge(url: str, reply: Reply, known: PageRow | None, policy: UrlPolicy) -> PageRow:
    """The row of an address, still without a place for the body of one that was fetched.

    Args:
        known: the row of the night before, if it has a body.
    """
    if reply.status == 304 and known is not None:
        return replace(known, outcome="not_modified", reason="", status=304)
    if reply.status in REDIRECTS:
        return _redirected(url, reply, policy)
    if reply.status in (200, 203) and not reply.error:
        return _fetched(url, reply, policy)
    reason = reply.error or f"http {reply.status}"
    if known is not None and reply.is_transient:  # a server's bad moment must not take its pages out of the corpus
        return replace(known, outcome="failed", reason=reason, status=reply.status)
    outcome = "skipped" if reason.startswith("private address") else "failed"
    return PageRow(url, outcome, reason, status=reply.status, fetched_at=now())


def _redirected(url: str, reply: Reply, policy: UrlPolicy) -> PageRow:
    row = PageRow(url, "redirected", status=reply.status, fetched_at=now())
    exact = reply.redirect_target(url)
    target = exact and policy.form(exact)
    if target is None:
        row.outcome, row.reason = "failed", "redirect to no address"
    elif target == url and exact != url:
        row.outcome, row.reason = "failed", "redirect to itself with a session id"
    elif target == url:
        row.outcome, row.reason, row.redirect_to = "failed", "redirect loop", target
    elif not policy.is_on_site(target):
        row.outcome, row.reason, row.redirect_to = "skipped", "redirect off site", target
    else:
        row.redirect_to = target
    return row


def _fetched(url: str, reply: Reply, policy: UrlPolicy) -> PageRow:
    media = reply.media_type
    if media not in PAGE_TYPES and not (not media and reply.body.lstrip()[:1] == b"<"):
        named = media if _MEDIA.fullmatch(media) else "unknown"
        return PageRow(url, "skipped", f"{_TYPE_REASON}{named}", reply.status, now())
    return PageRow(
        url,
        "fetched",
        status=reply.status,
        fetched_at=now(),
        etag=reply.header("etag"),
        last_modified=reply.header("last-modified"),
        content_type=reply.header("content-type"),
        body_sha256=hashlib.sha256(reply.body).hexdigest(),
        canonical=canonical_of(url, header_canonical(reply.header_values("link"), url), policy),
    )


def canonical_of(url: str, stated: str | None, policy: UrlPolicy) -> str | None:
    """The stated canonical address in its one form, if it is another one on the crawl's site (RFC 6596)."""
    form = stated and policy.form(stated)
    return form if form and form != url and policy.is_on_site(form) else None


def mark_redirect_loops(rows: Mapping[str, PageRow]) -> None:
    """Redirects that never arrive become failures: all of the loop, and all that lead into it."""
    for start in rows.values():
        url, passed = start.url, set[str]()
        while (row := rows.get(url)) is not None and row.redirect_to is not None:
            if url in passed:
                start.outcome, start.reason = "failed", "redirect loop"
                break
            passed.add(url)
            url = row.redirect_to


def drop_counts(rows: Iterable[PageRow]) -> dict[str, int]:
    """Failed and skipped rows by reason; of the content types the most frequent ones by name."""
    counts = Counter(row.reason for row in rows if row.outcome in ("failed", "skipped"))
    types = [reason for reason, _ in counts.most_common() if reason.startswith(_TYPE_REASON)]
    for reason in types[MAX_TYPES:]:
        counts[f"{_TYPE_REASON}other"] += counts.pop(reason)
    return dict(counts)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
