"""Metrics, models and figures as a person reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bert_core.intervals import Interval
from tasks.evidence.schema import CANDIDATE, CHAMPION, EvalReport, MetricFigure

METRICS = {
    "auroc": "AUROC",
    "bits_per_character": "bits per character",
    "bleu": "BLEU",
    "brier": "Brier score",
    "chrf": "chrF",
    "entity_f1": "entity F1",
    "exact": "exact match",
    "f1": "F1",
    "has_answer_exact": "exact match, has answer",
    "has_answer_f1": "F1, has answer",
    "macro_f1": "macro F1",
    "mae": "mean absolute error",
    "mcc": "Matthews correlation",
    "micro_f1": "micro F1",
    "mrr": "mean reciprocal rank",
    "no_answer_accuracy": "accuracy, no answer",
    "pearson": "Pearson correlation",
    "r2": "R²",
    "rmse": "root mean squared error",
    "rouge_1": "ROUGE-1",
    "rouge_2": "ROUGE-2",
    "rouge_l": "ROUGE-L",
    "spearman": "Spearman correlation",
}


def metric_title(name: str) -> str:
    plain, slash, label = name.partition("/")
    title = METRICS.get(plain) or plain.replace("_at_", " at ").replace("_", " ")
    return f"{title} of {label}" if slash else title


def sentence(title: str) -> str:
    """To begin a sentence with; chrF stays what it is."""
    return title if title == METRICS["chrf"] else title[:1].upper() + title[1:]


def model_title(name: str) -> str:
    return {CANDIDATE: "this model", CHAMPION: "champion"}.get(name) or name.replace("_", " ")


def figure(value: float, unit: str) -> str:
    """Three decimals of a share, one of points, else four digits."""
    if unit == "share":
        return f"{value:.3f}"
    if unit == "points":
        return f"{value:.1f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}" if abs(value) < 10_000 else f"{value:,.0f}"


def change(value: float, unit: str) -> str:
    """A difference, with its sign."""
    written = figure(abs(value), unit)
    return written if float(written.replace(",", "")) == 0 else f"{'+' if value > 0 else '−'}{written}"


def span(interval: Interval, unit: str) -> str:
    return f"{figure(interval.low, unit)} to {figure(interval.high, unit)}"


def change_span(interval: Interval, unit: str) -> str:
    return f"{change(interval.low, unit)} to {change(interval.high, unit)}"


def bounded(interval: Interval, unit: str) -> str:
    return f"{figure(interval.estimate, unit)} [{figure(interval.low, unit)}, {figure(interval.high, unit)}]"


def difference(interval: Interval, unit: str) -> str:
    """The same of a difference, with signs."""
    estimate, low, high = (change(each, unit) for each in (interval.estimate, interval.low, interval.high))
    return f"{estimate} [{low}, {high}]"


def chance(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def better(report: EvalReport, metric: str, difference: Interval) -> bool | None:
    """Whether a difference is for the better; None: its interval holds 0, and these examples do not tell."""
    low, high = gain(held(report, metric), difference)
    return True if low > 0 else False if high < 0 else None


def gain(metric: MetricFigure, difference: Interval) -> tuple[float, float]:
    """(lower, upper) end of a difference such that more is better."""
    if metric.higher_is_better:
        return difference.low, difference.high
    return -difference.high, -difference.low


def held(report: EvalReport, metric: str) -> MetricFigure:
    return report.candidate.metrics[metric]


def seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s" if value < 120 else f"{value / 60:,.1f} min"


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers within [low, high], about so many."""
    step = (high - low) / max(1, about)
    if not step > 0:
        return [low]
    power = 10 ** math.floor(math.log10(step))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= step * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(step * i, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_label(value: float, marks: Sequence[float]) -> str:
    """With as many decimals as the ticks need."""
    for decimals in range(6):
        if all(abs(round(one, decimals) - one) < 1e-9 for one in marks):
            return f"{value:,.{decimals}f}"
    return f"{value:g}"
