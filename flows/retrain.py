"""The nightly run: from a source of text to a model in production, or to the reason why not."""

from __future__ import annotations

from prefect import flow

from bert_core.config import ModelConfig
from bert_core.hf import load_config
from flows.corpus import Refs, begin, build_corpus, folder_content
from flows.look import publish_look
from flows.recipe import Recipe
from flows.reporting import publish_report
from flows.tuning import TuneRun
from tasks.config.finetune import TaskTrainConfig
from tasks.finetuning.documents import DocumentsSpec, prepare_documents
from tasks.plan import PlanSpec, plan, starting_point
from tasks.pretrain import PretrainSpec, pretrain


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
    refs = build_corpus(recipe, night, recipe.task.labels)
    run = tuning(recipe, night, refs, ablate=ablate)
    run.encode()
    run.fit_baselines()
    run.learn()
    run.compare()
    run.release("retrain")
    report = publish_report(recipe.name, night, run.refs, started) + publish_look(recipe.name, night, run.refs)
    page = run.refs["gate"]
    assert page is not None
    return f"{report}The evidence on the model, to look at: {page / 'report.html'}\n"


def tuning(recipe: Recipe, night: str, refs: Refs, *, ablate: bool) -> TuneRun:
    """The pretrained encoder, and the labelled documents that it is to be fine-tuned on."""
    name, encoded, documents = recipe.name, refs["encode"], refs["split"]
    assert encoded is not None
    decided = plan(name, PlanSpec(model_name=recipe.registry.model_name, as_of=night), encoded, as_of=night)
    start = starting_point(decided)
    spec = PretrainSpec(
        name=name,
        experiment=recipe.registry.experiment,
        seed=recipe.seed,
        init_content=folder_content(recipe.pretrain.init) if recipe.pretrain.init else None,
        pretrain=recipe.pretrain,
    )
    encoder = pretrain(name, spec, encoded, start, as_of=night)
    shape = load_config(encoder / "model")
    max_tokens = min(recipe.train.batch.row_length, shape.max_positions)
    asked = DocumentsSpec(name=name, task=recipe.task, seed=recipe.seed, max_tokens=max_tokens)
    return TuneRun(
        recipe,
        night,
        prepare_documents(name, asked, documents, encoded, as_of=night),
        encoded,
        max_tokens,
        start=encoder,
        ablations=_ablations(recipe, shape) if ablate else {},
        refs=refs | {"plan": decided, "start": start, "pretrain": encoder},
    )


def _ablations(recipe: Recipe, shape: ModelConfig) -> dict[str, TaskTrainConfig]:
    """The same fine-tuning from other weights."""
    train, init = recipe.train, recipe.pretrain.init
    found = {"random_weights": train.model_copy(update={"model": shape})}
    if init:
        found["without_pretraining"] = train.model_copy(update={"init": init})
    return found
