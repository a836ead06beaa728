"""Training as the last thing: a corpus and its pretraining, or one training config as it is given."""

from __future__ import annotations

from prefect import flow

from bert_core.config import TrainConfig
from flows.corpus import Refs, begin, build_corpus, folder_content
from flows.look import publish_look
from flows.recipe import PretrainRecipe
from flows.reporting import publish_report
from tasks.config import Workers
from tasks.pretrain import PretrainSpec
from tasks.pretrain import pretrain as pretrain_stage
from tasks.train_as_given import TrainSpec, train_as_given


@flow(name="pretrain", flow_run_name="{recipe.name} {as_of}", persist_result=False)
def pretrain(recipe: PretrainRecipe, as_of: str | None = None) -> str:
    """Crawl or read the sources, clean, deduplicate, split, encode, pretrain.

    Args:
        recipe: from sources to weights; the page that starts a run shows and checks it.
        as_of: the night that the run stands for (YYYY-MM-DD), by default today's date in UTC. The same night again is
            the same run: what is done is found, what was interrupted continues.

    Returns:
        the report, as text.
    """
    started, night = begin(as_of)
    refs: Refs = build_corpus(recipe, night)
    spec = PretrainSpec(
        name=recipe.name,
        seed=recipe.seed,
        experiment=recipe.experiment or recipe.name,
        init_content=folder_content(recipe.pretrain.init) if recipe.pretrain.init else None,
        pretrain=recipe.pretrain,
    )
    refs["pretrain"] = pretrain_stage(recipe.name, spec, refs["encode"], None, as_of=night)
    return publish_report(recipe.name, night, refs, started) + publish_look(recipe.name, night, refs)


@flow(name="train", flow_run_name="{config.name}", persist_result=False)
def train(config: TrainConfig, workers: Workers = 2, mirror: str | None = None, experiment: str | None = None) -> str:
    """Train one config on Ray, as `python -m bert_core.train` does without it, shown here and kept in MLflow.

    Args:
        config: the keys of the file, its folders as seen from the working folder.
        workers: a number, or [fewest, most].
        mirror: folder that gets a copy of every checkpoint.
        experiment: of MLflow; by default the config's name.

    Returns:
        the report, as text; the weights lie in `model/` of the artifact that it names.
    """
    started, today = begin()
    spec = TrainSpec.of(config, experiment=experiment or config.name, workers=workers, mirror=mirror)
    trained = train_as_given(config.name, spec)
    report = publish_report(config.name, today, {"train": trained}, started)
    return f"{report}\nThe weights: {trained / 'model'}\n"
