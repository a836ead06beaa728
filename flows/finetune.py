"""Fine-tuning: labelled files and a pretrained folder to a model with evidence, judged, registered and promoted."""

from __future__ import annotations

from prefect import flow

from bert_core.config import MethodConfig
from bert_core.files import file_sha256
from bert_core.hf import load_config
from flows.corpus import Refs, begin, folder_content
from flows.finetune_recipe import FinetuneRecipe
from flows.reporting import publish_report
from tasks import artifacts
from tasks.artifacts import ArtifactRef
from tasks.config import PretrainedTokenizer
from tasks.finetuning.answer import AnswerSpec, answer, champion_folder
from tasks.finetuning.augment import AugmentSpec, augment, folders
from tasks.finetuning.baselines import ClassicalSpec, classical
from tasks.finetuning.evidence import EvidenceSpec, evidence, same_task
from tasks.finetuning.examine import ExamineSpec, examine
from tasks.finetuning.features import FeaturesSpec, features
from tasks.finetuning.gate import JudgeSpec, judge
from tasks.finetuning.prepare import PrepareSpec, prepare, task_of
from tasks.finetuning.text import TextSpec, task_text
from tasks.finetuning.train import TaskTrainSpec, train_task
from tasks.plan import PlanSpec, champion_version, lineage, plan
from tasks.pretrain import PretrainSpec, pretrain
from tasks.promote import PromoteSpec, promote
from tasks.register import RegisterSpec, register

ORIGIN = ("prepare", "augment", "features", "pretrain", "evidence")
"""Stages whose artifacts are a model's lineage, beside its training and its verdict."""


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
    run = FinetuneRun(recipe, night)
    run.prepare()
    run.learn()
    run.compare()
    run.release()
    page = run.refs["gate"]
    assert page is not None
    return f"{publish_report(recipe.name, night, run.refs, started)}\nTo look at: {page / 'report.html'}\n"


class FinetuneRun:
    """One night's artifacts, by name, in the order in which they are made."""

    def __init__(self, recipe: FinetuneRecipe, night: str) -> None:
        self.recipe, self.night = recipe, night
        self.refs: Refs = {}
        given = recipe.train.init
        self.init_content = folder_content(given) if given else None

    def prepare(self) -> None:
        """Labelled files to checked sides, more of them, features; and what has to be beaten."""
        self.encode()
        chosen = ClassicalSpec(baselines=self.recipe.baselines, seed=self.recipe.seeds[0])
        self.refs["classical"] = classical(self.recipe.name, chosen, self.prepared, as_of=self.night)

    def encode(self) -> None:
        """Labelled files to checked sides, more of them, features."""
        recipe, name = self.recipe, self.recipe.name
        folder = recipe.train.given_tokenizer
        self.tokenizer_content = folder_content(folder) if folder else None
        asked = PrepareSpec(
            name=name,
            data=recipe.data,
            task=recipe.task,
            seed=recipe.seeds[0],
            tokenizer=folder,
            max_tokens=self._max_tokens(),
            contents={**({folder: str(self.tokenizer_content)} if folder else {}), **self._files()},
        )
        self.refs["prepare"] = self.prepared = prepare(name, asked, as_of=self.night)
        self.task = task_of(self.prepared)
        if recipe.augment is not None:
            more = AugmentSpec(
                name=name,
                augment=recipe.augment,
                seed=recipe.seeds[0],
                contents={folder: folder_content(folder) for folder in folders(recipe.augment)},
            )
            self.refs["augment"] = augment(name, more, self.prepared, as_of=self.night)
        self.refs["features"] = self._features(1.0)

    def pretrain(self) -> None:
        """Pretraining on the task's text, if asked for."""
        recipe, name, train = self.recipe, self.recipe.name, self.recipe.train
        self.start: ArtifactRef | None = None
        if recipe.pretrain is not None and train.init is not None:
            given = TextSpec(tokenizer=train.init, tokenizer_content=str(self.tokenizer_content))
            self.refs["task-text"] = text = task_text(name, given, self.prepared, as_of=self.night)
            spec = PretrainSpec(
                name=name,
                experiment=recipe.registry.experiment,
                seed=recipe.seeds[0],
                init_content=self.init_content,
                pretrain=recipe.pretrain.from_weights(train.init),
            )
            self.refs["pretrain"] = self.start = pretrain(name, spec, text, None, as_of=self.night)

    def learn(self) -> None:
        """Pretraining on the task's text if asked for, one training a seed, further ones for the learning curve."""
        recipe = self.recipe
        self.pretrain()
        whole = self.refs["features"]
        assert whole is not None
        self.answered = [self._seed(seed, whole, "") for seed in recipe.seeds]
        self.curve, self.sizes = [], []
        for share in recipe.evaluate.learning_curve:
            part = self._features(share)
            self.curve.append(self._seed(recipe.seeds[0], part, f" of {share:.0%}"))
            self.sizes.append(int(part.manifest["rows"]["train examples"]))
        self.sizes.append(int(whole.manifest["rows"]["train examples"]))

    def compare(self) -> None:
        """The evidence on all models, and what metrics do not show of the one that validation chose."""
        recipe, name, night = self.recipe, self.recipe.name, self.night
        asked = PlanSpec(model_name=recipe.registry.model_name, as_of=night)
        self.refs["plan"] = decided = plan(name, asked, self.prepared, as_of=night)
        champion = self._champion(champion_version(decided))
        others = [*([champion] if champion else []), *self.curve]
        looked = EvidenceSpec(
            name=name,
            evaluate=recipe.evaluate,
            seeds=recipe.seeds,
            has_champion=champion is not None,
            curve=tuple(self.sizes) if self.curve else (),
        )
        shown = evidence(name, looked, self.prepared, self.refs["classical"], *self.answered, *others, as_of=night)
        self.refs["evidence"], self.chosen = shown, self.refs[f"train {shown.manifest['facts']['seed']}"]
        asks = ExamineSpec(behaviour=recipe.behaviour, explained=recipe.evaluate.explained, seed=recipe.evaluate.seed)
        self.refs["examine"] = examine(name, asks, self.prepared, self.chosen, as_of=night)

    def release(self) -> None:
        """A verdict, a registered version of the chosen seed, and a promotion or a refusal."""
        recipe, name, night, refs = self.recipe, self.recipe.name, self.night, self.refs
        verdict = judge(name, JudgeSpec(gate=recipe.gate), refs["evidence"], refs["examine"], as_of=night)
        origin: Refs = {key: refs[key] for key in ORIGIN if key in refs}
        spec = RegisterSpec(
            registry=recipe.registry,
            labels=(),
            lineage=lineage(origin | {"finetune": self.chosen, "gate": verdict}),
            recipe=name,
            as_of=night,
        )
        version = register(name, spec, self.chosen, verdict, as_of=night)
        outcome = promote(name, PromoteSpec(who=f"finetune {name} {night}"), version, verdict, as_of=night)
        refs |= {"gate": verdict, "register": version, "promote": outcome}

    def _features(self, share: float) -> ArtifactRef:
        recipe, train = self.recipe, self.recipe.train
        spec = FeaturesSpec(
            tokenizer=PretrainedTokenizer(path=str(train.init)) if train.tokenizer is None else train.tokenizer,
            tokenizer_content=self.tokenizer_content,
            max_tokens=self._max_tokens(),
            method=MethodConfig(cloze=recipe.method.cloze),
            share=share,
        )
        more = [self.refs["augment"]] if "augment" in self.refs else []
        return features(self.recipe.name, spec, self.prepared, *more, as_of=self.night)

    def _seed(self, seed: int, encoded: ArtifactRef, what: str) -> ArtifactRef:
        """Train and ask; the answers."""
        recipe, name = self.recipe, self.recipe.name
        tuning = TaskTrainSpec(
            name=name,
            experiment=recipe.registry.experiment,
            seed=seed,
            init_content=self.init_content,
            task=self.task,
            train=recipe.train,
            method=recipe.method,
        )
        trained = train_task(name, tuning, encoded, self.prepared, self.start, as_of=self.night)
        asking = AnswerSpec(latency_examples=recipe.evaluate.latency_examples)
        said = answer(name, asking, self.prepared, trained, as_of=self.night)
        self.refs |= {f"train {seed}{what}": trained, f"answer {seed}{what}": said}
        return said

    def _champion(self, version: str | None) -> ArtifactRef | None:
        """The champion's answers; None: there is none, or it was made for another task or other labels."""
        model_name = self.recipe.registry.model_name
        if version is None or not same_task(champion_folder(model_name, version), self.task):
            return None
        examples = self.recipe.evaluate.latency_examples
        spec = AnswerSpec(model_name=model_name, version=version, latency_examples=examples)
        return answer(self.recipe.name, spec, self.prepared, None, as_of=self.night)

    def _max_tokens(self) -> int:
        """Of a sequence: as many as a row has, if the model can read as many."""
        train = self.recipe.train
        shape = train.model or load_config(artifacts.home() / str(train.init))
        return min(train.batch.row_length, shape.max_positions)

    def _files(self) -> dict[str, str]:
        """Content of each file that [data] names; one that is not there is left to the reader to explain."""
        home, found = artifacts.home(), {}
        for pattern in (self.recipe.data.train, self.recipe.data.validation, self.recipe.data.test):
            for path in sorted(home.glob(pattern)) if pattern and "://" not in pattern else ():
                content = artifacts.folder_content(path) if path.is_dir() else file_sha256(path)
                found[str(path.relative_to(home))] = content
        return found
