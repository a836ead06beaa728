"""Words and figures as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.text.report.layout import unbroken


def reasons(dropped: Mapping[str, int]) -> str:
    """Counts by reason, the greatest first."""
    ordered = sorted(dropped.items(), key=lambda entry: (-entry[1], entry[0]))
    return " · ".join(unbroken(f"{reason} {count:,}") for reason, count in ordered)


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def size(count: float) -> str:
    """Bytes in decimal units."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.{2 if unit == 'GB' else 0}f} {unit}"
    return f"{count:.0f} B"
