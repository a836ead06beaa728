"""Fine-tuning: labelled files and a pretrained folder to a model with evidence, judged, registered and promoted."""

from __future__ import annotations

from prefect import flow

from bert_core.config import Task
from bert_core.files import file_sha256
from bert_core.hf import load_config
from flows.corpus import Refs, begin, folder_content
from flows.finetune_recipe import FinetuneRecipe, check_one_class
from flows.reporting import publish_report
from flows.tuning import Head, TuneRun
from tasks import artifacts
from tasks.artifacts import ArtifactRef
from tasks.config import PretrainedTokenizer
from tasks.config.data import DataConfig
from tasks.finetuning.auxiliary import AuxiliarySpec, auxiliary
from tasks.finetuning.prepare import PrepareSpec, prepare, task_of
from tasks.finetuning.pseudo_label import PseudoLabelSpec, pseudo_labels
from tasks.finetuning.select import SelectSpec, SheetsSpec, join_sheets, select_texts, told
from tasks.finetuning.text import TextSpec, task_text
from tasks.pretrain import PretrainSpec, pretrain


@flow(name="finetune", flow_run_name="{recipe.name} {as_of}", persist_result=False)
def finetune(recipe: FinetuneRecipe, as_of: str | None = None) -> str:
    """Read and check the labelled data, fine-tune once for each seed, compare, judge, register, promote.

    Where the recipe asks for it: with labels that a person filled into sheets, with texts that a teacher labelled,
    with other tasks on the same encoder; and at the end with a sheet of what to label next.

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
    add_heads(recipe, run)
    label_by_teachers(recipe, run)
    run.learn()
    wanted = what_to_label(recipe, run)
    run.compare()
    run.release("finetune")
    page = run.refs["gate"]
    assert page is not None
    report = publish_report(recipe.name, night, run.refs, started)
    return f"{report}\nTo look at: {page / 'report.html'}\n{wanted}"


def encoded_run(recipe: FinetuneRecipe, night: str) -> TuneRun:
    """Labelled files to checked sides, more of them, features."""
    train, max_tokens = recipe.train, _max_tokens(recipe)
    sides = _prepared(recipe, recipe.name, recipe.data, recipe.task, max_tokens, night)
    check_one_class(recipe, task_of(sides))
    refs: Refs = {}
    if recipe.select is not None and recipe.select.filled is not None:
        filled = recipe.select.filled
        refs["labelled"] = sides
        spec = SheetsSpec(filled=filled, near=recipe.select.near, contents=_files(filled))
        sides = join_sheets(recipe.name, spec, sides, as_of=night)
    tokens = PretrainedTokenizer(path=str(train.init)) if train.tokenizer is None else train.tokenizer
    run = TuneRun(recipe, night, sides, tokens, max_tokens, refs=refs)
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


def add_heads(recipe: FinetuneRecipe, run: TuneRun) -> None:
    """The further tasks, each with sides of its own, of which nothing is learned that the run is judged by."""
    heads = []
    for head, asked in recipe.auxiliary.items():
        name = f"{recipe.name}-{head}"
        sides = _prepared(recipe, name, asked.data, asked.task, run.max_tokens, run.night)
        learned = auxiliary(name, AuxiliarySpec(near=asked.near), run.prepared, sides, as_of=run.night)
        run.refs |= {f"head {head} data": sides, f"head {head}": learned}
        heads.append(Head(head, asked.weight, sides, learned))
    run.heads = tuple(heads)


def label_by_teachers(recipe: FinetuneRecipe, run: TuneRun) -> None:
    """Texts that get a label from teachers, to be learned by all seeds; the first teacher is shown beside them."""
    asked = recipe.pseudo_labels
    if asked is None:
        return
    teachers = [run.teach(seed) for seed in recipe.seeds[: asked.teachers]]
    run.rivals["without_pseudo_labels"] = teachers[0][1]
    spec = PseudoLabelSpec(
        name=recipe.name,
        pseudo_labels=asked,
        reading=asked.reading(asked.data, recipe.data),
        contents=_files(asked.data),
    )
    models = [trained for trained, _ in teachers]
    joined = pseudo_labels(recipe.name, spec, run.prepared, run.learned, *models, as_of=run.night)
    run.refs["pseudo-label"] = joined
    run.learn_from(joined)


def what_to_label(recipe: FinetuneRecipe, run: TuneRun) -> str:
    """Where the sheet of the texts is that a person should label next; empty if the recipe does not ask."""
    asked = recipe.select
    if asked is None:
        return ""
    spec = SelectSpec(
        name=recipe.name,
        select=asked,
        reading=asked.reading(asked.pool, recipe.data),
        contents=_files(asked.pool),
    )
    trained = [run.refs[f"train {seed}"] for seed in recipe.seeds]
    run.refs["select"] = chosen = select_texts(recipe.name, spec, run.prepared, *trained, as_of=run.night)
    return told(chosen)


def _prepared(
    recipe: FinetuneRecipe, name: str, data: DataConfig, task: Task, max_tokens: int, night: str
) -> ArtifactRef:
    """The sides of the recipe's own data, or of an auxiliary task's."""
    folder = recipe.train.given_tokenizer
    asked = PrepareSpec(
        name=name,
        data=data,
        task=task,
        seed=recipe.seeds[0],
        tokenizer=folder,
        max_tokens=max_tokens,
        contents={
            **({folder: folder_content(folder)} if folder else {}),
            **_files(data.train, data.validation, data.test),
        },
    )
    return prepare(name, asked, as_of=night)


def _max_tokens(recipe: FinetuneRecipe) -> int:
    """Of a sequence: as many as a row has, if the model can read as many."""
    train = recipe.train
    shape = train.model or load_config(artifacts.home() / str(train.init))
    return min(train.batch.row_length, shape.max_positions)


def _files(*patterns: str | None) -> dict[str, str]:
    """Content of each file that the recipe names; one that is not there is left to the reader to explain."""
    home, found = artifacts.home(), {}
    for pattern in patterns:
        for path in sorted(home.glob(pattern)) if pattern and "://" not in pattern else ():
            content = artifacts.folder_content(path) if path.is_dir() else file_sha256(path)
            found[str(path.relative_to(home))] = content
    return found
