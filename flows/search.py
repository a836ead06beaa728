"""Hyper-parameter search over a fine-tuning recipe, and the recipe that it leads to."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from bert_core.files import write_atomically
from flows.corpus import begin, folder_content
from flows.finetune import encoded_run, pretrain_on_task_text
from flows.finetune_recipe import FinetuneRecipe
from flows.reporting import publish_report
from flows.searching import best_recipe, check_space
from tasks import artifacts
from tasks.finetuning.search import SearchSpec
from tasks.finetuning.search import search as search_stage
from tasks.finetuning.space import short
from tasks.finetuning.trials import Trial, best, read_outcome, rows, text_table


@flow(name="search", flow_run_name="{recipe.name} {as_of}", persist_result=False)
def search(recipe: FinetuneRecipe, text: str | None = None, output: str | None = None, as_of: str | None = None) -> str:
    """Try the settings that [search] names, and write the recipe with the best of them.

    Args:
        recipe: of a fine-tuning, with a section [search].
        text: the recipe as it was written, so that its comments stay; by default the resolved one.
        output: where the best recipe is written; by default `<store>/reports/<name>-best.toml`.
        as_of: the night that the run stands for (YYYY-MM-DD), by default today's date in UTC.

    Returns:
        the trials as a table, and where the best recipe lies.

    Raises:
        ConfigError: there is no section [search], or its space has a value that the recipe cannot take.
    """
    check_space(recipe)
    started, night = begin(as_of)
    run = encoded_run(recipe, night)
    pretrain_on_task_text(recipe, run)
    assert recipe.search is not None
    spec = SearchSpec(
        name=recipe.name,
        experiment=recipe.registry.experiment,
        seed=recipe.seeds[0],
        init_content=folder_content(recipe.train.init) if recipe.train.init else None,
        task=run.task,
        train=recipe.train,
        method=recipe.method,
        search=recipe.search,
    )
    inputs = (run.prepared, run.refs["features"], run.start)
    path = Path(output) if output else artifacts.store() / "reports" / f"{recipe.name}-best.toml"
    try:
        found = search_stage(recipe.name, spec, *inputs, as_of=night)
    except KeyboardInterrupt:
        key = search_stage.key(spec, inputs)
        partial = artifacts.artifact_path("search", recipe.name, key).with_suffix(".partial")
        if (partial / "trials.json").exists():
            print(f"\n{_outcome(recipe, text, partial, path)}\nStopped; the same command continues.", flush=True)
        raise
    run.refs["search"] = found
    report = publish_report(recipe.name, night, run.refs, started)
    picture = found / "trials.png"
    return f"{report}\n{_outcome(recipe, text, Path(found.path), path)}\nTo look at: {picture}\n"


def _outcome(recipe: FinetuneRecipe, text: str | None, folder: Path, path: Path) -> str:
    """The table of trials, and the best recipe, which is written."""
    trials, metric = read_outcome(folder)
    chosen = best(trials)
    told = text_table(rows(trials, metric))
    if chosen is None:
        return f"{told}\nNothing was measured yet.\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f"# The best of {len(trials)} trials: {metric} {chosen.value:.4f} on the validation side, {_how(chosen)}.\n"
    write_atomically(path, (head + best_recipe(recipe, text, chosen.values)).encode())
    return (
        f"{told}\nBest: trial {chosen.number}, {metric} {chosen.value:.4f} on the validation side: "
        f"{short(chosen.values)}\nThe recipe with it: {path}\n  bert-foundry finetune {path}\n"
    )


def _how(chosen: Trial) -> str:
    """How far the trial came on whose measurement the choice rests."""
    return "at its end" if chosen.share == 1 else f"when {chosen.share:.0%} of it were done"
