"""The peer: what a careful user of transformers writes for each type of task, set up as well as it can be.

AutoModelFor… and Trainer with the collator that pads each batch to its longest; sdpa attention, fused AdamW, linear
warmup and decay, no evaluation, no logging and no checkpoint while training. Denormals are flushed, which few users
know of and which spares Trainer up to nine tenths of the backward pass of a confident model. `grouped` puts rows of
similar length together (train_sampling_strategy="group_by_length"). Three precisions: fp32; bf16, its own flag, which
is torch.autocast; bf16 products, torch's setting that rounds the inputs of fp32 matrix products.

Not written by transformers: the loss of in-batch negatives, as sentence-transformers' MultipleNegativesRankingLoss has
it (mean of the tokens, cosines times 20, cross-entropy), or its CosineSimilarityLoss, in `compute_loss`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from finetuning.sets import BenchmarkSet, Prepared
from finetuning.trainer_models import EmbeddingTrainer, SidesCollator, build_model
from finetuning.trainer_rows import Row, rows_of
from torch.utils.data import Dataset
from transformers import (
    AutoTokenizer,
    DataCollatorForMultipleChoice,
    DataCollatorForSeq2Seq,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from bert_core.config import Task
from bert_core.hf import FineTuned, write_task
from bert_core.memory import peak_bytes

PRECISIONS = ("fp32", "bf16", "bf16 products")
PROBE_WARMUP = 3
Arguments = Seq2SeqTrainingArguments | TrainingArguments


class Rows(Dataset[Row]):
    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]


class StepClock(TrainerCallback):
    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())


def prepare_process(threads: int, precision: str) -> None:
    """What must be set before any product: denormals are flushed in the threads that are made after this."""
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    if precision == "bf16 products":
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined]


def fit(
    chosen: BenchmarkSet,
    prepared: Prepared,
    *,
    seed: int,
    precision: str,
    grouped: bool,
    out: Path,
    max_steps: int | None = None,
) -> dict[str, Any]:
    """Train, and write to `out` a folder that `bert_core.predict` answers by.

    Returns:
        seconds of `Trainer.train()`; whole_s, from loading the weights to the saved folder; tokenize_s; steps, rows;
        peak_bytes; and step_s, the median second of a step, if `max_steps` makes it a probe, which saves nothing.
    """
    started = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(prepared.tokenizer)
    table = prepared.side("train")
    rows = rows_of(prepared.task, table, tokenizer, chosen.row_length)
    tokenized = time.perf_counter()
    model = build_model(prepared, seed)
    clock = StepClock()
    with tempfile.TemporaryDirectory(prefix="bench-trainer-") as folder:
        batch = max(1, round(chosen.batch * len(rows) / table.num_rows))
        arguments = _arguments(
            chosen, prepared.task, folder, seed=seed, precision=precision, grouped=grouped, batch=batch, steps=max_steps
        )
        trainer = _trainer(prepared.task, model, arguments, rows, tokenizer)
        if max_steps is not None:
            trainer.add_callback(clock)
        begun = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - begun
    figures = {
        "seconds": seconds,
        "tokenize_s": tokenized - started,
        "steps": trainer.state.global_step,
        "rows": len(rows),
        "peak_bytes": peak_bytes(),
        "trained_parameters": sum(each.numel() for each in model.parameters() if each.requires_grad),
    }
    if max_steps is not None:
        ends = clock.ends[PROBE_WARMUP - 1 :]
        return figures | {"step_s": median(b - a for a, b in pairwise(ends))}
    save(model, tokenizer, prepared.task, chosen.row_length, out)
    return figures | {"whole_s": time.perf_counter() - tokenized}


def save(model: Any, tokenizer: Any, task: Task, max_tokens: int, folder: Path) -> None:
    """As users save it, and what it was asked, which transformers' files do not say."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_task(FineTuned(task=task, max_tokens=max_tokens), folder)


def _arguments(
    chosen: BenchmarkSet,
    task: Task,
    folder: str,
    *,
    seed: int,
    precision: str,
    grouped: bool,
    batch: int,
    steps: int | None,
) -> Arguments:
    settings: Mapping[str, Any] = {
        "output_dir": folder,
        "use_cpu": True,
        "per_device_train_batch_size": batch,
        "num_train_epochs": chosen.epochs,
        "max_steps": -1 if steps is None else steps,
        "learning_rate": chosen.lr,
        "weight_decay": chosen.weight_decay,
        "warmup_steps": chosen.warmup_share,
        "lr_scheduler_type": "linear",
        "max_grad_norm": chosen.clip_norm,
        "optim": "adamw_torch_fused",
        "bf16": precision == "bf16",
        "train_sampling_strategy": "group_by_length" if grouped else "random",
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
        "logging_strategy": "no",
        "save_strategy": "no",
        "eval_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": seed,
    }
    if task.type == "seq2seq":
        return Seq2SeqTrainingArguments(label_smoothing_factor=task.label_smoothing, **settings)
    return TrainingArguments(label_smoothing_factor=getattr(task, "label_smoothing", 0.0), **settings)


def _trainer(task: Task, model: Any, arguments: Arguments, rows: Sequence[Row], tokenizer: Any) -> Trainer:
    kinds = {"embedding": EmbeddingTrainer, "seq2seq": Seq2SeqTrainer}
    collator = {
        "token": lambda: DataCollatorForTokenClassification(tokenizer),
        "choice": lambda: DataCollatorForMultipleChoice(tokenizer),
        "embedding": lambda: SidesCollator(tokenizer),
        "seq2seq": lambda: DataCollatorForSeq2Seq(tokenizer, model=model),
        "causal": lambda: DataCollatorForSeq2Seq(tokenizer),
    }.get(task.type, lambda: DataCollatorWithPadding(tokenizer))()
    trainer = kinds.get(task.type, Trainer)(
        model=model, args=arguments, train_dataset=Rows(rows), data_collator=collator, processing_class=tokenizer
    )
    trainer.task = task
    return trainer
