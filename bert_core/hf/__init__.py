"""Two-way map of weights and configuration between this project and folders of transformers.

A folder holds `config.json`, whose model_type says of which family it is, and `model.safetensors`. Pickled weights are
refused: reading them runs whatever code is in them.
"""

from bert_core.hf.config_tables import CONFIG_KEYS
from bert_core.hf.configs import WeightsError, exportable, their_config
from bert_core.hf.exporting import export_pretraining, export_task_model, export_tokenizer
from bert_core.hf.loading import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    LoadReport,
    load_config,
    load_encoder,
    load_labels,
    load_pretraining,
    load_task_model,
)
from bert_core.hf.tasks import TASK_FILE, FineTuned, kind_of, read_task, write_task
from bert_core.hf.weights import from_transformers, to_transformers

__all__ = [
    "CONFIG_FILE",
    "CONFIG_KEYS",
    "TASK_FILE",
    "WEIGHTS_FILE",
    "FineTuned",
    "LoadReport",
    "WeightsError",
    "export_pretraining",
    "export_task_model",
    "export_tokenizer",
    "exportable",
    "from_transformers",
    "kind_of",
    "load_config",
    "load_encoder",
    "load_labels",
    "load_pretraining",
    "load_task_model",
    "read_task",
    "their_config",
    "to_transformers",
    "write_task",
]
