"""Words and figures as a person reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bert_core.evaluate import Interval
from tasks.text.report.layout import unbroken

MODEL_TITLES = {
    "majority": "majority",
    "naive_bayes": "naive Bayes",
    "logistic_regression": "logistic regression",
    "bert": "BERT",
    "champion": "champion before this run",
}


def model_title(name: str) -> str:
    return MODEL_TITLES.get(name, name.replace("_", " ").replace("bert", "BERT"))


def ordered_models(names: Iterable[str]) -> list[str]:
    """From the simplest to the best known, then the rest: a dictionary that was JSON has lost its order."""
    found = list(names)
    return [*(name for name in MODEL_TITLES if name in found), *(name for name in found if name not in MODEL_TITLES)]


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


def signed(interval: Interval) -> str:
    return f"{interval.estimate:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
