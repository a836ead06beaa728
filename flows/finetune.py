"""Fine-tuning: labelled files and a pretrained folder to a model with evidence, judged, registered and promoted."""

from __future__ import annotations

from prefect import flow

from bert_core.files import file_sha256
from bert_core.hf import load_config
from flows.corpus import begin, folder_content
from flows.finetune_recipe import FinetuneRecipe
from flows.reporting import publish_report
from flows.tuning import TuneRun
from tasks import artifacts
from tasks.config import PretrainedTokenizer
from tasks.finetuning.prepare import PrepareSpec, prepare
from tasks.finetuning.text import TextSpec, task_text
from tasks.pretrain import PretrainSpec, pretrain


@flow(name="finetune", flow_run_name="{recipe.name} {as_of}", persist_result=False)
def finetune(recipe: FinetuneRecipe, as_of: str | None = None) -> str:
    """Read and check the labelled data, fine-tune once for each seed, compare, judge, register, promote.

    Args:
        recipe: from labelled files to gate; the page that starts a run shows and checks it.
        as_of: the night that the run stands for (YYYY-MM-DD), by default today's date in UTC. The same night again is
            the same run: what is done is found, what was interrupted continues.

    Returns:
        the report, as text.
    """
    started, night = begin(as_of)
    run = encoded_run(recipe, night)
    run.fit_baselines()
    pretrain_on_task_text(recipe, run)
    run.learn()
    run.compare()
    run.release("finetune")
    page = run.refs["gate"]
    assert page is not None
    return f"{publish_report(recipe.name, night, run.refs, started)}\nTo look at: {page / 'report.html'}\n"


def encoded_run(recipe: FinetuneRecipe, night: str) -> TuneRun:
    """Labelled files to checked sides, more of them, features."""
    train, folder = recipe.train, recipe.train.given_tokenizer
    max_tokens = _max_tokens(recipe)
    asked = PrepareSpec(
        name=recipe.name,
        data=recipe.data,
        task=recipe.task,
        seed=recipe.seeds[0],
        tokenizer=folder,
        max_tokens=max_tokens,
        contents={**({folder: folder_content(folder)} if folder else {}), **_files(recipe)},
    )
    sides = prepare(recipe.name, asked, as_of=night)
    tokens = PretrainedTokenizer(path=str(train.init)) if train.tokenizer is None else train.tokenizer
    run = TuneRun(recipe, night, sides, tokens, max_tokens)
    run.encode()
    return run


def pretrain_on_task_text(recipe: FinetuneRecipe, run: TuneRun) -> None:
    """Pretraining on the task's text, if the recipe asks for it: what the run starts from."""
    name, init = recipe.name, recipe.train.init
    if recipe.pretrain is None or init is None:
        return
    content = folder_content(init)
    given = TextSpec(tokenizer=init, tokenizer_content=content)
    run.refs["task-text"] = text = task_text(name, given, run.prepared, as_of=run.night)
    spec = PretrainSpec(
        name=name,
        experiment=recipe.registry.experiment,
        seed=recipe.seeds[0],
        init_content=content,
        pretrain=recipe.pretrain.from_weights(init),
    )
    run.refs["pretrain"] = run.start = pretrain(name, spec, text, None, as_of=run.night)


def _max_tokens(recipe: FinetuneRecipe) -> int:
    """Of a sequence: as many as a row has, if the model can read as many."""
    train = recipe.train
    shape = train.model or load_config(artifacts.home() / str(train.init))
    return min(train.batch.row_length, shape.max_positions)


def _files(recipe: FinetuneRecipe) -> dict[str, str]:
    """Content of each file that [data] names; one that is not there is left to the reader to explain."""
    home, found = artifacts.home(), {}
    for pattern in (recipe.data.train, recipe.data.validation, recipe.data.test):
        for path in sorted(home.glob(pattern)) if pattern and "://" not in pattern else ():
            content = artifacts.folder_content(path) if path.is_dir() else file_sha256(path)
            found[str(path.relative_to(home))] = content
    return found
