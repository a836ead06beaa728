"""Classical models for every type of task, fitted beside ours so that a report shows what it had to beat."""

from tasks.classical.fitting import Progress, Rivals, fit, legal
from tasks.classical.job import ClassicalError, OutOfTime, Rival, Unavailable

__all__ = ["ClassicalError", "OutOfTime", "Progress", "Rival", "Rivals", "Unavailable", "fit", "legal"]
