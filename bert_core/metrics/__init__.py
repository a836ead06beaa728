"""Every task's metrics, as the field's own scripts count them, and how sure one can be of them.

`score(task, gold, answers)` gives a run's metrics; `resample({"model": [scores of each seed], ...})` their intervals
and differences over examples and seeds.
"""

from bert_core.metrics.aligned import aligned
from bert_core.metrics.metric import AnyMetric, Metric, RankMetric, Scores
from bert_core.metrics.resampling import Difference, Resampled, interval, paired_difference, resample
from bert_core.metrics.score import primary_metric, score
from bert_core.metrics.significance import approximate_randomisation, holm, mcnemar

__all__ = [
    "AnyMetric",
    "Difference",
    "Metric",
    "RankMetric",
    "Resampled",
    "Scores",
    "aligned",
    "approximate_randomisation",
    "holm",
    "interval",
    "mcnemar",
    "paired_difference",
    "primary_metric",
    "resample",
    "score",
]
