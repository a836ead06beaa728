"""The report of a run, for someone who reads it at 3 a.m.: the verdict first, then the evidence, then the bill.

It only shows what stages wrote down. A stage that did not run has no section; a count that does not add up is named
in the head.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bert_core.evaluate import EvalReport, Interval
from tasks.registry.gate import Verdict
from tasks.text.comparison import Comparison
from tasks.text.layout import (
    WIDTH,
    Column,
    Lines,
    Section,
    Table,
    numbers,
    section_markdown,
    section_text,
    unbroken,
    wrapped,
)

MODEL_TITLES = {
    "majority": "majority",
    "naive_bayes": "naive Bayes",
    "logistic_regression": "logistic regression",
    "bert": "BERT",
    "champion": "champion before this run",
}
MEASURES = {"mlm": "masked-word", "nsp": "next-sentence", "sequence": "classification"}
SIDES = ("train", "validation", "test")
YES, NO = "✓", "✗"


@dataclass(frozen=True)
class StageRun:
    """One stage of this run: what its artifact's manifest says, and whether it was built now or before."""

    manifest: Mapping[str, Any]
    """`stage` and, where there are any, `seconds`, `rows`, `dropped`, `facts`, `config`."""
    cached: bool = False
    title: str = ""
    """Where the stage's name is not enough, as when an ablation fine-tunes three times."""
    peak_memory_bytes: int | None = None
    """None: as the manifest's facts say."""

    @property
    def stage(self) -> str:
        return str(self.manifest["stage"])

    @property
    def name(self) -> str:
        return self.title or self.stage

    @property
    def seconds(self) -> float:
        return float(self.manifest.get("seconds", 0.0))

    @property
    def memory(self) -> int | None:
        return self.peak_memory_bytes or self.facts.get("peak_memory_bytes")

    @property
    def rows(self) -> Mapping[str, int]:
        return self.manifest.get("rows") or {}

    @property
    def dropped(self) -> Mapping[str, int]:
        return self.manifest.get("dropped") or {}

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.manifest.get("facts") or {}


@dataclass(frozen=True)
class ModelVersion:
    """What the registry holds after this run."""

    name: str
    version: str
    aliases: tuple[str, ...] = ()
    note: str = ""
    """For example what a promotion replaced."""


@dataclass(frozen=True)
class RunReport:
    """A headline, what stands behind it, and one section for each part of the run."""

    title: str
    headline: str
    evidence: tuple[str, ...]
    sections: tuple[Section, ...] = field(repr=False)

    def text(self) -> str:
        """For a terminal: aligned, at most 100 columns."""
        head = [self.title, "", *(wrapped(line, " ") for line in (self.headline, *self.evidence))]
        return "\n".join([*head, "", *(section_text(section) + "\n" for section in self.sections)])

    def markdown(self) -> str:
        """For a Prefect markdown artifact, and report.md."""
        head = [f"# {self.title}", f"**{self.headline}**", "\n".join(f"- {line}" for line in self.evidence)]
        return "\n\n".join([*head, *(section_markdown(section) for section in self.sections)]) + "\n"


def build_report(
    recipe: str,
    stages: Sequence[StageRun],
    *,
    as_of: str = "",
    comparison: Comparison | None = None,
    verdict: Verdict | None = None,
    version: ModelVersion | None = None,
    addresses: Mapping[str, str] | None = None,
    seconds: float | None = None,
    peak_memory_bytes: int | None = None,
) -> RunReport:
    """The report of a run of `recipe`.

    Args:
        stages: in the order in which they ran; absent ones are not shown.
        as_of: the night that the run stands for.
        addresses: pages to look at, by name.
        seconds, peak_memory_bytes: of the whole run, all processes together.
    """
    sections = [
        _models(comparison),
        _classes(comparison),
        _gate(verdict),
        _registry(version),
        _crawl(stages),
        _documents(stages),
        _tokens(stages),
        _training(stages),
        _stages(stages, seconds, peak_memory_bytes),
        _addresses(addresses or {}),
    ]
    return RunReport(
        title=" · ".join(part for part in ("BERT Foundry", recipe, as_of and f"as of {as_of}") if part),
        headline=_headline(verdict, version, stages),
        evidence=tuple(_evidence(stages, comparison, verdict, seconds, peak_memory_bytes)),
        sections=tuple(section for section in sections if section is not None),
    )


# --- the head ---------------------------------------------------------------------------------------------------------


def _headline(verdict: Verdict | None, version: ModelVersion | None, stages: Sequence[StageRun]) -> str:
    model = f"{version.name} version {version.version}" if version else "the candidate"
    if verdict is None:
        return f"DONE   {stages[-1].name} is the last of {len(stages)} stages" if stages else "NOTHING RAN"
    if not verdict.passed:
        return f"{NO} REFUSED   {model} failed {len(verdict.failed)} of {len(verdict.rules)} rules of the gate"
    if version and "champion" in version.aliases:
        return f"{YES} PROMOTED   {model} is the champion"
    return f"{YES} PASSED   {model} may be promoted, and is not the champion yet"


def _evidence(
    stages: Sequence[StageRun],
    comparison: Comparison | None,
    verdict: Verdict | None,
    seconds: float | None,
    memory: int | None,
) -> list[str]:
    lines = [f"{NO} {rule.name}: {rule.detail}" for rule in (verdict.failed if verdict else ())]
    lines += [f"{NO} {problem}" for problem in unaccounted(stages)]
    if comparison:
        report = comparison.reports[comparison.candidate]
        lines.append(f"accuracy {report.accuracy} on {report.examples:,} test documents")
        lines += [
            f"{_signed(comparison.leads[other])} against {MODEL_TITLES[other]}"
            for other in ("logistic_regression", "champion")
            if other in comparison.leads
        ]
    cached = sum(stage.cached for stage in stages)
    cost = [f"{len(stages)} stages, {cached} of them cached"] if stages else []
    cost += [duration(seconds)] if seconds is not None else []
    cost += [f"peak memory {size(memory)}"] if memory else []
    return [*lines, ", ".join(cost)] if cost else lines


def unaccounted(stages: Sequence[StageRun]) -> list[str]:
    """Stages of which kept + dropped is not what was seen: documents that disappeared, or came from nowhere."""
    return [
        f"{stage.name}: {stage.rows['seen']:,} seen, but {stage.rows['kept']:,} kept + "
        f"{sum(stage.dropped.values()):,} dropped"
        for stage in stages
        if {"seen", "kept"} <= stage.rows.keys()
        and stage.rows["seen"] != stage.rows["kept"] + sum(stage.dropped.values())
    ]


# --- the evidence -----------------------------------------------------------------------------------------------------


def _models(comparison: Comparison | None) -> Section | None:
    if comparison is None:
        return None
    reports = {name: comparison.reports[name] for name in ordered_models(comparison.reports)}
    titles = {name: f"{'▸' if name == comparison.candidate else ' '} {model_title(name)}" for name in reports}
    low, high = _axis([report.accuracy for report in reports.values()])
    chart = min(30, max(12, WIDTH - 53 - max(len(title) for title in titles.values())))  # characters
    columns = (
        Column("  model"),
        Column("accuracy", "right"),
        Column(_axis_title(low, high, chart), terminal_only=True),
        Column(f"{model_title(comparison.candidate)} minus it", "right"),
    )
    rows = tuple(
        (
            titles[name],
            str(report.accuracy),
            _whisker(report.accuracy, low, high, chart),
            _lead(comparison.leads[name]) if name in comparison.leads else "",
        )
        for name, report in reports.items()
    )
    report = reports[comparison.candidate]
    note = f"{report.examples:,} test documents, {report.confidence:.0%} intervals, paired differences, ~ within noise"
    return Section("Models", (Table(columns, rows),), note)


def _classes(comparison: Comparison | None) -> Section | None:
    if comparison is None:
        return None
    report = comparison.reports[comparison.candidate]
    scores = Table(
        (Column("class"), *numbers("precision", "recall", "F1", "documents", "called so")),
        tuple(
            (name, str(one.precision), str(one.recall), str(one.f1), f"{one.support:,}", f"{one.predicted:,}")
            for name, one in ((name, report.per_class[name]) for name in report.classes)
        ),
    )
    blocks = (scores, _confusion(report)) if len(report.classes) <= 6 else (scores,)
    title = f"{model_title(comparison.candidate)} by class"
    return Section(title, blocks, f"macro F1 {report.macro_f1}")


def _confusion(report: EvalReport) -> Table:
    columns = (Column("of the true"), *numbers(*(f"called {name}" for name in report.classes)))
    rows = [
        (name, *(f"{cell:,}" for cell in cells)) for name, cells in zip(report.classes, report.confusion, strict=True)
    ]
    return Table(columns, tuple(rows))


def _gate(verdict: Verdict | None) -> Section | None:
    if verdict is None:
        return None
    rows = tuple((YES if rule.passed else NO, rule.name, rule.detail) for rule in verdict.rules)
    passed = len(verdict.rules) - len(verdict.failed)
    note = f"{'passed' if verdict.passed else 'REFUSED'}, {passed} of {len(verdict.rules)} rules hold"
    return Section("Gate", (Table((Column(""), Column("rule"), Column("finding")), rows),), note)


def _registry(version: ModelVersion | None) -> Section | None:
    if version is None:
        return None
    aliases = "  ".join(f"@{alias}" for alias in version.aliases) or "no alias"
    row = (version.name, version.version, aliases, version.note)
    return Section("Registry", (Table((Column("model"), Column("version"), Column("aliases"), Column("")), (row,)),))


# --- the corpus -------------------------------------------------------------------------------------------------------


def _crawl(stages: Sequence[StageRun]) -> Section | None:
    crawl = _find(stages, "scrape")
    if crawl is None:
        return None
    kinds = ("seen", "fetched", "not_modified", "redirected", "skipped", "failed")
    pages = Table(
        (Column("pages"), *numbers(*(kind.replace("_", " ") for kind in kinds))),
        (("this night", *(f"{crawl.rows.get(kind, 0):,}" for kind in kinds)),),
    )
    change = ", ".join(f"{crawl.rows.get(kind, 0):,} {kind}" for kind in ("new", "changed", "gone"))
    lines = [f"against the night before: {change}"]
    if crawl.dropped:
        lines.append(f"skipped or failed: {reasons(crawl.dropped)}")
    requests, received = crawl.facts.get("requests"), crawl.facts.get("bytes")
    note = f"{requests:,} requests, {size(received)} received" if requests and received else ""
    return Section("Pages", (pages, Lines(tuple(lines))), note)


def _documents(stages: Sequence[StageRun]) -> Section | None:
    rows = [
        (
            stage.name,
            f"{stage.rows['seen']:,}",
            f"{stage.rows['kept']:,}",
            f"{sum(stage.dropped.values()):,}",
            reasons(stage.dropped),
        )
        for stage in stages
        if {"seen", "kept"} <= stage.rows.keys()
    ]
    if not rows:
        return None
    columns = (Column("stage"), *numbers("seen", "kept", "dropped"), Column("why dropped"))
    return Section("Documents", (Table(columns, tuple(rows)),), "seen = kept + dropped")


def _tokens(stages: Sequence[StageRun]) -> Section | None:
    split, encode = _find(stages, "split"), _find(stages, "encode")
    documents: Mapping[str, int] = split.rows if split else encode.facts.get("documents", {}) if encode else {}
    tokens: Mapping[str, int] = encode.facts.get("tokens", {}) if encode else {}
    labels = sorted({key.partition("/")[2] for key in documents if "/" in key})
    rows = [
        (
            side,
            f"{documents[side]:,}",
            *_balance([documents.get(f"{side}/{label}", 0) for label in labels]),
            f"{documents[side] - sum(documents.get(f'{side}/{label}', 0) for label in labels):,}",
            f"{tokens[side]:,}" if side in tokens else "",
        )
        for side in SIDES
        if side in documents
    ]
    if not rows:
        return None
    table = Table((Column("side"), *numbers("documents", *labels, "unlabelled", "tokens")), tuple(rows))
    return Section("Split and tokens", (table,), _vocabulary(encode.facts) if encode else "")


def _balance(counts: Sequence[int]) -> list[str]:
    return [f"{count:,} ({count / max(1, sum(counts)):.0%})" for count in counts]


def _vocabulary(facts: Mapping[str, Any]) -> str:
    parts = []
    if "vocab_size" in facts:
        parts.append(f"vocabulary of {facts['vocab_size']:,}")
    if "unknown_rate" in facts:
        parts.append(f"{facts['unknown_rate']:.2%} unknown")
    if "fertility" in facts:
        parts.append(f"{facts['fertility']:.2f} tokens a word")
    if "tokenizer" in facts:
        parts.append(str(facts["tokenizer"])[:12])
    return ", ".join(parts)


# --- the training -----------------------------------------------------------------------------------------------------


def _training(stages: Sequence[StageRun]) -> Section | None:
    runs = [stage for stage in stages if "eval_after" in stage.facts]
    if not runs:
        return None
    work = Table(
        (Column("run"), *numbers("steps", "workers", "tokens", "tokens/s", "padding", "if unpacked")),
        tuple(_work(run) for run in runs),
    )
    held_out = Table(
        (Column("run"), Column("on the validation side"), *numbers("before", "after", "change")),
        tuple(row for run in runs for row in _held_out(run)),
    )
    return Section(
        "Training", (work, held_out), "padding: share of positions without a token; unpacked: one text a row"
    )


def _work(run: StageRun) -> tuple[str, ...]:
    facts, unpacked = run.facts, _padding_unpacked(run)
    return (
        run.name,
        f"{facts['steps']:,}",
        str(facts.get("world_size", "")),
        f"{facts['tokens']:,}",
        f"{facts['tokens_per_second']:,.0f}",
        f"{facts['padding_share']:.1%}",
        f"{unpacked:.1%}" if unpacked is not None else "",
    )


def _padding_unpacked(run: StageRun) -> float | None:
    """What the padding would have been with one sample in each row, as without packing; None where that is unknown."""
    section = (run.manifest.get("config") or {}).get(run.stage) or {}
    row_length = (section.get("batch") or {}).get("row_length")
    rows = run.facts.get("epochs", 0) * run.facts.get("samples", 0)
    return max(0.0, 1 - run.facts["tokens"] / (rows * row_length)) if row_length and rows else None


def _held_out(run: StageRun) -> list[tuple[str, ...]]:
    before, after = run.facts.get("eval_before") or {}, run.facts["eval_after"]
    rows = []
    for key, value in after.items():
        objective, _, measure = key.rpartition("_")
        if objective:  # the total loss, `loss`, only repeats the sum of its parts
            title = f"{MEASURES.get(objective, objective)} {measure}"
            rows.append(_change(run.name, title, before.get(key), value))
        if key == "mlm_loss":
            old = before.get(key)
            rows.append(_change(run.name, "masked-word perplexity", _perplexity(old), _perplexity(value)))
    return rows


def _change(run: str, title: str, before: float | None, after: float | None) -> tuple[str, ...]:
    digits = ",.1f" if title.endswith("perplexity") else ".3f"
    change = f"{after - before:+{digits}}" if before is not None and after is not None else ""
    return (run, title, *("" if value is None else f"{value:{digits}}" for value in (before, after)), change)


def _perplexity(loss: float | None) -> float | None:
    return None if loss is None else math.exp(min(loss, 700.0))


# --- the bill ---------------------------------------------------------------------------------------------------------


def _stages(stages: Sequence[StageRun], seconds: float | None, memory: int | None) -> Section | None:
    if not stages:
        return None
    rows = [
        (
            stage.name,
            f"({duration(stage.seconds)})" if stage.cached else f"{duration(stage.seconds)} ",
            size(stage.memory) if stage.memory else "",
            "cached" if stage.cached else "",
        )
        for stage in stages
    ]
    spent = sum(stage.seconds for stage in stages if not stage.cached) if seconds is None else seconds
    rows.append(("in all", f"{duration(spent)} ", size(memory) if memory else "", ""))
    table = Table((Column("stage"), *numbers("time ", "peak memory"), Column("")), tuple(rows))
    return Section("Stages", (table,), "in brackets: what it took when it was built" if _any_cached(stages) else "")


def _any_cached(stages: Sequence[StageRun]) -> bool:
    return any(stage.cached for stage in stages)


def _addresses(addresses: Mapping[str, str]) -> Section | None:
    if not addresses:
        return None
    return Section("Look", (Table((Column("page"), Column("address")), tuple(addresses.items())),))


# --- words and figures ------------------------------------------------------------------------------------------------


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


def _find(stages: Sequence[StageRun], name: str) -> StageRun | None:
    return next((stage for stage in stages if stage.stage == name), None)


def _signed(interval: Interval) -> str:
    return f"{interval.estimate:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def _lead(lead: Interval) -> str:
    return f"{'~' if lead.low <= 0 <= lead.high else ''}{_signed(lead)}"


def _axis(intervals: Sequence[Interval]) -> tuple[float, float]:
    """Round ends of a scale that holds all the intervals."""
    low = math.floor(min(interval.low for interval in intervals) * 20) / 20
    high = math.ceil(max(interval.high for interval in intervals) * 20) / 20
    return low, high if high > low else low + 0.05


def _axis_title(low: float, high: float, chart: int) -> str:
    left, right = f"{low:.2f}", f"{high:.2f}"
    return left + "·" * (chart - len(left) - len(right)) + right


def _whisker(interval: Interval, low: float, high: float, chart: int) -> str:
    """`├──●──┤` on a scale of `chart` characters from `low` to `high`."""

    def place(value: float) -> int:
        return round((value - low) / (high - low) * (chart - 1))

    start, middle, end = place(interval.low), place(interval.estimate), place(interval.high)
    cells = [" "] * chart
    cells[start : end + 1] = "─" * (end + 1 - start)
    cells[start], cells[end] = "├", "┤"
    cells[middle] = "●"
    return "".join(cells)
