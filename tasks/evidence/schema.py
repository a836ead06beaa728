"""The report on a model: figures, each with how sure one can be of it. JSON and back without loss."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from bert_core.config import Task
from bert_core.intervals import Interval

CANDIDATE = "model"
CHAMPION = "champion"


class Figures(BaseModel):
    """Base of what the report holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MetricFigure(Figures):
    """A metric of one model: the mean over its runs, its interval over runs and examples, and each run's own value."""

    interval: Interval
    runs: tuple[float, ...]
    higher_is_better: bool
    unit: str
    """"share": from 0 to 1; "points": from 0 to 100; "": on a scale of its own."""


class Lead(Figures):
    """The candidate's metric minus another model's, on the same examples."""

    interval: Interval
    p: float
    """Two-sided, from the bootstrap over examples and runs."""


class ModelFigures(Figures):
    """One model on the test side."""

    runs: int
    metrics: dict[str, MetricFigure]
    """Those of a class are named `f1/<class>`."""
    left_out: dict[str, str]
    """Metrics that could not be had, with the reason."""
    leads: dict[str, Lead]
    """By metric, the candidate minus this model; empty for the candidate itself."""


class ClassFigures(Figures):
    """One class, tag or entity type of the candidate."""

    name: str
    precision: Interval
    recall: Interval
    f1: Interval
    support: int
    """How often it is right to say."""
    said: float
    """How often it was said, on average over runs."""


class SliceFigures(Figures):
    """The leading metric on some of the examples."""

    column: str
    value: str
    examples: int
    interval: Interval
    difference: Interval
    """Minus that of all other examples, which are drawn independently."""
    p: float
    """That it differs from the rest by chance, corrected for the number of slices (Holm, 1979)."""
    is_worse: bool
    leads: dict[str, Lead]
    """By other model, on the same examples."""

    @property
    def name(self) -> str:
        return f"{self.column}={self.value}"


class ReliabilityBin(Figures):
    """Answers of about the same confidence."""

    confidence: float
    accuracy: float
    low: float
    high: float
    """Wilson's interval of the accuracy."""
    answers: int


class Calibration(Figures):
    """Whether a confidence of 80% is right 8 times in 10 (Guo et al., 2017, arXiv:1706.04599)."""

    of: str
    """What has a confidence: "examples", "tokens" or "labels"."""
    ece: Interval
    """Expected calibration error over bins of equally many answers."""
    bins: tuple[ReliabilityBin, ...]
    mean_confidence: float
    accuracy: float
    nll: float | None
    """Negative log-likelihood of what is right, of each answer; None: only the confidence of what was said is known."""
    temperature: float | None
    """Best on the validation side, mean over runs: above 1 the model is too sure. None: not fitted."""
    scaled_ece: float | None
    scaled_nll: float | None


class Confusion(Figures):
    """How often what is `labels[i]` was called `labels[j]`, summed over runs."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    runs: int


class TagErrors(Figures):
    """What becomes of entities, on average over runs: each true one is right or one of the first three errors."""

    right: float
    boundary: float
    """Of the right type, overlapping the true one."""
    type: float
    """Where the true one is, or overlapping it, of another type."""
    missed: float
    """Nothing was found there."""
    invented: float
    """Found where nothing is."""
    confused: tuple[tuple[str, str, str, float], ...]
    """(text, true type or O, type that was said or O, how often), the most frequent first."""


class ExampleFigures(Figures):
    """One example and what was said of it."""

    id: str
    parts: tuple[tuple[str, str], ...]
    """(name, text) of what the model was given."""
    gold: str
    said: str
    confidence: float | None
    loss: float
    """Mean over runs; what it measures depends on the task, and orders examples of one report alone."""


class Suspect(Figures):
    """An example whose label may be wrong."""

    id: str
    text: str
    given: str
    suggested: str
    confidence_given: float
    confidence_suggested: float


class Suspects(Figures):
    """Of one side, by confident learning (Northcutt et al., 2021, arXiv:1911.00068)."""

    side: str
    examples: int
    found: int
    shown: tuple[Suspect, ...]
    """The surest first."""
    by_pair: tuple[tuple[str, str, int], ...]
    """(given, suggested, how many), the most frequent first."""


class CurvePoint(Figures):
    """The leading metric of a model trained on so many labelled examples."""

    examples: int
    interval: Interval


class Costs(Figures):
    """What a model costs to use and to make; None: not measured."""

    latency_ms: float | None = None
    """Median, one text at a time."""
    seconds_per_thousand: float | None = None
    """In batches."""
    size_mb: float | None = None
    parameters: int | None = None
    train_seconds: float | None = None
    """Of one run."""
    price_per_thousand: float | None = None
    """Predictions, in the currency of the price of an hour of the machine."""


class EvalReport(Figures):
    """All that is known of a candidate. `model_dump_json` and `model_validate_json` round-trip it."""

    title: str
    task: Task
    facts: dict[str, str]
    """Shown as they are: weights, recipe, data."""
    examples: int
    primary: str
    """The metric that leads."""
    models: dict[str, ModelFigures]
    """The candidate first, under the name "model"; "champion" is the one in production; the others, but for
    `ablations`, are baselines."""
    ablations: tuple[str, ...] = ()
    """Trainings from other weights, shown for comparison: nothing has to beat them."""
    classes: tuple[ClassFigures, ...]
    slices: tuple[SliceFigures, ...]
    slices_left_out: dict[str, str]
    calibration: Calibration | None
    confusion: Confusion | None
    tag_errors: TagErrors | None
    hardest: tuple[ExampleFigures, ...]
    typical: tuple[ExampleFigures, ...]
    """Generation: outputs about the median."""
    suspects: tuple[Suspects, ...]
    learning_curves: dict[str, tuple[CurvePoint, ...]]
    costs: dict[str, Costs]
    machine: str
    """What the costs were measured on."""
    data_report: str
    confidence: float
    bootstrap_samples: int
    seed: int

    @property
    def candidate(self) -> ModelFigures:
        return self.models[CANDIDATE]

    @property
    def baselines(self) -> dict[str, ModelFigures]:
        return {name: one for name, one in self.models.items() if name not in (CANDIDATE, CHAMPION, *self.ablations)}

    @property
    def champion(self) -> ModelFigures | None:
        return self.models.get(CHAMPION)

    def best_baseline(self, metric: str) -> str | None:
        """The one whose mean over runs is best, the earlier of equals; None without any that has the metric."""
        held = {name: one.metrics[metric] for name, one in self.baselines.items() if metric in one.metrics}
        if not held:
            return None
        sign = 1 if next(iter(held.values())).higher_is_better else -1
        return max(held, key=lambda name: sign * held[name].interval.estimate)
