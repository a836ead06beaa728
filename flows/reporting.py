"""The report of a nightly run: read from what its stages published, shown in Prefect, kept in the store."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import datetime

from prefect.artifacts import create_markdown_artifact

from tasks import artifacts
from tasks.artifacts import ArtifactRef
from tasks.evidence.verdict import RuleResult, Verdict
from tasks.finetuning.evidence import read_report
from tasks.registry import versions
from tasks.stage import artifact_key
from tasks.text.report.build import RunReport, build_report
from tasks.text.report.stages import ModelVersion, StageRun

NOT_STAGES = {"start"}  # an earlier night's pretraining, which this one continues from


def publish_report(recipe: str, night: str, refs: Mapping[str, ArtifactRef | None], started: datetime) -> str:
    """The report as text; as markdown it goes to the run's page and to `<store>/reports/<recipe>-<night>.md`."""
    report = run_report(recipe, night, refs, started)
    create_markdown_artifact(report.markdown(), key=artifact_key(f"{recipe}-report"), description=report.headline)
    folder = artifacts.store() / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{recipe}-{night}.md").write_text(report.markdown(), "utf-8")
    return report.text()


def run_report(recipe: str, night: str, refs: Mapping[str, ArtifactRef | None], started: datetime) -> RunReport:
    manifests = {name: ref.manifest for name, ref in refs.items() if ref is not None and name not in NOT_STAGES}
    stages = [
        StageRun(manifest, cached=manifest["created_at"] < started.timestamp(), title=_title(name, manifest["stage"]))
        for name, manifest in manifests.items()
    ]
    built = [stage.memory or 0 for stage in stages if not stage.cached]
    evidence, gate = refs.get("evidence"), manifests.get("gate")
    return build_report(
        recipe,
        stages,
        as_of=night,
        evidence=read_report(evidence) if evidence else None,
        verdict=Verdict(tuple(RuleResult(**rule) for rule in gate["facts"]["rules"])) if gate else None,
        version=_version(manifests["register"]["facts"]) if "register" in manifests else None,
        addresses=_addresses(),
        seconds=time.time() - started.timestamp(),
        peak_memory_bytes=max(built, default=0) or None,
    )


def _addresses() -> dict[str, str]:
    """Pages to look at; the local stack's own where the environment does not say."""
    pages = {"Prefect": os.environ.get("PREFECT_UI_URL", ""), "MLflow": os.environ.get("MLFLOW_TRACKING_URI", "")}
    pages["Ray"] = os.environ.get("BERT_FOUNDRY_RAY_PAGE", "")
    return {name: page for name, page in pages.items() if page.startswith("http")}


def _title(name: str, stage: str) -> str:
    if name.startswith("source "):
        return f"{stage} {name.removeprefix('source ')}"
    if name.split(" ")[0] in (stage, stage.split("-")[0]):  # such as train 13
        return "" if name == stage else name
    return f"{stage} {name.replace('_', ' ')}"


def _version(facts: Mapping[str, str]) -> ModelVersion:
    found = versions.get(facts["model_name"], facts["version"])
    previous = versions.aliases(found.name).previous
    note = f"@previous is version {previous}" if previous else "no earlier champion"
    return ModelVersion(found.name, found.version, found.aliases, note)
