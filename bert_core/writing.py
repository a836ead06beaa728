"""Models that learn to write: from which weights they start, and the folders they become."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bert_core import hf
from bert_core.config import CausalTask, ConfigError, MethodConfig, ModelConfig, Seq2SeqTask
from bert_core.features import Features
from bert_core.heads import PretrainingModel
from bert_core.hf.encoder_decoder import export_seq2seq, warm_start
from bert_core.seq2seq import Seq2SeqModel, decoder_config
from bert_core.tokenizer import Tokenizer

MLM_HEAD = "mlm_head."


def writing_model(
    shape: ModelConfig, task: Seq2SeqTask | CausalTask, method: MethodConfig
) -> Seq2SeqModel | PretrainingModel:
    """The model of `task`, its weights not drawn yet.

    Raises:
        ConfigError: a shape that cannot write, or a method that only models with a head of a task know.
    """
    if method != MethodConfig():
        raise ConfigError(f"method: task.type = {task.type!r} is fine-tuned as it is: leave the section out")
    if isinstance(task, CausalTask):
        if not shape.causal:
            raise ConfigError(f"task.type = 'causal': a {shape.family} sees what it has to write; it takes a gpt2")
        return PretrainingModel(shape, pairs=False)
    try:
        decoder = decoder_config(shape, task.decoder_layers)
        return Seq2SeqModel(shape, decoder, label_smoothing=task.label_smoothing)
    except ValueError as error:
        raise ConfigError(f"task.type = 'seq2seq': {error}") from None


def start_writing(model: Seq2SeqModel | PretrainingModel, init: str | None, features: Features) -> None:
    """Take the weights of `init` that fit; a head that it lacks starts from how frequent words are in the targets."""
    missing = True
    if init is not None:
        report = warm_start(model, init) if isinstance(model, Seq2SeqModel) else hf.load_pretraining(Path(init), model)
        missing = any(name.startswith(MLM_HEAD) for name in report.missing)
    if missing:
        model.mlm_head.start_from_frequencies(torch.from_numpy(_target_counts(model, features)))


def export_writing(
    model: Seq2SeqModel | PretrainingModel,
    task: Seq2SeqTask | CausalTask,
    tokens: Tokenizer,
    max_tokens: int,
    folder: Path,
) -> None:
    """A folder for transformers' EncoderDecoderModel or the family's LMHeadModel, and task.json."""
    if isinstance(model, Seq2SeqModel):
        export_seq2seq(model, tokens, folder, task.generation)
    else:
        hf.export_pretraining(model, model.config, folder)
        hf.export_tokenizer(tokens, model.config, folder)
    hf.write_task(hf.FineTuned(task=task, max_tokens=max_tokens), folder)


def _target_counts(model: Seq2SeqModel | PretrainingModel, features: Features) -> np.ndarray:
    """(V,): how often each token is to be written."""
    size = model.config.vocab_size
    if isinstance(model, PretrainingModel):
        return np.bincount(features.position_labels[features.position_labels >= 0], minlength=size)[:size]
    targets = np.arange(1, features.num_sequences, 2)
    parts = [features.tokens[features.offsets[s] : features.offsets[s + 1]] for s in targets]
    return np.bincount(np.concatenate(parts), minlength=size)[:size]
