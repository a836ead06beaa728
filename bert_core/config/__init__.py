"""Every schema of `bert_core`, and how recipes are read and written."""

from bert_core.config.base import (
    Config,
    ConfigError,
    apply_override,
    config_hash,
    differences,
    different_values,
    dump_json,
    load,
    validate,
)
from bert_core.config.model import FAMILIES, SIZES, Family, ModelConfig, Size
from bert_core.config.objective import (
    CausalObjective,
    MlmObjective,
    Objective,
    PermutationObjective,
    PretrainingObjective,
    SequenceObjective,
)
from bert_core.config.optimizer import OptimizerConfig
from bert_core.config.training import (
    HOW_IT_RUNS,
    BatchConfig,
    BatchWarmup,
    PhaseConfig,
    Precision,
    RuntimeConfig,
    StepsConfig,
    TrainConfig,
)

__all__ = [
    "FAMILIES",
    "HOW_IT_RUNS",
    "SIZES",
    "BatchConfig",
    "BatchWarmup",
    "CausalObjective",
    "Config",
    "ConfigError",
    "Family",
    "MlmObjective",
    "ModelConfig",
    "Objective",
    "OptimizerConfig",
    "PermutationObjective",
    "PhaseConfig",
    "Precision",
    "PretrainingObjective",
    "RuntimeConfig",
    "SequenceObjective",
    "Size",
    "StepsConfig",
    "TrainConfig",
    "apply_override",
    "config_hash",
    "differences",
    "different_values",
    "dump_json",
    "load",
    "validate",
]
