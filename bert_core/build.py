"""What a config builds: its data, its model with the first weights, its optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from bert_core import hf, tokenizer
from bert_core.config import ConfigError, MlmObjective, ModelConfig, Objective, SequenceObjective, TrainConfig
from bert_core.data import ExampleData, PretrainingData, SequenceData
from bert_core.distributed import World
from bert_core.features import open_features
from bert_core.heads import PretrainingModel, SequenceClassifier
from bert_core.model import init_weights
from bert_core.optim import build_optimizer
from bert_core.order import RunLength
from bert_core.parallel import parallelize
from bert_core.step import TrainState, losses
from bert_core.task_models import TaskModel, task_model
from bert_core.xlnet import XlnetPretrainingModel

Data = PretrainingData | SequenceData | ExampleData
Model = PretrainingModel | XlnetPretrainingModel | SequenceClassifier | TaskModel

MLM_BIAS = "mlm_head.bias"


def build_data(config: TrainConfig, folder: str, *, length: RunLength | None = None) -> Data:
    """The shards or features in `folder` as `config` reads them; `length` is that of the run that trains on them."""
    tokens = tokenizer.load(Path(config.tokenizer))
    if config.objective is None:
        shape = model_shape(config)
        return ExampleData(folder, config.batch, config.seed, pad_id=tokens.pad_id, length=length, causal=shape.causal)
    if isinstance(config.objective, SequenceObjective):
        causal = model_shape(config).causal
        return SequenceData(
            Path(folder), tokens, config.objective, config.batch, config.seed, length=length, causal=causal
        )
    return PretrainingData(Path(folder), tokens, config.objective, config.batch, config.seed, length=length)


def run_length(config: TrainConfig) -> RunLength:
    return RunLength(config.steps, config.epochs, config.tokens)


def model_shape(config: TrainConfig) -> ModelConfig:
    return config.model or hf.load_config(Path(config.init or ""))


def empty_model(config: TrainConfig) -> Model:
    """Of the right shape, its weights not drawn yet.

    Raises:
        ConfigError: an objective that the model cannot be asked, or a shape that the files of its family cannot
            express: said before hours of training, not after.
    """
    shape = model_shape(config)
    faults = hf.exportable(shape, tokenizer.load(Path(config.tokenizer)))
    if config.objective is not None:
        faults += _misasked(shape, config.objective)
    if faults:
        raise ConfigError(f"model: {'; '.join(faults)}")
    if config.task is not None:
        return task_model(shape, config.task, open_features(config.train_data).statistics)
    if shape.family == "xlnet":
        return XlnetPretrainingModel(shape)
    if isinstance(config.objective, SequenceObjective):
        return SequenceClassifier(shape, len(config.objective.labels))
    pairs = isinstance(config.objective, MlmObjective) and config.objective.pairs is not None
    return PretrainingModel(shape, pairs=pairs)


def _misasked(shape: ModelConfig, objective: Objective) -> list[str]:
    """Why a model of this shape cannot learn by this objective: mostly that it would see what it has to predict."""
    asks = "xlnet" if shape.family == "xlnet" else "causal" if shape.causal else "both sides"
    legal = {
        "xlnet": ("permutation",),
        "causal": ("causal", "sequence"),
        "both sides": ("mlm", "sequence"),
    }[asks]
    if objective.type in legal:
        return []
    return [
        f"objective.type = {objective.type!r}: a {shape.family} (causal = {shape.causal}) takes {' or '.join(legal)}"
    ]


def build_model(config: TrainConfig, data: Data) -> Model:
    """The model of `config`: random weights drawn from its seed, then those of `init` that fit.

    A masked-word head that `init` lacks starts from the frequencies of the words in `data`.
    """
    model = empty_model(config)
    init_weights(model, model.config.initializer_range, torch.Generator().manual_seed(config.seed))
    if isinstance(model, TaskModel):
        if config.init:
            hf.load_task_model(Path(config.init), model)
    elif isinstance(model, SequenceClassifier):
        if config.init:
            hf.load_classifier(Path(config.init), model)
    elif not isinstance(data, ExampleData) and (
        not config.init or MLM_BIAS in hf.load_pretraining(Path(config.init), model).missing
    ):
        model.mlm_head.start_from_frequencies(torch.from_numpy(data.shards.token_counts()))
    return model


def fresh_state(config: TrainConfig, data: Data, world: World, device: torch.device, precision: str) -> TrainState:
    """Step 0 of a run: model on its device and spread over the ranks, optimizer, averaged weights."""
    model = build_model(config, data).to(device)
    parallel = parallelize(model, losses, config.runtime, world, precision)
    state = TrainState(parallel, build_optimizer(parallel.model, config.optimizer, model.config.num_layers))
    if config.optimizer.ema_decay is not None:
        state.ema = {name: parameter.detach().clone() for name, parameter in parallel.model.named_parameters()}
    return state


def export(config: TrainConfig, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Write whole `weights` as a transformers folder with its tokenizer."""
    with torch.device("meta"):  # takes the given tensors for its own: nothing is allocated
        model = empty_model(config)
    model.load_state_dict(weights, assign=True)
    if isinstance(model, TaskModel):
        hf.export_task_model(model, model.config, config.batch.row_length, folder)
    elif isinstance(model, SequenceClassifier):
        assert isinstance(config.objective, SequenceObjective)
        hf.export_classifier(model, model.config, config.objective.labels, folder)
    else:
        hf.export_pretraining(model, model.config, folder)
    hf.export_tokenizer(tokenizer.load(Path(config.tokenizer)), model.config, folder)
