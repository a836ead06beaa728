"""From a task's checked sides to a promotion or a refusal: what every fine-tuning shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bert_core.config import MethodConfig
from flows.corpus import Refs, folder_content
from tasks.artifacts import ArtifactRef
from tasks.config import PretrainedTokenizer, Tokenizer
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
from tasks.finetuning.train import HeadSpec, TaskTrainSpec, train_task
from tasks.plan import PlanSpec, champion_version, lineage, plan
from tasks.promote import PromoteSpec, promote
from tasks.register import RegisterSpec, register

ORIGIN = (
    *("extract", "clean", "dedup", "decontaminate", "split", "encode", "start"),
    *("labelled", "prepare", "augment", "pseudo-label", "features", "pretrain", "evidence"),
)
"""Stages whose artifacts are a model's lineage, beside its sources, its training and its verdict."""
ORIGINS = ("source ", "head ")
"""How names of further ones begin."""


@dataclass(frozen=True)
class Head:
    """A further task that is learned on the same encoder."""

    name: str
    weight: float
    prepared: ArtifactRef
    learned: ArtifactRef
    """Of its training side, what is no leak."""


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
    heads: tuple[Head, ...] = ()
    rivals: dict[str, ArtifactRef] = field(default_factory=dict)
    """Answers of models that are shown beside the candidate and never shipped, by name; ablations come to them."""

    def __post_init__(self) -> None:
        self.task = task_of(self.prepared)
        self.learned: ArtifactRef | None = None
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
            self.learned = self.refs["augment"]
        self.refs["features"] = self._features(1.0)

    def learn_from(self, learned: ArtifactRef) -> None:
        """Take its training side instead of the one so far."""
        self.learned = learned
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
        for name, train in self.ablations.items():
            self.rivals[name] = self._trained(first, whole, train, None, f" {name.replace('_', ' ')}")
        self.curve, self.sizes = [], []
        for share in recipe.evaluate.learning_curve:
            part = self._features(share)
            self.curve.append(self._trained(first, part, recipe.train, self.start, f" of {share:.0%}"))
            self.sizes.append(int(part.manifest["rows"]["train examples"]))
        self.sizes.append(int(whole.manifest["rows"]["train examples"]))

    def teach(self, seed: int) -> tuple[ArtifactRef, ArtifactRef]:
        """A model of what there is to learn so far, and its answers."""
        encoded = self.refs["features"]
        assert encoded is not None
        answered = self._trained(seed, encoded, self.recipe.train, self.start, " teacher")
        trained = self.refs[f"train {seed} teacher"]
        assert trained is not None
        return trained, answered

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
            ablations=tuple(self.rivals),
            curve=tuple(self.sizes) if self.curve else (),
        )
        others = [*([champion] if champion else []), *self.rivals.values(), *self.curve]
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
        origin: Refs = {key: ref for key, ref in refs.items() if key in ORIGIN or key.startswith(ORIGINS)}
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
        method = MethodConfig(cloze=self.recipe.method.cloze)
        return self._encoded(self.recipe.name, self.prepared, self.learned, self.tokenizer, method, share)

    def _features_of(self, head: Head, encoded: ArtifactRef) -> ArtifactRef:
        """By the tokenizer that made the run's own features, which are `encoded`."""
        tokens = self.tokenizer if isinstance(self.tokenizer, ArtifactRef | PretrainedTokenizer) else encoded
        made = self._encoded(f"{self.recipe.name}-{head.name}", head.prepared, head.learned, tokens)
        self.refs[f"head {head.name} encoded"] = made
        return made

    def _encoded(
        self,
        name: str,
        prepared: ArtifactRef,
        learned: ArtifactRef | None,
        tokens: Tokenizer | ArtifactRef,
        method: MethodConfig | None = None,
        share: float = 1.0,
    ) -> ArtifactRef:
        given = None if isinstance(tokens, ArtifactRef) else tokens
        spec = FeaturesSpec(
            tokenizer=given,
            tokenizer_content=folder_content(given.path) if given is not None and given.type == "pretrained" else None,
            max_tokens=self.max_tokens,
            method=method or MethodConfig(),
            share=share,
        )
        encoded = tokens if isinstance(tokens, ArtifactRef) else None
        return features(name, spec, prepared, learned, encoded, as_of=self.night)

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
            auxiliary=tuple(
                HeadSpec(name=head.name, task=task_of(head.prepared), weight=head.weight) for head in self.heads
            ),
        )
        others = [self._features_of(head, encoded) for head in self.heads]
        what = f"{seed}{what}"
        trained = train_task(name, tuning, encoded, self.prepared, start, *others, as_of=self.night, what=what)
        asking = AnswerSpec(latency_examples=recipe.evaluate.latency_examples)
        said = answer(name, asking, self.prepared, trained, as_of=self.night, what=what)
        self.refs |= {f"train {what}": trained, f"answer {what}": said}
        return said

    def _champion(self, version: str | None) -> ArtifactRef | None:
        """The champion's answers; None: there is none, or it was made for another task or other labels."""
        model_name = self.recipe.registry.model_name
        if version is None or not same_task(champion_folder(model_name, version), self.task):
            return None
        examples = self.recipe.evaluate.latency_examples
        spec = AnswerSpec(model_name=model_name, version=version, latency_examples=examples)
        return answer(self.recipe.name, spec, self.prepared, None, as_of=self.night, what="champion")
