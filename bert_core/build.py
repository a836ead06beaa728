"""What a config builds: its data, its model with the first weights, its optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from bert_core import hf, tokenizer
from bert_core.config import (
    CausalTask,
    ConfigError,
    MlmObjective,
    ModelConfig,
    Objective,
    Seq2SeqTask,
    SpanTask,
    Task,
    TrainConfig,
)
from bert_core.data import ExampleData, PretrainingData
from bert_core.data.translations import TranslationData
from bert_core.distributed import World
from bert_core.features import Features, open_features
from bert_core.features.encode import origin
from bert_core.heads import PretrainingModel
from bert_core.methods.cloze import ClozeModel, check_cloze_features, load_cloze
from bert_core.methods.lora import merged, write_adapter
from bert_core.methods.multitask import MixedData, add_heads, auxiliary_model, split_heads, start_heads
from bert_core.methods.own_folder import export_own, is_own
from bert_core.methods.prepare import constant_parameters, method_model, prepare
from bert_core.methods.virtual import add_virtual, insert_places
from bert_core.model import init_weights
from bert_core.optim import build_optimizer
from bert_core.order import RunLength
from bert_core.parallel import parallelize
from bert_core.seq2seq import Seq2SeqModel
from bert_core.step import TrainState, losses
from bert_core.task_models import TaskModel
from bert_core.tokenizer import Tokenizer
from bert_core.writing import export_writing, start_writing, writing_model
from bert_core.xlnet import XlnetPretrainingModel

Data = PretrainingData | ExampleData
Model = PretrainingModel | XlnetPretrainingModel | TaskModel | Seq2SeqModel

Examples = TypeVar("Examples", bound=ExampleData)

MLM_BIAS = "mlm_head.bias"


def build_data(config: TrainConfig, folder: str, *, length: RunLength | None = None) -> Data:
    """The shards or features in `folder` as `config` reads them; `length` is that of the run that trains on them."""
    tokens = tokenizer.load(Path(config.tokenizer))
    if config.objective is None:
        task = config.task
        assert task is not None  # one of the two is set
        if isinstance(task, Seq2SeqTask):
            return TranslationData(
                folder,
                config.batch,
                config.seed,
                pad_id=tokens.pad_id,
                length=length,
                origin=origin(task, tokens),
                tokens=tokens,
            )
        if length is None or not config.auxiliary:
            return _examples(config, folder, task, tokens, length, ExampleData)
        others = {
            each.name: _examples(config, each.train_data, each.task, tokens, None, ExampleData)
            for each in config.auxiliary
        }
        data = _examples(config, folder, task, tokens, length, MixedData)
        return data.mix(others, [each.weight for each in config.auxiliary])
    return PretrainingData(Path(folder), tokens, config.objective, config.batch, config.seed, length=length)


def _examples(
    config: TrainConfig, folder: str, task: Task, tokens: Tokenizer, length: RunLength | None, kind: type[Examples]
) -> Examples:
    shape, places, batch = model_shape(config), config.method.virtual_tokens, config.batch
    if places:  # rows have room for these beside what a sequence may have
        batch = batch.model_copy(update={"row_length": batch.row_length + places})
        if batch.row_length > shape.max_positions:
            raise ConfigError(
                f"batch.row_length {config.batch.row_length} + {places} virtual tokens: the model reads at most "
                f"{shape.max_positions}: take shorter rows"
            )

    def read(folder: str | Path) -> Features:
        features, is_span = open_features(folder), isinstance(task, SpanTask)
        if config.method.cloze is not None:
            check_cloze_features(features, config.method.cloze, folder)
        if not places:
            return features
        return insert_places(features, places, shape.vocab_size, targets_are_places=is_span)

    return kind(
        folder,
        batch,
        config.seed,
        pad_id=tokens.pad_id,
        length=length,
        causal=shape.causal,
        origin=origin(task, tokens),
        max_positions=shape.max_positions,
        read=read,
    )


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
    if isinstance(config.task, Seq2SeqTask | CausalTask):
        return writing_model(shape, config.task, config.method)
    if config.task is not None:
        statistics = open_features(config.train_data).statistics
        return method_model(shape, config.task, config.method, tokenizer.load(Path(config.tokenizer)), statistics)
    if shape.family == "xlnet":
        return XlnetPretrainingModel(shape)
    pairs = isinstance(config.objective, MlmObjective) and config.objective.pairs is not None
    return PretrainingModel(shape, pairs=pairs)


def _misasked(shape: ModelConfig, objective: Objective) -> list[str]:
    """Why a model of this shape cannot learn by this objective: mostly that it would see what it has to predict."""
    legal = "permutation" if shape.family == "xlnet" else "causal" if shape.causal else "mlm"
    if objective.type == legal:
        return []
    return [f"objective.type = {objective.type!r}: a {shape.family} (causal = {shape.causal}) takes {legal!r}"]


def build_model(config: TrainConfig, data: Data) -> Model:
    """The model of `config`: random weights drawn from its seed, then those of `init` that fit.

    A masked-word head that `init` lacks starts from the frequencies of the words in `data`.
    """
    model = empty_model(config)
    generator = torch.Generator().manual_seed(config.seed)
    init_weights(model, model.config.initializer_range, generator)
    if isinstance(model, TaskModel):
        if isinstance(model, ClozeModel):
            load_cloze(config.init or "", model)
        elif config.init:
            hf.load_task_model(Path(config.init), model, head=False if config.method.reinit_layers else None)
        add_heads(model, config.auxiliary)
        start_heads(model, config.auxiliary, config.init, generator)
        prepare(model, config.method, generator)
    elif isinstance(data, ExampleData):
        assert isinstance(model, Seq2SeqModel | PretrainingModel)
        start_writing(model, config.init, data.features)
    elif not isinstance(model, Seq2SeqModel) and (
        not config.init or MLM_BIAS in hf.load_pretraining(Path(config.init), model).missing
    ):
        model.mlm_head.start_from_frequencies(torch.from_numpy(data.shards.token_counts()))
    return model


def fresh_state(config: TrainConfig, data: Data, world: World, device: torch.device, precision: str) -> TrainState:
    """Step 0 of a run: model on its device and spread over the ranks, optimizer, averaged weights."""
    model = build_model(config, data).to(device)
    constant = constant_parameters(model, config.method) if isinstance(model, TaskModel) else frozenset[str]()
    call = partial(losses, method=config.method)
    parallel = parallelize(model, call, config.runtime, world, precision, constant)
    state = TrainState(parallel, build_optimizer(parallel.model, config.optimizer, model.config.num_layers))
    if config.optimizer.ema_decay is not None:
        changing = ((name, p) for name, p in parallel.model.named_parameters() if name not in constant)
        state.ema = {name: parameter.detach().clone() for name, parameter in changing}
    return state


def export(config: TrainConfig, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Write whole `weights` as a transformers folder with its tokenizer."""
    with torch.device("meta"):  # takes the given tensors for its own: nothing is allocated
        model = empty_model(config)
    if isinstance(model, TaskModel):
        _export_tasks(config, model, weights, folder)
        return
    model.load_state_dict(weights, assign=True)
    tokens = tokenizer.load(Path(config.tokenizer))
    if isinstance(config.task, Seq2SeqTask | CausalTask):
        assert isinstance(model, Seq2SeqModel | PretrainingModel)
        export_writing(model, config.task, tokens, config.batch.row_length, folder)
        return
    assert not isinstance(model, Seq2SeqModel)
    hf.export_pretraining(model, model.config, folder)
    hf.export_tokenizer(tokens, model.config, folder)


def _export_tasks(config: TrainConfig, model: TaskModel, weights: Mapping[str, Tensor], folder: Path) -> None:
    """The run's own task into `folder`, and each auxiliary one beside it, into a folder of its name and the head's."""
    tokens, method, longest = tokenizer.load(Path(config.tokenizer)), config.method, config.batch.row_length
    plain = weights if method.lora is None else merged(weights, method.lora)
    by_head = split_heads(plain)
    with torch.device("meta"):
        models = {"": model, **{each.name: auxiliary_model(model.config, each) for each in config.auxiliary}}
        add_virtual(model, method)
    for name, each in models.items():
        place = folder if not name else folder.with_name(f"{folder.name}-{name}")
        each.load_state_dict(by_head[name], assign=True)
        if is_own(method):
            export_own(each, method, longest, place)
        else:
            hf.export_task_model(each, each.config, longest, place)
        if method.lora is not None:
            write_adapter(weights, method.lora, each.config.family, hf.kind_of(each.task), place)
        hf.export_tokenizer(tokens, each.config, place)
