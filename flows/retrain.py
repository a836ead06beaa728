"""The nightly run: from a source of text to a model in production, or to the reason why not."""

from __future__ import annotations

from typing import Any

from prefect import flow

from bert_core.hf import load_config
from flows.corpus import Refs, begin, build_corpus, folder_content
from flows.look import publish_look
from flows.recipe import Recipe
from flows.reporting import publish_report
from tasks import artifacts
from tasks.baselines import BaselinesSpec, baselines
from tasks.evaluate import EvaluateSpec, evaluate
from tasks.finetune import FinetuneSpec, finetune
from tasks.gate import GateSpec, gate
from tasks.plan import PlanSpec, lineage, plan, starting_point
from tasks.pretrain import PretrainSpec, pretrain
from tasks.promote import PromoteSpec, promote
from tasks.register import RegisterSpec, register

ORIGIN = (
    *("extract", "clean", "dedup", "decontaminate", "split", "encode"),
    *("start", "pretrain", "finetune", "evaluate"),
)
"""Stages whose artifacts are a model's lineage, beside its sources."""


@flow(name="retrain", flow_run_name="{recipe.name} {as_of}", persist_result=False)
def retrain(recipe: Recipe, as_of: str | None = None, ablate: bool = False) -> str:
    """Crawl, clean, deduplicate, split, encode, pretrain, fine-tune, evaluate, register, gate, promote.

    Args:
        recipe: the whole run; the page that starts a run shows and checks it.
        as_of: the night that the run stands for (YYYY-MM-DD), by default today's date in UTC. The same night again is
            the same run: what is done is found, what was interrupted continues.
        ablate: also fine-tune from random weights and without the continued pretraining, with the same budget.

    Returns:
        the report, as text.
    """
    started, night = begin(as_of)
    refs = build_corpus(recipe, night, recipe.finetune.labels)
    refs |= models(recipe, night, refs, ablate=ablate)
    refs |= release(recipe, night, refs)
    return publish_report(recipe.name, night, refs, started) + publish_look(recipe.name, night, refs)


def models(recipe: Recipe, night: str, refs: Refs, *, ablate: bool) -> Refs:
    """From token shards to a fine-tuned classifier, its rivals, and how they compare."""
    name, labels = recipe.name, recipe.finetune.labels
    shared: dict[str, Any] = {"name": name, "seed": recipe.seed, "experiment": recipe.registry.experiment}
    shared["init_content"] = folder_content(recipe.pretrain.init) if recipe.pretrain.init else None
    decided = plan(name, PlanSpec(model_name=recipe.registry.model_name, as_of=night), refs["encode"], as_of=night)
    start = starting_point(decided)
    encoder = pretrain(name, PretrainSpec(pretrain=recipe.pretrain, **shared), refs["encode"], start, as_of=night)
    spec = BaselinesSpec(baselines=recipe.baselines, labels=labels, seed=recipe.seed)
    classical = baselines(name, spec, refs["split"], as_of=night)
    tuning = FinetuneSpec(finetune=recipe.finetune, **shared)
    classifier = finetune(name, tuning, refs["encode"], encoder, as_of=night)
    variants = _ablations(recipe, tuning) if ablate else {}
    others = {key: finetune(name, variant, refs["encode"], None, as_of=night) for key, variant in variants.items()}
    evidence = evaluate(
        name,
        EvaluateSpec(
            evaluate=recipe.evaluate,
            labels=labels,
            model_name=recipe.registry.model_name,
            ablations=tuple(others),
        ),
        refs["split"],
        classical,
        classifier,
        decided,
        *others.values(),
        as_of=night,
    )
    return {
        "plan": decided,
        "start": start,
        "pretrain": encoder,
        "baselines": classical,
        "finetune": classifier,
        **others,
        "evaluate": evidence,
    }


def release(recipe: Recipe, night: str, refs: Refs) -> Refs:
    """From a fine-tuned classifier to a registered version, a verdict, and a promotion or a refusal."""
    name = recipe.name
    origin = [key for key in refs if key.startswith("source ")] + [key for key in ORIGIN if key in refs]
    spec = RegisterSpec(
        registry=recipe.registry,
        lineage=lineage({key: refs[key] for key in origin}),
        recipe=name,
        as_of=night,
    )
    version = register(name, spec, refs["finetune"], refs["evaluate"], as_of=night)
    verdict = gate(name, GateSpec(gate=recipe.gate, evaluate=recipe.evaluate), refs["evaluate"], version, as_of=night)
    outcome = promote(name, PromoteSpec(who=f"retrain {name} {night}"), version, verdict, as_of=night)
    return {"register": version, "gate": verdict, "promote": outcome}


def _ablations(recipe: Recipe, tuning: FinetuneSpec) -> dict[str, FinetuneSpec]:
    """The same fine-tuning from other weights."""
    shape = recipe.pretrain.model or load_config(artifacts.home() / str(recipe.pretrain.init))
    variants = {"random_weights": tuning.model_copy(update={"start": "random", "model": shape})}
    if recipe.pretrain.init:
        start = {"start": "init", "init": recipe.pretrain.init}
        variants["without_pretraining"] = tuning.model_copy(update=start)
    return variants
