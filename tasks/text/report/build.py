"""The report of a run, for someone who reads it at 3 a.m.: the verdict first, then the evidence, then the bill.

It only shows what stages wrote down. A stage that did not run has no section; a count that does not add up is named
in the head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tasks.evidence.schema import EvalReport
from tasks.evidence.verdict import Verdict
from tasks.evidence.wording import bounded, difference, held, metric_title, model_title
from tasks.text.report import corpus, models, work
from tasks.text.report.layout import Column, Section, Table, section_markdown, section_text, wrapped
from tasks.text.report.models import NO, YES
from tasks.text.report.stages import ModelVersion, StageRun, unaccounted
from tasks.text.report.wording import duration, size


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
    evidence: EvalReport | None = None,
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
        models.side_by_side(evidence),
        models.classes(evidence),
        models.gate(verdict),
        models.registry(version),
        corpus.crawl(stages),
        corpus.documents(stages),
        corpus.tokens(stages),
        work.training(stages),
        work.bill(stages, seconds, peak_memory_bytes),
        _addresses(addresses or {}),
    ]
    return RunReport(
        title=" · ".join(part for part in ("BERT Foundry", recipe, as_of and f"as of {as_of}") if part),
        headline=_headline(verdict, version, stages),
        evidence=tuple(_evidence(stages, evidence, verdict, seconds, peak_memory_bytes)),
        sections=tuple(section for section in sections if section is not None),
    )


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
    evidence: EvalReport | None,
    verdict: Verdict | None,
    seconds: float | None,
    memory: int | None,
) -> list[str]:
    lines = [f"{NO} {rule.name}: {rule.detail}" for rule in (verdict.failed if verdict else ())]
    lines += [f"{NO} {problem}" for problem in unaccounted(stages)]
    if evidence:
        metric, unit = evidence.primary, held(evidence, evidence.primary).unit
        figure = bounded(held(evidence, metric).interval, unit)
        lines.append(f"{metric_title(metric)} {figure} on {evidence.examples:,} test examples")
        rivals = [evidence.best_baseline(metric), "champion" if evidence.champion else None]
        leads = {name: evidence.models[name].leads.get(metric) for name in rivals if name}
        lines += [
            f"{difference(lead.interval, unit)} against {model_title(name)}" for name, lead in leads.items() if lead
        ]
    cached = sum(stage.cached for stage in stages)
    cost = [f"{len(stages)} stages, {cached} of them cached"] if stages else []
    cost += [duration(seconds)] if seconds is not None else []
    cost += [f"peak memory {size(memory)}"] if memory else []
    return [*lines, ", ".join(cost)] if cost else lines


def _addresses(addresses: Mapping[str, str]) -> Section | None:
    if not addresses:
        return None
    return Section("Look", (Table((Column("page"), Column("address")), tuple(addresses.items())),))
