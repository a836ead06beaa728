"""What robots.txt allows, by RFC 9309."""

from __future__ import annotations

from dataclasses import dataclass

from protego import Protego

MAX_BYTES = 512_000  # RFC 9309, section 2.5: at least 500 KiB must be parsed; what comes after is ignored
MAX_DELAY_S = 60.0


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
        text = body[:MAX_BYTES].decode("utf-8-sig", "replace") if found else ""
        return cls(Protego.parse(text), user_agent)

    def refusal(self, url: str) -> str:
        """Why the address must not be fetched; "" when it may."""
        if self.unreachable:
            return self.unreachable
        return "" if self.rules.can_fetch(url, self.user_agent) else "robots.txt"

    @property
    def delay_s(self) -> float:
        """The Crawl-delay that the site asks for (not in the RFC, but it is what the site asks for), at most 60."""
        return min(float(self.rules.crawl_delay(self.user_agent) or 0.0), MAX_DELAY_S)

    @property
    def sitemaps(self) -> list[str]:
        return [] if self.unreachable else list(self.rules.sitemaps)
