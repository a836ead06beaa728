"""Languages and scripts of the sides: a test side in another one measures another task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from bert_core.config import Task, TokenTask
from tasks.labelled.report import Finding
from tasks.text.language import identify_all

_SCRIPTS = {
    "Latin": (0x41, 0x24F),
    "Greek": (0x370, 0x3FF),
    "Cyrillic": (0x400, 0x52F),
    "Hebrew": (0x590, 0x5FF),
    "Arabic": (0x600, 0x77F),
    "Devanagari": (0x900, 0x97F),
    "Thai": (0xE00, 0xE7F),
    "Kana": (0x3040, 0x30FF),
    "Han": (0x3400, 0x9FFF),
    "Hangul": (0xAC00, 0xD7AF),
}
"""First and last code points; neighbours such as punctuation among them."""


def languages(task: Task, sides: Mapping[str, pa.Table]) -> Iterator[Finding]:
    """What training is in, by a sample; and each other side that is in something else."""
    scripts = {side: _scripts(_texts(task, table)) for side, table in sides.items()}
    spoken = {side: identify_all(_texts(task, table)[:2_000])[0] for side, table in sides.items()}
    main = ", ".join(f"{name} {share:.0%}" for name, share in scripts["train"].items() if share >= 0.01)
    yield Finding(
        check="scripts",
        severity="info",
        message=f"train is {spoken['train'] or 'of no known language'}; its letters: {main or 'none'}",
        counts={name: round(share, 4) for name, share in scripts["train"].items()},
    )
    for side in (each for each in sides if each != "train"):
        names = scripts["train"].keys() | scripts[side].keys()
        distance = sum(abs(scripts["train"].get(name, 0) - scripts[side].get(name, 0)) for name in names) / 2
        if distance > 0.2 or spoken[side] != spoken["train"]:
            yield Finding(
                check="script-shift",
                severity="warning",
                message=f"{side} is in {spoken[side] or 'no known language'}, train in "
                f"{spoken['train'] or 'no known language'}; {distance:.0%} of the letters are of other scripts",
                counts={"total variation distance": round(distance, 4)},
            )


def _scripts(texts: Sequence[str]) -> dict[str, float]:
    """Shares of the letters of a sample by script, the largest first."""
    step = max(1, len(texts) // 2_000)
    joined = "".join(text[:500] for text in texts[::step])
    points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    counts = {name: int(((points >= low) & (points <= high)).sum()) for name, (low, high) in _SCRIPTS.items()}
    total = max(1, sum(counts.values()))
    return {name: count / total for name, count in sorted(counts.items(), key=lambda each: -each[1]) if count}


def _texts(task: Task, table: pa.Table) -> list[str]:
    """The first text of each example."""
    if isinstance(task, TokenTask):
        return [" ".join(tokens) for tokens in table["tokens"].to_pylist()]
    name = {"span": "context", "causal": "target"}.get(task.type, "text")
    found: list[str] = table[name].to_pylist()
    return found
