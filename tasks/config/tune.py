"""What every fine-tuning recipe says, whether its labelled data is given in files or crawled every night."""

from __future__ import annotations

from pydantic import Field, model_validator

from bert_core.config import Config, MethodConfig, Task
from tasks.config.augment import AugmentConfig
from tasks.config.behaviour import BehaviourConfig
from tasks.config.classical import ClassicalConfig
from tasks.config.finetune import EvidenceConfig, Seeds, TaskTrainConfig
from tasks.config.gate import EvidenceGate
from tasks.config.models import RegisterConfig


class TuneConfig(Config):
    """From a task's checked sides to a judged model."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="lowercase letters, digits, dashes")
    seeds: Seeds = Field((13, 14, 15), description="the model is trained once for each, and judged by all of them")
    task: Task
    train: TaskTrainConfig
    method: MethodConfig = MethodConfig()
    augment: AugmentConfig | None = Field(None, description="changed copies of training examples; off without it")
    baselines: ClassicalConfig = ClassicalConfig()
    evaluate: EvidenceConfig = EvidenceConfig()
    behaviour: BehaviourConfig = BehaviourConfig()
    gate: EvidenceGate = EvidenceGate()
    registry: RegisterConfig

    @model_validator(mode="after")
    def _batches_of_examples(self) -> TuneConfig:
        if self.train.batch.samples is None:
            raise ValueError("train.batch counts examples: set samples, not rows or tokens")
        return self
