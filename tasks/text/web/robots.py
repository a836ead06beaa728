"""What robots.txt allows, by RFC 9309."""

from __future__ import annotations

import time
from dataclasses import dataclass

from protego import Protego

from tasks.text.web.download import Fetcher
from tasks.text.web.urls import host_and_port, origin_of

MAX_BYTES = 512_000  # RFC 9309, section 2.5: at least 500 KiB must be parsed; what comes after is ignored
MAX_DELAY_S = 60.0
MAX_AGE_S = 24 * 3600.0  # section 2.4: not kept for longer


@dataclass(frozen=True)
class Robots:
    """The rules of one origin. `unreachable` is why they could not be read, and then everything is disallowed."""

    rules: Protego
    user_agent: str
    unreachable: str = ""

    @classmethod
    def from_reply(cls, status: int, body: bytes, error: str, user_agent: str) -> Robots:
        """4xx: there are no rules, all is allowed; 5xx or no answer: all is disallowed (section 2.3.1)."""
        if error or status >= 500 or status == 429 or status < 200:
            # A refused private address is the page's own trouble, not that of its robots.txt.
            reason = error if error.startswith("private address") else f"robots.txt unreachable ({error or status})"
            return cls(Protego.parse(""), user_agent, reason)
        found = 200 <= status < 300
        return cls(Protego.parse(_text(body) if found else ""), user_agent)

    def refusal(self, url: str) -> str:
        """Why the address must not be fetched; "" when it may."""
        if self.unreachable:
            return self.unreachable
        return "" if self.rules.can_fetch(url, self.user_agent) else "robots.txt"

    @property
    def delay_s(self) -> float:
        """The Crawl-delay that the site asks for (not in the RFC, but it is what the site asks for), at most 60."""
        return min(max(float(self.rules.crawl_delay(self.user_agent) or 0.0), 0.0), MAX_DELAY_S)

    @property
    def sitemaps(self) -> list[str]:
        return [] if self.unreachable else list(self.rules.sitemaps)


class RobotsFiles:
    """The rules of every origin that a crawl comes to, fetched once a day."""

    def __init__(self, fetcher: Fetcher, user_agent: str) -> None:
        self._fetcher = fetcher
        self._user_agent = user_agent
        self._known: dict[str, tuple[float, Robots]] = {}

    async def of(self, url: str) -> Robots:
        """The rules for an address; redirects to other hosts are followed, as section 2.3.1.2 has it."""
        origin = origin_of(url)
        known = self._known.get(origin)
        if known is None or time.monotonic() - known[0] > MAX_AGE_S:
            reply = await self._fetcher.get_listing(f"{origin}/robots.txt", head_bytes=MAX_BYTES)
            known = (
                time.monotonic(),
                Robots.from_reply(reply.status, reply.body, reply.error, self._user_agent),
            )
            self._known[origin] = known
            self._fetcher.slow_down(host_and_port(f"{origin}/")[0], known[1].delay_s)
        return known[1]


def _text(body: bytes) -> str:
    """The part that counts, without a line that the limit cut: half of a rule is another rule."""
    if len(body) >= MAX_BYTES:
        body = body[:MAX_BYTES].rpartition(b"\n")[0]
    return body.decode("utf-8-sig", "replace")
