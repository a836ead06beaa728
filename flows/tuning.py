"""From a task's checked sides to a promotion or a refusal: what every fine-tuning shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bert_core.config import MethodConfig
from flows.corpus import Refs, folder_content
from tasks.artifacts import ArtifactRef
from tasks.config import Tokenizer
from tasks.config.finetune import TaskTrainConfig
from tasks.config.tune import TuneConfig
from tasks.finetuning.answer import AnswerSpec, answer, champion_folder
from tasks.finetuning.augment import AugmentSpec, augment, folders
from tasks.finetuning.baselines import ClassicalSpec, classical
from tasks.finetuning.evidence import EvidenceSpec, evidence, same_task
from tasks.finetuning.examine import ExamineSpec, examine
from tasks.finetuning.features import FeaturesSpec, features
from tasks.finetuning.gate import JudgeSpec, judge
from tasks.finetuning.prepare import task_of
from tasks.finetuning.train import TaskTrainSpec, train_task
from tasks.plan import PlanSpec, champion_version, lineage, plan
from tasks.promote import PromoteSpec, promote
from tasks.register import RegisterSpec, register

ORIGIN = (
    *("extract", "clean", "dedup", "decontaminate", "split", "encode", "start"),
    *("prepare", "augment", "features", "pretrain", "evidence"),
)
"""Stages whose artifacts are a model's lineage, beside its sources, its training and its verdict."""


@dataclass
class TuneRun:
    """One night's artifacts, by name, in the order in which they are made."""

    recipe: TuneConfig
    night: str
    prepared: ArtifactRef
    """The sides."""
    tokenizer: Tokenizer | ArtifactRef
    """As a recipe has it, or that of an artifact."""
    max_tokens: int
    """Of a sequence."""
    start: ArtifactRef | None = None
    """Pretraining to start from instead of the weights that the recipe names."""
    ablations: Mapping[str, TaskTrainConfig] = field(default_factory=dict)
    """By name, trainings from other weights, with the first seed: shown beside the candidate, never shipped."""
    refs: Refs = field(default_factory=dict)
    """Of the stages before and since."""

    def __post_init__(self) -> None:
        self.task = task_of(self.prepared)
        self.refs["prepare"] = self.prepared

    def encode(self) -> None:
        """More examples, if asked for, and features."""
        recipe = self.recipe
        if recipe.augment is not None:
            more = AugmentSpec(
                name=recipe.name,
                augment=recipe.augment,
                seed=recipe.seeds[0],
                contents={folder: folder_content(folder) for folder in folders(recipe.augment)},
            )
            self.refs["augment"] = augment(recipe.name, more, self.prepared, as_of=self.night)
        self.refs["features"] = self._features(1.0)

    def fit_baselines(self) -> None:
        """What has to be beaten."""
        chosen = ClassicalSpec(baselines=self.recipe.baselines, seed=self.recipe.seeds[0])
        self.refs["classical"] = classical(self.recipe.name, chosen, self.prepared, as_of=self.night)

    def learn(self) -> None:
        """One training a seed, one an ablation, further ones for the learning curve."""
        recipe, first = self.recipe, self.recipe.seeds[0]
        whole = self.refs["features"]
        assert whole is not None
        self.answered = [self._trained(seed, whole, recipe.train, self.start) for seed in recipe.seeds]
        self.others = [
            self._trained(first, whole, train, None, f" {name.replace('_', ' ')}")
            for name, train in self.ablations.items()
        ]
        self.curve, self.sizes = [], []
        for share in recipe.evaluate.learning_curve:
            part = self._features(share)
            self.curve.append(self._trained(first, part, recipe.train, self.start, f" of {share:.0%}"))
            self.sizes.append(int(part.manifest["rows"]["train examples"]))
        self.sizes.append(int(whole.manifest["rows"]["train examples"]))

    def compare(self) -> None:
        """The evidence on all models, and what metrics do not show of the one that validation chose."""
        recipe, name, night = self.recipe, self.recipe.name, self.night
        decided = self.refs.get("plan")
        if decided is None:
            asked = PlanSpec(model_name=recipe.registry.model_name, as_of=night)
            self.refs["plan"] = decided = plan(name, asked, self.prepared, as_of=night)
        champion = self._champion(champion_version(decided))
        looked = EvidenceSpec(
            name=name,
            evaluate=recipe.evaluate,
            seeds=recipe.seeds,
            has_champion=champion is not None,
            ablations=tuple(self.ablations),
            curve=tuple(self.sizes) if self.curve else (),
        )
        others = [*([champion] if champion else []), *self.others, *self.curve]
        shown = evidence(name, looked, self.prepared, self.refs["classical"], *self.answered, *others, as_of=night)
        self.refs["evidence"], self.chosen = shown, self.refs[f"train {shown.manifest['facts']['seed']}"]
        asks = ExamineSpec(behaviour=recipe.behaviour, explained=recipe.evaluate.explained, seed=recipe.evaluate.seed)
        self.refs["examine"] = examine(name, asks, self.prepared, self.chosen, as_of=night)

    def release(self, flow: str) -> None:
        """A verdict, a registered version of the chosen seed, and a promotion or a refusal.

        Args:
            flow: that does it, for the registry's history.
        """
        recipe, name, night, refs = self.recipe, self.recipe.name, self.night, self.refs
        verdict = judge(name, JudgeSpec(gate=recipe.gate), refs["evidence"], refs["examine"], as_of=night)
        origin: Refs = {key: ref for key, ref in refs.items() if key in ORIGIN or key.startswith("source ")}
        spec = RegisterSpec(
            registry=recipe.registry,
            lineage=lineage(origin | {"finetune": self.chosen, "gate": verdict}),
            recipe=name,
            as_of=night,
        )
        version = register(name, spec, self.chosen, verdict, as_of=night)
        outcome = promote(name, PromoteSpec(who=f"{flow} {name} {night}"), version, verdict, as_of=night)
        refs |= {"gate": verdict, "register": version, "promote": outcome}

    def _features(self, share: float) -> ArtifactRef:
        tokens, method = self.tokenizer, MethodConfig(cloze=self.recipe.method.cloze)
        given = None if isinstance(tokens, ArtifactRef) else tokens
        spec = FeaturesSpec(
            tokenizer=given,
            tokenizer_content=folder_content(given.path) if given is not None and given.type == "pretrained" else None,
            max_tokens=self.max_tokens,
            method=method,
            share=share,
        )
        encoded = tokens if isinstance(tokens, ArtifactRef) else None
        return features(self.recipe.name, spec, self.prepared, self.refs.get("augment"), encoded, as_of=self.night)

    def _trained(
        self, seed: int, encoded: ArtifactRef, train: TaskTrainConfig, start: ArtifactRef | None, what: str = ""
    ) -> ArtifactRef:
        """Train and ask; the answers."""
        recipe, name = self.recipe, self.recipe.name
        tuning = TaskTrainSpec(
            name=name,
            experiment=recipe.registry.experiment,
            seed=seed,
            init_content=folder_content(train.init) if train.init else None,
            task=self.task,
            train=train,
            method=recipe.method,
        )
        trained = train_task(name, tuning, encoded, self.prepared, start, as_of=self.night)
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
